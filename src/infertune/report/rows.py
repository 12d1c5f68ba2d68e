"""Trials as rows: the one table that text, Markdown, CSV, JSON and the data frame show."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from infertune.core import choice, history, stats, tallies, verdict
from infertune.core.answer import figures
from infertune.core.choice import Choice, Reading
from infertune.core.findings import Figures
from infertune.core.goal import median_excess
from infertune.core.history import Sample
from infertune.core.records import Entry, Failed, Launch, Measurement, Trial
from infertune.core.space import Point

Cell = str | int | float | None

BEFORE_KNOBS = ("trial", "target", "device")
AFTER_KNOBS = (
    "role", "status", "throughput", "throughput_min", "throughput_max", "p50_ms", "p90_ms", "p99_ms",
    "in_flight", "launches", "evidence", "flags", "fidelity", "failure", "simulated",
)  # fmt: skip
DURING = ("power_during_w", "temperature_during_c", "nsp_during_mhz")
"""What a device may tell of itself while it works; columns only where one does."""
_NUMBER = re.compile(r"-?\d{1,6}(\.\d{1,6})?")
MEASURED = ("throughput", "throughput_min", "throughput_max", "p50_ms", "p90_ms", "p99_ms", "in_flight")


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of plain cells, best point first; None where there is no figure.

    ``throughput`` is the median over launches in samples per second, with the slowest and the fastest launch beside
    it; percentiles are of all requests of those launches, None below their sample floor. ``device`` names every
    device that launched the point. Where devices told of themselves while they worked (``power_during_w``), the median
    over launches is the row's. ``knobs`` names the columns that are knobs; ``points`` are the rows' points.
    """

    columns: tuple[str, ...]
    knobs: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    points: tuple[Point, ...]

    def dicts(self) -> list[dict[str, Cell]]:
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]

    def only(self, columns: Sequence[str]) -> Table:
        """The same rows with fewer columns."""
        places = [self.columns.index(column) for column in columns]
        rows = tuple(tuple(row[place] for place in places) for row in self.rows)
        knobs = tuple(knob for knob in self.knobs if knob in columns)
        return Table(columns=tuple(columns), knobs=knobs, rows=rows, points=self.points)

    def column(self, name: str) -> tuple[Cell, ...]:
        place = self.columns.index(name)
        return tuple(row[place] for row in self.rows)


def table(entries: Sequence[Entry]) -> Table:
    """Every trial of a record, with the strongest figures there are for each: confirmed ones, else all its launches."""
    reading = choice.read(entries)
    chosen = choice.choose(reading)
    knobs, during = knob_columns(reading), _told_during(reading.launches)
    ranked = sorted(enumerate(reading.trials, start=1), key=lambda item: _rank(reading, chosen, item[1]))
    rows = (_row(reading, chosen, number, trial, knobs, during) for number, trial in ranked)
    return Table(
        columns=(*BEFORE_KNOBS, *knobs.values(), *AFTER_KNOBS, *during),
        knobs=tuple(knobs.values()),
        rows=tuple(rows),
        points=tuple(trial.point for _, trial in ranked),
    )


def knob_columns(reading: Reading) -> dict[str, str]:
    """Knob -> column, over all spaces in their order; a knob with the name of another column gets a prefix."""
    taken = {*BEFORE_KNOBS, *AFTER_KNOBS, *DURING}
    names = dict.fromkeys([k.name for space in reading.question.spaces for k in space.knobs])
    names |= dict.fromkeys(name for trial in reading.trials for name, _ in trial.point.settings)
    return {name: f"knob_{name}" if name in taken else name for name in names}


def _rank(reading: Reading, chosen: Choice, trial: Trial) -> tuple[int, float, float]:
    """What may win by how good it is, then what misses a limit by how much, then what failed."""
    _, sample = choice.evidence(trial, chosen.confirmation)
    goal = reading.terms.goal
    if not sample.runs:
        return 2, 0.0, 0.0
    missed = not verdict.acceptable(reading.terms, sample)
    return int(missed), median_excess(goal, trial.point, sample.measurements), -verdict.merit(goal, sample)


def _told_during(launches: Iterable[Launch]) -> dict[str, list[float]]:
    """Name -> values, launch by launch."""
    told = [dict(launch.outcome.settings) for launch in launches if isinstance(launch.outcome, Measurement)]
    numbers = {name: [number_of(settings.get(name, "")) for settings in told] for name in DURING}
    known = {name: [value for value in values if value is not None] for name, values in numbers.items()}
    return {name: values for name, values in known.items() if values}


def number_of(text: str) -> float | None:
    """What a device told of itself, where it is a number of the usual size."""
    return float(text) if _NUMBER.fullmatch(text) else None


def _row(
    reading: Reading, chosen: Choice, number: int, trial: Trial, knobs: Iterable[str], during: Iterable[str]
) -> tuple[Cell, ...]:
    evidence, sample = choice.evidence(trial, chosen.confirmation)
    found = figures(reading.terms.goal, sample, evidence) if sample.runs else None
    checked = reading.terms.fidelities.get(trial.point)
    failed = _uncheckable(reading, trial.point) if sample.runs else history.failure(trial)
    own = _told_during(trial.launches)
    return (
        number,
        trial.point.target,
        ", ".join(dict.fromkeys(map(history.measured_on, trial.launches))) or trial.point.device,
        *(trial.point.values.get(name) for name in knobs),
        role(reading, chosen, trial.point),
        _status(reading, sample, failed),
        *(_measured(found, sample) if found else (None,) * len(MEASURED)),
        len(trial.launches),
        evidence if found else "",
        ", ".join(name for name, _ in tallies.flags(trial.launches)),
        rounded(checked.value) if checked and checked.made else None,
        f"{failed.kind} at {failed.stage}: {failed.message}" if failed else "",
        "yes" if _simulated(reading, trial) else "no",
        *(rounded(statistics.median(own[name])) if name in own else None for name in during),
    )


def _simulated(reading: Reading, trial: Trial) -> bool:
    place = trial.point.target, trial.point.device
    own = tuple(device for device in reading.question.devices if (device.target, device.name) == place)
    return history.simulated(replace(reading.question, devices=own), trial.launches)


def _uncheckable(reading: Reading, point: Point) -> Failed | None:
    """The failure of a point that was measured and gave no outputs to check, though it needs a check."""
    check = verdict.check_of(reading.terms, point)
    if check is None or check.made or verdict.faithful(reading.terms, point):
        return None
    return Failed(stage="verify", kind="output", message=check.reason)


def _measured(found: Figures, sample: Sample) -> tuple[Cell, ...]:
    speeds = [stats.throughput(m) for m in sample.measurements]
    figured = (found.throughput.value, min(speeds), max(speeds), found.p50_ms, found.p90_ms, found.p99_ms)
    return (*map(rounded, figured), found.in_flight)


def _status(reading: Reading, sample: Sample, failed: Failed | None) -> str:
    """``ok``, ``misses_limit``, ``unfaithful`` (outputs too far from the reference), ``failed`` or ``unmeasured``."""
    if failed:
        return "failed"
    if not sample.runs:
        return "unmeasured"
    if not verdict.faithful(reading.terms, sample.point):
        return "unfaithful"
    return "ok" if verdict.acceptable(reading.terms, sample) else "misses_limit"


def role(reading: Reading, chosen: Choice, point: Point) -> str:
    """``winner`` (``best so far`` while unconfirmed), ``finalist`` and the names of baselines; else empty.

    What is best at a level that a front was asked at is ``best at p99 < 5 ms``.
    """
    finalists = chosen.confirmation.finalists if chosen.confirmation else ()
    best = chosen.decision is not None and chosen.decision.winner == point and reading.searched
    title = "winner" if chosen.confirmation else "best so far"
    levels = zip(reading.terms.goal.levels, chosen.levels, strict=True)
    within = [level.text for level, at in levels if at.decision is not None and at.decision.winner == point]
    roles = [title] if best else []
    roles += [f"best at {' and '.join(within)}"] if within and reading.searched else []
    roles = roles or (["finalist"] if point in finalists else [])
    return ", ".join([*roles, *(name for name, baseline in reading.baselines if baseline == point)])


def is_best(role: str) -> bool:
    """Whether a role is that of the winner, or of the best at a level."""
    return role.startswith(("winner", "best so far", "best at"))


def rounded(number: float | None) -> float | None:
    """Six significant digits: more than any launch is good for, few enough to read."""
    if number is None or number == 0 or not math.isfinite(number):
        return number
    return round(number, 5 - math.floor(math.log10(abs(number))))
