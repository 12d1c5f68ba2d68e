"""What every part of the page reads: the record folded once, and each trial with the figures that are shown of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from infertune.core import choice, history, stats, verdict, words
from infertune.core.answer import answer
from infertune.core.choice import Choice, Reading
from infertune.core.errors import excerpt
from infertune.core.findings import Answer
from infertune.core.goal import Goal, latency_percent
from infertune.core.history import Sample
from infertune.core.records import Entry, Trial
from infertune.core.space import Point
from infertune.report.inert import one_line
from infertune.report.rows import Table, role, table

TAIL = "p99"
LONGEST_NAME = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A trial as the charts show it.

    ``value`` is the goal's own figure (samples per second, or seconds), ``tail_ms`` the latency percentile of the
    trade-off: as seen, and only a statement when ``is_tail_known`` (enough requests for its floor). All three are
    None without a successful launch. ``status`` is that of the table of trials.
    """

    number: int
    trial: Trial
    evidence: str
    sample: Sample
    status: str
    role: str
    throughput: float | None
    value: float | None
    tail_ms: float | None
    is_tail_known: bool

    @property
    def point(self) -> Point:
        return self.trial.point

    @property
    def is_measured(self) -> bool:
        return self.throughput is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """``tail`` names the percentile on the latency axis: the goal's own where it has one, else p99."""

    entries: Sequence[Entry]
    reading: Reading
    chosen: Choice
    found: Answer
    rows: Table
    trials: tuple[Shown, ...]
    tail: str

    @property
    def goal(self) -> Goal:
        return self.reading.terms.goal

    @property
    def measured(self) -> tuple[Shown, ...]:
        return tuple(trial for trial in self.trials if trial.is_measured)

    @property
    def winner(self) -> Shown | None:
        return self.of(self.found.winner)

    def of(self, point: Point | None) -> Shown | None:
        return next((trial for trial in self.trials if trial.point == point), None)

    def words(self, point: Point) -> str:
        """A point as a person reads it, inert."""
        return one_line(self.found.words(point), 300)

    @property
    def metric_words(self) -> str:
        """``throughput (samples/s)`` or ``p99 latency (ms)``: the goal's own figure, on an axis."""
        return "throughput (samples/s)" if self.goal.maximise else f"{self.goal.metric} latency (ms)"

    def scaled(self, value: float) -> float:
        """The goal's own figure in the unit of `metric_words`."""
        return value if self.goal.maximise else 1e3 * value

    def figure_words(self, value: float) -> str:
        return f"{words.three(self.scaled(value))} {'samples/s' if self.goal.maximise else 'ms'}"


def basis(entries: Sequence[Entry]) -> Basis:
    """Raises `DataError` for a record without a question."""
    reading = choice.read(entries)
    chosen = choice.choose(reading)
    tail = _tail(reading.terms.goal)
    rows = table(entries)
    status = dict(zip(map(_number, rows.column("trial")), rows.column("status"), strict=True))
    trials = tuple(
        _shown(reading, chosen, number, trial, str(status[number]), tail)
        for number, trial in enumerate(reading.trials, start=1)
    )
    return Basis(
        entries=entries, reading=reading, chosen=chosen, found=answer(entries), rows=rows, trials=trials, tail=tail
    )


def _number(cell: object) -> int:
    assert isinstance(cell, int)
    return cell


def _tail(goal: Goal) -> str:
    asked = [*goal.metrics, *(limit.metric for limit in goal.limits)]
    return next((metric for metric in asked if latency_percent(metric)), TAIL)


def _shown(reading: Reading, chosen: Choice, number: int, trial: Trial, status: str, tail: str) -> Shown:
    evidence, sample = choice.evidence(trial, chosen.confirmation)
    percent = latency_percent(tail) or 99.0
    pooled = latencies(sample)
    goal = reading.terms.goal
    ran = bool(sample.runs)
    return Shown(
        number=number,
        trial=trial,
        evidence=evidence if ran else "",
        sample=sample,
        status=status,
        role=one_line(role(reading, chosen, trial.point), LONGEST_NAME),
        throughput=stats.median_interval([stats.throughput(m) for m in sample.measurements]).value if ran else None,
        value=stats.median_interval([goal.value(m) for m in sample.measurements]).value if ran else None,
        tail_ms=stats.quantile_ns(pooled, percent) / 1e6 if ran else None,
        is_tail_known=len(pooled) >= stats.percentile_floor(percent),
    )


def latencies(sample: Sample) -> list[int]:
    """Of all requests of all launches together, in nanoseconds."""
    if not sample.runs:
        return []
    return [latency for m in sample.measurements for latency in m.latencies_ns]


def failure_words(trial: Trial) -> str:
    failed = history.failure(trial)
    return excerpt(f"{failed.kind} at {failed.stage}: {failed.message}", 300) if failed else ""


def is_better(goal: Goal, ours: Sample, theirs: Sample) -> bool:
    return verdict.merit(goal, ours) > verdict.merit(goal, theirs)
