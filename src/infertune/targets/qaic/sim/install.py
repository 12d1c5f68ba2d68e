"""Writing the tree of a simulated SDK: the vendor's layout, thin executables, and what kind of cards there are."""

from __future__ import annotations

import json
import os
import secrets
import stat
import sys
from dataclasses import asdict
from pathlib import Path

import infertune
from infertune.core.errors import CreateError, UsageError, nearest, quoted
from infertune.edge.files import ensure_folder
from infertune.targets.qaic.sdk import MARKER, NEW, OLD, marked
from infertune.targets.qaic.sim.programs.faults import parse_faults
from infertune.targets.qaic.sim.programs.tree import FORMAT, KINDS, Settings, Tree

PROGRAMS = {
    "exec/qaic-exec": "compiler",
    "exec/qaic-compile": "compiler",
    "exec/qaic-runner": "runner",
    "tools/qaic-util": "query",
}
CONFIGURATOR = "scripts/qaic-model-configurator/model_configurator.py"
LATENCY_STATS = "scripts/latency-stats/latency_stats_python3.py"
_VERSIONS = {OLD: "1.10.0.193", NEW: "1.19.2.0"}

_PROGRAM = """#!{python}
# A simulated {name}, written by `infertune qaic-sim install`. It runs no card.
import os
import sys

sys.path.append({source!r})
from infertune.targets.qaic.sim.programs.{module} import main
from infertune.targets.qaic.sim.programs.world import started

sys.exit(started(main, os.path.dirname(os.path.dirname(os.path.realpath(__file__))), sys.argv[1:]))
"""
_COMMAND = """#!{python}
# infertune's own {name} in the vendor's place, written by `infertune qaic-sim install`.
import os
import sys

if sys.prefix != {prefix!r} and os.access({python!r}, os.X_OK):
    os.execv({python!r}, [{python!r}] + sys.argv)  # the notebooks say `python3`, whichever that is
sys.path.append({source!r})
os.environ["QAIC_ROOT"] = os.path.realpath(os.path.join(os.path.dirname(os.path.realpath(__file__)), "../.."))
from infertune.cli.{module} import script

sys.exit(script(sys.argv))
"""


def install(
    folder: Path,
    *,
    card: str = "pro",
    cards: int = 1,
    time_scale: float = 1.0,
    seed: int = 0,
    generation: str = NEW,
    faults: str = "",
) -> Settings:
    """Write the tree into ``folder``, which is empty, new, or an earlier one of these (its state is kept, its cards are
    reset).

    Raises `UsageError` (``unknown-card``, ``unknown-fault``, ...) and `CreateError`.
    """
    if card not in KINDS:
        hint = f"{nearest(card, KINDS)}cards: {', '.join(KINDS)}"
        raise UsageError("unknown-card", f"`{quoted(card)}` is not a kind of card", hint=hint)
    if generation not in (OLD, NEW):
        raise UsageError("unknown-sdk", f"`{quoted(generation)}` is no SDK that is known", hint=f"{OLD} or {NEW}")
    parse_faults(faults)
    settings = Settings(
        card=card, cards=cards, time_scale=time_scale, seed=seed, generation=generation, faults=faults,
        release=infertune.__version__,
    )  # fmt: skip
    _ours(ensure_folder(folder, "the simulated SDK"))
    _write_tree(folder, settings)
    for qid in settings.qids:
        Tree(folder).reset(qid)
    return settings


def _ours(folder: Path) -> None:
    """Never write over somebody's real SDK."""
    if any(folder.iterdir()) and not (folder / MARKER).is_file():
        raise CreateError(
            "folder-not-empty",
            f"`{quoted(str(folder))}` holds something that is no simulated SDK",
            hint="give a new or an empty folder",
        )


def _write_tree(folder: Path, settings: Settings) -> None:
    source = str(Path(infertune.__file__).resolve().parent.parent)
    told = {"format": FORMAT, "simulated": True, "tree": _identity(folder), **asdict(settings)}
    (folder / MARKER).write_text(json.dumps(told, indent=2) + "\n")
    for name, module in PROGRAMS.items():
        _executable(folder / name, _PROGRAM.format(python=sys.executable, name=name, source=source, module=module))
    for name, module in ((CONFIGURATOR, "model_configurator"), (LATENCY_STATS, "latency_stats")):
        of = {"python": sys.executable, "prefix": sys.prefix, "source": source, "module": module}
        _executable(folder / name, _COMMAND.format(name=os.path.basename(name), **of))
    versions = folder / "versions" / "apps.xml"
    versions.parent.mkdir(exist_ok=True)
    versions.write_text(f"<versions><base_version>{_VERSIONS[settings.generation]}</base_version></versions>\n")


def _identity(folder: Path) -> str:
    """The tree's own name, kept when it is installed over: what is compiled in it needs the models that it keeps."""
    known = marked(folder).get("tree")
    return known if isinstance(known, str) else secrets.token_hex(4)


def _executable(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
