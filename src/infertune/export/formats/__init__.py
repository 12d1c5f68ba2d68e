"""Formats of `infertune export --to`: one file here each, called like the format; adding one touches nothing else.

A format is a module with a ``title`` (its line in the docs), ``targets`` (whose winners it can carry; empty means every
target's) and ``write``. It rewrites the `python` bundle, which the target made itself, so that no format measures,
builds or knows a runtime's settings better than the target does.
"""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from infertune.core.errors import UsageError, nearest

if TYPE_CHECKING:
    from infertune.export.bundle import Bundle

DEFAULT = "python"


class Format(Protocol):
    """What a module of this folder has."""

    title: str
    targets: frozenset[str]

    def write(self, bundle: Bundle, into: Path) -> str:
        """Write the files into ``into`` and return the part of README.md that says how to start them."""


def names() -> tuple[str, ...]:
    """Every format, the default first; nothing is imported."""
    found = (module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__))
    return tuple(sorted(found, key=lambda name: (name != DEFAULT, name)))


def discover() -> dict[str, Format]:
    """Every format by name, the default first."""
    return {name: cast(Format, importlib.import_module(f"{__name__}.{name.replace('-', '_')}")) for name in names()}


def fits(one: Format, target: str) -> bool:
    return not one.targets or target in one.targets


def find_format(name: str, target: str) -> Format:
    """The format ``name`` for a winner of ``target``. Raises `UsageError` when there is none, or it does not fit."""
    known = discover()
    if name not in known:
        raise UsageError(
            "unknown-format", f"`{name}` is not a format", hint=f"{nearest(name, known)}formats: {', '.join(known)}"
        )
    found = known[name]
    if not fits(found, target):
        fitting = ", ".join(other for other, one in known.items() if fits(one, target))
        own = " or ".join(f"`--target {t}`" for t in sorted(found.targets))
        raise UsageError(
            "format-does-not-fit",
            f"the winner runs on {target}, which `{name}` cannot carry: its number would not be the confirmed one",
            hint=f"formats for it: {fitting}; or tune with {own}",
        )
    return found
