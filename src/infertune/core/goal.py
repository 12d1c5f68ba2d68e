"""What is best, with limits: ``max throughput, p99 < 20 ms, fidelity > 0.99``. Its grammar is in docs/goals.md."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from infertune.core import stats
from infertune.core.errors import UsageError, nearest, quoted
from infertune.core.load import CLOSED, Load
from infertune.core.records import Measurement
from infertune.core.space import Point

GRAMMAR = (
    "max throughput | min latency | min p99 | max rate | pareto throughput, p99 | pareto throughput, p99 at 5 ms and "
    "30 ms; then limits, each after a comma: "
    "p99 < 20 ms, p99 < 20 ms at 99 %, throughput > 100/s, memory < 2 GB, fidelity > 0.99, batch <= 16, cores <= 4"
)

DEFAULT_FIDELITY = 0.99
CONFIDENCE = 0.95
"""Of a percentile limit, where the goal does not say another one."""

RATE = "rate"
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
METRICS, OF_KNOBS = tuple(_UNITS), ("batch", "cores")
"""What a limit may be about."""

FRONT = ("throughput", *_LATENCIES, "memory")
"""What a front may be about: figures of a launch. Not every launch measures memory: see `metric_value`."""

_AT = re.compile(r"^(.*?)\s+at\s+(.*)$", re.IGNORECASE)
"""A figure of a front and the levels that it is asked at."""

_NUMERIC = re.compile(r"[0-9.]")
"""How a level begins that stands without its figure."""

_LIMIT = re.compile(
    r"^([\w.]+)(?:\s+latency)?\s*(<=|>=|<|>)\s*([0-9.]+(?:e-?[0-9]+)?)\s*(.*?)(?:\s*at\s+([0-9.]+)\s*%)?$"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """``metric`` must stay below (``<``) or above (``>``) ``bound``, in seconds, bytes, samples per second or plain.

    A latency percentile must hold with ``confidence``: see `core.percentiles`.
    """

    metric: str
    below: bool
    bound: float
    text: str
    confidence: float = CONFIDENCE

    def excess(self, value: float) -> float:
        """How far a value is from meeting the limit, as a log ratio: 0 when met, positive when not."""
        if value <= 0 or self.bound <= 0:
            return 0.0 if (value <= self.bound) == self.below else 1.0
        ratio = math.log(value / self.bound)
        return max(0.0, ratio if self.below else -ratio)


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What is best, and within which limits.

    ``metrics`` holds one figure: ``throughput`` or ``rate`` (more is better), or a latency percentile (less is
    better). ``pareto throughput, p99`` names several of `FRONT`, and its answer is then the front: every point that no
    other point beats in one figure without losing in another. A strategy that can search a front reads ``metrics`` and
    `scores`. Whatever needs one number takes `score`, the mean of `scores`: the log of the geometric mean of all
    figures, each turned so that more is better. It rises with each of them, so the point that is best by it is always
    on the front, and it weighs one per cent of any figure alike.

    A front may be asked at ``levels`` of its figures (``pareto throughput, p99 at 5 ms and 30 ms``): each of
    `at_levels` then has an answer of its own beside the front.
    """

    metrics: tuple[str, ...]
    limits: tuple[Limit, ...] = ()
    levels: tuple[Limit, ...] = ()

    @property
    def metric(self) -> str:
        """The first figure, and the only one unless the goal is a front."""
        return self.metrics[0]

    @property
    def is_front(self) -> bool:
        return len(self.metrics) > 1

    @property
    def at_levels(self) -> tuple[Goal, ...]:
        """One goal per level: the front's other figures, within that level too."""
        return tuple(self.within(level) for level in self.levels)

    def within(self, level: Limit) -> Goal:
        """The front's other figures, with ``level`` as one more limit."""
        others = tuple(metric for metric in self.metrics if metric != level.metric)
        return Goal(metrics=others, limits=(*self.limits, level))

    @property
    def measured_limits(self) -> tuple[Limit, ...]:
        """The limits that only a launch can tell; batch and cores are known beforehand, fidelity is checked apart."""
        return tuple(limit for limit in self.limits if limit.metric not in (*OF_KNOBS, "fidelity"))

    @property
    def maximise(self) -> bool:
        """Whether more of `metric` is better."""
        return more_is_better(self.metric)

    @property
    def fidelity_floor(self) -> float:
        """The least cosine similarity to the fp32 reference that may win; 0.99 unless the goal says otherwise."""
        asked = [limit.bound for limit in self.limits if limit.metric == "fidelity"]
        return max(asked) if asked else DEFAULT_FIDELITY

    def value(self, measurement: Measurement) -> float:
        """The goal's own (first) figure: samples per second, seconds or bytes."""
        return metric_value(self.metric, measurement)

    def scores(self, measurement: Measurement) -> tuple[float, ...]:
        """One for each of ``metrics``, in their order: the log of how good it is, more is better."""
        return tuple(_goodness(metric, measurement) for metric in self.metrics)

    def score(self, measurement: Measurement) -> float:
        """Log of how good a measurement is (more is better): differences of scores are ratios."""
        return math.fsum(self.scores(measurement)) / len(self.metrics)

    def excess(self, point: Point, measurement: Measurement) -> float:
        """Sum of the log ratios by which limits are missed; 0 when all measured limits hold (fidelity apart)."""
        total = 0.0
        for limit in self.limits:
            if limit.metric in OF_KNOBS:
                total += limit.excess(point.number(limit.metric, 1))
            elif limit.metric != "fidelity":
                total += limit.excess(metric_value(limit.metric, measurement))
        return total

    def __str__(self) -> str:
        return ", ".join([_head(self), *(limit.text for limit in self.limits)])


def _head(goal: Goal) -> str:
    if goal.is_front:
        return f"pareto {', '.join(_asked(goal, metric) for metric in goal.metrics)}"
    if goal.maximise:
        return f"max {goal.metric}"
    return f"min {'latency' if goal.metric == 'p50' else goal.metric}"


def _asked(goal: Goal, metric: str) -> str:
    """``p99 at 5 ms and 30 ms``; the name alone where it is asked at no level."""
    levels = [level_words(level) for level in goal.levels if level.metric == metric]
    return f"{metric} at {' and '.join(levels)}" if levels else metric


def level_words(level: Limit) -> str:
    """``5 ms`` of ``p99 < 5 ms``."""
    return level.text.split(maxsplit=2)[2]


def more_is_better(metric: str) -> bool:
    return metric in ("throughput", RATE)


def _goodness(metric: str, measurement: Measurement) -> float:
    value = math.log(max(metric_value(metric, measurement), 1e-12))
    return value if more_is_better(metric) else -value


def metric_value(metric: str, measurement: Measurement) -> float:
    """Throughput or sustained rate (samples/s), a latency quantile (s; no sample floor) or peak memory (bytes).

    Raises `UsageError` (``not-measured``) for the memory of a launch that did not measure it.
    """
    if metric == RATE and measurement.sent is not None:
        return measurement.sent.rate_per_s
    if metric in ("throughput", RATE):
        return stats.throughput(measurement)
    if metric == "memory":
        return _memory_bytes(measurement)
    return stats.quantile_ns(measurement.latencies_ns, _LATENCIES[metric]) / 1e9


def _memory_bytes(measurement: Measurement) -> float:
    if not measurement.conditions.peak_rss_bytes:
        raise UsageError(
            "not-measured",
            "the goal asks for memory, and a launch did not measure how much it used",
            hint="leave `memory` out of the goal, or take a target that measures it",
        )
    return float(measurement.conditions.peak_rss_bytes)


def latency_percent(metric: str) -> float | None:
    """99.0 for ``p99``; None for a metric that is not a latency."""
    return _LATENCIES.get(metric)


def told_in(metric: str) -> tuple[str, float]:
    """The unit that figures of a metric are told in, and how much of it is one: ``("ms", 0.001)``."""
    if latency_percent(metric) is not None:
        return "ms", 1e-3
    return {"memory": ("MB", 1e6), "throughput": ("/s", 1.0)}.get(metric, ("", 1.0))


def is_speed(metric: str) -> bool:
    """Whether a metric tells how fast a launch is, as rates and latencies do."""
    return metric in ("throughput", RATE) or latency_percent(metric) is not None


def load_for(goal: Goal) -> Load:
    """How launches of a study with this goal are driven: one after the other, or by arrivals whose rate is looked for.

    Raises `UsageError` (``rate-without-limit``) for ``max rate`` without a limit on a latency: any rate below the
    throughput would do.
    """
    if goal.metric != RATE:
        return CLOSED
    known = ((latency_percent(limit.metric), limit) for limit in goal.limits if limit.below)
    limits = tuple((percent, limit.bound) for percent, limit in known if percent is not None)
    if not limits:
        raise UsageError(
            "rate-without-limit",
            "`max rate` needs a limit on a latency: the highest rate at which what stays below what?",
            hint="write `max rate, p99 < 50 ms`",
        )
    return Load(arrivals="poisson", limits=limits)


# ---------------------------------------------------------------- the grammar


def _fail(what: str, hint: str) -> UsageError:
    return UsageError("goal-syntax", what, hint=f"{hint}; goals: {GRAMMAR}")


def _limit(text: str) -> Limit:
    match = _LIMIT.match(text)
    if match is None:
        raise _fail(f"`{quoted(text)}` is not a limit", "limits look like `p99 < 20 ms`")
    metric, sign, number, unit, sure = match.groups()
    metric = "p50" if metric == "latency" else metric
    if metric not in _UNITS:
        raise _fail(f"`{quoted(metric)}` is not a metric", f"{nearest(metric, METRICS)}limits: {', '.join(METRICS)}")
    if metric == "fidelity" and sign.startswith("<"):
        raise _fail(f"`{quoted(text)}` limits fidelity from above", "write `fidelity > 0.99`: more of it is better")
    scales = _UNITS[metric]
    if unit.strip() not in scales:
        raise _fail(
            f"`{quoted(text)}` has {_wrong_unit(unit)} for {metric}", f"write {_units(scales)} after the number"
        )
    written = f"{metric} {sign} {number} {unit}".strip() + (f" at {sure} %" if sure else "")
    return Limit(
        metric=metric,
        below=sign.startswith("<"),
        bound=_number(number) * scales[unit.strip()],
        text=written,
        confidence=_confidence(metric, sure),
    )


def _wrong_unit(unit: str) -> str:
    return f"the unit `{quoted(unit.strip())}`, which is none" if unit.strip() else "no unit"


def _units(scales: dict[str, float]) -> str:
    return " or ".join(f"`{unit}`" for unit in scales if unit) or "no unit"


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise _fail(f"`{quoted(text)}` is not a number", "write digits and one point at most") from None


def _confidence(metric: str, sure: str | None) -> float:
    if sure is None:
        return CONFIDENCE
    if metric not in _LATENCIES:
        raise _fail(f"{metric} takes no confidence", "`at 99 %` belongs to limits on latency percentiles")
    share = _number(sure) / 100.0
    if not 0.5 <= share <= 0.9999:
        raise _fail(f"`{quoted(sure)} %` is not a confidence", "take 50 % to 99.99 %")
    return share


def _objective(text: str) -> tuple[str, ...]:
    words = text.split()
    match words:
        case ["max", "throughput" | "rate" as name]:
            return (name,)
        case ["min", "latency"]:
            return ("p50",)
        case ["min", name] | ["min", name, "latency"] if name in _LATENCIES:
            return (name,)
    known = ("max throughput", "max rate", "min latency", "pareto", *(f"min {p}" for p in _LATENCIES))
    begun = next((name for name in known if text.startswith(f"{name} ")), None)
    hint = f"write a comma after `{begun}`; " if begun else nearest(text, known)
    raise UsageError("goal-syntax", f"`{quoted(text)}` is not a goal", hint=f"{hint}goals: {GRAMMAR}")


def _front(parts: Sequence[str], limits: Sequence[str]) -> Goal:
    """The goal of ``pareto throughput, p99 latency at 5 ms and 30 ms``."""
    asked = [_AT.match(part) for part in parts]
    names = [match.group(1) if match else part for match, part in zip(asked, parts, strict=True)]
    metrics = _figures([name.lower() for name in names])
    levels = [
        _level(metric, text)
        for metric, match in zip(metrics, asked, strict=True)
        if match
        for text in re.split(r"\s+and\s+", match.group(2))
    ]
    return Goal(metrics=metrics, limits=tuple(_limit(part) for part in limits), levels=tuple(dict.fromkeys(levels)))


def _level(metric: str, text: str) -> Limit:
    if not _NUMERIC.match(text):
        raise _fail(f"`{quoted(text)}` is no level of {metric}", "levels look like `p99 at 5 ms and 30 ms`")
    return _limit(f"{metric} {'>' if more_is_better(metric) else '<'} {text}")


def _figures(names: Sequence[str]) -> tuple[str, ...]:
    names = [name.removesuffix(" latency").strip() for name in names]
    metrics = tuple("p50" if name == "latency" else name for name in names)
    for name in metrics:
        if name not in FRONT:
            raise _fail(f"`{quoted(name)}` is no figure of a front", f"{nearest(name, FRONT)}take {', '.join(FRONT)}")
    if len(set(metrics)) != len(metrics) or len(metrics) < 2:
        raise _fail("a front needs two different figures", "write `pareto throughput, p99`")
    return metrics


def parse_goal(text: str) -> Goal:
    """``text`` as a `Goal`.

    Raises `UsageError`: ``goal-syntax``, whose hint shows the grammar, or ``goal-impossible`` for limits that no figure
    can keep.
    """
    goal = _parsed(text)
    for limits in (goal.limits, *(asked.limits for asked in goal.at_levels)):
        _refuse_impossible(limits)
    return goal


def _refuse_impossible(limits: Sequence[Limit]) -> None:
    for limit in (one for one in limits if one.below and one.bound <= 0 and one.metric not in OF_KNOBS):
        name, hint = quoted(limit.text), "write `p99 < 20 ms`, or leave it out"
        raise UsageError("goal-impossible", f"nothing can keep `{name}`: every figure is above 0", hint=hint)
    for low in (limit for limit in limits if not limit.below):
        name, hint = quoted(low.text), "write `fidelity > 0.99`, or leave it out"
        if low.metric == "fidelity" and low.bound > 1.0:
            why = "outputs that equal the reference's have 1"
            raise UsageError("goal-impossible", f"nothing can keep `{name}`: {why}", hint=hint)
        for high in (limit for limit in limits if limit.below and _exclude(low, limit)):
            raise UsageError(
                "goal-impossible", f"`{name}` and `{quoted(high.text)}` exclude each other", hint="drop one of them"
            )


def _exclude(low: Limit, high: Limit) -> bool:
    """Whether a figure that keeps ``low`` breaks ``high``; no percentile is below a lower one."""
    one, other = latency_percent(low.metric), latency_percent(high.metric)
    reaches = low.metric == high.metric or (one is not None and other is not None and one < other)
    return reaches and low.bound > high.bound


def _parsed(text: str) -> Goal:
    head, *rest = (" ".join(part.split()) for part in text.split(","))
    if head.lower().split()[:1] != ["pareto"]:
        return Goal(metrics=_objective(head.lower()), limits=tuple(_limit(part) for part in rest))
    limits = [part for part in rest if re.search("[<>]", part)]
    named = [head[len("pareto") :].strip()]
    for part in (part for part in rest if part not in limits):
        if _NUMERIC.match(part):
            named[-1] += f" and {part}"
        else:
            named.append(part)
    return _front(named, limits)


def median_excess(goal: Goal, point: Point, measurements: Sequence[Measurement]) -> float:
    """The median excess over launches, the higher of two; 0 where at least so many launches keep the limits."""
    return float(sorted(goal.excess(point, m) for m in measurements)[len(measurements) // 2])
