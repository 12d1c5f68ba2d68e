"""Durations as people write them: ``5m``, ``90s``, ``1h30m``, ``30d``."""

from __future__ import annotations

import re

from infertune.core.errors import UsageError, quoted

_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_duration(text: str | float) -> float:
    """Seconds; a bare number is seconds. Raises `UsageError` (id ``duration-syntax``)."""
    if isinstance(text, int | float):
        return float(text)
    compact = text.replace(" ", "")
    if re.fullmatch(r"\d+(\.\d+)?", compact):
        return float(compact)
    parts = _PART.findall(compact)
    if not parts or "".join(n + u for n, u in parts) != compact:
        raise UsageError("duration-syntax", f"`{quoted(text)}` is not a duration", hint="write `90s`, `5m` or `1h30m`")
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)
