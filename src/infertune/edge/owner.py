"""One writer per folder: a lock that the kernel drops with its holder, and a note that says who that is."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from dataclasses import asdict, dataclass
from pathlib import Path

import filelock

from infertune.core.errors import BusyError, StorageError, quoted
from infertune.edge.clock import wall_clock
from infertune.edge.files import shown, write_text
from infertune.edge.host import text_of

LOCK_NAME = "lock"
NOTE_NAME = "owner.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """A process, told apart from a later one with the same number by its start and the machine's boot."""

    pid: int
    host: str
    since: str
    boot: str
    start_ticks: str

    def __str__(self) -> str:
        return f"process {self.pid} on {quoted(self.host)} since {quoted(self.since)}"


def _start_ticks(pid: int) -> str:
    """When a process started (field 22 of its stat line); empty for one that is gone."""
    after = text_of(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    return after[19] if len(after) > 19 else ""


def _boot() -> str:
    return text_of(Path("/proc/sys/kernel/random/boot_id"))


def this_process() -> Owner:
    pid = os.getpid()
    return Owner(pid=pid, host=socket.gethostname(), since=wall_clock(), boot=_boot(), start_ticks=_start_ticks(pid))


def lives(owner: Owner) -> bool | None:
    """Whether an owner still runs; None for one on another machine, about which nothing is known here."""
    if owner.host != socket.gethostname():
        return None
    return owner.boot == _boot() and owner.start_ticks == _start_ticks(owner.pid) != ""


def read_note(folder: Path) -> Owner | None:
    """The owner noted in ``folder``; None when there is no note or it makes no sense."""
    try:
        return Owner(**json.loads((folder / NOTE_NAME).read_text()))
    except (OSError, ValueError, TypeError):
        return None


class FolderLock:
    """Exclusive ownership of a folder, from `take` to `drop` or the end of the process, whichever comes first.

    The lock itself is the kernel's (`flock`), so one left by a dead owner does not exist and its note is overwritten.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = filelock.FileLock(folder / LOCK_NAME, timeout=0, thread_local=False)

    def take(self) -> None:
        """Raises `BusyError` (id ``folder-busy``) naming the owner, `StorageError` where the disk cannot lock."""
        try:
            self._lock.acquire()
        except filelock.Timeout:
            raise self._busy() from None
        except (OSError, NotImplementedError) as error:
            raise StorageError(
                "folder-lock",
                f"`{shown(self._folder)}` cannot be locked: {quoted(str(error))}",
                hint="put the run folder on a local disk that you may write to",
            ) from error
        with contextlib.suppress(OSError):  # the note is for messages only; the lock is what counts
            write_text(self._folder / NOTE_NAME, json.dumps(asdict(this_process())))

    def drop(self) -> None:
        if self._lock.is_locked:
            with contextlib.suppress(OSError):
                (self._folder / NOTE_NAME).unlink()
            self._lock.release()

    def _busy(self) -> BusyError:
        owner = read_note(self._folder)
        known = owner is not None and lives(owner) is not False
        who = str(owner) if known else "another process"
        return BusyError(
            "folder-busy",
            f"`{shown(self._folder)}` is in use by {who}",
            hint="wait until it ends, stop it, or choose another folder with --out",
        )
