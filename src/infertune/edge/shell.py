"""Running programs: output to a file, a deadline that holds, and no survivors."""

from __future__ import annotations

import os
import secrets
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from infertune.core.seams import Done
from infertune.edge import process

TAIL_BYTES = 16_384
MARK = "INFERTUNE_LAUNCH"

_PASSED = ("PATH", "HOME", "LANG", "TZ", "TMPDIR", "USER", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV")
_PASSED_PREFIXES = ("LC_", "OMP_", "KMP_", "ORT_", "OV_", "OPENVINO_", "QAIC_", "INFERTUNE_", "XDG_")


def passed_environment() -> dict[str, str]:
    """What children inherit: an allow-list, so that secrets and allocator overrides stay out of launches."""
    return {k: v for k, v in os.environ.items() if k in _PASSED or k.startswith(_PASSED_PREFIXES)}


def tail_of(log: str) -> str:
    """The last part of a log file as text; empty when there is none."""
    try:
        with open(log, "rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - TAIL_BYTES))
            return file.read().decode("utf-8", errors="replace").strip()
    except OSError:
        return ""


class LocalShell:
    """`seams.Shell` on this machine. Each program gets its own session; its tree is dead when `run` returns."""

    def _bound(self) -> Callable[[], None] | None:
        return None

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        log: str,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
    ) -> Done:
        mark = secrets.token_hex(8)
        started = time.monotonic()
        with open(log, "wb") as output:
            child = subprocess.Popen(
                list(argv),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**passed_environment(), **(env or {}), MARK: mark},
                cwd=cwd or str(Path(log).parent),
                start_new_session=True,
                preexec_fn=self._bound(),  # noqa: PLW1509 - see `process.ends_with`
            )
        timed_out = False
        try:
            timed_out = not process.wait_for_exit(child.pid, timeout_s)
        finally:
            process.kill_tree(child.pid, also=process.marked(MARK, mark))
            code = child.wait()
        return Done(code=code, timed_out=timed_out, tail=tail_of(log), wall_s=time.monotonic() - started)


class WorkerShell(LocalShell):
    """The shell of a worker: a program that it runs is killed with it, whoever kills it, and uses no CPU beside the
    next study."""

    def _bound(self) -> Callable[[], None]:
        return process.ends_with(os.getpid())
