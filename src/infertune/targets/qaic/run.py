"""Run: qaic-runner in a fresh folder, its profile files read back as a `Measurement`.

What the numbers are made of. The window is the runner's own ``TotalDuration``, the count its ``InferenceCnt``. Each
activation writes one profile with one line per request, and no times of day. The first requests of each activation are
left out of its profile (`first_recorded`), as the queue is filling then, so that

* ``wall_ns`` is the part of the window that the recorded requests stand for: duration x recorded / counted. Throughput
  is then exactly the runner's, recomputed: counted / duration;
* ``ends_ns`` is reconstructed: an activation keeps ``set_size`` requests outstanding, so request k was sent when
  request k - set_size was done and ended one round trip later; each activation's ends are stretched to the window,
  which spreads the host's loop (some ten microseconds per request) evenly. It serves to see drift within a launch;
* ``setup_ns`` is what the program took beyond its window: loading, activating, writing files.

In the middle of the window qaic-util tells the card's temperature, power and clock (`looked`): idle ones, as before and
after it, say nothing of what a point costs.
"""

from __future__ import annotations

import glob
import math
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from infertune.core.records import Failed, FailureKind, MeasureJob, Measurement, Named, Phase, Plan, RawNs, facts
from infertune.core.seams import CandidateFailed, Clock, Done, Shell
from infertune.core.space import Point
from infertune.edge.clock import MonotonicClock
from infertune.edge.crew import beside
from infertune.edge.shell import LocalShell
from infertune.targets.qaic import parse, tools
from infertune.targets.qaic.build import program_of
from infertune.targets.qaic.probe import condition, output_of, qid_of, query, under_load
from infertune.targets.qaic.profile import TOTAL, Floats, Garbled, Profile, breakdown, combined, parse_profile
from infertune.targets.qaic.sdk import Sdk, find_sdk
from infertune.targets.qaic.start import start as launch

ALLOWANCE_S = 100.0  # beyond the window: load, activate, drain, write files
SHORTEST_S = 1  # the runner counts whole seconds
PROFILES = "*latency*.txt"  # the index in the name starts at 0 or 1, depending on the SDK
PROFILE_BYTES = 1 << 30
FROM_US = 1000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """One run of the runner: its result line, the profiles it wrote, what it cost, and the card's own conditions."""

    stats: parse.Stats
    profiles: tuple[Profile, ...]
    wall_s: float
    during: Named = ()

    @property
    def recorded(self) -> int:
        return sum(map(len, self.profiles))


def first_recorded(plan: Plan, point: Point) -> int:
    """Requests of each activation that stay out of its profile: the warm-up, and until its queue is full."""
    return max(plan.warmup_count, point.number("set_size", 1))


def measure_program(job: MeasureJob, shell: Shell) -> Measurement:
    """Measure one launch, the card's own conditions told before and after it. Raises as `measure_point`."""
    sdk, qid = find_sdk(), qid_of(job.point.device)
    before = condition(sdk, shell, qid, "before")
    found = measure_point(sdk, shell, program_of(job.artifact), job.point, job.plan)
    return replace(found, settings=(*found.settings, *before, *condition(sdk, shell, qid, "after")))


def measure_point(
    sdk: Sdk, shell: Shell, program: str, point: Point, plan: Plan, inputs: Sequence[str] = ()
) -> Measurement:
    """Run the folder ``program``; a second, longer run when the first recorded fewer requests than the plan wants.

    ``inputs``: as in `tools.run_argv`.

    Raises `CandidateFailed` for everything that a card, a program or the runner can do wrong.
    """
    start = first_recorded(plan, point)
    seconds = max(SHORTEST_S, math.ceil(plan.min_time_s))
    result = run_once(sdk, shell, program, point, seconds, start, inputs)
    longer = _longer(result, point, plan, seconds)
    if longer is not None:
        result = run_once(sdk, shell, program, point, longer, start, inputs)
    if not result.recorded:
        raise failed("timeout", f"fewer than {start + 1} requests per instance within {longer or seconds} s", "")
    return measurement(result, point, start, simulated=sdk.simulated)


def _longer(result: RunResult, point: Point, plan: Plan, seconds: int) -> int | None:
    """Seconds of a second run; None when the first is enough or as long as the plan allows."""
    cap = max(SHORTEST_S, math.ceil(plan.cap_s))
    if result.recorded >= plan.min_count or seconds >= cap:
        return None
    wanted = plan.min_count + first_recorded(plan, point) * point.number("instances", 1)
    return min(cap, max(seconds + 1, math.ceil(1.2 * seconds * wanted / result.stats.inferences)))


def run_once(
    sdk: Sdk, shell: Shell, program: str, point: Point, seconds: int, start: int, inputs: Sequence[str] = ()
) -> RunResult:
    """One run in a folder of its own, so that no earlier run's file can be read for one of this."""
    with tempfile.TemporaryDirectory(prefix="infertune-qaic-") as scratch:
        folder, log = os.path.join(scratch, "profile"), os.path.join(scratch, "runner.txt")
        os.mkdir(folder)
        qid = qid_of(point.device)
        argv = tools.run_argv(sdk, program, qid, point, seconds, tools.Profile(folder=folder, start=start), inputs)
        work = partial(launch, shell, argv, timeout_s=seconds + ALLOWANCE_S, log=log, folder=scratch)
        done, during = _watched(work, sdk, shell, qid, seconds)
        text = output_of(log, done)
        check_end(done, text, sdk, shell, point)
        try:
            stats = parse.parse_stats(text)
            return RunResult(stats=stats, profiles=read_profiles(folder), wall_s=done.wall_s, during=during)
        except Garbled as error:
            raise failed("output", f"qaic-runner: {error}", done.tail) from None


def _watched(work: Callable[[], Done], sdk: Sdk, shell: Shell, qid: int, seconds: int) -> tuple[Done, Named]:
    """Run, and ask the card half-way how it is. A shell that starts no processes runs one program at a time."""
    if not isinstance(shell, LocalShell):
        return work(), ()
    clock = MonotonicClock()
    look = partial(looked, sdk, shell, qid, clock, clock.now_ns() + round(seconds * 1e9))
    done, during = beside(work, look, seconds / 2)
    return done, during or ()


def looked(sdk: Sdk, shell: Shell, qid: int, clock: Clock, latest_ns: int) -> Named:
    """How a card at work is; nothing where it was told after ``latest_ns``, as the window may be over then."""
    told = under_load(sdk, shell, qid)
    return told if clock.now_ns() <= latest_ns else ()


def check_end(done: Done, text: str, sdk: Sdk, shell: Shell, point: Point) -> None:
    """Raise `CandidateFailed` for a run that did not end well, even when it printed a result before."""
    if done.timed_out:
        raise failed("timeout", "qaic-runner did not end in time", done.tail)
    if done.code == 0:
        return
    kind, message = parse.failure(text, "crash", f"qaic-runner ended with exit code {done.code}")
    if "InferenceCnt" in text:
        kind, message = "crash", f"qaic-runner ended with exit code {done.code} after it had printed a result"
    if kind in ("crash", "device"):
        kind, message = _by_the_card(kind, message, sdk, shell, point)
    raise failed(kind, message, done.tail)


def _by_the_card(kind: FailureKind, message: str, sdk: Sdk, shell: Shell, point: Point) -> tuple[FailureKind, str]:
    """The same, corrected by what the card tells: that it is not ready, or that it never has so many NSPs.

    Tools may call a card busy on which a point can never run; asked again it would refuse for ever.
    """
    qid, wanted = qid_of(point.device), point.number("cores", 1) * point.number("instances", 1)
    try:
        card = next((card for card in query(sdk, shell, qid) if card.qid == qid), None)
    except Garbled:
        return "device", message if kind == "device" else f"{message}; card {qid} is not answering"
    if card is not None and card.ready and wanted > card.nsps:
        return "illegal", f"{wanted} NSPs are needed, card {qid} has {card.nsps}"
    if card is not None and not card.ready and kind == "crash":
        return "device", f"{message}; card {qid} is {card.status}"
    return kind, message


def failed(kind: FailureKind, message: str, log: str) -> CandidateFailed:
    return CandidateFailed(Failed(stage="measure", kind=kind, message=message, log=log))


def read_profiles(folder: str) -> tuple[Profile, ...]:
    """Every latency profile in a folder. Raises `Garbled` when there is none or one cannot be read."""
    paths = sorted(glob.glob(os.path.join(glob.escape(folder), PROFILES)))
    if not paths:
        raise Garbled("it wrote no latency profile")
    profiles = []
    for path in paths:
        if os.path.getsize(path) > PROFILE_BYTES:
            raise Garbled(f"{os.path.basename(path)} is larger than 1 GiB")
        try:
            profiles.append(parse_profile(Path(path).read_text(errors="replace")))
        except Garbled as error:
            raise Garbled(f"{os.path.basename(path)}: {error}") from None
    return tuple(profiles)


def measurement(result: RunResult, point: Point, start: int, *, simulated: bool) -> Measurement:
    """The records of a run (see the module). Raises `CandidateFailed` when the files tell of more than was counted."""
    stats, profile = result.stats, combined(result.profiles)
    if len(profile) > stats.inferences:
        message = f"{len(profile)} requests in the profiles but {stats.inferences} in the result line"
        raise failed("output", message, "")
    if stats.batch != point.number("batch", 1):
        raise failed("output", f"the program has batch {stats.batch}, not {point.number('batch', 1)}", "")
    timed = profile.timed
    if not len(timed):
        raise failed("output", f"the total of all {len(profile)} requests in the profiles is N/A", "")
    window_us = stats.duration_us * len(timed) / stats.inferences
    ends = np.concatenate([ends_us(p.timed[TOTAL], point.number("set_size", 1), window_us) for p in result.profiles])
    order = np.argsort(ends, kind="stable")
    return Measurement(
        batch=stats.batch,
        in_flight=point.number("instances", 1) * point.number("set_size", 1),
        wall_ns=round(window_us * FROM_US),
        latencies_ns=_ns(timed[TOTAL][order]),
        ends_ns=_ns(ends[order]),
        setup_ns=max(0, round((result.wall_s - stats.duration_us / 1e6) * 1e9)),
        first_ns=0,
        warmup_count=stats.inferences - len(timed),
        phases=tuple(_phases(timed, order)),
        settings=_told(result, start),
        simulated=simulated,
    )


def _phases(profile: Profile, order: npt.NDArray[np.intp]) -> Iterator[Phase]:
    """The parts of every request; one is left out where a cell that it is made of is N/A."""
    for name, part in breakdown(profile).items():
        if not np.isnan(part).any():
            yield Phase(name=name, samples_ns=_ns(part[order]))


def ends_us(latencies: Floats, outstanding: int, window_us: float) -> Floats:
    """When each request of one activation ended, from its round trips alone: see the module's docstring."""
    ends = np.empty(len(latencies))
    for slot in range(min(outstanding, len(latencies))):
        ends[slot::outstanding] = np.cumsum(latencies[slot::outstanding])
    last = ends.max(initial=0.0)
    return ends * (window_us / last) if last > 0 else ends


def _ns(values: Floats) -> RawNs:
    return RawNs(int(value) for value in np.rint(values * FROM_US))


def _told(result: RunResult, start: int) -> Named:
    counted = facts(
        inferences=result.stats.inferences,
        duration_us=result.stats.duration_us,
        samples_per_s=f"{result.stats.samples_per_s:.3f}",
        profiles=len(result.profiles),
        profile_start=start,
        cut_lines=sum(p.dropped for p in result.profiles) or None,
        untimed=result.recorded - sum(len(p.timed) for p in result.profiles) or None,
    )
    return (*counted, *result.during)
