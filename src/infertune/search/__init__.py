"""Strategies: one file of this folder is one strategy, found by its name. What they are made of is in `parts`.

A strategy file holds a pure function ``propose`` that satisfies `core.seams.Strategy`; one that can tell what was left
untried when the search ended has an ``ending`` too.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from typing import cast

from infertune.core.errors import UsageError, nearest, quoted
from infertune.core.goal import Goal
from infertune.core.records import Trial
from infertune.core.seams import Strategy
from infertune.core.space import Space

Ending = Callable[[Sequence[Space], Sequence[Trial], Goal], str]
"""(spaces, history, goal) -> what was left untried, in words; "" when that cannot be told."""


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


def find_ending(name: str) -> Ending:
    """The strategy's own ``ending``; one that tells nothing where it has none."""
    strategy = importlib.import_module(f"{__name__}.{name}")
    return cast(Ending, getattr(strategy, "ending", untold))


def untold(spaces: Sequence[Space], history: Sequence[Trial], goal: Goal) -> str:
    """Nothing is told."""
    return ""
