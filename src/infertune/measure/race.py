"""The race: near-equal leaders measured again, interleaved, until few are left. Pure functions of what was measured.

Sequential halving on all undisturbed launches so far (measurement.md A4), ranked by their Hodges-Lehmann centre. Who is
so far behind that noise does not explain it leaves sooner: a steady machine needs a shorter race than a noisy one.
The figures were chosen by simulation (docs/decisions/0010-measurement-protocol.md): 100 candidates, 6 % noise, 20 %
contaminated launches.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from infertune.core import stats
from infertune.core.seeds import natural
from infertune.core.space import Point
from infertune.core.standing import SURE

SIZES: tuple[int, ...] = (8, 4, 4, 4, 4)
"""How many points each block launches at most: 24 launches in all."""

FIELD = SIZES[0]
ENTRY = math.log(1.30)  # only points whose screening score is this near the best enter,
SURE_ENTRY = math.log(1.10)  # and those this near do, however steady the machine was: it may have drifted meanwhile
WORTH = math.log(1.02)  # who cannot be this much better than the leader leaves

TYPICAL_SPREAD = 0.06
"""Standard deviation of log scores where nothing is known: what a shared machine showed (measurement.md A1)."""

LEAST_REPEATS = 4
_QUARTERS = statistics.NormalDist().inv_cdf(0.875)  # 75 % of standard normal values are this near to 0
TIE = math.log(1.01)  # points this near to the best are as good
LOSS = math.log(1.01)  # once no rival is expected to gain more than that, the race ends

Scores = Mapping[Point, Sequence[float]]


def _centre(scores: Scores, point: Point) -> float:
    return stats.hodges_lehmann(scores[point]) if scores[point] else -math.inf


def ranked(scores: Scores) -> list[Point]:
    """Points with at least one score, best centre first."""
    centres = {point: _centre(scores, point) for point in scores if scores[point]}
    return sorted(centres, key=lambda point: -centres[point])


def spread(changes: Iterable[Sequence[float]]) -> float:
    """Standard deviation of one launch's score, from points with several launches each: an upper limit at about 75 %.

    In simulated races of eight points it is below the truth in 22 % (after one block) to 30 % (after five), and in 12 %
    where one launch in twenty is odd. The 1.28 standard errors that are added would make that 10 % of very many
    independent changes; here they are few, and those of one point share launches. A limit that does hold in 90 % is 1.2
    times as wide: at 2 % noise races with it took 13 % more launches to choose a point 0.03 % better.

    ``changes`` are the differences between one launch of a point and its next, those that ended in one block together:
    what they have in common, their median, is the machine's drift, which a block takes out of the comparison. The 75th
    percentile of k distances has a standard error of 0.91 / sqrt(k) of itself; a quarter of them may be odd.
    """
    apart = [abs(change) for together in changes for change in _without_drift(together)]
    if len(apart) < LEAST_REPEATS:
        return TYPICAL_SPREAD
    one_launch = float(np.quantile(apart, 0.75)) / _QUARTERS / math.sqrt(2.0)
    return one_launch * (1.0 + 1.28 * 0.91 / math.sqrt(len(apart)))


def _without_drift(together: Sequence[float]) -> list[float]:
    """The median that is taken away fits the changes themselves, so the rest is a little too small: k / (k - 1)."""
    count = len(together)
    if count < 2:
        return list(together)
    common = statistics.median(together)
    return [(change - common) * math.sqrt(count / (count - 1)) for change in together]


def entrants(scores: Scores, spread: float = TYPICAL_SPREAD) -> list[Point]:
    """Who races, from screening scores (log scale, more is better), whose standard deviation is ``spread``."""
    order = ranked(scores)
    near = min(ENTRY, max(SURE_ENTRY, SURE * spread * math.sqrt(2.0)))
    return [p for p in order[:FIELD] if _centre(scores, order[0]) - _centre(scores, p) <= near]


def survivors(
    field: Sequence[Point], scores: Scores, blocks: int, spread: float = math.inf, untold: Collection[Point] = ()
) -> list[Point]:
    """Who is launched in block number ``blocks`` (from 0): the best of those that raced so far.

    Left out is also who is surely not better than the leader by `WORTH`, where a score has the standard deviation
    ``spread``: selection with an indifference zone (Kim and Nelson 2001). Of points that are ``untold``, whose launches
    were all disturbed, nothing is sure.
    """
    size = SIZES[min(blocks, len(SIZES) - 1)]
    order = ranked({point: scores[point] for point in field})[:size]
    return [p for p in order if p == order[0] or p in untold or _may_be_better(scores, p, order[0], spread)]


def _may_be_better(scores: Scores, rival: Point, leader: Point, spread: float) -> bool:
    error = _error(scores, rival, leader, spread)
    return _centre(scores, leader) - _centre(scores, rival) + WORTH < SURE * error


def _error(scores: Scores, rival: Point, leader: Point, spread: float) -> float:
    """Standard error of the difference between two points' scores."""
    return spread * math.sqrt(1.0 / len(scores[rival]) + 1.0 / len(scores[leader]))


def expected_loss(field: Sequence[Point], scores: Scores, spread: float) -> float:
    """What choosing the leader may cost, in log score: its expected shortfall behind the rival that promises most.

    The opportunity cost of one selection against another (Chick and Inoue 2001): for a rival that is a gap g behind
    with standard error s, s * (phi(z) - z * Phi(-z)) with z = g / s. Not added up over rivals: a race among equals
    would always run to its last block.
    """
    order = ranked({point: scores[point] for point in field})
    return max((_may_gain(scores, rival, order[0], spread) for rival in order[1:]), default=0.0)


def _may_gain(scores: Scores, rival: Point, leader: Point, spread: float) -> float:
    error = _error(scores, rival, leader, spread)
    if error == 0.0:
        return 0.0
    z = (_centre(scores, leader) - _centre(scores, rival)) / error
    density = math.exp(-z * z / 2.0) / math.sqrt(2.0 * math.pi)
    return error * (density - z * math.erfc(z / math.sqrt(2.0)) / 2.0)


def decided(field: Sequence[Point], blocks: int, *, settled: bool = True, loss: float = math.inf) -> bool:
    """True when another block would not change who is confirmed, or is not worth it: ``loss`` is the expected one.

    A single point races on, too, while it is not ``settled`` whether it keeps the goal's limits.
    """
    ended = len(field) == 1 or (blocks > 0 and loss <= LOSS)
    return not field or (ended and settled) or blocks >= len(SIZES)


def tied(field: Sequence[Point], scores: Scores) -> list[Point]:
    """The leader, and who is so near that this race cannot tell them apart; best first."""
    order = ranked({point: scores[point] for point in field})
    return [p for p in order if _centre(scores, order[0]) - _centre(scores, p) <= TIE]


def finalists(
    field: Sequence[Point], scores: Scores, simplicity: Callable[[Point], Any], safe: Collection[Point] = ()
) -> list[Point]:
    """The winner of the race: of those that tie the simplest one, ``simplicity`` being the sort key.

    Where ``safe`` names points that surely keep the goal's limits, such a one is preferred among those that tie. If
    none of them is, the best safe one is confirmed too, so that there is an answer if the winner turns out not to
    keep them.
    """
    ties = tied(field, scores)
    final = [min([p for p in ties if p in safe] or ties, key=simplicity)] if ties else []
    spare = [p for p in ranked({point: scores[point] for point in field}) if p in safe][:1]
    return final if any(p in safe for p in final) else final + spare


def block_order(points: Sequence[Point], seed: int, block: int) -> list[Point]:
    """The points of one block in a fresh random order, the same for the same seed and block."""
    order = np.random.default_rng([natural(seed), block]).permutation(len(points))
    return [points[i] for i in order]
