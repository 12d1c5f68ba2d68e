"""`tune`: the main job. Asks, searches, races, confirms, and hands back the study."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from infertune import __version__
from infertune.build.cache import ArtifactCache
from infertune.core import history
from infertune.core.duration import parse_duration
from infertune.core.errors import DeviceLost, UsageError
from infertune.core.goal import load_for, parse_goal
from infertune.core.records import Closed, Decided, Entry, Measurement, Noise, Opened, Waited
from infertune.core.seams import Clock, Executor, Store
from infertune.core.space import Point, Value
from infertune.edge.clock import MonotonicClock, wall_clock
from infertune.edge.counters import counter_reader
from infertune.edge.shell import LocalShell
from infertune.edge.worker import LocalExecutor
from infertune.search import find_ending, find_strategy
from infertune.store.sqlite import open_store
from infertune.study import ablating
from infertune.study.bench import Bench
from infertune.study.calm import Calm, Glance
from infertune.study.ceilings import Examine, closing_s, examine
from infertune.study.checking import check_offered
from infertune.study.confirming import confirm, decided, unfinished
from infertune.study.journal import Journal, Listener
from infertune.study.loop import Loop, OnPhase
from infertune.study.metric import Metric
from infertune.study.pipeline import Staff, search
from infertune.study.question import Setting, ask, check_model, chosen_targets, described, going_on, make_setting
from infertune.study.racing import Raced, race
from infertune.study.steadiness import PATIENCE_S, PATIENCE_SHARE, foreign_cpu, wait_until_usable
from infertune.study.study import Study
from infertune.study.twins import stand_in
from infertune.study.warm import warm_points, warmed

_log = logging.getLogger(__name__)


def tune(
    model: str | Path,
    *,
    goal: str = "max throughput",
    shapes: Mapping[str, int] | None = None,
    budget: str | float = "5m",
    out: str | Path,
    targets: Sequence[str] | None = None,
    knobs: Mapping[str, Sequence[Value]] | None = None,
    strategy: str = "auto",
    trials: int | None = None,
    inputs: str | Path | None = None,
    batch_symbol: str | None = None,
    seed: int = 0,
    metric: Metric | None = None,
    noise: Noise = "refuse",
    warm_start: str | Path | None = None,
    ablate: bool = False,
    listeners: Sequence[Listener] = (),
    on_phase: OnPhase = lambda phase, detail: None,
    stop: Callable[[], bool] = lambda: False,
) -> Study:
    """Find the settings of ``model`` that meet ``goal`` best on this machine, within ``budget``.

    ``out`` is the run folder: called again with the same question it resumes, and with a larger ``budget`` or more
    ``trials`` it extends. ``shapes`` binds symbols (``{"sequence_length": 128}``); ``knobs`` narrows or widens what is
    searched (``{"batch": [1, 3, 5]}``). ``metric`` judges outputs in place of the cosine similarity (`study.metric`).
    With ``noise="accept"`` launches that other programs disturbed may decide and confirm. ``warm_start``: the folder
    of an earlier study, whose best points are tried first. ``ablate`` measures afterwards what each knob of the winner
    brings; a finished study may be asked for it later. Raises `InfertuneError` for anything a person can mend; a
    candidate that fails is part of the answer.
    """
    wanted_goal, budget_s = parse_goal(goal), some_time(budget)
    find_strategy(strategy)  # an unknown name must not become part of a record
    clock, executor = MonotonicClock(), LocalExecutor(LocalShell())
    check_model(str(model))
    with ExitStack() as stack:
        store = stack.enter_context(open_store(Path(out)))
        on_phase("prepare", str(model))
        described_model = described(executor, str(model), shapes or {}, batch_symbol, inputs)
        setting = make_setting(
            executor,
            model=described_model,
            goal=wanted_goal,
            targets=chosen_targets(targets, load_for(wanted_goal)),
            wanted={name: tuple(values) for name, values in (knobs or {}).items()},
            strategy=strategy,
            seed=seed,
            inputs=None if inputs is None else str(inputs),
            version=__version__,
            metric=metric,
        )
        first = warm_points(warm_start, wanted_goal, setting.spaces)
        glance = partial(foreign_cpu, clock, counter_reader()) if noise == "refuse" else None
        run(
            setting, store, executor, clock, ArtifactCache(),
            budget_s=budget_s, max_trials=trials, noise=noise, ablate=ablate,
            listeners=tuple(listeners), on_phase=on_phase, stop=stop, examine=examine,
            first=first, glance=glance,
        )  # fmt: skip
    return Study.open(out)


def some_time(budget: str | float) -> float:
    """The budget in seconds. Raises `UsageError` (``duration-syntax``, ``budget-zero``)."""
    seconds = parse_duration(budget)
    if not seconds:
        raise UsageError("budget-zero", "a budget of no time measures nothing", hint="give --budget 90s, or more")
    return seconds


def run(
    setting: Setting,
    store: Store,
    executor: Executor,
    clock: Clock,
    cache: ArtifactCache,
    *,
    budget_s: float,
    max_trials: int | None = None,
    noise: Noise = "refuse",
    ablate: bool = False,
    listeners: tuple[Listener, ...] = (),
    on_phase: OnPhase = lambda phase, detail: None,
    stop: Callable[[], bool] = lambda: False,
    examine: Examine | None = None,
    staff: Staff | None = None,
    first: Sequence[Point] = (),
    glance: Glance | None = None,
) -> None:
    """Work on the study in ``store`` until its budget is spent; everything it learns is in the record.

    ``examine`` measures the machine's ceilings once the winner is known, and before it ``ablate`` has the winner's
    knobs put back one at a time; time is kept back for both. Points in ``first`` are tried before any others. With a
    ``glance`` at what others do on the machine, a study of its CPUs and each launch wait for them to leave. Raises
    `UsageError` (``another-question``) if the record asks another one, `BusyError` (``machine-busy``) when they stay.
    """
    journal = Journal(store, clock, listeners)
    setting = going_on(setting, journal.entries)
    asks_no_more = _asks_no_more(journal.entries, budget_s, max_trials)
    searches_no_more = _asks_no_more(_until_decided(journal.entries), budget_s, max_trials)
    only_ablation = ablate and asks_no_more and ablating.is_all_that_is_left(journal.entries)
    if asks_no_more and _ended(journal) and not only_ablation:
        ask(journal, setting)
        return
    waited_s = 0.0
    glance = glance if setting.on_host else None
    if glance:
        most_s = min(PATIENCE_S, PATIENCE_SHARE * max(0.0, budget_s - journal.elapsed_s))
        waited_s = wait_until_usable(clock, glance, on_phase, stop, most_s=most_s)
    ask(journal, setting)
    if only_ablation and history.ceilings(journal.entries):
        examine = None
    closing = closing_s(budget_s) if examine else 0.0
    journal.append(Opened(budget_s=budget_s, max_trials=max_trials, at=wall_clock(), noise=noise))
    if waited_s:
        journal.append(Waited(wall_s=waited_s))
    loop = Loop(
        setting=setting,
        journal=journal,
        bench=Bench(setting, journal, executor, cache, clock),
        strategy=warmed(find_strategy(setting.question.strategy), first),
        ending=find_ending(setting.question.strategy),
        clock=clock,
        budget_s=budget_s - closing - (ablating.reserve_s(budget_s) if ablate else 0.0),
        max_trials=max_trials,
        stop=stop,
        on_phase=on_phase,
        noise=noise,
        calm=Calm(glance=glance, journal=journal, clock=clock, stop=stop, on_phase=on_phase),
    )
    raced = decided(loop) if searches_no_more else None
    with _closed_by_a_loss(loop):
        closed = ablating.closed_before(journal.entries) if only_ablation else _live(loop, staff or Staff(), raced)
        if ablate and closed.status == "ok":
            closed = _ablated(loop, budget_s - closing, closed)
        if examine and closed.status == "ok" and closing:
            on_phase("ceilings", "")
            journal.append(examine(setting, tuple(journal.entries), executor, clock))
    journal.append(closed)


def _ablated(loop: Loop, budget_s: float, closed: Closed) -> Closed:
    ablating.ablate(loop, budget_s)
    return replace(closed, status="interrupted") if loop.stop() else closed


@contextmanager
def _closed_by_a_loss(loop: Loop) -> Iterator[None]:
    """The record of a study that loses its device, or that has lost it, says so, and what was left untried."""
    try:
        stand_in(loop)
        yield
    except DeviceLost as lost:
        loop.journal.append(Closed(status="interrupted", why=loop.closing(lost.message)))
        raise


def _live(loop: Loop, staff: Staff, raced: Raced | None) -> Closed:
    """Search, race, confirm; how it ended. Who has ``raced`` before, for a command that asked as much, is confirmed."""
    why = history.why_decided(loop.journal.entries) if raced else search(loop, staff)
    if not any(isinstance(launch.outcome, Measurement) for launch in history.launches(loop.journal.entries)):
        return Closed(status="interrupted" if loop.stop() else "nothing_feasible", why=why)
    raced = raced or unfinished(loop) or race(loop)
    if not raced.finalists:
        return Closed(status="interrupted" if loop.stop() else "nothing_feasible", why=why)
    if not loop.stop():
        confirm(loop, raced, why)
        check_offered(loop)
    return Closed(status="interrupted" if loop.stop() else "ok", why=why)


def _ended(journal: Journal) -> bool:
    """True when the last command ended by itself."""
    ended = history.closed(journal.entries)
    return ended is not None and ended.status != "interrupted"


def _until_decided(entries: Sequence[Entry]) -> Sequence[Entry]:
    """The record up to its last decision; nothing where none was made."""
    return entries[: max((at for at, e in enumerate(entries) if isinstance(e.event, Decided)), default=0)]


def _asks_no_more(entries: Sequence[Entry], budget_s: float, max_trials: int | None) -> bool:
    """True when the last command of the record had as much time and as many trials."""
    opened = [e.event for e in entries if isinstance(e.event, Opened)]
    if not opened:
        return False
    return budget_s <= opened[-1].budget_s and _most(max_trials) <= _most(opened[-1].max_trials)


def _most(trials: int | None) -> float:
    return math.inf if trials is None else trials
