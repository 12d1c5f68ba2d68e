"""Finding the Cloud AI SDK, of either generation, and saying what is wrong with it in one line."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from infertune.core.errors import DataError, NotFoundError, quoted
from infertune.edge.environment import variable

ROOT_VARIABLE = "QAIC_ROOT"
USUAL_ROOT = "/opt/qti-aic"
MARKER = "simulated.json"  # only a tree of `infertune qaic-sim install` has it, and its programs do not run without

OLD, NEW = "1.10", "1.19"
_COMPILERS = ("exec/qaic-compile", "exec/qaic-exec")
_RUNNER = "exec/qaic-runner"
_QUERY = "tools/qaic-util"
_VERSIONS = ("versions/apps.xml", "versions/platform.xml")
_VERSION = re.compile(r"<(?:base_version|version)>\s*(\d+)\.(\d+)(?:\.(\d+))?[^<]*<")
_FIRST, _FIRST_NEW, _LAST = (1, 10), (1, 19), (1, 21)
_INSTALL = (
    f"install the Platform and Apps SDK, set {ROOT_VARIABLE} to where they are, or try a simulated card: "
    "infertune qaic-sim install DIR"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sdk:
    """The tools. ``generation``: the older (1.10) or the newer (from 1.19 on) way of spelling and writing files."""

    root: str
    compiler: str
    runner: str
    query: str
    version: str
    generation: str
    simulated: bool

    @property
    def hardware(self) -> str:
        """``-aic-hw-version`` as this compiler's own examples spell it."""
        return "ai100" if self.compiler.endswith("qaic-compile") else "2.0"


def asked_root() -> str:
    """Where the SDK should be."""
    return variable(ROOT_VARIABLE) or USUAL_ROOT


def expected() -> bool:
    """Whether a folder is named, or is where it usually is: else there is no card, which nobody wants to hear about."""
    return bool(variable(ROOT_VARIABLE)) or os.path.isdir(USUAL_ROOT)


def find_sdk(root: str | None = None) -> Sdk:
    """The SDK below ``root``.

    Raises `NotFoundError` (``sdk-not-found``, ``sdk-tool-missing``, ``sdk-tool-unusable``) and `DataError`
    (``sdk-version-unknown``).
    """
    base = root or asked_root()
    if not os.path.isdir(base):
        raise NotFoundError("sdk-not-found", f"there is no Cloud AI SDK in `{quoted(base)}`", hint=_INSTALL)
    generation, version = _generation(base)
    return Sdk(
        root=base,
        compiler=_compiler(base, generation),
        runner=_tool(base, _RUNNER),
        query=_tool(base, _QUERY),
        version=version,
        generation=generation,
        simulated=os.path.isfile(os.path.join(base, MARKER)),
    )


def _compiler(base: str, generation: str) -> str:
    """`qaic-compile` where the newer generation has it, else `qaic-exec`; both take the same flags."""
    order = _COMPILERS if generation == NEW else _COMPILERS[::-1]
    there = [name for name in order if os.path.exists(os.path.join(base, name))]
    return _tool(base, there[0] if there else order[0])


def _tool(base: str, name: str) -> str:
    path = os.path.join(base, name)
    if not os.path.isfile(path):
        raise NotFoundError(
            "sdk-tool-missing",
            f"the SDK in `{quoted(base)}` has no {name}",
            hint=f"install both the Platform and the Apps SDK, or set {ROOT_VARIABLE} to another one",
        )
    if not os.access(path, os.X_OK):
        raise NotFoundError(
            "sdk-tool-unusable",
            f"`{quoted(path)}` may not be executed",
            hint="check its permissions, and that you are in the group `qaic` (log in again after joining it)",
        )
    return path


def _generation(base: str) -> tuple[str, str]:
    """(generation, version). Without a version file the tools that are there decide."""
    for name in _VERSIONS:
        text = _text(os.path.join(base, name))
        if text is None:
            continue
        found = _VERSION.search(text)
        release = (int(found[1]), int(found[2])) if found else (0, 0)
        if found is None or not _FIRST <= release <= _LAST:
            raise DataError(
                "sdk-version-unknown",
                f"`{quoted(os.path.join(base, name))}` names no version that is known here (1.10 to 1.21 are)",
                hint=f"set {ROOT_VARIABLE} to an SDK of one of these versions, or upgrade infertune",
            )
        generation = NEW if release >= _FIRST_NEW else OLD
        return generation, ".".join(part for part in found.groups() if part)
    return (NEW if os.path.exists(os.path.join(base, _COMPILERS[0])) else OLD), "unknown"


def _text(path: str) -> str | None:
    try:
        return Path(path).read_text(errors="replace")[:65_536]
    except OSError:
        return None


def simulation(sdk: Sdk) -> dict[str, str]:
    """What a simulated tree says of itself, as text; empty for a real one.

    ``tree`` tells one from another: a program compiled in one computes no outputs in another.
    """
    if not sdk.simulated:
        return {}
    told = marked(Path(sdk.root))
    return {name: str(told[name]) for name in ("card", "release", "tree") if name in told} or {"damaged": "yes"}


def marked(root: Path) -> dict[str, object]:
    """What the marker of a simulated tree holds; nothing when it is missing or damaged."""
    try:
        told = json.loads((root / MARKER).read_text())
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}
