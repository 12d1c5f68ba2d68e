"""Files written whole or not at all; folders checked before work; clocks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infertune.core.errors import CreateError, UsageError
from infertune.core.sizes import parse_size
from infertune.edge import files
from infertune.edge.clock import MonotonicClock, wall_clock, wall_seconds
from infertune.testing.clock import FakeClock


def test_text_is_written_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    files.write_text(path, "first ü\n")
    files.write_text(path, "second\n")
    assert path.read_bytes() == b"second\n"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_new_file_has_the_usual_rights(tmp_path: Path) -> None:
    files.write_text(tmp_path / "ours", "")
    (tmp_path / "usual").touch()
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_write_that_fails_changes_nothing(tmp_path: Path) -> None:
    """The content ends in an exception, the folder forbids, the target is a folder: nothing half-made is left."""
    path = tmp_path / "a"
    path.write_text("old")

    def broken() -> object:
        yield b"new"
        raise RuntimeError("source failed")

    with pytest.raises(RuntimeError):
        files.write_chunks(path, broken())  # type: ignore[arg-type]
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        files.write_text(tmp_path / "folder", "x")
    assert path.read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == ["a", "folder"]


KILLED = """
import os, signal, sys
from pathlib import Path
from infertune.edge import files
step, wanted = 0, int(sys.argv[2])
def trace(frame, what, argument):
    global step
    if frame.f_code.co_filename.endswith("files.py"):
        step += what == "line"
        if step == wanted:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace
sys.settrace(trace)
files.write_text(Path(sys.argv[1]), "new" * 1000)
sys.settrace(None)
"""


def test_kill_9_at_any_line_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    path = tmp_path / "a"
    seen = set()
    for step in range(1, 40, 2):
        path.write_text("old")
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        done = subprocess.run([sys.executable, "-c", KILLED, str(path), str(step)], check=False, env=environment)
        seen.add((done.returncode == 0, path.read_text()))
        if done.returncode == 0:
            break
    assert {text for _, text in seen} == {"old", "new" * 1000}
    assert (True, "new" * 1000) in seen


# ---------------------------------------------------------------- digests


def tree(folder: Path) -> Path:
    (folder / "b" / "c").mkdir(parents=True)
    (folder / "a").write_text("1")
    (folder / "b" / "c" / "d").write_text("2")
    return folder


def test_equal_trees_have_equal_digests(tmp_path: Path) -> None:
    one = tree(tmp_path / "one")
    digest = files.tree_digest(one)
    assert digest == files.tree_digest(tree(tmp_path / "two"))
    os.utime(one / "a", (0, 0))
    (one / "a").chmod(0o600)
    assert files.tree_digest(one) == digest


def edit_content(folder: Path) -> None:
    (folder / "a").write_text("2")


def edit_name(folder: Path) -> None:
    (folder / "a").rename(folder / "A")


def edit_place(folder: Path) -> None:
    (folder / "a").rename(folder / "b" / "a")


def edit_extra(folder: Path) -> None:
    (folder / "x").touch()


def edit_missing(folder: Path) -> None:
    (folder / "a").unlink()


def edit_split(folder: Path) -> None:
    """The same bytes in names and contents, cut elsewhere."""
    (folder / "a").rename(folder / "a1")
    (folder / "a1").write_text("")


@pytest.mark.parametrize("edit", [edit_content, edit_name, edit_place, edit_extra, edit_missing, edit_split])
def test_another_tree_has_another_digest(tmp_path: Path, edit: Callable[[Path], None]) -> None:
    folder = tree(tmp_path / "t")
    before = files.tree_digest(folder)
    edit(folder)
    assert files.tree_digest(folder) != before


def test_a_tree_with_links_has_no_digest(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    with pytest.raises(ValueError, match="`link` is neither a file nor a folder"):
        files.tree_digest(tmp_path)


# ---------------------------------------------------------------- folders


def test_a_folder_is_made_with_its_parents(tmp_path: Path) -> None:
    made = files.ensure_folder(tmp_path / "a" / "b", "the run folder")
    assert made.is_dir()
    assert files.ensure_folder(made, "the run folder") == made
    assert os.listdir(made) == []


@pytest.mark.parametrize("below", ["", "x", "x/y"])
def test_a_file_in_the_way(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CreateError) as refused:
        files.ensure_folder(tmp_path / "file" / below, "the run folder")
    assert refused.value.id == "not-a-folder"
    assert "the run folder cannot be" in refused.value.message


@pytest.mark.parametrize("name", ["x" * 300, "nul\0byte"])
def test_a_name_that_cannot_be(tmp_path: Path, name: str) -> None:
    with pytest.raises(CreateError) as refused:
        files.ensure_folder(tmp_path / name, "the run folder")
    assert refused.value.id == "folder-unwritable"
    assert "\0" not in refused.value.message
    assert len(refused.value.message) < 250


FORBIDDEN = """
import os, sys
from pathlib import Path
from infertune.core.errors import CreateError
from infertune.edge.files import ensure_folder
folder = Path(sys.argv[1])
os.chdir("/")
if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
for path in (folder, folder / "new"):
    try:
        ensure_folder(path, "the run folder")
    except CreateError as error:
        print(error.id, error.message.rpartition(": ")[2])
"""


def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o555)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    argv = [sys.executable, "-c", FORBIDDEN, str(folder)]
    done = subprocess.run(argv, check=True, capture_output=True, text=True, env=environment)
    assert done.stdout == "folder-unwritable Permission denied\n" * 2


def test_free_space_is_that_of_the_disk(tmp_path: Path) -> None:
    assert 0 < files.free_bytes(tmp_path) <= shutil.disk_usage(tmp_path).total


def test_free_space_of_a_folder_that_is_not_there_yet_is_that_of_the_nearest_one_above(tmp_path: Path) -> None:
    assert 0 < files.free_bytes(tmp_path / "not" / "yet") <= shutil.disk_usage(tmp_path).total


@pytest.mark.parametrize(
    ("path", "kind", "network"),
    [
        ("/data/runs", "nfs4", True),
        ("/data", "nfs4", True),
        ("/database", "ext4", False),
        ("/data/local/x", "xfs", False),
    ],
)
def test_network_file_systems_are_known(tmp_path: Path, path: str, kind: str, network: bool) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/mountinfo").write_text(
        "1 0 8:1 / / rw - ext4 /dev/sda rw\n"
        "2 1 0:9 / /data rw - tmpfs t rw\n"
        "3 1 0:9 / /data rw - nfs4 server:/x rw\n"
        "4 3 8:2 / /data/local rw - xfs /dev/sdb rw\n"
    )
    assert files.file_system(Path(path), tmp_path) == kind
    assert files.on_network(Path(path), tmp_path) is network


def test_where_nothing_is_told_no_disk_is_a_network(tmp_path: Path) -> None:
    assert files.file_system(tmp_path, tmp_path) == ""
    assert not files.on_network(tmp_path, tmp_path)


def test_paths_are_shown_by_their_last_name() -> None:
    assert files.shown("/home/somebody/private/model.onnx") == "model.onnx"
    assert files.shown("evil\x1b[2J\u202e.onnx") == "evil\\x1b[2J\\u202e.onnx"
    assert files.shown("/") == "/"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"INFERTUNE_CACHE": "/fast/cache", "XDG_CACHE_HOME": "/xdg", "HOME": "/home/me"}, "/fast/cache"),
        ({"XDG_CACHE_HOME": "/xdg", "HOME": "/home/me"}, "/xdg/infertune"),
        ({"XDG_CACHE_HOME": "relative", "HOME": "/home/me"}, "/home/me/.cache/infertune"),
        ({"INFERTUNE_CACHE": "", "HOME": "/home/me"}, "/home/me/.cache/infertune"),
    ],
)
def test_where_the_cache_lives(environment: dict[str, str], expected: str) -> None:
    assert files.cache_folder(environment) == Path(expected)


# ---------------------------------------------------------------- sizes and clocks


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("512", 512), ("20GB", 20 * 10**9), ("1.5 GiB", 3 * 2**29), ("7B", 7), ("2TiB", 2**41), (" 1KB ", 1000)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@given(st.text(max_size=20).filter(lambda text: not text.strip()[:1].isdigit()))
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_size(text)
    assert refused.value.id == "size-syntax"


@given(st.lists(st.floats(0, 1e6), max_size=20))
def test_a_fake_clock_moves_only_when_told(naps: list[float]) -> None:
    clock = FakeClock(start_ns=7)
    for nap in naps:
        clock.sleep(nap)
    assert clock.now_ns() == 7 + sum(round(nap * 1e9) for nap in naps)
    assert clock.naps == naps
    with pytest.raises(ValueError, match="cannot go back"):
        clock.advance(-1.0)


def test_the_real_clocks() -> None:
    clock = MonotonicClock()
    before = clock.now_ns()
    clock.sleep(0.0)
    assert clock.now_ns() >= before
    told = datetime.fromisoformat(wall_clock())
    assert told.utcoffset() is not None
    assert abs(told.timestamp() - wall_seconds()) < 60
