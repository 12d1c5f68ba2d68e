"""The study's record in SQLite: one ``study.db`` per run folder, appended to by one writer, readable at any time.

Write-ahead log with ``synchronous=FULL``: an entry is on disk when `SqliteStore.append` returns, and a reader never
waits for the writer. On network file systems, where the log's shared memory does not work, a rollback journal is used.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import struct
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from infertune.core import wire
from infertune.core.errors import BusyError, DataError, InfertuneError, NotFoundError, StorageError, quoted
from infertune.core.records import Entry, Event
from infertune.edge.files import ensure_folder, on_network, shown, sync_folder
from infertune.edge.owner import FolderLock
from infertune.edge.scratch import Scratch

NAME = "study.db"
APPLICATION_ID = 0x49465431  # "IFT1"
SCHEMA_VERSION = 1
BUSY_TIMEOUT_S = 30.0

_SCHEMA = """
CREATE TABLE entries (
    seq INTEGER PRIMARY KEY CHECK (seq > 0),
    at_s REAL NOT NULL,
    event TEXT NOT NULL,
    crc INTEGER NOT NULL
) STRICT
"""
_NAMED = 5  # run folders that a hint names
_READ = "SELECT seq, at_s, CAST(event AS BLOB), crc FROM entries ORDER BY seq"  # bytes: damaged text need not decode
_MAGIC = b"SQLite format 3\0"
_OLDEST_SQLITE = (3, 37, 0)  # STRICT tables


class SqliteStore:
    """`seams.Store` in a file, for its one writer. Made by `open_store`; a context manager that closes itself."""

    def __init__(self, path: Path, lock: FolderLock) -> None:
        self._path = path
        self._lock = lock
        self._turn = threading.Lock()
        self._failed: StorageError | None = None
        self._db = _connect(path, "rw")
        try:
            self._prepare()
        except BaseException:
            self._db.close()
            raise

    def _prepare(self) -> None:
        unclean = _size(_beside(self._path, "-wal")) > 0
        with _translated(self._path):
            self._db.execute(f"PRAGMA journal_mode = {'DELETE' if on_network(self._path) else 'WAL'}")
            self._db.execute("PRAGMA synchronous = FULL")
            if unclean:
                _quick_check(self._db, self._path)
            self._next = int(self._db.execute("SELECT coalesce(max(seq), 0) + 1 FROM entries").fetchone()[0])

    def append(self, event: Event, at_s: float) -> Entry:
        """Write one entry; on disk when this returns.

        Raises `StorageError` when the disk fails or is full. What was appended before stays; nothing more is accepted,
        since after a failed write the state of the disk is unknown until the record is opened anew.
        """
        text = wire.to_json(event, Event)
        with self._turn:
            if self._failed is not None:
                raise self._failed
            entry = Entry(seq=self._next, at_s=at_s, event=event)
            self._insert(entry, text)
            self._next += 1
        return entry

    def _insert(self, entry: Entry, text: str) -> None:
        try:
            with _translated(self._path):
                self._db.execute(
                    "INSERT INTO entries VALUES (?, ?, ?, ?)",
                    (entry.seq, entry.at_s, text, _crc(entry.seq, entry.at_s, text.encode())),
                )
        except StorageError as error:
            self._failed = error
            raise

    def entries(self) -> Iterator[Entry]:
        """Everything appended so far, oldest first. Raises `DataError` for a damaged entry."""
        with self._turn, _translated(self._path):
            rows = self._db.execute(_READ).fetchall()
        return (_entry(self._path, i, row) for i, row in enumerate(rows, start=1))

    def close(self) -> None:
        """Fold the log into the database, so that one plain file is left, and give the folder back.

        Closing twice is fine. With a reader in the way the log stays, which harms nobody.
        """
        with contextlib.suppress(sqlite3.Error):
            self._db.execute("PRAGMA busy_timeout = 0")
            self._db.execute("PRAGMA journal_mode = DELETE")
        self._db.close()
        self._lock.drop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def open_store(folder: Path) -> SqliteStore:
    """The record in ``folder`` for writing, created when there is none.

    Raises `BusyError` while another process writes to it, `DataError` for a record that is damaged, of a newer
    infertune or not ours (which is left untouched), `CreateError` for a folder that cannot be written.
    """
    _require_sqlite()
    ensure_folder(folder, "the run folder")
    lock = FolderLock(folder)
    lock.take()
    try:
        path = folder / NAME
        if path.exists():
            with contextlib.closing(_open_readable(path)) as db, _translated(path):
                _check_identity(db, path)
        else:
            _create(path)
        return SqliteStore(path, lock)
    except BaseException:
        lock.drop()
        raise


def _where_studies_are(folder: Path) -> str:
    """A hint with the run folders inside a folder that is none, or in ``runs/``, where `tune` puts them."""
    hint = "give the folder that `infertune tune --out` wrote"
    with contextlib.suppress(OSError):
        found = sorted(path.parent for place in (folder, Path("runs")) for path in place.glob(f"*/{NAME}"))
        named = [quoted(str(path)) for path in dict.fromkeys(found)]
        more = ", ..." if len(named) > _NAMED else ""
        return f"{hint}; there are: {', '.join(named[:_NAMED])}{more}" if named else hint
    return hint


def read_entries(folder: Path) -> list[Entry]:
    """All entries of the record in ``folder``, also while a writer is at work and from a read-only place.

    Raises `NotFoundError` when there is none, `DataError` for one that is damaged, newer or not ours, and
    `StorageError` where the file system refuses.
    """
    _require_sqlite()
    path = folder / NAME
    with _translated(path):
        is_there = path.exists()
    if not is_there:
        raise NotFoundError("no-study", f"`{shown(folder)}` holds no {NAME}", hint=_where_studies_are(folder))
    with contextlib.closing(_open_readable(path)) as db, _translated(path):
        _check_identity(db, path)
        rows = db.execute(_READ).fetchall()
    return [_entry(path, i, row) for i, row in enumerate(rows, start=1)]


def _create(path: Path) -> None:
    """A new, empty record under its name at once: it is made beside, and renamed when it is whole and on disk."""
    fresh = path.with_name(f"{path.name}.new")
    for leftover in (fresh, _beside(fresh, "-wal"), _beside(fresh, "-shm"), _beside(fresh, "-journal")):
        leftover.unlink(missing_ok=True)
    with _translated(path):
        with contextlib.closing(_connect(fresh, "rwc")) as db:
            db.execute("PRAGMA synchronous = EXTRA")
            db.execute("BEGIN IMMEDIATE")
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            db.execute(_SCHEMA)
            db.execute("COMMIT")
        os.rename(fresh, path)
        sync_folder(path.parent)


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    """A connection in autocommit: a lone INSERT is its own transaction. ``mode`` as in SQLite's file URIs."""
    uri = f"file:{quote(str(path.absolute()))}?mode={mode}"
    db = sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA trusted_schema = OFF")
    return db


def _open_readable(path: Path) -> sqlite3.Connection:
    """A read-only connection that sees every committed entry.

    A log needs shared memory beside the database. Where that cannot be made (read-only mounts and folders), a database
    without a log is opened as immutable, and one with a log is read from a private copy of both.
    """
    with _translated(path):
        _check_magic(path)
        try:
            return _proven(_connect(path, "ro"))
        except sqlite3.OperationalError as error:
            if _code(error) not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
                raise
        log = _beside(path, "-wal")
        return _copied(path, log) if _size(log) else _proven(_connect(path, "ro&immutable=1"))


def _copied(path: Path, log: Path) -> sqlite3.Connection:
    with Scratch("read") as folder:
        for source in (path, log):
            shutil.copyfile(source, Path(folder) / source.name)
        copy = _connect(Path(folder) / path.name, "rw")
        memory = sqlite3.connect(":memory:", isolation_level=None)
        with contextlib.closing(copy):
            copy.backup(memory)
    return memory


def _proven(db: sqlite3.Connection) -> sqlite3.Connection:
    """SQLite opens files at the first statement, not before."""
    try:
        db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except BaseException:
        db.close()
        raise
    return db


def _check_magic(path: Path) -> None:
    with open(path, "rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise DataError(
                "not-a-study",
                f"`{shown(path)}` is not a study record",
                hint="give another folder with --out; this file was left as it is",
            )


def _check_identity(db: sqlite3.Connection, path: Path) -> None:
    application, version = (int(db.execute(f"PRAGMA {p}").fetchone()[0]) for p in ("application_id", "user_version"))
    if application != APPLICATION_ID:
        raise DataError(
            "not-a-study",
            f"`{shown(path)}` is a database of another program",
            hint="give another folder with --out; this file was left as it is",
        )
    if version != SCHEMA_VERSION:
        raise DataError(
            "study-newer",
            f"`{shown(path)}` has schema {version}, this infertune reads {SCHEMA_VERSION}",
            hint="use the infertune that wrote it or a newer one; the file was left as it is",
        )


def _quick_check(db: sqlite3.Connection, path: Path) -> None:
    verdict = str(db.execute("PRAGMA quick_check(1)").fetchone()[0])
    if verdict != "ok":
        raise _damaged(path, verdict)


def _entry(path: Path, place: int, row: tuple[int, float, bytes, int]) -> Entry:
    """A row as an entry; its place in the record and its checksum must agree with it."""
    seq, at_s, text, crc = row
    try:
        if seq == place and crc == _crc(seq, at_s, text):
            return Entry(seq=seq, at_s=at_s, event=wire.from_json(text, Event))
    except Exception as error:  # a damaged row may hold anything in any column
        raise _damaged(path, f"entry {place} cannot be read: {error}") from error
    raise _damaged(path, f"entry {place} does not match its checksum")


def _crc(seq: int, at_s: float, text: bytes) -> int:
    return zlib.crc32(text, zlib.crc32(struct.pack("<qd", seq, at_s)))


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


# ---------------------------------------------------------------- errors


def _code(error: sqlite3.Error) -> int:
    """SQLite's primary result code; 0 for an error that Python's module raised by itself."""
    return int(getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF


def _damaged(path: Path, detail: str) -> DataError:
    return DataError(
        "study-damaged",
        f"`{shown(path)}` is damaged: {quoted(detail)}",
        hint="it was left as it is; copy it, try `sqlite3 study.db .recover`, or start again with another --out",
    )


def explain(error: sqlite3.Error, path: Path) -> InfertuneError:
    """What an error of SQLite means to a person."""
    what = f"`{shown(path)}`: {quoted(str(error))}"
    match _code(error):
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_FORMAT | sqlite3.SQLITE_ERROR:
            # our statements are fixed, so an SQL error means that the table is not the one we made
            return _damaged(path, str(error))
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            hint = "another program (a backup, an editor) holds it; close that and run the same command again"
            return BusyError("study-locked", what, hint=hint)
        case sqlite3.SQLITE_FULL:
            hint = "free some space and run the same command again: it goes on where it stopped"
            return StorageError("disk-full", what, hint=hint)
        case sqlite3.SQLITE_CONSTRAINT:
            hint = "somebody else wrote to this record meanwhile; run the same command again"
            return StorageError("study-changed", what, hint=hint)
    hint = "check the disk; what was recorded before is kept, and the same command goes on from there"
    return StorageError("study-io", what, hint=hint)


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Errors of SQLite and the file system as errors meant for people."""
    try:
        yield
    except sqlite3.Error as error:
        raise explain(error, path) from error
    except UnicodeDecodeError as error:  # SQLite's own message quotes a damaged name
        raise _damaged(path, "a name in it is not text") from error
    except OSError as error:
        hint = "check the disk and your permissions"
        raise StorageError("study-io", f"`{shown(path)}`: {quoted(str(error))}", hint=hint) from error


def _require_sqlite() -> None:
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        raise StorageError(
            "sqlite-old",
            f"this Python has SQLite {sqlite3.sqlite_version}; 3.37 or newer is needed",
            hint="use another Python, for example one from python.org, uv or conda",
        )
