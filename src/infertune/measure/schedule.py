"""When samples arrive: offsets from the start in nanoseconds, made before anything is timed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from infertune.core.load import Load
from infertune.core.seeds import natural


def arrivals_ns(load: Load, rate_per_s: float, count: int) -> NDArray[np.int64]:
    """Offsets of ``count`` samples, ascending, shape ``[count]``; the same for the same load, rate and count.

    Poisson arrivals have independent exponential gaps of mean 1 / rate, scaled so that they fill count / rate exactly:
    of a few hundred gaps the mean would be off by several per cent, and with it the rate that is said to be offered.
    """
    if load.arrivals == "offline":
        return np.zeros(count, dtype=np.int64)
    if rate_per_s <= 0:
        raise ValueError(f"samples cannot arrive at {rate_per_s} per second")
    if load.arrivals == "constant":
        gaps = np.ones(count)
    else:
        gaps = np.random.default_rng([natural(load.seed), count]).exponential(size=count)
    ends = np.cumsum(gaps) * (count / gaps.sum()) / rate_per_s
    offsets: NDArray[np.int64] = np.rint((ends - ends[0]) * 1e9).astype(np.int64)
    return offsets
