"""The race: near-equal leaders measured again in interleaved blocks."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain

from infertune.core import history, stats, verdict
from infertune.core.records import Measurement
from infertune.core.space import Point
from infertune.measure import plan as planning
from infertune.measure import race as racing
from infertune.study.checking import faithful_leaders, trusted
from infertune.study.loop import Loop
from infertune.study.screening import repeat_disturbed


@dataclass(frozen=True, slots=True, kw_only=True)
class Raced:
    """Who is to be confirmed, the winner first; none when nothing meets the goal. ``ties`` are as good as it."""

    finalists: tuple[Point, ...]
    ties: tuple[Point, ...] = ()


def race(loop: Loop) -> Raced:
    """The race for the goal, then one for every level that a front is asked at; their winners are confirmed together.

    Each may take its part of the time that is left for all of them.
    """
    goal = loop.setting.goal
    until = loop.budget_s - loop.confirm_reserve_s([])
    repeat_disturbed(loop, until - planning.race_share(goal) * loop.budget_s)
    asked = loop.by_goal()
    races = [_race(one, loop, len(asked) - done) for done, one in enumerate(asked)]
    finalists = list(dict.fromkeys(chain.from_iterable(each.finalists for each in races)))
    finalists += [] if goal.levels else _shallower(loop, finalists)
    return Raced(finalists=tuple(finalists), ties=tuple(p for p in races[0].ties if p not in finalists))


def _race(loop: Loop, whole: Loop, parts: int) -> Raced:
    """Measure near-equal leaders again until they are told apart, or what is left does not matter.

    Where time does not reach for everybody, the best that it reaches for race: slow launches of one point must not keep
    the others from being told apart. It is the winner all the same where none of them comes near (`_unreached`). One of
    ``parts`` equal parts of the time that the ``whole`` study has left is used at most.
    """
    field = _with_untold(loop, faithful_leaders(loop, loop.scores()))
    now, blocks, late = loop.journal.elapsed_s, 0, list[Point]()
    until = now + (loop.budget_s - whole.confirm_reserve_s(field) - now) / parts
    first = history.next_block(loop.launches("race"))
    while not racing.decided(field, blocks, settled=_settled(loop, field), loss=_loss(loop, field)):
        runners = loop.affordable_part(field, loop.plans.race, until)
        if len(runners) < min(2, len(field)):
            break
        loop.repeated_block(runners, "race", first + blocks, loop.plans.race, until)
        blocks += 1
        late += [point for point in field if point not in runners]
        if loop.stop():
            break
        field = _survivors(loop, runners, blocks) or faithful_leaders(loop, loop.scores())
    return _finalists(loop, field + _unreached(loop, late, field))


def _unreached(loop: Loop, late: Sequence[Point], field: Sequence[Point]) -> list[Point]:
    """Who took too long to race and is further ahead of the leader than a quicker launch is worth."""
    scores = loop.scores()
    bar = max((stats.hodges_lehmann(scores[p]) for p in field), default=math.inf) + math.log1p(verdict.MARGIN)
    return [p for p in dict.fromkeys(late) if p not in field and stats.hodges_lehmann(scores[p]) > bar]


def _with_untold(loop: Loop, field: list[Point]) -> list[Point]:
    """And those that nobody can tell yet because other programs disturbed all their launches, as places are left."""
    scores = loop.scores()
    more = [p for p in loop.feasible(loop.untold()) if p not in field and trusted(loop, p)]
    places = max(0, racing.FIELD - len(field))
    return field + racing.ranked({point: scores[point] for point in more})[:places]


def _loss(loop: Loop, field: Sequence[Point]) -> float:
    """What choosing the leader now may cost; nobody knows while points are untold."""
    untold = set(loop.untold())
    return math.inf if untold.intersection(field) else racing.expected_loss(field, loop.scores(), loop.spread())


def _settled(loop: Loop, field: Sequence[Point]) -> bool:
    """Whether the leader surely keeps the goal's limits."""
    scores = loop.scores()
    leaders = racing.ranked({point: scores[point] for point in field})[:1]
    return all(loop.standing(leader).state == "within" for leader in leaders)


def _survivors(loop: Loop, runners: Sequence[Point], blocks: int) -> list[Point]:
    """Those that do not break a limit; none of them leaves for being behind a leader that may break one yet."""
    kept = loop.feasible(runners)
    spread = loop.spread() if _settled(loop, kept) else math.inf
    return racing.survivors(kept, loop.scores(), blocks, spread, loop.untold())


def _confirmable(loop: Loop, field: list[Point]) -> list[Point]:
    """Where the leader takes too long to be confirmed, those within the margin of it that do not."""
    scores = loop.scores()
    order = racing.ranked({point: scores[point] for point in field})
    if not order or loop.confirmable(order[:1]):
        return field
    bar = stats.hodges_lehmann(scores[order[0]]) - math.log1p(verdict.MARGIN)
    return [p for p in order if stats.hodges_lehmann(scores[p]) >= bar and loop.confirmable([p])] or field


def _finalists(loop: Loop, field: list[Point]) -> Raced:
    """Points that break a limit after all are left out while there are others."""
    standings = {point: loop.standing(point).state for point in field}
    kept = [p for p in field if standings[p] != "beyond" and loop.faithful(p)] or field
    kept = _confirmable(loop, kept)
    safe = {p for p in kept if standings[p] == "within"}
    scores, spaces = loop.scores(), loop.setting.question.spaces
    final = racing.finalists(kept, scores, partial(verdict.simplicity, spaces=spaces), safe)
    final += _spare(loop, final)
    return Raced(finalists=tuple(final), ties=tuple(p for p in racing.tied(kept, scores) if p not in final))


def _spare(loop: Loop, finalists: Sequence[Point]) -> list[Point]:
    """The best point that no limit is near to, where that is true of no finalist.

    Who raced were the best, and the best within a limit often lie at its edge, where other launches may break it.
    """
    clear = clear_points(loop)
    return [] if set(clear).intersection(finalists) else clear[:1]


def _shallower(loop: Loop, finalists: Sequence[Point]) -> list[Point]:
    """The simplest point within `verdict.MARGIN` of the winner that has fewer requests in flight.

    Fresh launches of both say whether it is as good, where there is time for all of them.
    """
    apart, simple = _apart(loop), partial(verdict.simplicity, spaces=loop.setting.question.spaces)
    known, near = {*finalists, *loop.baselines()}, math.log1p(verdict.MARGIN)
    shallow = [
        point
        for winner in finalists[:1]
        for point in loop.scores()
        if point not in known and simple(point)[0] < simple(winner)[0] and apart(winner, point) <= near
    ]
    fit = [point for point in loop.feasible(shallow) if trusted(loop, point)]
    plan, left = loop.plans.confirm, loop.left_s - loop.confirm_reserve_s(finalists)
    return [p for p in sorted(fit, key=simple)[:1] if planning.CONFIRM_BLOCKS * loop.costs().launch_s(p, plan) <= left]


def _apart(loop: Loop) -> Callable[[Point, Point], float]:
    """How far one point's score is above another's: the median over blocks of the race, else that of their centres.

    What a point won the search with is too good, and blocks of the race are free of that.
    """
    scores, raced = loop.scores(), loop.usable(loop.launches("race"))
    blocks: dict[Point, dict[int, float]] = {}
    for launch in (la for la in raced if isinstance(la.outcome, Measurement)):
        blocks.setdefault(launch.point, {})[launch.block] = loop.score(launch)

    def apart(one: Point, other: Point) -> float:
        ours, theirs = blocks.get(one, {}), blocks.get(other, {})
        shared = [ours[block] - theirs[block] for block in ours.keys() & theirs.keys()]
        if shared:
            return statistics.median(shared)
        return stats.hodges_lehmann(scores[one]) - stats.hodges_lehmann(scores[other])

    return apart


def clear_points(loop: Loop) -> list[Point]:
    """Points that no limit is near to, the best first; none where nothing measured is limited."""
    clear = loop.clear() if loop.setting.goal.measured_limits else []
    scores = loop.scores()
    return racing.ranked({point: scores[point] for point in clear})
