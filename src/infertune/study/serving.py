"""`serve-rate`: the highest rate at which samples may arrive at a point while its latency limits hold."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from infertune import __version__
from infertune.build.cache import ArtifactCache
from infertune.core import audit, percentiles, standing
from infertune.core.errors import NothingFeasible
from infertune.core.goal import Goal, latency_percent, load_for, parse_goal
from infertune.core.load import Arrivals, Load, Probe, keeps_up
from infertune.core.records import Closed, Failed, Launch, Measurement, Opened, Plan
from infertune.core.space import Point, Value
from infertune.core.standing import Standing
from infertune.core.words import counted
from infertune.edge.clock import MonotonicClock, wall_clock
from infertune.edge.shell import LocalShell
from infertune.edge.worker import LocalExecutor
from infertune.measure.plan import SPARE
from infertune.store.sqlite import open_store
from infertune.study.bench import Bench
from infertune.study.journal import Journal, Listener
from infertune.study.measure import expand
from infertune.study.question import Setting, ask, check_model, chosen_targets, described, make_setting
from infertune.study.study import Study

CONFIRMATIONS = 3
"""Launches in a row that must keep the limits at the rate that is reported."""

LESS = 1.05
"""After one of them fails the next rate is this much lower, the precision to which the rate was found; then twice as
much each time, because a rate that was found in a quiet moment may be far too high."""

MOST_TRIES = 6
WINDOW_S = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What `serve_rate` found.

    ``rate_per_s`` (samples per second) kept every limit in each of ``runs``; None where no rate did. ``probes`` are the
    rates that the first launch tried; ``tried`` the rates that failed to be confirmed. ``standing`` says how sure the
    limits are over all runs together.
    """

    point: Point
    goal: Goal
    arrivals: Arrivals
    rate_per_s: float | None
    runs: tuple[Launch, ...]
    probes: tuple[Probe, ...]
    tried: tuple[float, ...]
    standing: Standing
    study: Study

    @property
    def saturated(self) -> bool:
        """Whether the load generator, not the model, was the limit in any of the runs."""
        return any("generator_late" in run.flags for run in self.runs)


def keeps(goal: Goal, measurement: Measurement) -> bool:
    """Whether one launch served everything as fast as it came, with every latency limit kept."""
    sent = measurement.sent
    wall_ns = measurement.wall_ns
    served = sent is None or (not sent.unfinished and keeps_up(sent.rate_per_s, measurement.latencies_ns, wall_ns))
    return served and goal.excess(Point.of("", "", {}), measurement) == 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Serving:
    """A point on the bench, served at rates."""

    bench: Bench
    point: Point
    goal: Goal
    load: Load
    plan: Plan
    stop: Callable[[], bool]

    def launch(self, load: Load, block: int) -> Launch:
        """One launch. Raises `NothingFeasible` when the point does not run."""
        launch = self.bench.launch(self.point, "measure", block, replace(self.plan, load=load))
        if launch is None or isinstance(launch.outcome, Failed):
            failed = self.bench.builds.artifact(self.point) if launch is None else launch.outcome
            why = failed.message if isinstance(failed, Failed) else "it could not be built"
            raise NothingFeasible(
                "point-does-not-run", f"a launch failed: {why}", hint="try it with `infertune measure`"
            )
        return launch

    def undisturbed(self, load: Load, block: int) -> Launch:
        """A launch; another one where it broke a limit while other programs were running."""
        launch = self.launch(load, block)
        again = not _kept(self.goal, launch) and audit.contaminated(launch.flags) and not self.stop()
        return self.launch(load, block + 1) if again else launch

    def found(self) -> Measurement:
        """The launch that looks for the rate. Raises `NothingFeasible` (``no-rate``) where none keeps the limits."""
        outcome = self.launch(self.load, 0).outcome
        assert isinstance(outcome, Measurement) and outcome.sent is not None
        if not any(probe.kept for probe in outcome.sent.probes):
            slowest = min(probe.rate_per_s for probe in outcome.sent.probes)
            limits = ", ".join(limit.text for limit in self.goal.limits)
            raise NothingFeasible(
                "no-rate",
                f"`{limits}` does not hold even at {slowest:.3g} samples/s",
                hint="relax the limit, or take a point with a lower latency: `infertune tune --goal 'min p99'`",
            )
        return outcome

    def confirmed(self, rate: float) -> Iterator[tuple[float, list[Launch]]]:
        """Rates with their launches, each a little lower than the one before, until one is kept three times."""
        block, less = 1, LESS
        for _ in range(MOST_TRIES):
            runs: list[Launch] = []
            while len(runs) < CONFIRMATIONS and not self.stop():
                runs.append(self.undisturbed(replace(self.load, rate_per_s=rate), block))
                block += 2
                if not _kept(self.goal, runs[-1]):
                    break
            yield rate, runs
            rate /= less
            less *= less


def _kept(goal: Goal, launch: Launch) -> bool:
    return isinstance(launch.outcome, Measurement) and keeps(goal, launch.outcome)


def serving_plan(goal: Goal, load: Load, window_s: float) -> Plan:
    """Windows long enough for the percentiles of the limits, at every rate that is tried."""
    known = ((latency_percent(limit.metric), limit.confidence) for limit in goal.limits)
    floors = [percentiles.floor(percent, confidence) for percent, confidence in known if percent is not None]
    count = math.ceil(SPARE * max(floors))
    return Plan(warmup_s=0.5, min_time_s=window_s, min_count=count, cap_s=max(30.0, 4 * window_s), load=load)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The model and the point that are served; ``settings`` are the point's own where a study chose it."""

    model: str
    shapes: Mapping[str, int]
    target: str | None
    settings: Mapping[str, Value]
    inputs: str | None = None
    batch_symbol: str | None = None


def asked_of(run: Path) -> Asked:
    """The winner of the study in a run folder. Raises `NothingFeasible` where it has none."""
    study = Study.open(run)
    found = study.answer
    if found.winner is None:
        hint = "give the study a larger --budget, or a model with --set"
        raise NothingFeasible("no-winner", "the study has no winner to serve", hint=hint)
    model, feed = found.model, found.question.feed
    return Asked(
        model=model.path,
        shapes=dict(model.shapes),
        target=found.winner.target,
        settings=found.winner.values,
        inputs=feed.path,
        batch_symbol=model.batch_symbol,
    )


def _one_point(setting: Setting, settings: Mapping[str, Value]) -> Point:
    """The first space's point with these settings. Raises `UsageError` for settings that break a rule."""
    return expand(setting.spaces[0], {name: (value,) for name, value in settings.items()})[0]


def serve_rate(
    asked: Asked,
    *,
    limit: str,
    out: str | Path,
    arrivals: Arrivals = "poisson",
    window_s: float = WINDOW_S,
    seed: int = 0,
    listeners: Sequence[Listener] = (),
    on_phase: Callable[[str, str], None] = lambda phase, detail: None,
    stop: Callable[[], bool] = lambda: False,
) -> Served:
    """The highest rate at which samples may arrive while ``limit`` holds, such as ``p99 < 50 ms``.

    One launch looks for it (`measure.sustain`); launches at that rate must then keep the limits three times in a row,
    or the rate is lowered by 5 %, then by twice as much each time (`LESS`). Raises `NothingFeasible` where no rate
    does, `UsageError` for a limit that is none.
    """
    goal = parse_goal(f"max rate, {limit}")
    load = replace(load_for(goal), arrivals=arrivals, seed=seed)
    clock, executor = MonotonicClock(), LocalExecutor(LocalShell())
    check_model(asked.model)
    with ExitStack() as stack:
        store = stack.enter_context(open_store(Path(out)))
        targets = chosen_targets([asked.target] if asked.target else None, load)
        setting = make_setting(
            executor,
            model=described(executor, asked.model, asked.shapes, asked.batch_symbol, asked.inputs),
            goal=goal,
            targets=targets,
            wanted={},
            strategy="grid",
            seed=seed,
            inputs=asked.inputs,
            version=__version__,
            known=tuple(asked.settings),
        )
        journal = Journal(store, clock, tuple(listeners))
        ask(journal, setting)
        journal.append(Opened(budget_s=0.0, max_trials=None, at=wall_clock()))
        serving = _Serving(
            bench=Bench(setting, journal, executor, ArtifactCache(), clock),
            point=_one_point(setting, asked.settings),
            goal=goal,
            load=load,
            plan=serving_plan(goal, load, window_s),
            stop=stop,
        )
        try:
            found, tries = _found(serving, on_phase)
        except NothingFeasible as error:
            journal.append(Closed(status="nothing_feasible", why=error.message))
            raise
        why = closing(goal, tries, stopped=stop())
        journal.append(Closed(status="interrupted" if stop() else "ok", why=why))
    return _served(serving, found, tries, Study.open(out))


def _found(serving: _Serving, on_phase: Callable[[str, str], None]) -> tuple[Measurement, list[_Try]]:
    on_phase("measure", "looking for the rate")
    found = serving.found()
    assert found.sent is not None
    tries: list[_Try] = []
    for rate, runs in serving.confirmed(found.sent.rate_per_s):
        tries.append((rate, runs))
        if serving.stop() or _all_kept(serving.goal, runs):
            break
    return found, tries


_Try = tuple[float, list[Launch]]


def _all_kept(goal: Goal, runs: Sequence[Launch]) -> bool:
    return len(runs) == CONFIRMATIONS and all(_kept(goal, run) for run in runs)


def closing(goal: Goal, tries: Sequence[_Try], *, stopped: bool = False) -> str:
    """What the launches at fixed rates came to, in words."""
    if tries and _all_kept(goal, tries[-1][1]):
        return "three launches kept the limits"
    if stopped:
        return "interrupted"
    return f"{counted(len(tries), 'rate')} tried, none kept the limits in three launches"


def _served(serving: _Serving, found: Measurement, tries: Sequence[_Try], study: Study) -> Served:
    rate, runs = tries[-1] if tries else (0.0, [])
    confirmed = _all_kept(serving.goal, runs)
    measured = [run.outcome for run in runs if isinstance(run.outcome, Measurement)]
    return Served(
        point=serving.point,
        goal=serving.goal,
        arrivals=serving.load.arrivals,
        rate_per_s=rate if confirmed else None,
        runs=tuple(runs),
        probes=found.sent.probes if found.sent else (),
        tried=tuple(rate for rate, _ in (tries[:-1] if confirmed else tries)),
        standing=standing.standing(serving.goal, serving.point, measured) if measured else standing.WITHIN,
        study=study,
    )
