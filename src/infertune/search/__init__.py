"""Strategies: one file of this folder is one strategy, found by its name. What they are made of is in `parts`.

A strategy file holds a pure function ``propose`` that satisfies `core.seams.Strategy`.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import cast

from infertune.core.errors import UsageError, nearest, quoted
from infertune.core.seams import Strategy


def names() -> tuple[str, ...]:
    """Every strategy there is."""
    return tuple(sorted(found.name for found in pkgutil.iter_modules(__path__) if not found.ispkg))


def find_strategy(name: str) -> Strategy:
    """Raises `UsageError` (id ``unknown-strategy``) with the nearest name."""
    known = names()
    if name not in known:
        raise UsageError(
            "unknown-strategy",
            f"`{quoted(name)}` is not a strategy",
            hint=f"{nearest(name, known)}strategies: {', '.join(known)}",
        )
    return cast(Strategy, importlib.import_module(f"{__name__}.{name}").propose)
