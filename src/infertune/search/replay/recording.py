"""A recorded space: a CSV (a row per launch) and a small JSON document beside it, read as a `Landscape`.

Everything in the document may be left out. Without it every column that is no metric by its name (`METRICS`) is a knob
of the run stage, and the goal is ``max throughput``. With it:

    {"title": "...", "goal": "min latency", "target": "openvino" or {"column": "runtime"}, "device": "cpu",
     "simulated": true,
     "knobs": {"cores": {"column": "threads", "stage": "run", "scale": "number"}},
     "metrics": {"throughput": {"column": "rate"}, "latency": {"column": "avg", "unit": "ms"}, "p99": ...},
     "in_flight": 1 or {"column": "..."}, "failed": {"column": "..."},
     "costs": {"launch_s": 1.5 or {"column": "..."}, "build_s": 40 or {"column": "..."}},
     "seeds": [{"cores": 4}], "baselines": {"default": {"cores": 16}}, "ignored": ["time"]}

Knobs are told in the names that infertune uses (cores, instances, batch, set_size, precision, ...), because strategies
know what those mean; any other name is a knob without a meaning. ``scale`` is ``number`` (of whole numbers only) or
``choice``; by default columns of whole numbers are numbers, and all others choices. What was not recorded is not legal.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from infertune.core.errors import DataError, nearest, quoted
from infertune.core.goal import Goal, parse_goal
from infertune.core.records import Failed
from infertune.core.space import Baseline, Knob, Point, Rule, Space, Value
from infertune.search.replay.document import HINT, parsed, sources, without_index
from infertune.search.replay.landscape import Landscape, as_set

METRICS = ("throughput", "latency", "p50_s", "p99_s", "memory_bytes", "in_flight", "launch_s", "build_s", "failed")
"""Columns that are no knobs where no document says otherwise."""
ALIASES = {
    "batch_size": "batch",
    "intraop_threads": "cores",
    "intra_op_num_threads": "cores",
    "num_threads": "cores",
    "threads": "cores",
    "num_instances": "instances",
    "num_streams": "instances",
    "streams": "instances",
}
"""What columns of other tools mean, where no document says otherwise."""
_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_PLAIN: Mapping[str, Any] = {
    "metrics": {
        "throughput": {"column": "throughput"},
        "latency": {"column": "p50_s"},
        "p99": {"column": "p99_s"},
        "memory": {"column": "memory_bytes"},
    },
    "in_flight": {"column": "in_flight"},
    "failed": {"column": "failed"},
    "costs": {"launch_s": {"column": "launch_s"}, "build_s": {"column": "build_s"}},
}
MOST_COMBINATIONS = 1 << 62
"""Of the values of all knobs: what whole numbers of 64 bits can tell apart."""
_WHOLE = re.compile(r"(-?[0-9]{1,18})(\.0+)?")
"""A whole number, perhaps as tools write it that hold the column as decimals (8.0)."""
UNSET = "unset"
Row = Mapping[str, str]
Scheme = Mapping[str, tuple[str, bool]]
"""Knob -> its column, and whether it holds whole numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A landscape, the goal it was recorded for, whether its figures come from a simulation, and how it was read."""

    landscape: Landscape
    goal: Goal
    simulated: bool
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What all launches of one point say; ``throughput`` is their median, 0 where every launch failed."""

    throughput: float
    ratios: tuple[float, ...]
    latencies_s: tuple[float, float] | None
    memory_bytes: int | None
    in_flight: int
    launch_s: float | None
    build_s: float | None
    failed: Failed | None


def recording(name: str, table: str, document: str | None = None) -> Recording:
    """Raises `DataError` for a table or document that does not say what is needed."""
    rows, said = _rows(name, table), parsed(name, document)
    told, notes = without_index(rows, {**_PLAIN, **said})
    _check_columns(name, rows[0], said)
    _check_rates(name, rows[0], told)
    _check_roles(name, rows, told)
    schemes = _schemes(name, rows, told)
    groups: dict[Point, list[Row]] = {}
    for row in rows:
        groups.setdefault(_point(row, told, schemes), []).append(row)
    found = {point: _figures(name, point, launches, told) for point, launches in groups.items()}
    spaces = _spaces(told, list(found))
    _check_named(name, told, spaces)
    landscape = Landscape(
        name=str(told.get("title", name)),
        spaces=spaces,
        throughput=lambda p: found[p].throughput,
        in_flight=lambda p: found[p].in_flight,
        fails=lambda p: found[p].failed,
        ratios=lambda p: found[p].ratios,
        latencies_s=lambda p: found[p].latencies_s,
        memory_bytes=lambda p: found[p].memory_bytes,
        launch_cost_s=lambda p: found[p].launch_s,
        build_cost_s=lambda p: found[p].build_s,
    )
    goal = parse_goal(told.get("goal", "max throughput"))
    return Recording(landscape=landscape, goal=goal, simulated=bool(told.get("simulated")), notes=notes)


def _rows(name: str, table: str) -> list[Row]:
    try:
        reader = csv.DictReader(io.StringIO(table))
        rows: list[Row] = list(reader)
    except csv.Error as error:
        raise DataError("recording-table", f"`{quoted(name)}` is no CSV: {error}", hint=_CSV) from error
    if not rows:
        raise DataError("recording-empty", f"`{quoted(name)}` holds no rows", hint=_CSV)
    columns = reader.fieldnames or ()
    for column in columns:
        if columns.count(column) > 1:
            raise DataError("recording-table", f"`{quoted(name)}` has two columns `{quoted(column)}`", hint=_CSV)
    for number, row in enumerate(rows, start=1):
        if None in row:
            raise DataError(
                "recording-table", f"row {number} of `{quoted(name)}` has more cells than there are columns", hint=_CSV
            )
    return rows


_CSV = "a CSV with a line of column names"


def _check_columns(name: str, row: Row, said: Mapping[str, Any]) -> None:
    """Every column that the document names is there."""
    knobs = [spec.get("column", knob) for knob, spec in said.get("knobs", {}).items()]
    for column in (*knobs, *(spec["column"] for spec in sources(said)), *said.get("ignored", ())):
        if column not in row:
            raise DataError(
                "recording-column",
                f"`{quoted(name)}` has no column `{quoted(column)}`",
                hint=f"{nearest(column, row)}columns: {quoted(', '.join(row))}",
            )


def _check_rates(name: str, row: Row, told: Mapping[str, Any]) -> None:
    if not any(_cell(row, told["metrics"].get(metric)) is not None or _has(row, told, metric) for metric in _RATES):
        raise DataError(
            "recording-column",
            f"`{quoted(name)}` has neither a throughput nor a latency",
            hint="name a column under `metrics` in the document beside it, or call it throughput",
        )


def _check_roles(name: str, rows: Sequence[Row], told: Mapping[str, Any]) -> None:
    """No column may vary without a role: settings that it tells apart would be one point."""
    used = {*_knob_columns(told, rows[0]).values(), *_other_columns(told), *METRICS}
    free = [column for column in rows[0] if column not in used and len({row[column] for row in rows}) > 1]
    if free:
        raise DataError(
            "recording-column",
            f"the document beside `{quoted(name)}` does not say what varies in {quoted(', '.join(free))}",
            hint="name it under `knobs` or `metrics`, or in the list `ignored`",
        )


_RATES = ("throughput", "latency")


def _has(row: Row, told: Mapping[str, Any], metric: str) -> bool:
    spec = told["metrics"].get(metric)
    return isinstance(spec, dict) and spec["column"] in row


def _cell(row: Row, spec: Any) -> str | None:
    """The text of a row that ``spec`` ({"column": name}, or a constant) names; None where it is empty."""
    if isinstance(spec, dict):
        return row.get(str(spec.get("column"))) or None
    return None if spec is None else str(spec)


def _number(name: str, row: Row, spec: Any) -> float | None:
    """In seconds where a unit is named."""
    text = _cell(row, spec)
    if text is None:
        return None
    try:
        unit = spec.get("unit", "s") if isinstance(spec, dict) else "s"
        figure = float(text) * _SECONDS[unit]
        if not 0.0 <= figure < math.inf:
            raise ValueError
        return figure
    except (ValueError, KeyError):
        raise DataError(
            "recording-figure", f"`{quoted(name)}`: `{quoted(text)}` is no figure in {spec}", hint=HINT
        ) from None


# ---------------------------------------------------------------- points and spaces


def _knob_columns(told: Mapping[str, Any], row: Row) -> dict[str, str]:
    """Knob -> column."""
    if "knobs" in told:
        return {knob: spec.get("column", knob) for knob, spec in told["knobs"].items()}
    free = [column for column in row if column not in METRICS and column not in _other_columns(told)]
    found: dict[str, str] = {}
    for column in free:
        meant = ALIASES.get(column, column)
        found[column if meant in found or (meant != column and meant in row) else meant] = column
    return found


def _other_columns(told: Mapping[str, Any]) -> set[str]:
    """Columns that the document names for something else than a knob, or to be ignored."""
    return {*(spec["column"] for spec in sources(told)), *told.get("ignored", ())}


def _target(row: Row, told: Mapping[str, Any]) -> str:
    return _cell(row, told.get("target", "recorded")) or "recorded"


def _schemes(name: str, rows: Sequence[Row], told: Mapping[str, Any]) -> dict[str, Scheme]:
    """Per target its knobs: those whose column some row of it fills."""
    by_target: dict[str, list[Row]] = {}
    for row in rows:
        by_target.setdefault(_target(row, told), []).append(row)
    columns = _knob_columns(told, rows[0])
    return {target: _scheme(name, told, columns, ours) for target, ours in by_target.items()}


def _scheme(name: str, told: Mapping[str, Any], columns: Mapping[str, str], rows: Sequence[Row]) -> Scheme:
    texts = {knob: {row.get(column) or "" for row in rows} for knob, column in columns.items()}
    scales = {knob: spec.get("scale") for knob, spec in told.get("knobs", {}).items()}
    scheme: dict[str, tuple[str, bool]] = {}
    for knob, found in texts.items():
        others = sorted(text for text in found if not _WHOLE.fullmatch(text))
        if others and any(found) and scales.get(knob) == "number":
            raise DataError(
                "recording-figure",
                f"`{quoted(name)}`: `{quoted(others[0])}` in `{quoted(columns[knob])}` is no whole number",
                hint="write whole numbers in every row (of a smaller unit), or say choice as its `scale`",
            )
        if any(found):
            scheme[knob] = (columns[knob], not others and scales.get(knob) != "choice")
    return scheme


def _point(row: Row, told: Mapping[str, Any], schemes: Mapping[str, Scheme]) -> Point:
    """Where other rows of the target set a knob and this one does not, it is `UNSET`."""
    target = _target(row, told)
    values: dict[str, Value] = {}
    for knob, (column, whole) in schemes[target].items():
        text = row.get(column) or UNSET
        values[knob] = int(text.partition(".")[0]) if whole else text
    return Point.of(target, str(told.get("device", "recorded")), values)


def _spaces(told: Mapping[str, Any], points: Sequence[Point]) -> tuple[Space, ...]:
    homes = dict.fromkeys((point.target, point.device) for point in points)
    return tuple(_space(told, [p for p in points if (p.target, p.device) == home]) for home in homes)


def _space(told: Mapping[str, Any], points: Sequence[Point]) -> Space:
    first, recorded = points[0], frozenset(point.settings for point in points)
    names = [name for name, _ in first.settings]
    knobs = tuple(_knob(told, name, {p.values[name] for p in points if name in p.values}) for name in names)
    combinations = math.prod(len(knob.values) for knob in knobs)
    if combinations > MOST_COMBINATIONS:
        raise DataError(
            "recording-knobs",
            f"the values of {len(knobs)} knobs have 1e{math.log10(combinations):.0f} combinations, too many to number",
            hint="say in the document which columns are `metrics` and which are `knobs`",
        )
    rule = Rule(
        reason="only what was recorded",
        holds=lambda values: tuple(sorted(values.items())) in recorded,
        only=tuple(point.values for point in points),
    )
    bare = Space(target=first.target, device=first.device, knobs=knobs, rules=(rule,))
    seeds = tuple(_named(bare, told.get("seeds", ())))
    baselines = tuple(
        Baseline(name=name, point=point)
        for name, values in told.get("baselines", {}).items()
        for point in _named(bare, [values])
    )
    return Space(
        target=bare.target, device=bare.device, knobs=knobs, rules=bare.rules, seeds=seeds, baselines=baselines
    )


def _named(space: Space, wanted: Iterable[Mapping[str, Value]]) -> list[Point]:
    """Points of this space that were recorded; those of other targets and of other values are left out."""
    found = []
    for values in wanted:
        if values.get("target", space.target) == space.target:
            texts = {name: str(value) for name, value in values.items()}
            read = {k.name: v for k in space.knobs for v in k.values if str(v) == texts.get(k.name)}
            found.append(Point.of(space.target, space.device, read))
    return [point for point in found if space.why_illegal(point) is None]


def _check_named(name: str, told: Mapping[str, Any], spaces: Sequence[Space]) -> None:
    """Every seed and baseline is a point of some space."""
    knobs = {knob.name for space in spaces for knob in space.knobs}
    for values in (*told.get("seeds", ()), *told.get("baselines", {}).values()):
        odd = next((key for key in values if key not in {"target", *knobs}), None)
        if odd is not None or not any(_named(space, [values]) for space in spaces):
            shown = ", ".join(f"{key}={value}" for key, value in values.items())
            why = "a seed or baseline has the values of a recorded point, one for every knob"
            raise DataError(
                "recording-seed",
                f"`{quoted(name)}` has no point `{quoted(shown)}`",
                hint=why if odd is None else f"{nearest(odd, knobs)}knobs: {', '.join(sorted(knobs))}; target",
            )


def _knob(told: Mapping[str, Any], name: str, values: Iterable[Value]) -> Knob:
    ordered = tuple(sorted(values, key=lambda v: (isinstance(v, str), v if isinstance(v, int) else 0, str(v))))
    stage = told.get("knobs", {}).get(name, {}).get("stage", "run")
    return Knob(
        name=name,
        stage="build" if stage == "build" else "run",
        default=ordered[0],
        values=ordered,
        allowed=ordered,
        doc=name,
        spelling=name,
    )


# ---------------------------------------------------------------- figures


def _figures(name: str, point: Point, launches: Sequence[Row], told: Mapping[str, Any]) -> Figures:
    good = [row for row in launches if _cell(row, told.get("failed")) is None]
    rates = [rate for row in good if (rate := _rate(name, point, row, told)) is not None and rate > 0]
    costs = told.get("costs", {})
    middle = median(rates) if rates else 0.0
    memory = _middle(name, good, told["metrics"].get("memory"))
    in_flight = _middle(name, good, told.get("in_flight"))
    return Figures(
        throughput=middle,
        ratios=tuple(rate / middle for rate in rates) or (1.0,),
        latencies_s=_latencies(name, good, told),
        memory_bytes=None if memory is None else round(memory),
        in_flight=as_set(point) if in_flight is None else max(1, round(in_flight)),
        launch_s=_middle(name, launches, costs.get("launch_s")),
        build_s=_middle(name, launches, costs.get("build_s")),
        failed=None if rates else _failure(_cell(launches[0], told.get("failed"))),
    )


def _rate(name: str, point: Point, row: Row, told: Mapping[str, Any]) -> float | None:
    """Recorded, or from a latency by Little's law."""
    metrics = told["metrics"]
    recorded = _number(name, row, metrics.get("throughput"))
    latency = _number(name, row, metrics.get("latency"))
    if recorded is not None or not latency:
        return recorded
    in_flight = _number(name, row, told.get("in_flight")) or as_set(point)
    return in_flight * max(1, point.number("batch", 1)) / latency


def _latencies(name: str, rows: Sequence[Row], told: Mapping[str, Any]) -> tuple[float, float] | None:
    p50, p99 = (_middle(name, rows, told["metrics"].get(metric)) for metric in ("latency", "p99"))
    if p50 is None:
        return None
    return p50, p50 if p99 is None else p99


def _middle(name: str, rows: Sequence[Row], spec: Any) -> float | None:
    found = [value for row in rows if (value := _number(name, row, spec)) is not None]
    return median(found) if found else None


def _failure(kind: str | None) -> Failed:
    match kind:
        case "compiler":
            return Failed(stage="build", kind="compiler", message="recorded as failed to build")
        case "memory" | "device-memory" | "timeout" | "device" | "output":
            return Failed(stage="measure", kind=kind, message=f"recorded as failed: {kind}")
    return Failed(stage="measure", kind="crash", message="recorded as failed")
