"""The searches that the configurator offers: all combinations, the vendor's algorithm, and infertune's own."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace

from infertune.core.records import Artifact, Failed, Trial
from infertune.core.space import Point, Space, Value
from infertune.search import find_strategy
from infertune.search.pattern import progress
from infertune.targets.qaic.configurator.schema import Search
from infertune.targets.qaic.configurator.wording import Row, search_point
from infertune.targets.qaic.configurator.workshop import Workshop

OWN_START = "(chosen by infertune)"
OWN_LIMIT = {"throughput": 40, "latency": 25}
"""Points of infertune's own search at most, by what is searched for."""
BATCHES = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64)
AHEAD = 3
"""Programs that may be ready for the card beyond those being compiled, so that no compiler waits for it."""
BLIND = 3
"""At most one in so many points is chosen before the first result is in."""
RACERS = 4
RACE_RUNS = 2
_FAR = 1e-9


def narrowed(space: Space, search: Search, fixed: dict[str, Value], set_size: int, *, doublings: bool) -> Space:
    """The card's space within the JSON's ranges, its starts as seeds.

    With ``doublings`` batches are powers of two, as the vendor's search takes them.
    """
    wanted: dict[str, tuple[Value, ...]] = {name: (value,) for name, value in fixed.items()}
    wanted |= {"set_size": (set_size,), "mos": (1,), "ols": (1,), "cores": (1,), "instances": (1,)}
    wanted |= {name: (value,) for name, value in search.static}
    for knob, low, high in search.ranges:
        powers = tuple(2**i for i in range(low.bit_length() - 1, high.bit_length()))
        batches = powers if doublings else tuple(b for b in BATCHES if low <= b <= high)
        wanted[knob] = batches if knob == "batch" else tuple(range(low, high + 1))
    common = {name: values[0] for name, values in wanted.items()}
    made = space.narrowed(wanted)
    return replace(made, seeds=tuple(made.point(**{**common, **dict(start)}) for start in search.starts), baselines=())


def brute_force(shop: Workshop, points: Sequence[Point]) -> tuple[Row, ...]:
    """Every point; compiled ahead while the card runs. Results are in the order of ``points``, not of the compiler."""
    try:
        _pipeline(shop, list(points))
    finally:
        shop.trials = {point: shop.trials[point] for point in points if point in shop.trials}
    best = shop.best()
    return () if best is None else (_row(shop, best, best, "SUCCESS"),)


def _pipeline(shop: Workshop, points: Sequence[Point]) -> None:
    """Compile all, run each as soon as its binary is done."""
    waiting = dict(zip(points, shop.submit(points), strict=True))
    while waiting:
        _run_done(shop, waiting)


def _run_done(shop: Workshop, waiting: dict[Point, Future[Failed | None]]) -> None:
    shop.crew.wait(list(waiting.values()))
    point = next(p for p, future in waiting.items() if future.done())
    shop.run(point, waiting.pop(point).result())


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


def own_search(shop: Workshop, limit: int) -> tuple[Row, ...]:
    """infertune's search: compiles run ahead of the card, but not so far that most points are blind guesses."""
    propose = find_strategy("auto")
    waiting: dict[Point, Future[Failed | None]] = {}
    ahead = max(2, min(shop.threads + AHEAD, limit // BLIND))
    while True:
        room = min(ahead - len(waiting), limit - len(shop.trials) - len(waiting))
        if room > 0:
            history = (*shop.trials.values(), *(Trial(point=point) for point in waiting))
            picks = [p for p in propose((shop.space,), history, shop.goal, room, 0) if p not in waiting]
            if picks:
                word = ", ".join(search_point(point, set_sizes=shop.form_b) for point in picks)
                shop.say(f"Evaluating the following SearchPoints: [{word}]")
            waiting.update(zip(picks, shop.submit(picks), strict=True))
        if not waiting:
            break
        _run_done(shop, waiting)
    _race(shop)
    best = shop.best()
    if best is None:
        return ()
    return (Row(status="SUCCESS", start=OWN_START, point=best, objective=shop.objective(best)),)


def _race(shop: Workshop) -> None:
    """Run the leaders again, in turns: the highest of many noisy runs is usually a lucky one."""
    known = shop.known()
    scores = sorted((score for score in known.values() if score > float("-inf")), reverse=True)
    leaders = [p for score in scores[:RACERS] for p in known if known[p] == score]
    for _ in range(RACE_RUNS):
        for point in dict.fromkeys(leaders):
            artifact = shop.trials[point].build
            if isinstance(artifact, Artifact):
                shop.run_again(point, artifact)
