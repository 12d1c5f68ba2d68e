"""What is best, with limits: ``max throughput, p99 < 20 ms, fidelity > 0.99``."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from infertune.core import stats
from infertune.core.errors import UsageError, nearest, quoted
from infertune.core.records import Measurement
from infertune.core.space import Point

GRAMMAR = "max throughput | min latency | min p99, then limits: p99 < 20 ms, throughput > 100/s, memory < 2 GB"

DEFAULT_FIDELITY = 0.99

_LATENCIES = {"p50": 50.0, "p90": 90.0, "p95": 95.0, "p99": 99.0, "p99.9": 99.9}
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0}
_BYTES = {"KB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30}
_RATES = {"/s": 1.0, "per s": 1.0}
_PLAIN = {"": 1.0}
_UNITS: dict[str, dict[str, float]] = {
    **dict.fromkeys(_LATENCIES, _SECONDS),
    "throughput": _RATES,
    "memory": _BYTES,
    "fidelity": _PLAIN,
    "batch": _PLAIN,
    "cores": _PLAIN,
}
METRICS = tuple(_UNITS)
_LIMIT = re.compile(r"^([\w.]+)(?:\s+latency)?\s*(<=|>=|<|>)\s*([0-9.]+(?:e-?[0-9]+)?)\s*(.*)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """``metric`` must stay below (``<``) or above (``>``) ``bound``, in seconds, bytes, samples per second or plain."""

    metric: str
    below: bool
    bound: float
    text: str

    def excess(self, value: float) -> float:
        """How far a value is from meeting the limit, as a log ratio: 0 when met, positive when not."""
        if value <= 0 or self.bound <= 0:
            return 0.0 if (value <= self.bound) == self.below else 1.0
        ratio = math.log(value / self.bound)
        return max(0.0, ratio if self.below else -ratio)


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """``metric`` is ``throughput`` (more is better) or a latency percentile (less is better)."""

    metric: str
    limits: tuple[Limit, ...] = ()

    @property
    def maximise(self) -> bool:
        return self.metric == "throughput"

    @property
    def fidelity_floor(self) -> float:
        """The least cosine similarity to the fp32 reference that may win; 0.99 unless the goal says otherwise."""
        asked = [limit.bound for limit in self.limits if limit.metric == "fidelity"]
        return max(asked) if asked else DEFAULT_FIDELITY

    def value(self, measurement: Measurement) -> float:
        """The goal's own figure: samples per second, or seconds."""
        return metric_value(self.metric, measurement)

    def score(self, measurement: Measurement) -> float:
        """Log of how good a measurement is (more is better): differences of scores are ratios."""
        value = math.log(max(self.value(measurement), 1e-12))
        return value if self.maximise else -value

    def excess(self, point: Point, measurement: Measurement) -> float:
        """Sum of the log ratios by which limits are missed; 0 when all measured limits hold (fidelity apart)."""
        total = 0.0
        for limit in self.limits:
            if limit.metric in ("batch", "cores"):
                total += limit.excess(point.number(limit.metric, 1))
            elif limit.metric != "fidelity":
                total += limit.excess(metric_value(limit.metric, measurement))
        return total

    def __str__(self) -> str:
        head = "max throughput" if self.maximise else f"min {'latency' if self.metric == 'p50' else self.metric}"
        return ", ".join([head, *(limit.text for limit in self.limits)])


def metric_value(metric: str, measurement: Measurement) -> float:
    """Throughput (samples/s), a latency quantile (s; no sample floor) or peak memory (bytes) of one launch."""
    if metric == "throughput":
        return stats.throughput(measurement)
    if metric == "memory":
        return float(measurement.conditions.peak_rss_bytes)
    return stats.quantile_ns(measurement.latencies_ns, _LATENCIES[metric]) / 1e9


def latency_percent(metric: str) -> float | None:
    """99.0 for ``p99``; None for a metric that is not a latency."""
    return _LATENCIES.get(metric)


def _fail(what: str, hint: str) -> UsageError:
    return UsageError("goal-syntax", what, hint=hint)


def _limit(text: str) -> Limit:
    match = _LIMIT.match(text)
    if match is None:
        raise _fail(f"`{quoted(text)}` is not a limit", f"limits look like `p99 < 20 ms`; {GRAMMAR}")
    metric, sign, number, unit = match.groups()
    metric = "p50" if metric == "latency" else metric
    if metric not in _UNITS:
        raise _fail(f"`{quoted(metric)}` is not a metric", f"{nearest(metric, METRICS)}metrics: {', '.join(METRICS)}")
    scales = _UNITS[metric]
    if unit.strip() not in scales:
        units = " or ".join(f"`{u}`" for u in scales if u) or "no unit"
        raise _fail(f"`{quoted(text)}` has no unit for {metric}", f"write {units} after the number")
    try:
        bound = float(number) * scales[unit.strip()]
    except ValueError:
        raise _fail(f"`{quoted(number)}` is not a number", GRAMMAR) from None
    written = f"{metric} {sign} {number} {unit}".strip()
    return Limit(metric=metric, below=sign.startswith("<"), bound=bound, text=written)


def _objective(text: str) -> str:
    words = text.split()
    match words:
        case ["max", "throughput"]:
            return "throughput"
        case ["min", "latency"]:
            return "p50"
        case ["min", name] | ["min", name, "latency"] if name in _LATENCIES:
            return name
    known = ("max throughput", "min latency", *(f"min {p}" for p in _LATENCIES))
    raise _fail(f"`{quoted(text)}` is not a goal", f"{nearest(text, known)}goals: {GRAMMAR}")


def parse_goal(text: str) -> Goal:
    """``text`` as a `Goal`. Raises `UsageError` (id ``goal-syntax``) whose hint shows the grammar."""
    head, *rest = (part.strip() for part in text.split(","))
    return Goal(metric=_objective(" ".join(head.lower().split())), limits=tuple(_limit(part) for part in rest))


def worst_excess(goal: Goal, point: Point, measurements: Sequence[Measurement]) -> float:
    """The median excess over launches: a point is feasible when it is 0."""
    return float(sorted(goal.excess(point, m) for m in measurements)[len(measurements) // 2])
