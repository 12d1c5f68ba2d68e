"""The race: near-equal leaders measured again, interleaved, until few are left. Pure functions of what was measured.

Sequential halving on cumulative medians (measurement.md A4): after each block the worse half of the field leaves,
but nobody leaves before `BLOCKS_BEFORE_LEAVING` launches while its median is within `NEAR` of the leader's.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

import numpy as np

from infertune.core.space import Point

FIELD = 6  # most points that enter
ENTRY = math.log(1.30)  # and only those whose screening score is this near the best
NEAR = math.log(1.10)
BLOCKS_BEFORE_LEAVING = 2
ENOUGH_BLOCKS = 4
TIE = math.log(1.03)  # finalists this near to the best are confirmed beside it
MOST_FINALISTS = 2

Scores = Mapping[Point, Sequence[float]]


def _median(scores: Scores, point: Point) -> float:
    return statistics.median(scores[point]) if scores[point] else -math.inf


def ranked(scores: Scores) -> list[Point]:
    """Points with at least one score, best median first."""
    return sorted((p for p in scores if scores[p]), key=lambda p: -_median(scores, p))


def entrants(scores: Scores) -> list[Point]:
    """Who races, from screening scores (log scale, more is better)."""
    order = ranked(scores)
    return [p for p in order[:FIELD] if _median(scores, order[0]) - _median(scores, p) <= ENTRY]


def survivors(field: Sequence[Point], scores: Scores, blocks: int) -> list[Point]:
    """Who stays after ``blocks`` blocks: the better half, and whoever is near the leader and has raced too little."""
    order = ranked({p: scores[p] for p in field})
    keep = max(MOST_FINALISTS, math.ceil(len(order) / 2))
    best = _median(scores, order[0]) if order else 0.0
    return [
        p
        for place, p in enumerate(order)
        if place < keep or (blocks < BLOCKS_BEFORE_LEAVING and best - _median(scores, p) <= NEAR)
    ]


def decided(field: Sequence[Point], blocks: int) -> bool:
    """True when another block would not change who is confirmed."""
    return len(field) <= 1 or blocks >= ENOUGH_BLOCKS


def finalists(field: Sequence[Point], scores: Scores) -> list[Point]:
    """The winner of the race first, then a point that nothing separates from it."""
    order = ranked({p: scores[p] for p in field})
    return [p for p in order[:MOST_FINALISTS] if _median(scores, order[0]) - _median(scores, p) <= TIE]


def block_order(points: Sequence[Point], seed: int, block: int) -> list[Point]:
    """The points of one block in a fresh random order, the same for the same seed and block."""
    order = np.random.default_rng([seed, block]).permutation(len(points))
    return [points[i] for i in order]
