"""Bounds on latency percentiles from order statistics: distribution-free, exact for independent requests.

The number of ``n`` requests that stay at or below the true percentile q_p is binomial with success probability p
(at most p below it, at least p at or below it). So the r-th smallest latency is an upper bound of q_p with probability
P[Binomial(n, p) <= r - 1], and the r-th smallest is a lower bound with probability P[Binomial(n, p) >= r].
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np

PRINTED = 0.99
"""Confidence of the upper bound that is printed beside a percentile (that of MLPerf LoadGen's early stopping)."""


def _at_most(k: int, n: int, share: float) -> float:
    """P[Binomial(n, share) <= k]."""
    from scipy.special import bdtr

    return float(bdtr(k, n, share)) if k >= 0 else 0.0


@cache
def upper_rank(n: int, percent: float, confidence: float) -> int | None:
    """The smallest rank (from 1) whose value is an upper bound; None where even the largest of n values is none."""
    share = percent / 100.0
    low, high = 1, n + 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if _at_most(middle - 1, n, share) >= confidence else (middle + 1, high)
    return low if low <= n else None


@cache
def lower_rank(n: int, percent: float, confidence: float) -> int | None:
    """The largest rank whose value is a lower bound; None where even the smallest of n values is none."""
    share = percent / 100.0
    low, high = 0, n
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if 1.0 - _at_most(middle - 1, n, share) >= confidence else (low, middle - 1)
    return low or None


def upper_ns(samples: Sequence[int], percent: float, confidence: float = PRINTED) -> int | None:
    """A latency that the true percentile does not exceed with this confidence; None with too few samples."""
    return _ranked(samples, upper_rank(len(samples), percent, confidence))


def lower_ns(samples: Sequence[int], percent: float, confidence: float = PRINTED) -> int | None:
    """A latency that the true percentile reaches with this confidence; None with too few samples."""
    return _ranked(samples, lower_rank(len(samples), percent, confidence))


def _ranked(samples: Sequence[int], rank: int | None) -> int | None:
    if rank is None:
        return None
    values = np.asarray(samples, dtype=np.int64)
    return int(np.partition(values, rank - 1)[rank - 1])


@cache
def floor(percent: float, confidence: float) -> int:
    """Fewest requests from which an upper bound exists: 1 - p^n >= confidence. 59 for p95 and 299 for p99 at 95 %."""
    return math.ceil(math.log(1.0 - confidence) / math.log(percent / 100.0) - 1e-9)


def enough(n: int, over: int, percent: float, confidence: float) -> int | None:
    """How many requests would show that a percentile keeps its bound if ``over`` of every ``n`` keep exceeding it.

    None where the share that exceeds it is as large as the percentile allows: more requests would not show it.
    """
    share = over / n if n else 0.0
    if share >= 1.0 - percent / 100.0:
        return None
    wanted = max(n, floor(percent, confidence))
    while not _shown(wanted, share, percent, confidence):
        wanted += max(1, wanted // 20)
        if wanted > _MANY:
            return None
    return wanted


_MANY = 100_000_000


def _shown(n: int, share: float, percent: float, confidence: float) -> bool:
    rank = upper_rank(n, percent, confidence)
    return rank is not None and n - math.ceil(share * n) >= rank
