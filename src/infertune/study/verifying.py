"""Verifying: does a bundle still keep its promise here? Launches of it and of its anchor, interleaved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from infertune.core import audit, drift, stats
from infertune.core.drift import Basis
from infertune.core.errors import NotFoundError, NothingFeasible
from infertune.core.load import CLOSED, Load
from infertune.core.records import Device, Failed, Feed, Interval, MeasureJob, Measurement, Named, Plan
from infertune.core.seams import Executor
from infertune.core.space import Point
from infertune.edge.files import shown
from infertune.edge.host import host_facts
from infertune.edge.shell import LocalShell
from infertune.edge.worker import LocalExecutor
from infertune.export.bundle import Promise, read_bundle
from infertune.study.bench import launch_timeout_s, own_schedule
from infertune.study.question import probe
from infertune.targets import find_target

WINDOW_S = 2.0
TOLERANCE = 0.03
LAUNCHES = 6  # blocks: the least whose extremes cover the median in more than 95 % of cases
MOST = 3  # times as many blocks while the verdict is open

EXACT = Interval(value=1.0, low=1.0, high=1.0)

OnBlock = Callable[[int, Interval], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What verifying a bundle found.

    Throughput is what was served at the highest rate that keeps the limits where the goal is ``max rate``.
    ``ratio`` is measured / promised throughput, ``relative`` the same with the machine's drift cancelled by ``basis``
    (equal to ``ratio`` where nothing cancels it). That decides: ``kept`` says whether it reaches 1 - tolerance,
    ``settled`` whether its whole interval lies on one side of that. ``changes`` says what is different from then.
    How uncertain the promise was when it was measured is in these intervals, too; more launches now do not make it
    less, so they end once it would be settled against the promise as it stands.
    """

    promised: Promise
    measured: Interval
    ratio: Interval
    relative: Interval
    basis: Basis
    blocks: int
    kept: bool
    settled: bool
    changes: tuple[str, ...]
    flags: tuple[str, ...]


@dataclass(slots=True, kw_only=True)
class _Trial:
    """The launches of one verification: ``ours[i]`` and ``theirs[i]`` come from block i, ``theirs`` may stay empty."""

    promised: Promise
    artifact: str
    feed: Feed
    plan: Plan
    executor: Executor
    other: Executor | None  # the environment of before
    basis: Basis
    ours: list[Measurement]
    theirs: list[Measurement]

    def launch(self, executor: Executor, point: Point, block: int) -> Measurement:
        model, artifact = self.promised.model, self.artifact
        anchor = self.promised.anchor
        if anchor is not None and anchor.folder and point == anchor.point:
            artifact = str(Path(self.artifact, anchor.folder))
            model = replace(model, path=str(Path(artifact, Path(model.path).name)))
        plan = replace(self.plan, load=own_schedule(self.plan.load, 0, block))
        job = MeasureJob(model=model, point=point, artifact=artifact, plan=plan, feed=self.feed)
        reply = executor.run(point.target, job, timeout_s=launch_timeout_s(plan))
        if isinstance(reply, Measurement) and reply.latencies_ns:
            return reply
        why = reply.message if isinstance(reply, Failed) else "no request completed"
        raise NothingFeasible(
            "bundle-does-not-run",
            f"a launch of the bundle failed: {why}",
            hint="`infertune doctor` tells what works; where the model needs certain values, give them with --inputs",
        )

    def block(self) -> None:
        """One launch of each side; which of them goes first alternates."""
        pairs = [(self.ours, self.executor, self.promised.point)]
        if self.basis == "before" and self.other is not None:
            pairs.append((self.theirs, self.other, self.promised.point))
        elif self.promised.anchor is not None:
            pairs.append((self.theirs, self.executor, self.promised.anchor.point))
        number = len(self.ours)
        for into, executor, point in pairs[:: 1 - 2 * (number % 2)]:
            into.append(self.launch(executor, point, number))

    # ------------------------------------------------------------ readings

    def measured(self) -> Interval:
        return stats.median_interval([stats.throughput(m) for m in self.ours])

    def ratio(self) -> Interval:
        return drift.beside(self.measured(), self.promised.throughput)

    def pairs(self) -> Interval:
        return stats.ratio_interval(
            [stats.throughput(m) for m in self.ours], [stats.throughput(m) for m in self.theirs]
        )

    def deciding(self) -> tuple[Interval, Interval]:
        """What decides, and what was promised of it."""
        if self.basis == "before":
            return self.pairs(), EXACT
        if self.basis == "anchor" and self.promised.anchor is not None:
            return self.pairs(), self.promised.anchor.ratio
        return self.measured(), self.promised.throughput

    def relative(self) -> Interval:
        """The ratio that decides, to the promise as it stands."""
        found, promised = self.deciding()
        return drift.relative(found, promised.value)

    def speed(self) -> Interval | None:
        """The anchor's throughput now / then."""
        if self.basis == "before" or self.promised.anchor is None:
            return None
        alone = stats.median_interval([stats.throughput(m) for m in self.theirs])
        return drift.relative(alone, self.promised.anchor.throughput.value)


def plan(window_s: float = WINDOW_S, load: Load = CLOSED) -> Plan:
    """As the confirmation measures, with a window of ``window_s``; a launch that looks for a rate takes several."""
    return Plan(warmup_s=window_s / 4, min_time_s=window_s, min_count=20, cap_s=5 * window_s, load=load)


def verify(
    folder: str | Path,
    *,
    tolerance: float = TOLERANCE,
    launches: int = LAUNCHES,
    window_s: float = WINDOW_S,
    before: str | Path | None = None,
    inputs: str | Path | None = None,
    executor: Executor | None = None,
    other: Executor | None = None,
    host: Named | None = None,
    on_block: OnBlock = lambda block, ratio: None,
) -> Verdict:
    """Measure a bundle again in ``launches`` blocks, in up to three times as many while the verdict is open.

    ``before`` names the Python interpreter of another environment with infertune (other versions of the runtime): each
    block then launches the bundle in both, and their ratio decides. ``inputs`` is an ``.npz`` as `tune` takes it, which
    no bundle holds; without it inputs are drawn. Raises what `read_bundle` raises, what `read_samples` raises for that
    file, `NotFoundError` when that interpreter has no infertune, `NothingFeasible` when the bundle does not run.
    """
    folder = Path(folder).resolve()
    promised = read_bundle(folder)
    here = executor or LocalExecutor(LocalShell())
    if before is not None and other is None:
        other = LocalExecutor(LocalShell(), python=_interpreter(Path(before)))
    then = _device_before(other, promised, before) if other else promised.device
    device_changes = _device_changes(here, promised, then)
    trial = _Trial(
        promised=promised,
        artifact=str(folder),
        feed=promised.feed if inputs is None else replace(promised.feed, path=str(Path(inputs).resolve())),
        plan=plan(window_s, promised.load),
        executor=here,
        other=other,
        basis=_basis(promised, other, device_changes),
        ours=[],
        theirs=[],
    )
    while len(trial.ours) < launches or (
        len(trial.ours) < MOST * launches and not drift.settled(trial.relative(), tolerance)
    ):
        trial.block()
        on_block(len(trial.ours), trial.relative())
    hosts = drift.host_changes(promised.host, host_facts() if host is None else host)
    return _verdict(trial, tolerance, (*device_changes, *hosts))


def _basis(promised: Promise, other: Executor | None, changes: tuple[str, ...]) -> Basis:
    if other is not None:
        return "before"
    return "anchor" if promised.anchor is not None and not changes else "throughput"


def _verdict(trial: _Trial, tolerance: float, changes: tuple[str, ...]) -> Verdict:
    ratio, deciding = trial.ratio(), drift.beside(*trial.deciding())
    seen = drift.machine_changes(trial.ours, trial.relative(), trial.speed())
    return Verdict(
        promised=trial.promised,
        measured=trial.measured(),
        ratio=ratio,
        relative=deciding,
        basis=trial.basis,
        blocks=len(trial.ours),
        kept=drift.kept(deciding, tolerance),
        settled=drift.settled(deciding, tolerance),
        changes=(*changes, *seen),
        flags=tuple(sorted({flag for m in trial.ours for flag in audit.flags(m, trial.plan)})),
    )


def _interpreter(path: Path) -> str:
    """Absolute, because workers run in folders of their own; not resolved: a link in a venv is what names the venv."""
    if not path.is_file():
        raise NotFoundError(
            "python-not-found", f"there is no file `{shown(path)}`", hint="give --before a python program"
        )
    return str(path.absolute())


def _device_before(other: Executor, promised: Promise, python: str | Path | None) -> Device:
    found = next(iter(probe(other, find_target(promised.point.target))), None)
    if found is None:
        raise NotFoundError(
            "no-infertune-there",
            f"`{shown(python or '')}` finds no {promised.point.target}",
            hint="give --before the python of an environment with infertune and the runtime of before",
        )
    return found


def _device_changes(executor: Executor, promised: Promise, then: Device) -> tuple[str, ...]:
    """What is different from ``then``; ends here when the target finds no device."""
    now = next((d for d in probe(executor, find_target(promised.point.target)) if d.name == then.name), None)
    if now is None:
        raise NothingFeasible(
            "no-device", f"{promised.point.target} finds no device here", hint="`infertune doctor` says why"
        )
    return drift.device_changes(then, now)
