"""The race: near-equal leaders measured again in interleaved blocks."""

from __future__ import annotations

from infertune.core.space import Point
from infertune.measure import race as racing
from infertune.study.checking import faithful_leaders
from infertune.study.loop import Loop


def race(loop: Loop) -> list[Point]:
    """The winner first, then what ties with it; empty when nothing meets the goal."""
    field = faithful_leaders(loop, loop.scores())
    blocks = 0
    until = loop.budget_s - loop.confirm_reserve_s(field)
    while not racing.decided(field, blocks) and loop.affordable(field, loop.plans.race, until):
        loop.block(field, "race", blocks, loop.plans.race)
        blocks += 1
        if loop.stop():
            break
        field = racing.survivors(field, loop.scores(raced=blocks > 1), blocks)
    final = [p for p in field if loop.feasible(p)] or field
    return racing.finalists(final, loop.scores(raced=blocks > 1))
