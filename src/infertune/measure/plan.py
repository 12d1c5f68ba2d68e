"""How long to measure: windows for each purpose, and how the budget is divided. Pure arithmetic."""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from infertune.core import percentiles, stats
from infertune.core.goal import Goal, latency_percent
from infertune.core.load import CLOSED, Load
from infertune.core.records import Plan
from infertune.core.space import Point
from infertune.core.verdict import ENOUGH

CONFIRM_BLOCKS = 6  # launches of each confirmed point: their minimum to maximum covers the median in 96.9 % of cases
LEAST_BLOCKS = ENOUGH  # fewer give no figure that may be called confirmed
MAKE_UP_BLOCKS = 3  # more, where other programs disturbed a finalist or one odd launch hides a difference: of nine
# launches the lowest and the highest may be left out and the rest still covers the median in 96.1 % of cases
CONFIRM_SHARE = 0.25  # of the budget, kept back before anything else is spent
CONFIRM_SHARE_MOST = 0.65  # where even the least number of blocks does not fit into the usual share
OVERTIME_S = 8.0  # past the budget, only to complete the least number of confirmation blocks
RACE_SHARE = 0.12  # of the budget; every level of a front has a race of its own, with half of that
CHECK_SHARE = 0.10  # at most, for checking the outputs of finalists before they are confirmed
BEHIND = math.log(1.10)  # a difference that more confirmation launches are worth while one odd launch hides it, and
# that baselines need no more of once none hides it
_MANY = 20  # requests of a window, at least, where latencies are asked for,
_FEW = 4  # and where throughput is: four requests give it to 2.2 %, launches differ by up to 6 % (decision 0010)
_FEW_CONFIRMED = 8  # in six launches enough for p50 (11 requests); p90 (64) is only asked for with latencies
_SHORTEST_WINDOW_S = 0.4
_LONGEST_WINDOW_S = 2.5
_USUAL_S = 300.0  # budgets from here on are not short
_LONGEST_FOR_COUNT_S = 60.0
SPARE = 1.6  # requests beyond a percentile's floor: the floor itself allows not one of them over the limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Plans:
    """One plan per purpose."""

    screen: Plan
    race: Plan
    confirm: Plan


def race_share(goal: Goal) -> float:
    """Of the budget, for all races of a goal together."""
    return RACE_SHARE * (1.0 + len(goal.levels) / 2.0)


def plans(budget_s: float, load: Load = CLOSED, *, counted: bool = False) -> Plans:
    """Full windows for budgets from five minutes on; shorter caps below, so that no point eats the budget.

    Launches differ from each other by more than windows of one launch do, so windows stay short; confirmation takes
    longer ones only where the budget is longer too. Where the goal is about latencies (not ``counted`` throughput
    alone) each window holds more requests. A launch that looks for a rate measures several windows, one per rate, so
    its caps are those of each of them.
    """
    few, more = (_FEW, _FEW_CONFIRMED) if counted and not load.is_open else (_MANY, _MANY)
    scale = min(1.0, budget_s / _USUAL_S)
    cap = max(1.0, 2.5 * scale)
    window = min(_LONGEST_WINDOW_S, max(1.0, budget_s / _USUAL_S))
    screen = Plan(warmup_s=0.25, min_time_s=0.75, min_count=few, cap_s=cap, load=load)
    race = Plan(warmup_s=0.25, min_time_s=0.75, min_count=few, cap_s=cap, load=load)
    confirm = Plan(warmup_s=0.3, min_time_s=window, min_count=more, cap_s=2 * cap, load=load)
    return Plans(screen=screen, race=race, confirm=confirm)


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirming:
    """One point's part of a confirmation: ``blocks`` launches that each cost ``overhead_s`` beyond their window."""

    overhead_s: float
    blocks: int


def to_confirm(goal: Goal, leader_s: float, baselines_s: Sequence[float]) -> list[Confirming]:
    """Whose launches a confirmation is made of, from what the leader's and each baseline's cost beyond their window.

    Every level has a leader of its own, and something measured that is limited one to spare. All baselines but one
    leave after the least number of blocks, unless a front is asked at levels: any may be the best within one.
    """
    leaders = 1 + max(len(goal.levels), min(1, len(goal.measured_limits)))
    staying = len(baselines_s) if goal.levels else 1
    dearest = sorted(baselines_s, reverse=True)
    return [
        *(Confirming(overhead_s=overhead, blocks=CONFIRM_BLOCKS) for overhead in [leader_s] * leaders),
        *(Confirming(overhead_s=overhead, blocks=CONFIRM_BLOCKS) for overhead in dearest[:staying]),
        *(Confirming(overhead_s=overhead, blocks=LEAST_BLOCKS) for overhead in dearest[staying:]),
    ]


def confirm_reserve_s(budget_s: float, points: Sequence[Confirming], plan: Plan) -> float:
    """Time kept back for confirmation: all blocks at full windows within the usual share of the budget.

    A budget too short for that still keeps back the least number of blocks at their shortest window, if it can.
    """
    wanted = sum(point.blocks * (point.overhead_s + plan.min_time_s) for point in points)
    least = LEAST_BLOCKS * sum(point.overhead_s + _SHORTEST_WINDOW_S for point in points)
    return min(wanted, max(CONFIRM_SHARE * budget_s, min(least, CONFIRM_SHARE_MOST * budget_s)))


def confirm_plan(plan: Plan, left_s: float, overheads_s: list[float], *, blocks: int, count: int) -> Plan:
    """The confirmation's plan with its window shortened where ``blocks`` blocks would not fit into ``left_s``.

    ``count`` requests are waited for in every launch as long as time allows.
    """
    if not overheads_s:
        return plan
    room = (left_s / blocks - sum(overheads_s)) / len(overheads_s)
    window = max(_SHORTEST_WINDOW_S, min(plan.min_time_s, room))
    longest = _LONGEST_FOR_COUNT_S if count > plan.min_count else max(2 * window, 1.0)
    most = max(window, min(room, longest))
    return replace(plan, min_time_s=window, min_count=max(plan.min_count, count), cap_s=most)


def requests_per_launch(goal: Goal) -> int:
    """How many requests each confirmation launch needs so that all together can say what the goal asks.

    That is whether its limits hold, and the percentile that it is about.
    """
    known = ((latency_percent(limit.metric), limit.confidence) for limit in (*goal.limits, *goal.levels))
    floors = [SPARE * percentiles.floor(percent, confidence) for percent, confidence in known if percent is not None]
    told = (latency_percent(metric) for metric in goal.metrics)
    floors += [stats.percentile_floor(percent) for percent in told if percent is not None]
    return math.ceil(max(floors, default=0) / CONFIRM_BLOCKS)


def only_counted(goal: Goal) -> bool:
    """Whether nothing that the goal asks is a latency, so that completed requests need only be counted."""
    asked = (*goal.metrics, *(limit.metric for limit in goal.limits))
    return all(latency_percent(metric) is None for metric in asked)


def clearly_behind(scores: Mapping[Point, Sequence[float]], fit: Collection[Point]) -> set[Point]:
    """Points all of whose launches are worse than all of the best of those that are ``fit`` to be it.

    Of equal ones that happens to one in twenty with three launches each, and then it makes no difference.
    """
    best = _best({point: scores[point] for point in fit})
    return set() if best is None else {p for p in _whole(scores) if max(scores[p]) < min(scores[best])}


def idle(baselines: Mapping[Point, Sequence[float]], finalists: Iterable[Sequence[float]]) -> set[Point]:
    """All baselines but the best, where every launch of every finalist is better than all of theirs by over 10 %.

    Which of them is the best then decides nothing: the one that seems so stands for them.
    """
    ours, theirs = [x for of in finalists for x in of], [x for of in baselines.values() for x in of]
    if not ours or not theirs or min(ours) - max(theirs) <= BEHIND:
        return set()
    return set(_whole(baselines)) - {_best(baselines)}


def _whole(scores: Mapping[Point, Sequence[float]]) -> list[Point]:
    return [point for point, of in scores.items() if len(of) >= LEAST_BLOCKS]


def _best(scores: Mapping[Point, Sequence[float]]) -> Point | None:
    return max(_whole(scores), key=lambda point: statistics.median(scores[point]), default=None)
