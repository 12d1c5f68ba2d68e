"""``knob=value`` lists as people write them: ``batch=1,2,4``, ``batch=1..8``, ``batch=1..64*2``, ``arena=on,off``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from infertune.core.errors import UsageError, quoted
from infertune.core.space import Value

_RANGE = re.compile(r"(-?\d+)\.\.(-?\d+)(?:\*(\d+))?")
_MOST = 10_000
_HINT = "write `batch=1,2,4`, `batch=1..8` or `batch=1..64*2`"


def _bad(item: str) -> UsageError:
    return UsageError("assignment-syntax", f"`{quoted(item)}` is not `name=value`", hint=_HINT)


def _steps(low: int, high: int, factor: int | None) -> Iterator[int]:
    value = low
    while value <= high:
        yield value
        value = value * factor if factor else value + 1


def _expand(text: str, item: str) -> list[Value]:
    match = _RANGE.fullmatch(text)
    if match is None:
        if not text:
            raise _bad(item)
        return [int(text) if re.fullmatch(r"-?\d+", text) else text]
    low, high, factor = int(match[1]), int(match[2]), int(match[3]) if match[3] else None
    if low > high or high - low > _MOST or (factor is not None and (factor < 2 or low < 1)):
        raise _bad(item)
    return list(_steps(low, high, factor))


def parse_assignments(items: Iterable[str]) -> dict[str, tuple[Value, ...]]:
    """Name -> values, in the order given; a name given twice collects both. Raises `UsageError`."""
    found: dict[str, list[Value]] = {}
    for item in items:
        name, equals, text = item.partition("=")
        if not equals or not name.strip():
            raise _bad(item)
        values = [value for part in text.split(",") for value in _expand(part.strip(), item)]
        found.setdefault(name.strip(), []).extend(values)
    return {name: tuple(dict.fromkeys(values)) for name, values in found.items()}
