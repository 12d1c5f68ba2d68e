"""Flags and choices beside a neighbour: `python bench/noise.py [LAUNCHES] [STUDIES] [SECONDS]`; about thirteen minutes.

A real program burns one of two CPUs for half of the time, in seeded spells of about ten seconds, while ONNX Runtime
measures a perceptron of 12 x 1024 on one core and on two, which truly differ about 2x:

* of launches that it disturbed for more than 10 % of their window at least 90 % carry a flag of the environment, of
  those that it left alone at most 5 %;
* of 20 small studies of the two settings, which start from one core, at least 19 recommend two.

Nothing else may run meanwhile: whatever does is flagged too.
"""

from __future__ import annotations

import contextlib
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from common import local_executor, print_conditions

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from infertune import __version__
from infertune.build.cache import ArtifactCache
from infertune.build.pool import BuildTask, build_one
from infertune.core import audit, stats, wire
from infertune.core.answer import answer
from infertune.core.goal import parse_goal
from infertune.core.keys import digest
from infertune.core.records import Artifact, Conditions, Entry, Feed, MeasureJob, Measurement, Plan
from infertune.core.space import Baseline, Point
from infertune.edge.clock import MonotonicClock
from infertune.edge.counters import counter_reader
from infertune.edge.shell import LocalShell
from infertune.measure.conditions import watch_host
from infertune.study.question import Setting, described, make_setting, space_fact
from infertune.study.steadiness import foreign_cpu
from infertune.study.tuning import run
from infertune.targets import find_target
from infertune.testing.store import MemoryStore
from small_models import write_classifier

TARGET = "onnxruntime"
WIDTH, DEPTH, BATCH = 1024, 12, 16
CPUS = 2
LAUNCHES, STUDIES, BUDGET_S = 100, 20, 30.0
SPELLS_S = (7.0, 13.0)
DISTURBED = 0.10  # of the window
PLAN = Plan()
Spell = tuple[int, int]
Name = str


# ---------------------------------------------------------------- the burner


def burn(log: Path, seed: int) -> None:
    """Keep one CPU busy in every other spell, and say in ``log`` when each began."""
    clock, rng = MonotonicClock(), np.random.default_rng(seed)
    with open(log, "a", buffering=1) as file:
        while True:
            for busy in (False, True):
                began = clock.now_ns()
                until = began + int(rng.uniform(*SPELLS_S) * 1e9)
                file.write(f"{int(busy)} {began}\n")
                while busy and clock.now_ns() < until:
                    pass
                clock.sleep(max(0.0, (until - clock.now_ns()) / 1e9))


@contextlib.contextmanager
def burner(log: Path, seed: int) -> Iterator[None]:
    """A program that is no child of this one, whose time would count as infertune's own."""
    argv = [sys.executable, __file__, "--burner", str(log), str(seed), str(os.getpid())]
    pid = int(subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True).stdout)
    try:
        yield
        os.kill(pid, 0)  # raises where the burner ended by itself
    finally:
        os.kill(pid, signal.SIGKILL)


def let_loose(log: Path, seed: int, watched: int) -> None:
    """Leave the parent, tell the new process, and burn there as long as the process ``watched`` lives."""
    log.touch()
    if pid := os.fork():
        print(pid, flush=True)
        os._exit(0)
    os.setsid()
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    threading.Thread(target=burn, args=(log, seed), daemon=True).start()
    while Path(f"/proc/{watched}").exists():
        time.sleep(1.0)


def busy_spells(log: Path) -> list[Spell]:
    """When the burner was on; a spell that has not ended is taken to last."""
    began = [(busy == "1", int(ns)) for busy, ns in (line.split() for line in log.read_text().splitlines())]
    ends = [ns for _, ns in began[1:]] + [sys.maxsize]
    return [(start, end) for (busy, start), end in zip(began, ends, strict=True) if busy]


def overlap(window: Spell, spells: Sequence[Spell]) -> float:
    """Share of the window in which the burner was on."""
    opened, closed = window
    shared = sum(max(0, min(closed, end) - max(opened, start)) for start, end in spells)
    return shared / max(1, closed - opened)


# ---------------------------------------------------------------- launches


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """A launch of its own process, with the moments at which its window opened and closed."""

    measurement: Measurement
    opened_ns: int
    closed_ns: int


def work(folder: Path) -> None:
    """The worker: measure the job as ONNX Runtime's target does, and note when."""
    from infertune.targets.inproc import measure_session
    from infertune.targets.onnxruntime.run import OrtSession

    job, clock = wire.from_json((folder / "job.json").read_text(), MeasureJob), MonotonicClock()
    times: list[int] = []

    def watch() -> Callable[[], Conditions]:
        times.append(clock.now_ns())
        stop = watch_host()

        def told() -> Conditions:
            times.append(clock.now_ns())
            return stop()

        return told

    found = measure_session(job, clock, lambda pool: OrtSession(job, clock, pool), watch)
    timed = Timed(measurement=found, opened_ns=times[0], closed_ns=times[1])
    (folder / "timed.json").write_text(wire.to_json(timed, Timed))


def launch(job: MeasureJob) -> Timed:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "job.json").write_text(wire.to_json(job, MeasureJob))
        argv = [sys.executable, __file__, "--worker", folder]
        done = LocalShell().run(argv, timeout_s=120.0, log=f"{folder}/log.txt", env=None, cwd=None)
        if done.code:
            raise RuntimeError(done.tail)
        timed: Timed = wire.from_json((Path(folder) / "timed.json").read_text(), Timed)
        return timed


def flags(setting: Setting, cache: ArtifactCache, log: Path, count: int) -> None:
    """How many launches carry a flag of the environment, by whether the burner was on."""
    points = two_settings(setting)
    task = BuildTask(
        key=digest([TARGET, "noise"]), model=setting.question.model, point=points["one core"], timeout_s=600.0
    )
    artifact = build_one(task, local_executor(), cache, MonotonicClock()).outcome
    assert isinstance(artifact, Artifact), artifact
    jobs = {
        name: MeasureJob(model=task.model, point=point, artifact=artifact.path, plan=PLAN, feed=Feed(seed=0))
        for name, point in points.items()
    }
    names = [list(jobs)[number % 2] for number in range(count)]
    seen = [launch(jobs[name]) for name in names]
    spells = busy_spells(log)
    shares = [overlap((timed.opened_ns, timed.closed_ns), spells) for timed in seen]
    flagged = [audit.contaminated(audit.flags(timed.measurement, PLAN)) for timed in seen]
    disturbed = [flag for share, flag in zip(shares, flagged, strict=True) if share > DISTURBED]
    clean = [flag for share, flag in zip(shares, flagged, strict=True) if not share]
    print(f"{count} launches: {share_of(disturbed)} disturbed ones carry a flag of the environment (bar: 90 %)")
    print(f"{'':10} {share_of(clean)} clean ones do (bar: 5 %)")
    quiet: dict[Name, list[float]] = {name: [] for name in jobs}
    for name, timed, share in zip(names, seen, shares, strict=True):
        if not share:
            quiet[name].append(stats.throughput(timed.measurement))
    if all(quiet.values()):
        one, two = (statistics.median(quiet[name]) for name in points)
        print(f"{'':10} two cores are {two / one:.2f}x as fast as one, by clean launches", flush=True)

    speeds = [(name, stats.throughput(timed.measurement)) for name, timed in zip(names, seen, strict=True)]
    pairs = [dict(pair) for pair in zip(speeds[::2], speeds[1::2], strict=False)]
    right = [pair[names[1]] > pair[names[0]] for pair in pairs]
    print(f"{'':10} of neighbouring launches two cores are the faster ones in {share_of(right)}", flush=True)


def share_of(found: Sequence[bool]) -> str:
    return f"{sum(found)} of {len(found)} ({np.mean(found):.0%})" if found else "0 of 0"


# ---------------------------------------------------------------- studies


def two_settings(setting: Setting) -> dict[Name, Point]:
    one = setting.spaces[0].baselines[0].point
    return {"one core": one, "two cores": one.but(cores=CPUS)}


def asked(folder: Path, seed: int) -> Setting:
    """A study of two points, of which one core is the baseline."""
    model = described(local_executor(), str(folder / "m.onnx"), {}, None)
    setting = make_setting(
        local_executor(),
        model=model,
        goal=parse_goal("max throughput"),
        targets={TARGET: find_target(TARGET)},
        wanted={},
        strategy="grid",
        seed=seed,
        inputs=None,
        version=__version__,
    )
    (space,) = setting.spaces
    one = space.seeds[0].but(batch=BATCH, cores=1, instances=1, set_size=1)
    narrow = space.narrowed({name: (value,) for name, value in one.settings} | {"cores": (1, CPUS)})
    narrow = replace(narrow, baselines=(Baseline(name="one core", point=one),))
    return replace(setting, spaces=(narrow,), question=replace(setting.question, spaces=(space_fact(narrow),)))


def studied(setting: Setting, seed: int, cache: ArtifactCache, budget_s: float) -> list[Entry]:
    own = replace(setting, question=replace(setting.question, seed=seed))
    store = MemoryStore()
    clock = MonotonicClock()
    glance = partial(foreign_cpu, clock, counter_reader())
    run(own, store, local_executor(), clock, cache, budget_s=budget_s, glance=glance)
    return list(store.entries())


def choices(setting: Setting, cache: ArtifactCache, count: int, budget_s: float) -> None:
    """How often studies recommend two cores, and how often they are sure."""
    two = two_settings(setting)["two cores"]
    records = [studied(setting, seed, cache, budget_s) for seed in range(count)]
    found = [answer(entries) for entries in records]
    right = [a.winner == two for a in found]
    length = statistics.mean(a.spent.total for a in found)
    launches = statistics.mean(a.counts.launches for a in found)
    waited = statistics.mean(a.spent.waiting for a in found)
    surely = [a.winner == two for a in found if a.confirmed]
    print(f"{count} studies of {length:.0f} s and {launches:.0f} launches each, {waited:.0f} s of waiting, on average")
    print(f"{'':10} two cores win in {share_of(right)} (bar: 19 of 20)")
    print(f"{'':10} of answers that are called confirmed {share_of(surely)} are right", flush=True)


def main(launches: int, studies: int, budget_s: float) -> None:
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < CPUS:
        sys.exit(f"this takes {CPUS} CPUs, and {len(usable)} may be used")
    os.sched_setaffinity(0, usable[:CPUS])  # where there are more, one burner would not be half of them
    print_conditions()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_classifier(folder / "m.onnx", width=WIDTH, depth=DEPTH)
        setting, cache = asked(folder, seed=0), ArtifactCache(folder / "cache")
        studied(setting, 0, cache, 0.1)  # builds, so that no study has to
        with burner(folder / "burner.txt", seed=0):
            if launches:
                flags(setting, cache, folder / "burner.txt", launches)
            choices(setting, cache, studies, budget_s)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--burner", log, seed, parent]:
            let_loose(Path(log), int(seed), int(parent))
        case ["--worker", folder]:
            work(Path(folder))
            os._exit(0)  # as every worker: the runtime's threads may still be at work
        case given:
            counts = [LAUNCHES, STUDIES, BUDGET_S]
            first, second, third = [float(text) for text in given] + counts[len(given) :]
            main(int(first), int(second), third)
