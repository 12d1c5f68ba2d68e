"""The front of a goal that has several figures, as a section: every point that no other one beats."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from infertune.core import choice, stats, verdict, words
from infertune.core.choice import Choice, Reading
from infertune.core.goal import latency_percent, metric_value, told_in
from infertune.core.history import Sample
from infertune.report.inert import one_line

MOST = 20
HOW = "Points that are not confirmed have the figures of the search, which choosing makes look better than they are."


@dataclass(frozen=True, slots=True, kw_only=True)
class Unbeaten:
    """A point of the front: ``scores`` are medians over its launches, more is better."""

    sample: Sample
    evidence: str
    scores: tuple[float, ...]

    def beats(self, other: Unbeaten) -> bool:
        pairs = list(zip(self.scores, other.scores, strict=True))
        return all(ours >= theirs for ours, theirs in pairs) and any(ours > theirs for ours, theirs in pairs)


def front(reading: Reading, chosen: Choice) -> tuple[Unbeaten, ...]:
    """Best in the first figure first; empty for a goal of one figure."""
    if not reading.terms.goal.is_front:
        return ()
    seen = (choice.evidence(trial, chosen.confirmation) for trial in reading.trials)
    fit = [_scored(reading, evidence, sample) for evidence, sample in seen if verdict.acceptable(reading.terms, sample)]
    kept = (point for point in fit if not any(other.beats(point) for other in fit))
    return tuple(sorted(kept, key=lambda point: -point.scores[0]))


def _scored(reading: Reading, evidence: str, sample: Sample) -> Unbeaten:
    launches = [reading.terms.goal.scores(m) for m in sample.measurements]
    medians = tuple(stats.median_interval(list(scores)).value for scores in zip(*launches, strict=True))
    return Unbeaten(sample=sample, evidence=evidence, scores=medians)


def header(metrics: Sequence[str]) -> tuple[str, ...]:
    return (*("samples/s" if metric == "throughput" else metric for metric in metrics), "evidence", "point")


def rows(reading: Reading, points: Sequence[Unbeaten]) -> Iterator[tuple[str, ...]]:
    for point in points[:MOST]:
        launches = words.counted(len(point.sample.runs), "launch")
        figures = (_figure(metric, point.sample) for metric in reading.terms.goal.metrics)
        sure = "confirmed" if point.evidence == "confirm" else launches
        yield *figures, sure, one_line(words.point(point.sample.point, reading.question.spaces))


def notes(points: Sequence[Unbeaten]) -> Iterator[str]:
    if any(point.evidence != "confirm" for point in points):
        yield HOW
    if len(points) > MOST:
        yield f"{len(points) - MOST} more"


def _figure(metric: str, sample: Sample) -> str:
    """Percentiles are of all requests together, as everywhere; one below its floor says how many it has."""
    unit, scale = told_in(metric)
    percent = latency_percent(metric)
    if percent is None:
        value = stats.median_interval([metric_value(metric, m) for m in sample.measurements]).value
        return words.three(value / scale) + ("" if metric == "throughput" else f" {unit}")
    pooled = [latency for m in sample.measurements for latency in m.latencies_ns]
    told = f"{words.three(stats.quantile_ns(pooled, percent) / 1e9 / scale)} {unit}"
    few = words.too_few(percent, len(pooled))
    return f"{told} ({few} requests)" if few else told
