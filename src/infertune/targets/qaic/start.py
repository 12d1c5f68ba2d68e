"""Starting the vendor's tools: one that the system cannot start ends as one that refuses does."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from infertune.core.seams import Done, Shell

NOT_STARTED = 127
"""The exit code that shells give for a program that cannot be started."""


def start(shell: Shell, argv: Sequence[str], *, timeout_s: float, log: str, folder: str) -> Done:
    """Run a tool in ``folder``, its output in the file ``log``."""
    try:
        return shell.run(argv, timeout_s=timeout_s, log=log, env=None, cwd=folder)
    except OSError as error:
        why = f"{os.path.basename(argv[0])} cannot be started: {error.strerror or error}"
        Path(log).write_text(why + "\n")
        return Done(code=NOT_STARTED, timed_out=False, tail=why, wall_s=0.0)
