"""The JSON document beside a recording: read, and of the form that `recording` describes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from infertune.core.errors import DataError, nearest, quoted

HINT = "docs/replay.md shows what it may say"
_SAID: Mapping[str, tuple[str, ...]] = {
    "stage": ("run", "build"),
    "scale": ("number", "choice"),
    "unit": ("s", "ms", "us", "ns"),
}
"""Keys whose value is one of some words."""


def parsed(name: str, document: str | None) -> Mapping[str, Any]:
    """What the document says, {} without one. Raises `DataError` (``recording-document``) for one of another form."""
    if document is None:
        return {}
    try:
        told = json.loads(document)
    except (ValueError, RecursionError) as error:
        raise _wrong(name, f"is no JSON: {error}") from error
    if not isinstance(told, dict):
        raise _wrong(name, "is no object")
    _check_keys(name, told, (*_FORMS, *_READ_BY_PEOPLE))
    for key, (words, fits) in _FORMS.items():
        if key in told and not fits(told[key]):
            raise _wrong(name, f"says `{key}` wrongly: it is {words}")
    _check_inside(name, told)
    return told


Told = Mapping[str, Any]


def without_index(rows: Sequence[Mapping[str, str]], told: Told) -> tuple[Told, tuple[str, ...]]:
    """What is said, with a first column ignored that has no name and counts the rows from 0, as pandas writes one; and
    a note of that.
    """
    first = next(iter(rows[0]))
    if first or [row[first] for row in rows] != [str(number) for number in range(len(rows))]:
        return told, ()
    note = "the first column has no name and counts the rows: it is ignored"
    return {**told, "ignored": [*told.get("ignored", ()), first]}, (note,)


def _check_inside(name: str, told: Mapping[str, Any]) -> None:
    knobs = told.get("knobs", {}).values()
    for key, known in _NAMES.items():
        _check_keys(name, told.get(key, {}), known, f" in `{key}`")
    for spec in knobs:
        _check_keys(name, spec, ("column", "stage", "scale"), " of a knob")
    for spec in sources(told):
        _check_keys(name, spec, ("column", "unit"), " beside `column`")
    for spec in (*knobs, *sources(told)):
        for key in _SAID.keys() & spec.keys():
            _check_word(name, key, str(spec[key]), _SAID[key])


def sources(told: Mapping[str, Any]) -> list[Mapping[str, str]]:
    """Each {"column": name} that stands for something else than a knob."""
    alone = [told.get(key) for key in ("target", "in_flight", "failed")]
    many = [spec for key in ("metrics", "costs") for spec in told.get(key, {}).values()]
    return [spec for spec in (*alone, *many) if isinstance(spec, dict)]


def _check_keys(name: str, told: Mapping[str, Any], known: Sequence[str], where: str = "") -> None:
    for key in told:
        if key not in known:
            hint = f"{nearest(key, known)}keys: {', '.join(known)}"
            raise _wrong(name, f"has a key `{quoted(key)}`{where} that means nothing", hint)


def _check_word(name: str, key: str, word: str, known: tuple[str, ...]) -> None:
    if word not in known:
        hint = f"{nearest(word, known)}{key}: {', '.join(known)}"
        raise _wrong(name, f"says `{key}` wrongly: `{quoted(word)}`", hint)


def _wrong(name: str, what: str, hint: str = HINT) -> DataError:
    return DataError("recording-document", f"the document beside `{quoted(name)}` {what}", hint=hint)


def _is_text(told: Any) -> bool:
    return isinstance(told, str)


def _is_knob(told: Any) -> bool:
    return isinstance(told, dict) and _is_text(told.get("column", ""))


def _is_source(told: Any) -> bool:
    if isinstance(told, dict):
        return _is_text(told.get("column")) and _is_text(told.get("unit", ""))
    return told is None or isinstance(told, str | int | float)


def _is_setting(told: Any) -> bool:
    return _is_object_of(_is_value)(told)


def _is_value(told: Any) -> bool:
    return isinstance(told, str | int)


def _is_object_of(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda told: isinstance(told, dict) and all(map(fits, told.values()))


_SOURCE = 'a constant or {"column": name}'
_FORMS: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    **dict.fromkeys(("title", "goal", "device"), ("a text", _is_text)),
    **dict.fromkeys(("target", "in_flight", "failed"), (_SOURCE, _is_source)),
    **dict.fromkeys(("metrics", "costs"), (f"an object whose values are each {_SOURCE}", _is_object_of(_is_source))),
    "simulated": ("true or false", lambda told: isinstance(told, bool)),
    "knobs": ('an object of objects like {"column": name}', _is_object_of(_is_knob)),
    "seeds": ("a list of objects", lambda told: isinstance(told, list) and all(map(_is_setting, told))),
    "ignored": ("a list of columns", lambda told: isinstance(told, list) and all(map(_is_text, told))),
    "baselines": ("an object of objects", _is_object_of(_is_setting)),
}
_READ_BY_PEOPLE = ("rules", "facts", "recorded_at")
_NAMES: Mapping[str, Sequence[str]] = {
    "metrics": ("throughput", "latency", "p99", "memory"),
    "costs": ("launch_s", "build_s"),
}
