"""Targets: ways to build and run models on a kind of device. A target is a folder here, or an entry point elsewhere.

`discover` lists them without importing any runtime. Other packages add a target through the entry point group
``infertune.targets``. Its value is an object that satisfies `infertune.core.seams.Target`: a module with those
functions, or a module whose ``target`` is such an object (needed where files of the folder are called like them).
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import pkgutil
from typing import cast

from infertune.core.errors import UsageError, nearest
from infertune.core.seams import Target

ENTRY_POINTS = "infertune.targets"


def discover() -> dict[str, Target]:
    """Every target by name, whether its libraries are here or not (see `missing`)."""
    own = [importlib.import_module(f"{__name__}.{m.name}") for m in pkgutil.iter_modules(__path__) if m.ispkg]
    others = [entry.load() for entry in importlib.metadata.entry_points(group=ENTRY_POINTS)]
    found = [cast(Target, getattr(module, "target", module)) for module in (*own, *others)]
    return {target.name: target for target in sorted(found, key=lambda t: t.name)}


def find_target(name: str) -> Target:
    """Raises `UsageError` with the nearest name."""
    targets = discover()
    if name not in targets:
        known = ", ".join(targets)
        raise UsageError(
            "unknown-target", f"`{name}` is not a target", hint=f"{nearest(name, targets)}targets: {known}"
        )
    return targets[name]


def missing(target: Target) -> tuple[str, ...]:
    """What to ``pip install`` before the target works; empty when everything it needs is here."""
    return tuple(install for module, install in target.requires.items() if importlib.util.find_spec(module) is None)
