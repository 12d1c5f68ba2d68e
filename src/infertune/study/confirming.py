"""Confirmation: winner and baselines on fresh launches that took no part in choosing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import chain, islice

from infertune.core import history, verdict
from infertune.core.goal import Goal, median_excess
from infertune.core.records import Decided, Interval, Launch, Measurement, Plan
from infertune.core.space import Point
from infertune.measure import plan as planning
from infertune.measure import race as racing
from infertune.study import checking
from infertune.study.loop import Loop
from infertune.study.racing import Raced, clear_points


def confirm(loop: Loop, raced: Raced, why: str) -> None:
    """Fresh launches of the finalists; where all of them break a limit after all, of the next best clear of limits.

    As often as there is time: what a study has measured by then mostly holds a point that keeps them.
    """
    while raced.finalists and not loop.stop():
        finalists = _confirm(loop, raced, why)
        if _may_stand(loop, finalists):
            return
        tried = {*raced.finalists, *chain.from_iterable(d.finalists for d in _standing(loop))}
        others = (point for point in clear_points(loop) if point not in tried and loop.confirmable([point]))
        raced = Raced(finalists=tuple(islice(others, 1)))


def decided(loop: Loop) -> Raced | None:
    """The last decision, where nothing was searched or raced since and its finalists may still be recommended."""
    found = next(reversed(_standing(loop)), None)
    if found is None or not all(map(loop.faithful, found.finalists)):
        return None
    return Raced(finalists=found.finalists, ties=found.ties)


def unfinished(loop: Loop) -> Raced | None:
    """`decided`, where its confirmation was broken off."""
    found = decided(loop)
    return found if found and any(len(_measured(loop, p)) < planning.CONFIRM_BLOCKS for p in found.finalists) else None


def _standing(loop: Loop) -> tuple[history.Confirmation, ...]:
    return history.standing_decisions(loop.journal.entries)


def _may_stand(loop: Loop, finalists: Sequence[Point]) -> bool:
    """Whether a finalist may be recommended yet: it broke nothing on its fresh launches, if it has any."""
    terms, samples = loop.terms(), _samples(loop, finalists)
    return any(not sample.runs or verdict.acceptable(terms, sample) for sample in samples)


def _confirm(loop: Loop, raced: Raced, why: str) -> list[Point]:
    """Finalists and baselines in interleaved blocks: six, fewer when the budget is short. Who was confirmed.

    A block that other programs disturbed, or that was broken off, so that a finalist is not in it beside its rival, is
    made up for by another one at the end, and one odd launch that hides a difference between winner and baseline is
    outvoted by more of them. Baselines that are clearly not the best one, or far behind the winner, leave after the
    least number of blocks.
    """
    finalists, begins = _open(loop, raced, why)
    points = list(dict.fromkeys([*finalists, *loop.rivals()]))
    if not points or not begins:
        return finalists
    first = history.next_block(_fresh(loop))
    for block in range(first, planning.CONFIRM_BLOCKS + planning.MAKE_UP_BLOCKS):
        if block >= planning.CONFIRM_BLOCKS and not (_short(loop, finalists) or _doubtful(loop, finalists)):
            break
        points = _narrowed(loop, points, finalists) if block == max(first, planning.LEAST_BLOCKS) else points
        plan = _plan(loop, points, max(1, planning.CONFIRM_BLOCKS - block))
        if not _fits(loop, points, plan, block):
            break
        owed = max(1, planning.LEAST_BLOCKS - block)
        loop.repeated_block(points, "confirm", block, plan, loop.budget_s, owed=owed)
    return finalists


def _fits(loop: Loop, points: Sequence[Point], plan: Plan, block: int) -> bool:
    """Whether a block ends within the budget, or soon after it with all that make a confirmation of the blocks so far.

    The first one may end later for its own sake: nothing else says how fast the baselines are.
    """
    owed, late = planning.LEAST_BLOCKS - block, loop.budget_s + planning.OVERTIME_S
    if owed > 0 and loop.affordable(points, plan, late, times=owed):
        return True
    return loop.affordable(points, plan, loop.budget_s if block else late)


def _open(loop: Loop, raced: Raced, why: str) -> tuple[list[Point], bool]:
    """Check outputs, write the decision down, and say who is confirmed, and whether there is time for it.

    A tie steps in for a winner that is wrong, then whatever else is best and right.
    """
    finalists = _affordable(loop, raced.finalists)
    if len(finalists) < len(raced.finalists):
        _check_baselines(loop)  # those with wrong outputs take no time
        finalists = _affordable(loop, raced.finalists)
    faithful = [p for p in finalists if checking.check(loop, p)]
    if not faithful:
        order = chain(raced.ties, clear_points(loop), _best_first(loop))
        faithful = list(islice((p for p in order if _is_right(loop, p)), 1))
    ties = [p for p in raced.ties if loop.faithful(p)]
    begins = _begins(loop, faithful)
    if begins:
        _check_baselines(loop)
    others = tuple(p for p in ties if p not in faithful)
    loop.journal.append(Decided(finalists=tuple(faithful or finalists), why=why, ties=others))
    return faithful, begins


def _begins(loop: Loop, faithful: Sequence[Point]) -> bool:
    """Whether there is time for a block after the baselines' outputs were compared; for nothing else they need be."""
    points = list(dict.fromkeys([*faithful, *loop.baselines()]))
    until = loop.budget_s + planning.OVERTIME_S - loop.check_s()
    return loop.affordable(points, _plan(loop, points, planning.CONFIRM_BLOCKS), until)


def _check_baselines(loop: Loop) -> None:
    for baseline in loop.baselines():
        checking.check_baseline(loop, baseline)


def _is_right(loop: Loop, point: Point) -> bool:
    return not loop.stop() and bool(loop.feasible([point])) and checking.check(loop, point)


def _best_first(loop: Loop) -> list[Point]:
    """All that was measured, those first that there is time to confirm."""
    order = racing.ranked(loop.scores())
    late = [point for point in order if not loop.confirmable([point])]
    return [*(point for point in order if point not in late), *late]


def _affordable(loop: Loop, finalists: Sequence[Point]) -> list[Point]:
    """The finalists that can be confirmed beside the baselines in the time left; the first if none can.

    They may differ much in what a launch costs (large batches): one that cannot be launched often enough would keep
    everything else from being confirmed.
    """
    kept: list[Point] = []
    for point in finalists:
        if loop.confirmable([*kept, point]):
            kept.append(point)
    return kept or list(finalists[:1])


def _plan(loop: Loop, points: Sequence[Point], blocks: int) -> Plan:
    costs = loop.costs()
    overheads = [costs.overhead_s(p) for p in points]
    count = planning.requests_per_launch(loop.setting.goal)
    return planning.confirm_plan(loop.plans.confirm, max(0.0, loop.left_s), overheads, blocks=blocks, count=count)


def _fresh(loop: Loop) -> tuple[Launch, ...]:
    return history.confirmations(loop.journal.entries)[-1].launches


def _samples(loop: Loop, points: Sequence[Point]) -> list[history.Sample]:
    """Of each point, its fresh launches that may confirm."""
    fresh = history.trusted(history.confirmations(loop.journal.entries)[-1], loop.noise).launches
    return [history.sample(point, fresh) for point in points]


def _measured(loop: Loop, point: Point) -> list[Launch]:
    """The point's fresh launches that may confirm."""
    own = [la for la in _fresh(loop) if la.point == point and isinstance(la.outcome, Measurement)]
    return loop.usable(own)


def _short(loop: Loop, finalists: Sequence[Point]) -> bool:
    """Whether a finalist has fewer launches that may confirm than there are blocks, or shares fewer with its rival."""
    lone = any(0 < len(_measured(loop, p)) < planning.CONFIRM_BLOCKS for p in finalists)
    return lone or any(0 < _shared(a, b) < planning.CONFIRM_BLOCKS for _, a, b in _comparisons(loop, finalists))


def _shared(a: history.Sample, b: history.Sample) -> int:
    """How many blocks two points have in common."""
    return len({block for block, _ in a.runs} & {block for block, _ in b.runs})


def _doubtful(loop: Loop, finalists: Sequence[Point]) -> bool:
    """Whether a finalist and the baseline that it is compared with differ much by the median of their ratio but not by
    its interval.

    Only a difference of 10 % or more is looked at again: doing so for every small one would call equal points different
    in more than the 5 % of cases that are promised (measured: 5.5 % of 200 comparisons against 4 %).
    """
    return any(_hidden(verdict.ratio(goal, ours, best)) for goal, ours, best in _comparisons(loop, finalists))


def _comparisons(loop: Loop, finalists: Sequence[Point]) -> Iterator[tuple[Goal, history.Sample, history.Sample]]:
    """Each finalist beside the baseline that it is compared with: for the goal, and for each level of a front."""
    ours, theirs = (_samples(loop, points) for points in (finalists, loop.rivals()))
    for terms in (asked.terms() for asked in loop.by_goal()):
        best = verdict.rival(terms, theirs)
        if best is not None:
            yield from ((terms.goal, sample, best) for sample in ours if verdict.acceptable(terms, sample))


def _hidden(ratio: Interval | None) -> bool:
    differs = ratio is not None and abs(math.log(ratio.value)) >= planning.BEHIND
    return ratio is not None and differs and verdict.relation(ratio) == "same"


def _narrowed(loop: Loop, points: Sequence[Point], finalists: Sequence[Point]) -> list[Point]:
    """Without the baselines that mostly break a limit, and those that every launch so far puts clearly behind the best
    one that breaks none: it alone is compared with in the end.

    Where no limit can make another one count, also without those that decide nothing; see `planning.idle`. All stay
    where a front is asked at levels: one that is behind may be the best within a level.
    """
    goal, terms = loop.setting.goal, loop.terms()
    if goal.levels:
        return list(points)
    scores = {p: [loop.score(la) for la in _measured(loop, p)] for p in points}
    baselines = {p: of for p, of in scores.items() if p not in finalists}
    samples = [sample for sample in _samples(loop, list(baselines)) if len(sample.runs) >= planning.LEAST_BLOCKS]
    fit = [sample.point for sample in samples if verdict.acceptable(terms, sample)]
    leaving = planning.clearly_behind(baselines, fit or baselines)
    if fit:
        leaving |= {s.point for s in samples if median_excess(goal, s.point, s.measurements) > 0.0}
    if not goal.limits:
        leaving |= planning.idle(baselines, [scores[p] for p in finalists])
    return [p for p in points if p not in leaving]
