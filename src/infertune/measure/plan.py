"""How long to measure: windows for each purpose, and how the budget is divided. Pure arithmetic."""

from __future__ import annotations

from dataclasses import dataclass, replace

from infertune.core.records import Plan

CONFIRM_BLOCKS = 6  # launches of each confirmed point: their minimum to maximum covers the median in 96.9 % of cases
LEAST_BLOCKS = 3  # fewer give no figure that may be called confirmed
CONFIRM_SHARE = 0.40  # of the budget, kept back before anything else is spent
CONFIRM_SHARE_MOST = 0.65  # where even the least number of blocks does not fit into the usual share
RACE_SHARE = 0.15
_SHORTEST_WINDOW_S = 0.4
_LONGEST_WINDOW_S = 2.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Plans:
    """One plan per purpose."""

    screen: Plan
    race: Plan
    confirm: Plan


def plans(budget_s: float) -> Plans:
    """Full windows for budgets from five minutes on; shorter caps below, so that no point eats the budget."""
    scale = min(1.0, budget_s / 300.0)
    cap = max(1.0, 2.5 * scale)
    screen = Plan(warmup_s=0.25, min_time_s=0.75, min_count=20, cap_s=cap)
    race = Plan(warmup_s=0.25, min_time_s=1.5 * max(scale, 0.5), min_count=30, cap_s=1.5 * cap)
    confirm = Plan(warmup_s=0.3, min_time_s=2.0, min_count=20, cap_s=2 * cap)
    return Plans(screen=screen, race=race, confirm=confirm)


def confirm_reserve_s(budget_s: float, overheads_s: list[float], plan: Plan) -> float:
    """Time kept back for confirmation: all blocks at full windows within the usual share of the budget.

    A budget too short for that still keeps back the least number of blocks at their shortest window, if it can.
    """
    wanted = CONFIRM_BLOCKS * sum(overhead + plan.min_time_s for overhead in overheads_s)
    least = LEAST_BLOCKS * sum(overhead + _SHORTEST_WINDOW_S for overhead in overheads_s)
    return min(wanted, max(CONFIRM_SHARE * budget_s, min(least, CONFIRM_SHARE_MOST * budget_s)))


def confirm_plan(plan: Plan, left_s: float, overheads_s: list[float]) -> Plan:
    """The confirmation's plan with its window stretched or shortened so that all blocks fit into ``left_s``."""
    if not overheads_s:
        return plan
    window = (left_s / CONFIRM_BLOCKS - sum(overheads_s)) / len(overheads_s)
    window = min(_LONGEST_WINDOW_S, max(_SHORTEST_WINDOW_S, window))
    return replace(plan, min_time_s=window, cap_s=max(2 * window, 1.0))
