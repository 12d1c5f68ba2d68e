"""Stores: the contract on both, and what the one on disk does with damage, rivals and full disks."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from infertune.core.errors import BusyError, CreateError, DataError, NotFoundError, StorageError
from infertune.core.records import Closed, Event
from infertune.core.seams import Store
from infertune.edge.owner import NOTE_NAME, this_process
from infertune.store.sqlite import APPLICATION_ID, NAME, explain, open_store, read_entries
from infertune.testing.store import MemoryStore
from infertune.testing.store_contract import StoreContract, every_event

CHILD = [sys.executable, "-c"]


def event(i: int = 0) -> Event:
    return Closed(status="ok", why=f"number {i}")


def fill(folder: Path, count: int = 3) -> None:
    with open_store(folder) as store:
        for i in range(count):
            store.append(event(i), float(i))


def child_environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def run_child(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [*CHILD, code, *arguments]
    return subprocess.run(argv, check=False, capture_output=True, text=True, env=child_environment())


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def store(self) -> Store:
        return MemoryStore()


class TestSqliteStore(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        with open_store(tmp_path / "run") as opened:
            yield opened


# ---------------------------------------------------------------- on disk


def test_a_second_command_goes_on_where_the_first_ended(tmp_path: Path) -> None:
    fill(tmp_path, 3)
    with open_store(tmp_path) as store:
        assert store.append(event(3), 9.0).seq == 4
    assert [e.event for e in read_entries(tmp_path)] == [event(i) for i in range(4)]


def test_the_file_says_what_it_is_and_is_alone_after_closing(tmp_path: Path) -> None:
    fill(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["lock", NAME]
    header = (tmp_path / NAME).read_bytes()[:100]
    assert header[68:72] == APPLICATION_ID.to_bytes(4, "big") == b"IFT1"
    assert int.from_bytes(header[60:64], "big") == 1


def test_while_open_it_is_a_log_with_full_syncing_and_strict_tables(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        db = store._db
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert db.execute("PRAGMA synchronous").fetchone() == (2,)
        assert db.execute("PRAGMA trusted_schema").fetchone() == (0,)
        with pytest.raises(sqlite3.IntegrityError, match="cannot store TEXT value in REAL column"):
            db.execute("INSERT INTO entries VALUES (1, 'soon', '{}', 0)")


def test_reading_leaves_no_trace(tmp_path: Path) -> None:
    fill(tmp_path)
    before = sorted(os.listdir(tmp_path)), (tmp_path / NAME).read_bytes()
    read_entries(tmp_path)
    assert (sorted(os.listdir(tmp_path)), (tmp_path / NAME).read_bytes()) == before


def test_readers_see_what_is_written_while_the_writer_works(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        for i in range(5):
            store.append(event(i), float(i))
            assert len(read_entries(tmp_path)) == i + 1


def test_a_copy_made_while_the_writer_works_can_be_read(tmp_path: Path) -> None:
    run, copy = tmp_path / "run", tmp_path / "copy"
    with open_store(run) as store:
        store.append(event(), 0.0)
        copy.mkdir()
        for name in (NAME, f"{NAME}-wal"):
            shutil.copy(run / name, copy / name)
        assert len(read_entries(copy)) == 1


@pytest.mark.parametrize("files", [(NAME,), (NAME, f"{NAME}-wal")], ids=["without log", "with log"])
def test_a_read_only_place_can_be_read(tmp_path: Path, files: tuple[str, ...]) -> None:
    """Read by a user who may not write there, in a child so that it works for root too."""
    run, copy = tmp_path / "run", tmp_path / "copy"
    copy.mkdir()
    with open_store(run) as store:
        store.append(event(), 0.0)
        if len(files) == 1:
            store._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for name in files:
            shutil.copy(run / name, copy / name)
    code = """
import os, sys
from pathlib import Path
from infertune.core import wire
from infertune.store.sqlite import read_entries
folder = Path(sys.argv[1])
os.chmod(folder, 0o555)
os.chdir(folder)
if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
try:
    open(folder.name + ".probe", "w")
except PermissionError:
    print(len(read_entries(Path("."))), sorted(os.listdir(".")) == sorted(sys.argv[2:]))
"""
    for parent in [copy, *copy.parents]:
        if parent.is_relative_to(Path(tmp_path.parts[0], tmp_path.parts[1])) and os.getuid() == 0:
            parent.chmod(parent.stat().st_mode | 0o055)
    done = run_child(code, str(copy), *files)
    copy.chmod(0o755)
    assert (done.stdout, done.stderr) == ("1 True\n", "")


# ---------------------------------------------------------------- one writer


def test_a_second_writer_is_refused_and_told_who_the_first_is(tmp_path: Path) -> None:
    with open_store(tmp_path):
        with pytest.raises(BusyError) as refused:
            open_store(tmp_path)
        owner = this_process()
        assert refused.value.id == "folder-busy"
        assert f"process {owner.pid} on {owner.host} since 20" in refused.value.message
    fill(tmp_path)


@pytest.mark.parametrize("changes", [{"pid": 2**22 + 1}, {"boot": "another"}, {"start_ticks": "1"}, {"host": "gone"}])
def test_the_note_of_a_dead_owner_stops_nobody(tmp_path: Path, changes: dict[str, object]) -> None:
    owner = this_process()
    note = {name: getattr(owner, name) for name in ("pid", "host", "since", "boot", "start_ticks")} | changes
    (tmp_path / NOTE_NAME).write_text(json.dumps(note))
    (tmp_path / "lock").touch()
    fill(tmp_path)
    assert not (tmp_path / NOTE_NAME).exists()


@pytest.mark.parametrize("note", ["", "[]", "{}", '{"pid": 1}', "\x00"])
def test_a_senseless_note_of_the_holder_still_gives_a_clear_refusal(tmp_path: Path, note: str) -> None:
    with open_store(tmp_path):
        (tmp_path / NOTE_NAME).write_text(note)
        with pytest.raises(BusyError, match="in use by another process"):
            open_store(tmp_path)


def test_the_writer_waits_for_a_backup_to_end(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        backup = sqlite3.connect(tmp_path / NAME, isolation_level=None, check_same_thread=False)
        backup.execute("BEGIN EXCLUSIVE")
        release = threading.Timer(0.2, backup.rollback)
        release.start()
        store.append(event(), 0.0)
        release.join()
        backup.close()
    assert len(read_entries(tmp_path)) == 1


# ---------------------------------------------------------------- damage


def test_a_name_that_the_file_system_refuses_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as refused:
        read_entries(tmp_path / ("x" * 5000))
    assert refused.value.id == "study-io"


def check_refused(folder: Path, name: str) -> None:
    before = (folder / NAME).read_bytes()
    for attempt in (open_store, read_entries):
        with pytest.raises(DataError) as refused:
            attempt(folder)
        assert refused.value.id == name
    assert (folder / NAME).read_bytes() == before
    assert (folder / f"{NAME}-wal").exists() is False


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04" + bytes(5000), b"{}" * 9999])
def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path, content: bytes) -> None:
    (tmp_path / NAME).write_bytes(content)
    check_refused(tmp_path, "not-a-study")


def test_a_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / NAME)
    db.execute("CREATE TABLE entries (seq)")
    db.close()
    check_refused(tmp_path, "not-a-study")


def test_a_record_of_a_newer_infertune_is_left_alone(tmp_path: Path) -> None:
    fill(tmp_path)
    db = sqlite3.connect(tmp_path / NAME)
    db.execute("PRAGMA user_version = 2")
    db.close()
    check_refused(tmp_path, "study-newer")


def test_a_truncated_record_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, 200)
    path = tmp_path / NAME
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(DataError) as refused:
        read_entries(tmp_path)
    assert refused.value.id == "study-damaged"


def test_every_flipped_byte_is_noticed_or_harmless(tmp_path: Path) -> None:
    """Never another record than the one written: refused, or read unchanged (bytes that mean nothing)."""
    fill(tmp_path, 40)
    path = tmp_path / NAME
    whole, truth = path.read_bytes(), read_entries(tmp_path)
    chance = random.Random(3)
    offsets = [*range(100), *chance.sample(range(100, len(whole)), 500)]
    for offset in offsets:
        damaged = bytearray(whole)
        damaged[offset] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        with contextlib.suppress(DataError):
            assert read_entries(tmp_path) == truth


def test_a_log_that_lost_its_end_gives_the_entries_before(tmp_path: Path) -> None:
    """Power loss: of the log, any part of the end may be missing, or be anything."""
    run, copy = tmp_path / "run", tmp_path / "copy"
    with open_store(run) as store:
        for i in range(30):
            store.append(event(i), float(i))
        whole = (run / f"{NAME}-wal").read_bytes()
        copy.mkdir()
        chance = random.Random(2)
        counts = set()
        for _ in range(60):
            cut = chance.randrange(len(whole) + 1)
            shutil.copy(run / NAME, copy / NAME)
            (copy / f"{NAME}-shm").unlink(missing_ok=True)
            (copy / f"{NAME}-wal").write_bytes(whole[:cut] + chance.randbytes(chance.choice([0, 0, 5000])))
            kept = read_entries(copy)
            assert [e.event for e in kept] == [event(i) for i in range(len(kept))]
            counts.add(len(kept))
    assert len(counts) > 10


def test_an_entry_changed_in_place_is_noticed(tmp_path: Path) -> None:
    fill(tmp_path)
    db = sqlite3.connect(tmp_path / NAME)
    db.execute("UPDATE entries SET event = replace(event, 'number 1', 'number 7') WHERE seq = 2")
    db.commit()
    db.close()
    with pytest.raises(DataError, match="entry 2 does not match its checksum"):
        read_entries(tmp_path)


def test_a_missing_entry_is_noticed(tmp_path: Path) -> None:
    fill(tmp_path)
    db = sqlite3.connect(tmp_path / NAME)
    db.execute("DELETE FROM entries WHERE seq = 2")
    db.commit()
    db.close()
    with pytest.raises(DataError):
        read_entries(tmp_path)


def test_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError) as refused:
        read_entries(tmp_path / "nowhere")
    assert refused.value.id == "no-study"
    assert refused.value.hint == "give the folder that `infertune tune --out` wrote"


def test_a_folder_of_studies_names_them(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        (tmp_path / name / NAME).touch()
    with pytest.raises(NotFoundError) as refused:
        read_entries(tmp_path)
    assert refused.value.hint.endswith(f"; there are: {tmp_path / 'a'}, {tmp_path / 'b'}")


def test_a_file_in_the_way_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "run").touch()
    with pytest.raises(CreateError) as refused:
        open_store(tmp_path / "run")
    assert refused.value.id == "not-a-folder"


# ---------------------------------------------------------------- failing disks

FULL_DISK = """
import resource, sys
from pathlib import Path
from infertune.core.errors import StorageError
from infertune.core.records import Closed
from infertune.store.sqlite import open_store
with open_store(Path(sys.argv[1])) as store:
    store.append(Closed(status="ok", why="fits"), 0.0)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
    told = []
    for i in range(2):
        try:
            for _ in range(10):
                store.append(Closed(status="ok", why="x" * 20_000), 1.0)
        except StorageError as error:
            told.append(error.id)
    print(told)
"""


def test_a_write_that_fails_ends_appending_and_loses_nothing(tmp_path: Path) -> None:
    done = run_child(FULL_DISK, str(tmp_path))
    assert (done.stdout, done.stderr) == ("['study-io', 'study-io']\n", "")
    kept = read_entries(tmp_path)
    assert kept[0].event == Closed(status="ok", why="fits")
    assert 1 <= len(kept) < 10
    with open_store(tmp_path) as store:
        assert store.append(event(), 2.0).seq == len(kept) + 1


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / NAME)
    db.execute("CREATE TABLE t (x)")
    db.execute("PRAGMA max_page_count = 2")
    with pytest.raises(sqlite3.OperationalError) as full:
        db.execute("INSERT INTO t VALUES (zeroblob(100000))")
    db.close()
    told = explain(full.value, tmp_path / NAME)
    assert isinstance(told, StorageError)
    assert told.id == "disk-full"


def test_a_database_locked_for_good_is_named(tmp_path: Path) -> None:
    fill(tmp_path)
    holder = sqlite3.connect(tmp_path / NAME, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(sqlite3.OperationalError) as locked:
        sqlite3.connect(tmp_path / NAME, timeout=0).execute("SELECT * FROM entries")
    holder.close()
    told = explain(locked.value, tmp_path / NAME)
    assert isinstance(told, BusyError)
    assert told.exit_code == 75


# ---------------------------------------------------------------- killed writers

FORKING = """
import os, signal, sys
from pathlib import Path
from infertune.core.records import Closed
from infertune.store.sqlite import open_store

def append(folder):
    store = open_store(folder)
    seq = store._next - 1
    while True:
        seq = store.append(Closed(status="ok", why=f"number {seq}"), float(seq)).seq
        os.write(1, b"%d\\n" % seq)

def create(folder, wanted):
    step = 0
    def trace(frame, what, argument):
        nonlocal step
        if frame.f_code.co_filename.endswith("sqlite.py"):
            step += what == "line"
            if step == wanted:
                os.kill(os.getpid(), signal.SIGKILL)
            return trace
    sys.settrace(trace)
    open_store(folder).close()

for line in sys.stdin:
    folder, step = line.split()
    child = os.fork()
    if child == 0:
        create(Path(folder), int(step)) if int(step) else append(Path(folder))
        os._exit(0)
    os.write(1, b"pid %d\\n" % child)
    os.write(1, b"end %d\\n" % os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


class Writers:
    """Starts writers that die, one after the other: forked, since importing would take most of the time."""

    def __init__(self, parent: subprocess.Popen[str]) -> None:
        self._parent = parent

    def start(self, folder: Path, step: int = 0) -> None:
        assert self._parent.stdin is not None
        self._parent.stdin.write(f"{folder} {step}\n")
        self._parent.stdin.flush()

    def told(self) -> list[str]:
        assert self._parent.stdout is not None
        return self._parent.stdout.readline().split()


@pytest.fixture
def writers() -> Iterator[Writers]:
    argv = [*CHILD, FORKING]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=child_environment()
    ) as parent:
        yield Writers(parent)


def killed_after(writers: Writers, folder: Path, count: int) -> int:
    """Kill a writer once it has acknowledged ``count`` entries; the last entry it acknowledged before it died."""
    writers.start(folder)
    pid = last = seen = 0
    while True:
        match writers.told():
            case ["pid", number]:
                pid = int(number)
            case ["end", number]:
                assert int(number) == -signal.SIGKILL
                return last
            case [number]:
                last, seen = int(number), seen + 1
        if pid and seen >= count:
            os.kill(pid, signal.SIGKILL)
            pid = 0


def test_kill_9_at_any_moment_loses_nothing_acknowledged(tmp_path: Path, writers: Writers) -> None:
    """Each writer takes over from the killed one before it."""
    chance = random.Random(3)
    for _ in range(25):
        acknowledged = killed_after(writers, tmp_path, chance.randrange(1, 150))
        kept = read_entries(tmp_path)
        assert len(kept) >= acknowledged
        assert [e.event for e in kept] == [event(i) for i in range(len(kept))]
    with open_store(tmp_path) as store:
        assert store.append(event(), 0.0).seq == len(read_entries(tmp_path))


def test_kill_9_while_the_record_is_being_made_leaves_none_or_a_whole_one(tmp_path: Path, writers: Writers) -> None:
    """Killed before a line of the store's own code, for lines spread over all of creating and closing."""
    codes = []
    for step in range(3, 300, 5):
        folder = tmp_path / str(step)
        folder.mkdir()
        writers.start(folder, step)
        assert writers.told()[0] == "pid"
        codes.append(int(writers.told()[1]))
        if (folder / NAME).exists():
            assert read_entries(folder) == []
        fill(folder)
        assert len(read_entries(folder)) == 3
        if codes[-1] == 0:
            break
    assert len(codes) > 10
    assert set(codes) == {0, -signal.SIGKILL}


def test_every_kind_of_event_survives_the_disk(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        for i, each in enumerate(every_event()):
            store.append(each, float(i))
    assert [e.event for e in read_entries(tmp_path)] == every_event()
