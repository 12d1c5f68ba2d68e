"""Durations as people write them: ``5m``, ``90s``, ``1h30m``, ``30d``."""

from __future__ import annotations

import math
import re

from infertune.core.errors import UsageError, quoted

_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_duration(text: str | float) -> float:
    """Seconds, at least 0 and finite; a bare number is seconds. Raises `UsageError` (id ``duration-syntax``)."""
    seconds = _seconds(text) if isinstance(text, str) else _number(text)
    if seconds is None or not 0.0 <= seconds < math.inf:
        raise UsageError(
            "duration-syntax", f"`{quoted(str(text))}` is not a duration", hint="write `90s`, `5m` or `1h30m`"
        )
    return seconds


def _number(given: float) -> float | None:
    return None if isinstance(given, bool) else float(given)


def _seconds(text: str) -> float | None:
    compact = text.replace(" ", "")
    if re.fullmatch(r"\d+(\.\d+)?", compact):
        return float(compact)
    parts = _PART.findall(compact)
    if not parts or "".join(n + u for n, u in parts) != compact:
        return None
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)
