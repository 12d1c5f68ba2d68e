"""`measure`: chosen points, each launched a few times in interleaved blocks; no search, no verdict."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from infertune import __version__
from infertune.build.cache import ArtifactCache
from infertune.core import history, words
from infertune.core.errors import UsageError
from infertune.core.goal import parse_goal
from infertune.core.load import Load
from infertune.core.records import Closed, Entry, Opened, Plan
from infertune.core.space import Point, Space, Value
from infertune.edge.clock import MonotonicClock, wall_clock
from infertune.edge.shell import LocalShell
from infertune.edge.worker import LocalExecutor
from infertune.measure.race import block_order
from infertune.store.sqlite import open_store
from infertune.study.bench import Bench
from infertune.study.journal import Journal, Listener
from infertune.study.question import (
    another_question,
    ask,
    check_model,
    chosen_targets,
    described,
    drivable,
    make_setting,
)
from infertune.study.study import Study

PLAN = Plan(warmup_s=0.3, min_time_s=2.0, min_count=50, cap_s=10.0)


def expand(space: Space, wanted: Mapping[str, tuple[Value, ...]]) -> list[Point]:
    """The cross product of ``wanted`` over the space's ordinary points; other knobs as in its first seed or baseline.

    Knobs of other targets are ignored. Raises `UsageError` (``illegal-point``) with the rule that a combination breaks.
    """
    own = {k: v for k, v in wanted.items() if any(knob.name == k for knob in space.knobs)}
    return [_filled(space, dict(zip(own, combo, strict=True))) for combo in itertools.product(*own.values())]


def _filled(space: Space, values: Mapping[str, Value]) -> Point:
    bases = [*space.seeds, *(b.point for b in space.baselines)] or [space.point()]
    tried = [base.but(**values) for base in bases]
    legal = next((point for point in tried if space.why_illegal(point) is None), None)
    if legal is None:
        raise UsageError(
            "illegal-point",
            f"{space.target} cannot run {' '.join(f'{k}={v}' for k, v in values.items())}",
            hint=str(space.why_illegal(tried[0])),
        )
    return legal


def measure(
    model: str | Path,
    *,
    out: str | Path,
    settings: Mapping[str, Sequence[Value]] | None = None,
    goal: str = "max throughput",
    shapes: Mapping[str, int] | None = None,
    targets: Sequence[str] | None = None,
    launches: int = 3,
    plan: Plan = PLAN,
    inputs: str | Path | None = None,
    batch_symbol: str | None = None,
    seed: int = 0,
    listeners: Sequence[Listener] = (),
    on_phase: Callable[[str, str], None] = lambda phase, detail: None,
    stop: Callable[[], bool] = lambda: False,
) -> Study:
    """Measure every combination of ``settings`` on each target: ``launches`` fresh processes, in interleaved blocks.

    ``out`` may hold launches of the same question, driven alike, to which these are added in blocks of their own.
    Raises `UsageError` (``another-question``) where it holds others.
    """
    wanted = {name: tuple(values) for name, values in (settings or {}).items()}
    clock, executor = MonotonicClock(), LocalExecutor(LocalShell())
    chosen = chosen_targets(targets, plan.load)
    drivable(chosen, plan.load)
    check_model(str(model))
    with ExitStack() as stack:
        store = stack.enter_context(open_store(Path(out)))
        setting = make_setting(
            executor,
            model=described(executor, str(model), shapes or {}, batch_symbol, inputs),
            goal=parse_goal(goal),
            targets=chosen,
            wanted={},
            strategy="grid",
            seed=seed,
            inputs=None if inputs is None else str(inputs),
            version=__version__,
            known=tuple(wanted),
        )
        points = [point for space in setting.spaces for point in expand(space, wanted)]
        journal = Journal(store, clock, tuple(listeners))
        ask(journal, setting)
        _refuse_another_load(journal.entries, plan.load)
        journal.append(Opened(budget_s=0.0, max_trials=None, at=wall_clock()))
        bench = Bench(setting, journal, executor, ArtifactCache(), clock)
        first = history.next_block(history.launches(journal.entries))
        for block in range(first, first + launches):
            for point in block_order(points, seed, block):
                if not stop():
                    on_phase("measure", words.point(point, setting.question.spaces))
                    bench.launch(point, "measure", block, plan)
        journal.append(_closed(stopped=stop()))
    return Study.open(out)


def _closed(*, stopped: bool) -> Closed:
    if stopped:
        return Closed(status="interrupted", why="interrupted")
    return Closed(status="ok", why="every point was measured")


def _refuse_another_load(entries: Sequence[Entry], load: Load) -> None:
    """Launches of a point count together, so all of a record are driven alike. Raises `UsageError`."""
    before = [launch.plan.load for launch in history.launches(entries) if launch.plan]
    if any((one.arrivals, one.rate_per_s) != (load.arrivals, load.rate_per_s) for one in before):
        raise another_question(["load"])
