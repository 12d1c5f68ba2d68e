"""The JSON document beside a recording: read, and of the form that `recording` describes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from infertune.core.errors import DataError, quoted

HINT = "docs/replay.md shows what it may say"


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
    for key, (words, fits) in _FORMS.items():
        if key in told and not fits(told[key]):
            raise _wrong(name, f"says `{key}` wrongly: it is {words}")
    return told


def _wrong(name: str, what: str) -> DataError:
    return DataError("recording-document", f"the document beside `{quoted(name)}` {what}", hint=HINT)


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
