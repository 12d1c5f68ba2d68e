"""The page's tables as plain text in rows: the setting, spaces, knobs, flags, machine, all trials."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from infertune.core import audit, tallies, words
from infertune.core.records import Device, Launch, Measurement, Named, TensorSpec
from infertune.core.space import Point
from infertune.report.document import Section, texts
from infertune.report.importance import Effect
from infertune.report.inert import one_line
from infertune.report.page import commands
from infertune.report.page.basis import Basis
from infertune.report.rows import Cell, number_of

MOST_TENSORS = 20
STATUSES = ("ok", "misses_limit", "unfaithful", "failed", "unmeasured")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """``label`` names the table for those who do not see it."""

    label: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def of_section(section: Section) -> Rows | None:
    grid = section.grid
    return Rows(label=section.title, header=grid.header, rows=grid.rows) if grid else None


def setting(basis: Basis, point: Point) -> Rows:
    """Every knob, whether it is off its default, and what the tool underneath calls it."""
    space = words.space_of(point, basis.reading.question.spaces)
    known = {knob.name: knob for knob in space.knobs} if space else {}
    off = set(words.changed(point, basis.reading.question.spaces))
    order = {name: place for place, name in enumerate(known)}
    rows = []
    for name, value in sorted(point.settings, key=lambda pair: order.get(pair[0], 0)):
        knob = known.get(name)
        default = "" if knob is None else one_line(words.value(name, knob.default), 60) if name in off else "same"
        stage = knob.stage if knob else ""
        shown = one_line(words.value(name, value), 120)
        rows.append((one_line(name, 60), shown, default, stage, one_line(knob.spelling if knob else "")))
    return Rows(
        label="Settings", header=("knob", "value", "default", "stage", "known to the runtime as"), rows=tuple(rows)
    )


def spaces(basis: Basis) -> Rows:
    """Per target: combinations, those that the rules allow, those tried, and how these ended."""
    rows = []
    tried = [trial for trial in basis.trials if trial.point in tallies.tried(basis.reading)]
    for space in basis.reading.question.spaces:
        mine = [t for t in tried if (t.point.target, t.point.device) == (space.target, space.device)]
        ended = [sum(t.status == status for t in mine) for status in STATUSES]
        share = f"{len(mine):,} ({words.three(100 * len(mine) / space.legal)} %)" if space.legal else str(len(mine))
        counts = (f"{space.raw:,}", f"{space.raw - space.legal:,}", f"{space.legal:,}", share)
        rows.append((one_line(space.target, 60), *counts, *map(str, ended)))
    header = (
        "target",
        "combinations",
        "against a rule",
        "legal",
        "tried",
        "ok",
        "miss a limit",
        "unfaithful",
        "failed",
        "unmeasured",
    )
    return Rows(label="Points of each space", header=header, rows=tuple(rows))


def rules(basis: Basis) -> tuple[str, ...]:
    several = len(basis.reading.question.spaces) > 1
    return tuple(
        one_line(f"{space.target}: {rule}" if several else rule)
        for space in basis.reading.question.spaces
        for rule in space.rules
    )


def effects(found: Iterable[Effect]) -> Rows:
    rows = tuple(
        (
            one_line(e.knob, 40), f"{100 * e.share:.0f} %", f"{e.factor:.2f}x",
            one_line(words.value(e.knob, e.best), 40), one_line(words.value(e.knob, e.worst), 40), str(e.values),
        )
        for e in found
    )  # fmt: skip
    header = ("knob", "share of what is explained", "best against worst", "best", "worst", "values measured")
    return Rows(label="Effect of each knob", header=header, rows=rows)


def flags(basis: Basis) -> Rows | None:
    total = len(basis.reading.launches)
    rows = tuple(
        (
            one_line(name, 60), f"{count} of {total}", "environment" if name in audit.ENVIRONMENT else "point or plan",
            audit.FLAGS.get(name, ""),
        )
        for name, count in basis.found.flags
    )  # fmt: skip
    header = ("flag", "launches", "about the", "meaning")
    return Rows(label="Flagged launches", header=header, rows=rows) if rows else None


def facts(basis: Basis) -> tuple[tuple[str, Named], ...]:
    """Titled groups of (label, text): the model, each device, the host, the study."""
    question = basis.reading.question
    devices = [
        (f"Device of target {one_line(d.target, 60)}", (*_device(d), *_conditions(d, basis.reading.launches)))
        for d in question.devices
    ]
    study = (
        ("infertune", one_line(question.version)),
        ("began", one_line(question.made_at)),
        ("strategy", one_line(question.strategy)),
        ("seed", str(question.seed)),
        ("inputs", _feed(basis)),
        ("budget", words.seconds(basis.found.budget_s) if basis.found.budget_s else "none"),
    )
    return (("Model", _model(basis)), *devices, ("Host", _inert(question.host)), ("Study", study))


def _inert(named: Named) -> Named:
    return tuple((one_line(name, 60), one_line(text)) for name, text in named)


def _feed(basis: Basis) -> str:
    feed = basis.reading.question.feed
    return f"file {one_line(commands.file_name(feed.path), 200)}" if feed.path else f"made from seed {feed.seed}"


def _model(basis: Basis) -> Named:
    model = basis.reading.question.model
    return (
        ("name", one_line(model.name, 200)),
        ("file", one_line(commands.file_name(model.path), 200)),
        ("SHA-256", one_line(model.digest, 80)),
        ("parameters", f"{model.parameters:,}"),
        ("weights", f"{model.weight_bytes / 1e6:.1f} MB"),
        ("operator set", str(model.opset)),
        ("inputs", _tensors(model.inputs)),
        ("outputs", _tensors(model.outputs)),
    )


def _tensors(specs: Sequence[TensorSpec]) -> str:
    shown = [f"{one_line(s.name, 80)}: {s.dtype}[{', '.join(map(str, s.dims))}]" for s in specs[:MOST_TENSORS]]
    more = [f"and {len(specs) - MOST_TENSORS} more"] if len(specs) > MOST_TENSORS else []
    return one_line("; ".join([*shown, *more]), 2000)


def _device(device: Device) -> Named:
    memory = (("memory", f"{device.memory_bytes / 1e9:.1f} GB"),) if device.memory_bytes else ()
    return (
        ("name", one_line(f"{device.title} ({device.name})", 200)),
        ("simulated", "yes: nothing here was measured on a real device" if device.simulated else "no"),
        ("compute units", str(device.units)),
        *memory,
        ("precisions", one_line(", ".join(device.precisions))),
        ("health", one_line(device.health)),
        *_inert(device.versions),
        *_inert(device.facts),
    )


_AROUND = (
    ("temperature", "c", "temperature", "C"),
    ("power", "w", "power", "W"),
    ("nsp", "mhz", "NSP clock", "MHz"),
)
"""What a device may tell of itself before, during and after each launch: the setting's name and unit, and ours."""


def _conditions(device: Device, launches: Sequence[Launch]) -> Named:
    """How warm and how fast the device was, and what it drew, over all launches on it; none where it does not tell."""
    told = [settings for la in launches if (settings := _settings_on(device, la))]
    marked = " (simulated)" if device.simulated else ""
    rows = []
    for name, unit, label, shown in _AROUND:
        for moment in ("before", "during", "after"):
            known = (number_of(settings.get(f"{name}_{moment}_{unit}", "")) for settings in told)
            if values := [value for value in known if value is not None]:
                rows.append((f"{label} {moment} launches", f"{min(values):.0f} to {max(values):.0f} {shown}{marked}"))
    return tuple(rows)


def _settings_on(device: Device, launch: Launch) -> dict[str, str]:
    """What the runtime told of a launch, if it was on that device; twins say so themselves."""
    settings = dict(launch.outcome.settings) if isinstance(launch.outcome, Measurement) else {}
    place = launch.point.target, settings.get("measured_on", launch.point.device)
    return settings if place == (device.target, device.name) else {}


# ---------------------------------------------------------------- all trials


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A cell: what is shown, what it sorts by, and whether it is a number or the button that selects its trial."""

    text: str
    value: str
    number: bool
    selects: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AllTrials:
    """``same`` says of each column whether all trials have the same there: such columns are not printed."""

    columns: tuple[str, ...]
    same: tuple[bool, ...]
    rows: tuple[tuple[int, tuple[Field, ...]], ...]


def all_trials(basis: Basis) -> AllTrials:
    """Every trial with every column that says something."""
    table = basis.rows
    names = [n for n in table.columns if n == "trial" or not set(table.column(n)) <= {None, ""}]
    useful = table.only(names)
    numbers = table.column("trial")
    rows = tuple(
        (int(number or 0), tuple(map(_field, useful.columns, row, texts(useful, row))))
        for number, row in zip(numbers, useful.rows, strict=True)
    )
    same = tuple(len(rows) > 1 and len(set(useful.column(name))) == 1 for name in names)
    return AllTrials(columns=tuple(one_line(name, 40) for name in useful.columns), same=same, rows=rows)


def _field(column: str, cell: Cell, text: str) -> Field:
    value = "" if cell is None else one_line(cell, 160) if isinstance(cell, str) else repr(cell)
    return Field(text=text, value=value, number=isinstance(cell, int | float), selects=column == "trial")
