"""Two winners figure by figure: medians over launches, their ratio with its interval, and whether it means anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from infertune.core import choice, stats, verdict, words
from infertune.core.goal import latency_percent, metric_value, more_is_better, told_in
from infertune.core.history import Sample
from infertune.core.records import Entry, Interval

METRICS = ("throughput", "p50", "p90", "p99")


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """``ratio`` is how many times better B is: throughput B / A, latency A / B; both ends at their worst."""

    metric: str
    a: Interval
    b: Interval
    ratio: Interval

    @property
    def said(self) -> str:
        state = verdict.relation(self.ratio)
        return {"better": "B is better", "worse": "A is better", "same": "no difference"}[state]

    @property
    def cells(self) -> tuple[str, ...]:
        """Metric with its unit, A, B, ratio, verdict."""
        scale, unit = shown_in(self.metric)
        shown = (words.interval(_scaled(found, scale)) for found in (self.a, self.b))
        return f"{self.metric} ({unit})", *shown, words.times(self.ratio), self.said


def shown_in(metric: str) -> tuple[float, str]:
    """Factor and unit in which a metric's values are shown."""
    unit, scale = told_in(metric)
    return (1.0, "samples/s") if more_is_better(metric) else (1.0 / scale, unit)


def _scaled(found: Interval, scale: float) -> Interval:
    return Interval(value=found.value * scale, low=found.low * scale, high=found.high * scale)


def differences(a: Sequence[Entry], b: Sequence[Entry]) -> tuple[Difference, ...]:
    """Of both winners' launches behind their figures; percentiles only where both have enough requests for them.

    The studies share no blocks, so no drift of the machine cancels between them.
    """
    ours, theirs = _sample(a), _sample(b)
    if ours is None or theirs is None:
        return ()
    metrics = [m for m in METRICS if _is_known(m, ours) and _is_known(m, theirs)]
    return tuple(_difference(metric, ours, theirs) for metric in metrics)


def _sample(entries: Sequence[Entry]) -> Sample | None:
    reading = choice.read(entries)
    chosen = choice.choose(reading)
    if chosen.decision is None:
        return None
    _, found = choice.evidence(reading.trial(chosen.decision.winner), chosen.confirmation)
    return found if found.runs else None


def _is_known(metric: str, sample: Sample) -> bool:
    percent = latency_percent(metric)
    return percent is None or sum(len(m.latencies_ns) for m in sample.measurements) >= stats.percentile_floor(percent)


def _difference(metric: str, a: Sample, b: Sample) -> Difference:
    ours, theirs = (stats.median_interval([metric_value(metric, m) for m in s.measurements]) for s in (a, b))
    return Difference(metric=metric, a=ours, b=theirs, ratio=times_better(metric, ours, theirs))


def times_better(metric: str, a: Interval, b: Interval) -> Interval:
    """How many times better B is, from both intervals at their worst: without shared blocks nothing cancels."""
    over, under = (b, a) if more_is_better(metric) else (a, b)
    return Interval(value=over.value / under.value, low=over.low / under.high, high=over.high / under.low)
