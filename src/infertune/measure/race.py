"""The race: near-equal leaders measured again, interleaved, until few are left. Pure functions of what was measured.

Sequential halving on all undisturbed launches so far (measurement.md A4), ranked by their Hodges-Lehmann centre.
`SIZES`, `TIE` and the centre were chosen by simulation (docs/decisions/0010-measurement-protocol.md): 100 candidates,
6 % noise, 20 % contaminated launches.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from infertune.core import stats
from infertune.core.space import Point

SIZES = (12, 6, 6, 3, 3)
"""How many points each block launches at most: 30 launches in all."""

FIELD = SIZES[0]
ENTRY = math.log(1.30)  # only points whose screening score is this near the best enter
TIE = math.log(1.01)  # finalists this near to the best are confirmed beside it
MOST_FINALISTS = 2

Scores = Mapping[Point, Sequence[float]]


def _centre(scores: Scores, point: Point) -> float:
    return stats.hodges_lehmann(scores[point]) if scores[point] else -math.inf


def ranked(scores: Scores) -> list[Point]:
    """Points with at least one score, best centre first."""
    centres = {point: _centre(scores, point) for point in scores if scores[point]}
    return sorted(centres, key=lambda point: -centres[point])


def entrants(scores: Scores) -> list[Point]:
    """Who races, from screening scores (log scale, more is better)."""
    order = ranked(scores)
    return [p for p in order[:FIELD] if _centre(scores, order[0]) - _centre(scores, p) <= ENTRY]


def survivors(field: Sequence[Point], scores: Scores, blocks: int) -> list[Point]:
    """Who is launched in block number ``blocks`` (from 0): the best of those that raced so far."""
    size = SIZES[min(blocks, len(SIZES) - 1)]
    return ranked({point: scores[point] for point in field})[:size]


def decided(field: Sequence[Point], blocks: int) -> bool:
    """True when another block would not change who is confirmed."""
    return len(field) <= 1 or blocks >= len(SIZES)


def finalists(field: Sequence[Point], scores: Scores, safe: Collection[Point] = ()) -> list[Point]:
    """The winner of the race first, then a point that nothing separates from it.

    Where ``safe`` names points that surely keep the goal's limits and none of those is among them, the best safe one
    is confirmed too, so that there is an answer if the winner turns out not to keep them.
    """
    order = ranked({point: scores[point] for point in field})
    final = [p for p in order[:MOST_FINALISTS] if _centre(scores, order[0]) - _centre(scores, p) <= TIE]
    spare = [p for p in order if p in safe][:1]
    return final if any(p in safe for p in final) else final + spare


def block_order(points: Sequence[Point], seed: int, block: int) -> list[Point]:
    """The points of one block in a fresh random order, the same for the same seed and block."""
    order = np.random.default_rng([seed, block]).permutation(len(points))
    return [points[i] for i in order]
