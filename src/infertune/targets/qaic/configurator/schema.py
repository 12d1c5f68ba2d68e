"""The search's JSON in its two published forms, checked key by key."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from infertune.core.errors import DataError, NotFoundError, UsageError, nearest, quoted

_OF_CORES = ("cores", "mos", "instances")
LARGEST_BYTES = 1 << 20
DEFAULT_EVALUATIONS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How one generation spells things. ``set_sizes``: whether it searches and prints the set size."""

    mode: str
    budget: str
    ranges: str
    starts: str
    static: str
    objectives: Mapping[str, str]
    names: Mapping[str, str]
    set_sizes: bool


_COMMON = {"cores": "cores", "mos": "mos", "ols": "ols", "instances": "instances"}
FORM_A = Form(
    mode="",
    budget="max_func_eval",
    ranges="params",
    starts="initial_values",
    static="static_params",
    objectives={"maximize_inf_rate": "max throughput", "minimize_latency": "min latency"},
    names={**_COMMON, "bs": "batch"},
    set_sizes=False,
)
FORM_B = Form(
    mode="search-mode",
    budget="max-func-eval",
    ranges="search-parameters",
    starts="initial-values",
    static="static-parameters",
    objectives={"max-throughput": "max throughput", "min-latency": "min latency"},
    names={**_COMMON, "batch-size": "batch", "set-size": "set_size"},
    set_sizes=True,
)

Start = tuple[tuple[str, int], ...]
Range = tuple[str, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What the JSON asks for, in infertune's knobs. ``evaluations``: at most so many per start.

    ``notes``: lines about what is taken otherwise than written.
    """

    goal: str
    evaluations: int
    ranges: tuple[Range, ...]
    starts: tuple[Start, ...]
    static: Start
    lock_step: bool
    notes: tuple[str, ...] = ()


def read_search(path: str, nsps: int) -> Search:
    """Raises `NotFoundError` (``config-not-found``), `DataError` (``config-syntax``), `UsageError` (``config-..``)."""
    told = _load(path)
    form = FORM_B if any("-" in key for key in told) else FORM_A  # only the newer one's keys have hyphens
    _keys(told, [k for k in (form.mode, form.budget, "objective", form.ranges, form.starts, form.static) if k], "")
    ranges, notes = _ranges(told.get(form.ranges), form, nsps)
    search = Search(
        goal=_objective(told.get("objective"), form),
        evaluations=_whole(told.get(form.budget, DEFAULT_EVALUATIONS), form.budget),
        ranges=ranges,
        starts=(),
        static=_values(told.get(form.static, {}), form, form.static),
        lock_step=form is FORM_B,
        notes=notes,
    )
    _once(search, form)
    if form.mode and told.get(form.mode, "optimized") != "optimized":
        raise _bad_value(f"{form.mode} is `{quoted(str(told[form.mode]))}`", 'only "optimized" is known')
    starts = tuple(
        _start(one, form, search, nsps, i) for i, one in enumerate(_list(told.get(form.starts), form.starts))
    )
    return replace(search, starts=starts)


_SAMPLE = (
    'write {"objective": "maximize_inf_rate", "params": {"cores": {"min": 1, "max": 14}}, '
    '"initial_values": [{"cores": 1}]}'
)


def _bad_value(what: str, hint: str) -> UsageError:
    return UsageError("config-value", what, hint=hint)


def _bad_key(what: str, hint: str) -> UsageError:
    return UsageError("config-key", what, hint=hint)


def _bad_range(what: str, hint: str) -> UsageError:
    return UsageError("config-range", what, hint=hint)


def _bad_start(what: str, hint: str) -> UsageError:
    return UsageError("config-start", what, hint=hint)


def _load(path: str) -> Mapping[str, object]:
    if not Path(path).is_file():
        raise NotFoundError(
            "config-not-found", f"there is no file `{quoted(path)}`", hint="check the path after -config"
        )
    if Path(path).stat().st_size > LARGEST_BYTES:
        raise DataError(
            "config-syntax", f"`{quoted(path)}` is larger than 1 MiB", hint="it should be a short JSON file"
        )
    try:
        told = json.loads(Path(path).read_text(encoding="utf-8-sig"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise DataError("config-syntax", f"`{quoted(path)}` is no JSON: {quoted(str(error))}", hint=_SAMPLE) from None
    if not isinstance(told, dict):
        raise DataError("config-syntax", f"`{quoted(path)}` holds no JSON object", hint=_SAMPLE)
    return told


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    names = [name for name, _ in pairs]
    if repeated := next((n for n in names if names.count(n) > 1), None):
        raise ValueError(f"the key {repeated} is there twice")
    return dict(pairs)


def _keys(told: Mapping[str, object], known: Sequence[str], where: str) -> None:
    for name in told:
        if name not in known:
            inside = f" in {where}" if where else ""
            raise _bad_key(f"`{quoted(name)}` is no key{inside}", f"{nearest(name, known)}keys: {', '.join(known)}")


def _objective(value: object, form: Form) -> str:
    if value is None:
        raise _bad_value("objective is missing", f"objectives: {', '.join(form.objectives)}")
    if not isinstance(value, str) or value not in form.objectives:
        known = ", ".join(form.objectives)
        guess = nearest(str(value), form.objectives)
        raise _bad_value(f"objective is `{quoted(str(value))}`", f"{guess}objectives: {known}")
    return form.objectives[value]


def _whole(value: object, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise _bad_value(f"{where} is `{quoted(json.dumps(value, default=str))}`", "whole numbers from 1 are taken")
    return value


def _object(value: object, where: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise _bad_value(f"{where} is missing or no object", 'write {"cores": {"min": 1, "max": 14}, ...}')
    return value


def _list(value: object, where: str) -> Sequence[object]:
    if not isinstance(value, list) or not value:
        raise _bad_value(f"{where} is missing or no list", 'write [{"cores": 1, ...}, ...]')
    return value


def _ranges(value: object, form: Form, nsps: int) -> tuple[tuple[Range, ...], tuple[str, ...]]:
    """The ranges within the card, and a note for each that is wider: a maximum is a wish."""
    told = _object(value, form.ranges)
    _keys(told, list(form.names), form.ranges)
    asked = {name: _range(form.names[name], name, _object(told[name], f"{form.ranges}.{name}"), nsps) for name in told}
    wide = {name: of[2] for name, of in asked.items() if of[0] in _OF_CORES and of[2] > nsps}
    why = f"the card has {nsps} NSPs"
    notes = (f"{name} is searched up to {nsps} instead of {most}: {why}" for name, most in wide.items())
    found = ((knob, low, nsps if name in wide else high) for name, (knob, low, high) in asked.items())
    return tuple(found), tuple(notes)


def _range(knob: str, name: str, told: Mapping[str, object], nsps: int) -> Range:
    _keys(told, ["min", "max"], name)
    low, high = (_whole(told.get(end), f"{name}.{end}") for end in ("min", "max"))
    if low > high:
        raise _bad_range(f"{name} goes from {low} to {high}", "min must not exceed max")
    if knob == "batch" and any(end & (end - 1) for end in (low, high)):
        raise _bad_range(f"{name} goes from {low} to {high}", "both ends must be powers of two")
    if knob in _OF_CORES and low > nsps:
        raise _bad_range(f"{name} begins at {low}, the card has {nsps} NSPs", f"set {name}.min to {nsps} at most")
    return knob, low, high


def _once(search: Search, form: Form) -> None:
    """What is searched is not fixed, and there is something to search."""
    if not search.ranges:
        raise _bad_value(f"{form.ranges} is empty", "name at least one parameter to search")
    fixed = dict(search.static)
    if twice := [knob for knob, _, _ in search.ranges if knob in fixed]:
        raise _bad_key(f"{form.ranges} and {form.static} both hold {', '.join(twice)}", "leave it out of one of them")


def _values(value: object, form: Form, where: str) -> Start:
    told = _object(value, where)
    _keys(told, list(form.names), where)
    return tuple(sorted((form.names[name], _whole(number, f"{where}.{name}")) for name, number in told.items()))


def _start(value: object, form: Form, search: Search, nsps: int, place: int) -> Start:
    where = f"{form.starts}[{place}]"
    start = dict(_values(value, form, where))
    ranges = {knob: (low, high) for knob, low, high in search.ranges}
    for knob, number in start.items():
        low, high = ranges.get(knob, (number, number))
        if not low <= number <= high:
            raise _bad_start(f"{where}: {knob} {number} is outside {low} to {high}", "starts lie in the ranges")
    if missing := [knob for knob in ranges if knob not in start]:
        raise _bad_start(f"{where} lacks {', '.join(missing)}", "a start has every searched parameter")
    if start.get("cores", 1) * start.get("instances", 1) > nsps:
        raise _bad_start(f"{where}: cores x instances exceed {nsps} NSPs", "take fewer cores or instances")
    if start.get("mos", 1) > start.get("cores", nsps):
        raise _bad_start(f"{where}: mos exceeds cores", "take mos up to cores")
    if (batch := start.get("batch", 1)) & (batch - 1):
        raise _bad_start(f"{where}: batch {batch} is no power of two", "batches are powers of two here")
    return tuple(sorted(start.items()))
