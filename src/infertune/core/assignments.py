"""``knob=value`` lists as people write them: ``batch=1,2,4``, ``batch=1..8``, ``batch=1..64*2``, ``arena=on,off``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice

from infertune.core.errors import UsageError, quoted
from infertune.core.space import Value

_NUMBER = r"-?[0-9]{1,18}"
_RANGE = re.compile(rf"({_NUMBER})\.\.({_NUMBER})(?:\*([0-9]{{1,18}}))?")
MOST = 10_000
"""Values of one range."""
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
        return [int(text) if re.fullmatch(_NUMBER, text) else text]
    low, high, factor = int(match[1]), int(match[2]), int(match[3]) if match[3] else None
    if low > high or (factor is not None and (factor < 2 or low < 1)):
        raise _bad(item)
    values: list[Value] = list(islice(_steps(low, high, factor), MOST + 1))
    if len(values) > MOST:
        raise UsageError(
            "assignment-range", f"`{quoted(item)}` holds more than {MOST:,} values", hint="write `1..65536*2` to double"
        )
    return values


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
