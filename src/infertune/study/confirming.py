"""Confirmation: winner and baselines on fresh launches that took no part in choosing."""

from __future__ import annotations

from collections.abc import Sequence

from infertune.core import history
from infertune.core.records import Decided, Launch
from infertune.core.space import Point
from infertune.measure import plan as planning
from infertune.study import checking
from infertune.study.loop import Loop

OVERTIME_S = 8.0  # past the budget, only to complete the least number of confirmation blocks


def confirm(loop: Loop, finalists: Sequence[Point], why: str) -> None:
    """Fresh launches of finalists and baselines in interleaved blocks: six, fewer when the budget is short."""
    for finalist in finalists:
        checking.check(loop, finalist)
    for baseline in loop.baselines():
        checking.check_baseline(loop, baseline)
    faithful = [p for p in finalists if loop.faithful(p)]
    loop.journal.append(Decided(finalists=tuple(faithful or finalists), why=why))
    done = history.confirmations(loop.journal.entries)[-1].launches
    points = list(dict.fromkeys([*faithful, *loop.baselines()]))
    plan = planning.confirm_plan(loop.plans.confirm, max(0.0, loop.left_s), [loop.overhead_s(p) for p in points])
    for block in range(_next_block(done), planning.CONFIRM_BLOCKS):
        until = loop.budget_s + (OVERTIME_S if block < planning.LEAST_BLOCKS else 0.0)
        if block and not loop.affordable(points, plan, until):
            return
        loop.block(points, "confirm", block, plan)


def _next_block(done: Sequence[Launch]) -> int:
    return max((launch.block for launch in done), default=-1) + 1
