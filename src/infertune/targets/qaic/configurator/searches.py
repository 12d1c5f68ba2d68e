"""The searches that the configurator offers: all combinations, the vendor's algorithm, and infertune's own."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from itertools import pairwise

from infertune.core.goal import Goal
from infertune.core.records import Artifact, Trial
from infertune.core.space import Point, Rule, Space, Value
from infertune.measure import race
from infertune.search import find_strategy
from infertune.search.pattern import progress
from infertune.targets.qaic.configurator.schema import Search
from infertune.targets.qaic.configurator.wording import Row, search_point
from infertune.targets.qaic.configurator.workshop import Compiled, Workshop, runs_of

OWN_START = "(chosen by infertune)"
BATCHES = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64)
SPARE = 3
"""Points under way beyond those that keep the card busy, as compiles take unequally long."""
BLIND = 3
"""At most one in so many points is chosen before the first result is in."""
RUNS_TO_LEAD = 3
"""Runs that a leader gets while the card would wait for the compiler, and at least before the search ends."""
POINTS_PER_LEADER = 4
"""One in so many points counts as a leader."""
WORTH = math.log(1.002)
"""The last runs, which choose between the leaders, end once no more than this is expected to be gained."""
_FAR = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """What infertune's own search spends at most.

    ``points``: as many as it tries. ``ahead``: those compiled or waiting at a time. ``runs``: of each point, as soon as
    its binary is done. ``last_runs``: after the search, for choosing between its leaders, so many as ``leaders``.
    """

    points: int
    ahead: int
    runs: int
    last_runs: int
    leaders: int


THROUGHPUT = Effort(points=32, ahead=10, runs=1, last_runs=8, leaders=2)
"""Points: a fifth of the 160 that the vendor's search tried in its published run of BERT-base, whose card was mostly
idle."""
LATENCY = Effort(points=25, ahead=3, runs=3, last_runs=24, leaders=4)
"""Fewer points than the 28 of the vendor's published run. They differ by less than a run's noise, so seconds of the
card are spent on more runs, and fewer points are chosen before the results of others. Often the best is third."""


WHOLE = Rule(
    reason="cores get whole samples each: batch is a multiple of cores, or cores of batch",
    holds=lambda v: _even(v["batch"], v["cores"]),
)
"""Kept to by infertune's own search. A core that gets less than the busiest one waits for it; of the vendor's published
best throughputs that copying large results does not limit, one in forty breaks it."""


def _even(batch: Value, cores: Value) -> bool:
    assert isinstance(batch, int) and isinstance(cores, int)
    return batch % cores == 0 or cores % batch == 0


def narrowed(
    space: Space,
    search: Search,
    fixed: Mapping[str, Value],
    set_size: int,
    *,
    doublings: bool,
    added: Mapping[str, tuple[Value, ...]] | None = None,
) -> Space:
    """The card's space within the JSON's ranges, its starts as seeds; ``added``: values of further knobs.

    What the JSON leaves out is not searched.

    With ``doublings`` batches are powers of two, as the vendor's search takes them; without, points keep to `WHOLE`
    if all starts do.
    """
    wanted: dict[str, tuple[Value, ...]] = {name: (value,) for name, value in fixed.items()}
    wanted |= {"batch": (space.knob("batch").default,), "set_size": (set_size,)}
    wanted |= {"mos": (1,), "ols": (1,), "cores": (1,), "instances": (1,)}
    wanted |= {name: (value,) for name, value in search.static}
    for knob, low, high in search.ranges:
        powers = tuple(2**i for i in range(low.bit_length() - 1, high.bit_length()))
        batches = powers if doublings else tuple(b for b in BATCHES if low <= b <= high)
        wanted[knob] = batches if knob == "batch" else tuple(range(low, high + 1))
    wanted |= added or {}
    common = {name: values[0] for name, values in wanted.items()}
    made = space.narrowed(wanted)
    starts = tuple(made.point(**{**common, **dict(start)}) for start in search.starts)
    whole = not doublings and all(WHOLE.holds(start.values) for start in starts)
    return replace(made, rules=(*made.rules, *([WHOLE] if whole else [])), seeds=starts, baselines=())


def brute_force(shop: Workshop, points: Sequence[Point]) -> tuple[Row, ...]:
    """Every point; compiled ahead while the card runs. Results are in the order of ``points``, not of the compiler."""
    try:
        _pipeline(shop, list(points))
    finally:
        shop.trials = {point: shop.trials[point] for point in points if point in shop.trials}
    best = shop.best()
    return () if best is None else (Row(point=best, objective=shop.objective(best)),)


def _pipeline(shop: Workshop, points: Sequence[Point]) -> None:
    """Compile all, run each as soon as its binary is done."""
    waiting = dict(zip(points, shop.submit(points), strict=True))
    while waiting:
        _run_done(shop, waiting)


def _run_done(shop: Workshop, waiting: dict[Point, Future[Compiled]], runs: int = 1) -> None:
    shop.crew.wait(list(waiting.values()))
    point = next(p for p, future in waiting.items() if future.done())
    shop.run(point, waiting.pop(point).result())
    while runs_of(shop.trials[point]) and _ran_again(shop, [point], runs):
        pass


def vendor_search(shop: Workshop, search: Search) -> tuple[Row, ...]:
    """The vendor's algorithm; a row per start, never one worse than a point that was already measured."""
    starts = shop.space.seeds
    if not search.lock_step:
        return tuple(_single(shop, start, search.evaluations) for start in starts)
    word = ", ".join(search_point(start, set_sizes=True) for start in starts)
    shop.say(f"Running optimization algorithm from initial values: [{word}]")
    while True:
        asked = [progress(shop.space, start, shop.known()) for start in starts]
        pending = dict.fromkeys(p for missing, _, used in asked if used <= search.evaluations for p in missing)
        if not pending:
            ends = zip(starts, asked, strict=True)
            return tuple(_finished(shop, start, ended, used, search.evaluations) for start, (_, ended, used) in ends)
        _round(shop, list(pending), set_sizes=True)


def _single(shop: Workshop, start: Point, evaluations: int) -> Row:
    """One start to its end, as the older tool does: one after another, with a common memory."""
    told = search_point(start, set_sizes=False)
    shop.say(f"Running optimization algorithm from initial value: {told}")
    while True:
        missing, ended, used = progress(shop.space, start, shop.known())
        if not missing or used > evaluations:
            shop.say(f"Optimization algorithm finished run which started from initial value: {told}")
            return _finished(shop, start, ended, used, evaluations)
        _round(shop, missing, set_sizes=False)


def _round(shop: Workshop, points: Sequence[Point], *, set_sizes: bool) -> None:
    word = ", ".join(search_point(point, set_sizes=set_sizes) for point in points)
    shop.say(f"Evaluating the following SearchPoints: [{word}]")
    shop.evaluate(points)


def _finished(shop: Workshop, start: Point, ended: Point | None, used: int, evaluations: int) -> Row:
    """The row of a start. One that ended below the best point known gets that point, and the log says so."""
    best = shop.best()
    if best is None:
        return Row(status="UNKNOWN_ERROR", start=_told(shop, start), point=start, objective=float("nan"))
    status = "SUCCESS" if ended is not None else "EXCEED_MAX_EVAL" if used > evaluations else "UNKNOWN_ERROR"
    known = shop.known()
    if ended is not None and known[best] - known[ended] > _FAR:
        own = f"{_told(shop, ended)} at {shop.objective(ended):.2f}"
        shop.say(f"Start {_told(shop, start)} ended at {own}; a better point was already measured and is reported")
    return _row(shop, best, start, status)


def _told(shop: Workshop, point: Point) -> str:
    return search_point(point, set_sizes=shop.form_b)


def _row(shop: Workshop, point: Point, start: Point, status: str) -> Row:
    return Row(status=status, start=_told(shop, start), point=point, objective=shop.objective(point))


def effort_for(goal: Goal) -> Effort:
    return THROUGHPUT if goal.maximise else LATENCY


def own_search(shop: Workshop, effort: Effort, asked: int) -> tuple[Row, ...]:
    """infertune's search: compiles run ahead of the card, but not so far that most points are blind guesses.

    It tries no more points than the ``asked`` of the search's own limit, which the row's status tells where it was
    that limit that ended it.
    """
    propose, limit = find_strategy("auto"), min(effort.points, asked)
    waiting: dict[Point, Future[Compiled]] = {}
    while True:
        room = min(_ahead(shop, effort, limit) - len(waiting), limit - len(shop.trials) - len(waiting))
        if room > 0:
            history = (*map(_run_alone, shop.trials.values()), *(Trial(point=point) for point in waiting))
            picks = [p for p in propose((shop.space,), history, shop.goal, room, 0) if p not in waiting]
            if picks:
                word = ", ".join(search_point(point, set_sizes=shop.form_b) for point in picks)
                shop.say(f"Evaluating the following SearchPoints: [{word}]")
            waiting.update(zip(picks, shop.submit(picks), strict=True))
        if not waiting:
            break
        if any(future.done() for future in waiting.values()) or not _ran_again(shop, _leaders(shop)):
            _run_done(shop, waiting, effort.runs)
    tried = tuple(map(_run_alone, shop.trials.values()))
    cut = asked < effort.points and asked <= len(tried) and bool(propose((shop.space,), tried, shop.goal, 1, 0))
    _race(shop, effort)
    best = shop.best()
    if best is None:
        return ()
    return (
        Row(
            status="EXCEED_MAX_EVAL" if cut else "SUCCESS", start=OWN_START, point=best, objective=shop.objective(best)
        ),
    )


def _run_alone(trial: Trial) -> Trial:
    """The trial as one that cost its run only: compiles are done beside the card, and a search that counts them
    would rather try every set size of a program that it has than another program."""
    built = trial.build
    return replace(trial, build=replace(built, reused=True)) if isinstance(built, Artifact) else trial


def _ahead(shop: Workshop, effort: Effort, limit: int) -> int:
    """Points that are compiled or wait for the card: as many as it runs while one is compiled, and `SPARE` more.

    Any further one would be chosen before results that will be in by the time the card is free.
    """
    builds = [t.build.build_s for t in shop.trials.values() if isinstance(t.build, Artifact) and not t.build.reused]
    runs = [launch.wall_s for trial in shop.trials.values() for launch in trial.launches]
    needed = math.ceil(statistics.mean(builds) / (effort.runs * statistics.mean(runs))) if builds and runs else 1
    return max(2, min(needed + SPARE, shop.threads + SPARE, limit // BLIND, effort.ahead))


def _race(shop: Workshop, effort: Effort) -> None:
    """Run the leaders again until it is settled between them, whoever they are by then: the highest of many single
    runs is usually a lucky one, falls back, and makes room for the next.
    """
    for _ in range(effort.last_runs):
        unsettled = _unsettled(_scores(shop), effort.leaders)
        if not unsettled or not _ran_again(shop, unsettled, effort.last_runs):
            return


def _unsettled(scores: Mapping[Point, Sequence[float]], count: int) -> list[Point]:
    """So many leaders, while more than `WORTH` is expected from one of them; else the first two until both were run
    `RUNS_TO_LEAD` times. What the changes of a point have in common is drift."""
    leaders = race.ranked(scores)[:count]
    spread = race.spread([after - before] for found in scores.values() for before, after in pairwise(found))
    if race.expected_loss(leaders, scores, spread) > WORTH:
        return leaders
    return leaders[:2] if any(len(scores[point]) < RUNS_TO_LEAD for point in leaders[:2]) else []


def _leaders(shop: Workshop) -> list[Point]:
    """The best points so far, of which more runs may tell which is the best."""
    return race.entrants(_scores(shop))[: math.ceil(len(shop.trials) / POINTS_PER_LEADER)]


def _scores(shop: Workshop) -> dict[Point, list[float]]:
    """The score of every run so far."""
    return {point: [shop.goal.score(ran) for ran in runs_of(trial)] for point, trial in shop.trials.items()}


def _ran_again(shop: Workshop, leaders: Sequence[Point], most: int = RUNS_TO_LEAD) -> bool:
    """One more run of the one that had fewest, the best of these; False when all had ``most``."""
    point = min(leaders, key=lambda leader: len(shop.trials[leader].launches), default=None)
    if point is None or len(shop.trials[point].launches) >= most:
        return False
    artifact = shop.trials[point].build
    assert isinstance(artifact, Artifact)
    shop.run_again(point, artifact)
    return True
