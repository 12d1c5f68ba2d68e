"""Whether a point keeps the limits of a goal, and how sure that is: a pure function of its launches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from infertune.core import percentiles, stats
from infertune.core.goal import Goal, Limit, is_speed, latency_percent, median_excess, metric_value
from infertune.core.records import Measurement
from infertune.core.space import Point

State = Literal["within", "unsure", "beyond"]
_ORDER: tuple[State, ...] = ("within", "unsure", "beyond")


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """``limit`` is the one that decides: the first that is broken, else the first that cannot be told.

    ``more`` is how many more requests would tell, and ``wait_s`` the time of measuring that they take; both None when
    nothing is unsure or no number of requests would tell.
    """

    state: State
    limit: Limit | None = None
    requests: int = 0
    more: int | None = None
    wait_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AtLimit:
    """How launches stand to one limit, and the figure that it is about: seconds, bytes or samples per second.

    Of a percentile, ``low`` and ``high`` are its bounds with the limit's confidence, None with too few requests, and
    ``value`` is None below its sample floor. Of any other figure it is the median over launches with its interval.
    """

    limit: Limit
    standing: Standing
    value: float | None
    low: float | None
    high: float | None


WITHIN = Standing(state="within")

SURE = 1.645  # standard errors: 95 %, one-sided


def standing(goal: Goal, point: Point, measurements: Sequence[Measurement]) -> Standing:
    """The worst standing over all limits but fidelity, which no launch measures."""
    found = [_one(goal, limit, point, measurements) for limit in goal.limits if limit.metric != "fidelity"]
    return max(found, key=lambda one: _ORDER.index(one.state), default=WITHIN)


def at_limits(goal: Goal, point: Point, measurements: Sequence[Measurement]) -> tuple[AtLimit, ...]:
    """One for each of the goal's `measured_limits`, in their order, from at least one launch."""
    return tuple(_at(limit, _one(goal, limit, point, measurements), measurements) for limit in goal.measured_limits)


def _at(limit: Limit, found: Standing, measurements: Sequence[Measurement]) -> AtLimit:
    percent = latency_percent(limit.metric)
    if percent is None or not limit.below:
        seen = stats.median_interval([metric_value(limit.metric, m) for m in measurements])
        return AtLimit(limit=limit, standing=found, value=seen.value, low=seen.low, high=seen.high)
    pooled = [latency for m in measurements for latency in m.latencies_ns]
    ends = [of(pooled, percent, limit.confidence) for of in (percentiles.lower_ns, percentiles.upper_ns)]
    value, low, high = (None if ns is None else ns / 1e9 for ns in (stats.percentile_ns(pooled, percent), *ends))
    return AtLimit(limit=limit, standing=found, value=value, low=low, high=high)


def is_clear(goal: Goal, point: Point, measurements: Sequence[Measurement], spread: float) -> bool:
    """Whether another launch of the point will keep all limits, too, as surely as `SURE` says.

    ``spread`` is the standard deviation of how fast one launch is, as a log ratio. The upper end of the prediction
    interval for one launch after n: the median launch keeps limits on rates and latencies that are tighter by
    ``SURE * spread * sqrt(1 + 1 / n)``. Memory and the like do not differ so.
    """
    away = math.exp(-SURE * spread * math.sqrt(1.0 + 1.0 / len(measurements)))
    tight = tuple(_tighter(limit, away) if is_speed(limit.metric) else limit for limit in goal.measured_limits)
    return median_excess(replace(goal, limits=tight), point, measurements) == 0.0


def _tighter(limit: Limit, away: float) -> Limit:
    return replace(limit, bound=limit.bound * away if limit.below else limit.bound / away)


def _one(goal: Goal, limit: Limit, point: Point, measurements: Sequence[Measurement]) -> Standing:
    percent = latency_percent(limit.metric)
    if percent is not None and limit.below:
        return _percentile(limit, percent, measurements)
    missed = median_excess(replace(goal, limits=(limit,)), point, measurements) > 0.0
    return Standing(state="beyond" if missed else "within", limit=limit)


def _percentile(limit: Limit, percent: float, measurements: Sequence[Measurement]) -> Standing:
    """All requests together decide, with the limit's confidence, unless launches contradict them.

    Requests of one launch share its luck, so pooling alone would trust one good launch too much: more than one launch
    in six that breaks the limit by itself, with the same confidence, breaks it for the point (the five of six that
    measurement.md asks for).
    """
    bound_ns = limit.bound * 1e9
    pooled = [latency for m in measurements for latency in m.latencies_ns]
    contradicting = sum(_breaks(m.latencies_ns, bound_ns, percent, limit.confidence) for m in measurements)
    upper = percentiles.upper_ns(pooled, percent, limit.confidence)
    if contradicting > len(measurements) // 6 or _breaks(pooled, bound_ns, percent, limit.confidence):
        return Standing(state="beyond", limit=limit, requests=len(pooled))
    if upper is not None and upper <= bound_ns:
        return Standing(state="within", limit=limit, requests=len(pooled))
    return _unsure(limit, percent, pooled, measurements)


def _breaks(latencies: Sequence[int], bound_ns: float, percent: float, confidence: float) -> bool:
    lower = percentiles.lower_ns(latencies, percent, confidence)
    return lower is not None and lower > bound_ns


def _unsure(limit: Limit, percent: float, pooled: Sequence[int], measurements: Sequence[Measurement]) -> Standing:
    over = sum(latency > limit.bound * 1e9 for latency in pooled)
    wanted = percentiles.enough(len(pooled), over, percent, limit.confidence)
    more = None if wanted is None else max(1, wanted - len(pooled))
    wall_s = sum(m.wall_ns for m in measurements) / 1e9
    wait_s = more * wall_s / len(pooled) if more is not None and pooled else None
    return Standing(state="unsure", limit=limit, requests=len(pooled), more=more, wait_s=wait_s)
