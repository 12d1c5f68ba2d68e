"""The console command in a process of its own, as a person runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path


def argv(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "infertune.cli.app", *arguments]


def environment(folder: Path, **more: str) -> dict[str, str]:
    """This one, with the artifact cache inside ``folder`` and no colours."""
    return {**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), "NO_COLOR": "1", **more}


def infertune(
    folder: Path, *arguments: str, env: Mapping[str, str] | None = None, timeout_s: float = 240.0
) -> subprocess.CompletedProcess[str]:
    """Run ``infertune ARGUMENTS`` in ``folder``."""
    return subprocess.run(
        argv(*arguments), cwd=folder, env=environment(folder, **(env or {})), capture_output=True, text=True,
        timeout=timeout_s, check=False,
    )  # fmt: skip
