"""Leases: which cache entries living processes use, so that nobody removes them underneath.

Each process keeps one small file with its keys, beside a lock that the kernel drops when the process ends, however it
ends. A file whose lock can be taken belongs to nobody any more. `guarded` orders taking a lease against removing.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path

import filelock

_POLL_S = 0.005
_held: set[Leases] = set()
"""Those of this process that were not given back: a lock would otherwise end with the last reference to it."""


class Leases:
    """The leases of this process in ``folder``, and a view of everybody's."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._guard = folder / "guard.lock"
        self._turn = threading.Lock()
        self._keys: set[str] = set()
        self.name = f"{os.getpid()}-{secrets.token_hex(4)}"
        with self.guarded():
            self._lock = filelock.FileLock(self._lock_of(self.name), timeout=0, thread_local=False)
            self._lock.acquire()
        _held.add(self)

    @contextlib.contextmanager
    def guarded(self) -> Iterator[None]:
        """Only one thread of one process at a time: leases are neither taken nor judged by others meanwhile."""
        with self._turn, filelock.FileLock(self._guard, poll_interval=_POLL_S, thread_local=False):
            yield

    def hold(self, key: str) -> None:
        """From now on ``key`` is in use, until `drop` or the end of the process."""
        with self.guarded():
            self._keys.add(key)
            self._note()

    def drop(self, key: str) -> None:
        with self.guarded():
            self._keys.discard(key)
            self._note()

    def _note(self) -> None:
        self._keys_of(self.name).write_text("\n".join(sorted(self._keys)))

    def in_use(self) -> set[str]:
        """Keys that any living process holds. Call it inside `guarded`."""
        held: set[str] = set()
        for name in self.alive():
            with contextlib.suppress(FileNotFoundError):
                held.update(self._keys_of(name).read_text().split())
        return held

    def alive(self) -> set[str]:
        """Names of living holders; what dead ones left is removed. Call it inside `guarded`."""
        names = {path.name.removesuffix(".lease") for path in self._folder.glob("*.lease")}
        return {name for name in names if name == self.name or not self._bury(name)}

    def _bury(self, name: str) -> bool:
        """True when the holder is dead: then its files are gone too."""
        lock = filelock.FileLock(self._lock_of(name), timeout=0, thread_local=False)
        try:
            with lock:
                self._keys_of(name).unlink(missing_ok=True)
                self._lock_of(name).unlink(missing_ok=True)
        except filelock.Timeout:
            return False
        return True

    def close(self) -> None:
        """Give everything back. Closing twice is fine."""
        with self.guarded():
            self._keys.clear()
            self._keys_of(self.name).unlink(missing_ok=True)
            self._lock_of(self.name).unlink(missing_ok=True)
            self._lock.release()
        _held.discard(self)

    def _lock_of(self, name: str) -> Path:
        return self._folder / f"{name}.lease"

    def _keys_of(self, name: str) -> Path:
        return self._folder / f"{name}.keys"
