"""Statistics of launches and latencies: pure functions, each with its source.

The launch is the unit: intervals come from the spread of launches, never from the spread of requests inside one.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt

from infertune.core.records import Interval, Measurement

PERCENTILES = (50.0, 90.0, 95.0, 99.0, 99.9)


def throughput(measurement: Measurement) -> float:
    """Samples per second, counted: completed requests x batch / wall time of the window."""
    if measurement.wall_ns <= 0:
        return 0.0
    done = len(measurement.latencies_ns) - (measurement.sent.unfinished if measurement.sent else 0)
    return done * measurement.batch / (measurement.wall_ns / 1e9)


def repeat_ratios(measurement: Measurement) -> tuple[float, ...]:
    """Of each pair of answers, the time of the repeated input / that of another one; empty where none was timed."""
    pairs = measurement.repeats
    if pairs is None:
        return ()
    return tuple(same / max(1, varied) for same, varied in zip(pairs.same_ns, pairs.varied_ns, strict=True))


def quantile_ns(samples: Sequence[int], percent: float) -> int:
    """The smallest sample that at least ``percent`` of all samples do not exceed (nearest rank, never interpolated)."""
    if not len(samples):
        raise ValueError("no samples")
    ordered = np.sort(np.asarray(samples, dtype=np.int64))
    rank = max(1, math.ceil(percent / 100.0 * len(ordered) - 1e-9))
    return int(ordered[rank - 1])


@cache
def percentile_floor(percent: float, confidence: float = 0.99) -> int:
    """Fewest requests from which a percentile is reported.

    MLPerf LoadGen's early stopping with one request allowed over it: smallest n with
    P[Binomial(n, 1 - p) <= 1] <= 1 - confidence. 64 for p90, 130 for p95, 662 for p99, 6636 for p99.9.
    """
    tail = 1.0 - percent / 100.0

    def chance(n: int) -> float:
        return (1 - tail) ** n + n * tail * (1 - tail) ** (n - 1)

    low, high = 1, 2
    while chance(high) > 1 - confidence:
        high *= 2
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if chance(middle) <= 1 - confidence else (middle + 1, high)
    return low


def percentile_ns(samples: Sequence[int], percent: float) -> int | None:
    """A percentile, or None below its sample floor (`percentile_floor`)."""
    return quantile_ns(samples, percent) if len(samples) >= percentile_floor(percent) else None


def median_interval(values: Sequence[float]) -> Interval:
    """Median over launches with its distribution-free interval.

    Up to seven launches: minimum to maximum, which covers the median with probability 1 - 2 x 0.5^n (96.9 % for six).
    From eight on: the innermost pair of order statistics that still covers at least 95 %.
    """
    ordered = sorted(values)
    n = len(ordered)
    drop = 0
    while n - 2 * (drop + 1) >= 2 and order_coverage(n, drop + 1) >= 0.95:
        drop += 1
    return Interval(value=statistics.median(ordered), low=ordered[drop], high=ordered[n - 1 - drop])


def order_coverage(n: int, drop: int = 0) -> float:
    """Chance that the median lies between order statistics ``drop + 1`` and ``n - drop`` of n independent values."""
    below = sum(math.comb(n, k) for k in range(drop + 1))
    return 1.0 - 2.0 * below / 2.0**n


def ratio_interval(ours: Sequence[float], theirs: Sequence[float]) -> Interval:
    """Median of block-by-block ratios with its interval; ``ours[i]`` and ``theirs[i]`` come from one block."""
    return median_interval([a / b for a, b in zip(ours, theirs, strict=True)])


def hodges_lehmann(values: Sequence[float]) -> float:
    """Median of all pairwise means (each value with itself included): the centre of a few noisy values.

    As robust against odd values as a median needs to be here (up to 29 % of them) and 95 % as efficient as the mean for
    normal noise, where the median has 64 % (Hodges and Lehmann 1963). Used to rank; what is reported is a median.
    """
    found = np.asarray(values, dtype=np.float64)
    i, j = np.triu_indices(len(found))
    return float(np.median((found[i] + found[j]) / 2.0))


def window_medians_ns(measurement: Measurement, windows: int = 10) -> tuple[float, ...]:
    """Median latency in each of ``windows`` equal parts of the measured time; parts without completions left out.

    What one instance completed just before another's completion opened the window belongs to the first part.
    """
    ends = np.asarray(measurement.ends_ns, dtype=np.int64)
    latencies = np.asarray(measurement.latencies_ns, dtype=np.int64)
    if not len(ends) or measurement.wall_ns <= 0:
        return ()
    part = np.clip(ends * windows // max(1, measurement.wall_ns), 0, windows - 1)
    by_part = latencies[np.argsort(part, kind="stable")]
    edges = np.cumsum(np.bincount(part, minlength=windows))[:-1]
    return tuple(_middle(of) for of in np.split(by_part, edges) if len(of))


def _middle(values: npt.NDArray[np.int64]) -> float:
    """The median; many times quicker than numpy's own for a handful of values."""
    return float(statistics.median(values.tolist())) if len(values) < 64 else float(np.median(values))
