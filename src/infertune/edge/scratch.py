"""Scratch folders: gone when their owner is done with them, or once another process finds that it was killed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path
from types import TracebackType

from infertune.edge.clock import wall_seconds

PREFIX = "infertune-scratch-"
_NEW_S = 60.0


class Scratch:
    """A fresh folder at ``path``, held by a lock that the kernel drops with this process.

    It is in the folder for temporary files, or hidden ``inside`` another one, for files that move up once whole.
    The first one that a process makes there removes those of dead owners; no file system that cannot lock is swept.
    """

    def __init__(self, purpose: str, *, inside: Path | None = None) -> None:
        folder, hidden = (tempfile.gettempdir(), "") if inside is None else (str(inside), ".")
        _sweep_once(folder)
        self.path = tempfile.mkdtemp(prefix=f"{hidden}{PREFIX}{purpose}-", dir=folder)
        self._held = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        _lock(self._held)

    def close(self) -> None:
        """Remove the folder. Never raises for what is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._held)

    def __enter__(self) -> str:
        return self.path

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def is_scratch(name: str) -> bool:
    """Whether a folder of this name is one of ours."""
    return name.removeprefix(".").startswith(PREFIX)


def sweep(folder: Path, *, older_s: float = _NEW_S) -> None:
    """Remove this user's scratch folders in ``folder`` whose owners are dead.

    One that is not ``older_s`` old may be about to be locked. Never raises: what cannot be removed stays.
    """
    with contextlib.suppress(OSError), os.scandir(folder) as found:
        for entry in found:
            with contextlib.suppress(OSError):
                if is_scratch(entry.name) and _is_ours(entry.stat(follow_symlinks=False), older_s):
                    _remove_unheld(entry.path)


@cache
def _sweep_once(folder: str) -> None:
    sweep(Path(folder))


def _is_ours(state: os.stat_result, older_s: float) -> bool:
    return state.st_uid == os.getuid() and wall_seconds() - state.st_ctime >= older_s


def _remove_unheld(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if _lock(descriptor):
            shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """Whether the folder is this descriptor's alone now, until it is closed."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
