"""The highest rate that keeps its limits: an exponential probe, then bisection."""

from __future__ import annotations

import math
from collections.abc import Callable

from infertune.core.load import LATE

WITHIN = LATE
"""The rate is found to this relative precision: no more is asked of serving in time than that."""

_FIRST = 0.7  # of the capacity that the closed loop showed: queues explode above that, so the answer is seldom higher
_STEP = math.sqrt(2.0)
_FURTHEST = 64.0  # times below the capacity: what only keeps its limits there does not keep them

_MOST = 4.0  # times the capacity, which was seen in a short warm-up: nothing is that much faster than its closed loop


def highest_rate(keeps: Callable[[float], bool], capacity_per_s: float, within: float = WITHIN) -> float | None:
    """The highest rate for which ``keeps`` said yes, at most ``1 + within`` below one for which it said no.

    None where it never said yes down to a 64th of the capacity; never above four times it. Probes go up or down from
    70 % of the capacity by a growing factor until a yes and a no enclose the answer, then halve the gap on a log scale.
    """
    rate, step, least, most = _FIRST * capacity_per_s, _STEP, capacity_per_s / _FURTHEST, _MOST * capacity_per_s
    yes, no = (rate, None) if keeps(rate) else (None, rate)
    while yes is None or no is None:
        if no is not None and rate <= least:
            return None
        if yes is not None and rate >= most:
            return yes
        rate = min(most, rate * step) if no is None else max(least, rate / step)
        if keeps(rate):
            yes = rate
        else:
            no = rate
        step *= step if yes is None else 1.0
    while no / yes > 1.0 + within:
        middle = math.sqrt(no * yes)
        if keeps(middle):
            yes = middle
        else:
            no = middle
    return yes
