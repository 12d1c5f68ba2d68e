"""The artifact cache: found whole or not at all, whoever builds, crashes, damages or prunes meanwhile."""

from __future__ import annotations

import contextlib
import gc
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infertune.build.cache import LASTING, ArtifactCache
from infertune.build.manifest import Damaged, read_manifest
from infertune.core.errors import CreateError, StorageError
from infertune.core.records import Artifact, Failed, facts

KEY = "ab" * 32
OTHER = "cd" * 32
FAILED = Failed(stage="build", kind="compiler", message="unsupported operator", log="line 1\nline 2")


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[ArtifactCache]:
    with ArtifactCache(tmp_path / "cache") as opened:
        yield opened


def build(cache: ArtifactCache, key: str = KEY, content: bytes = b"compiled " * 1000) -> Artifact:
    scratch = cache.scratch()
    (scratch / "model.blob").write_bytes(content)
    (scratch / "weights").mkdir()
    (scratch / "weights" / "part 1.bin").write_bytes(content[::-1])
    made = cache.publish(key, scratch, 1.5, facts(tool="4.2"))
    assert isinstance(made, Artifact)
    return made


def again(cache: ArtifactCache) -> ArtifactCache:
    """The same cache as another process would open it: nothing verified yet."""
    return ArtifactCache(cache.root)


def objects(cache: ArtifactCache) -> Path:
    return cache.root / "v1" / "objects"


# ---------------------------------------------------------------- finding and publishing


def test_what_was_published_is_found_again(cache: ArtifactCache) -> None:
    assert cache.find(KEY) is None
    made = build(cache)
    assert made == Artifact(key=KEY, path=made.path, size_bytes=18_000, build_s=1.5)
    assert (Path(made.path) / "model.blob").read_bytes() == b"compiled " * 1000
    with again(cache) as other:
        assert other.find(KEY) == replace(made, reused=True)
        assert other.find(OTHER) is None


def test_published_files_are_read_only_and_nothing_is_left_over(cache: ArtifactCache) -> None:
    made = build(cache)
    modes = {path.stat().st_mode & 0o777 for path in Path(made.path).rglob("*") if path.is_file()}
    assert modes == {0o444}
    assert os.listdir(cache.root / "v1" / "scratch") == []


def test_a_scratch_folder_from_another_place_is_taken_too(cache: ArtifactCache, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a").write_text("data")
    made = cache.publish(KEY, tmp_path / "elsewhere", 0.1)
    assert isinstance(made, Artifact)
    assert os.listdir(made.path) == ["a"]


def test_the_first_of_two_builders_wins_and_both_get_an_artifact(cache: ArtifactCache) -> None:
    first = build(cache, content=b"first")
    second = build(again(cache), content=b"second")
    assert second == replace(first, reused=True)
    assert (Path(second.path) / "model.blob").read_bytes() == b"first"


def test_a_builder_that_meets_a_damaged_entry_replaces_it(cache: ArtifactCache) -> None:
    (objects(cache) / KEY[:2] / KEY / "files").mkdir(parents=True)
    made = build(cache)
    assert not made.reused
    assert again(cache).find(KEY) == replace(made, reused=True)


@pytest.mark.parametrize("leave", ["nothing", "an empty file", "a link"])
def test_a_build_without_output_is_a_failure_that_is_remembered(cache: ArtifactCache, leave: str) -> None:
    scratch = cache.scratch()
    if leave == "an empty file":
        (scratch / "out").touch()
    if leave == "a link":
        (scratch / "out").symlink_to("/etc/passwd")
    failed = cache.publish(KEY, scratch, 1.0)
    assert isinstance(failed, Failed)
    assert failed.kind == "output"
    assert again(cache).find(KEY) == failed
    assert not scratch.exists()


def test_keys_cannot_leave_the_cache(cache: ArtifactCache) -> None:
    for key in ("../../etc/passwd", "", "AB" * 32, "ab/" * 10, "g" * 64, "a" * 65):
        with pytest.raises(ValueError, match="not a cache key"):
            cache.find(key)


def test_an_unwritable_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CreateError) as refused:
        ArtifactCache(tmp_path / "file" / "cache").scratch()
    assert "the artifact cache" in refused.value.message


def test_a_failing_disk_is_named(cache: ArtifactCache) -> None:
    scratch = cache.scratch()
    shutil.rmtree(scratch)
    with pytest.raises(StorageError) as told:
        cache.publish(KEY, scratch, 1.0)
    assert told.value.id == "cache-io"
    assert "INFERTUNE_CACHE" in told.value.hint


# ---------------------------------------------------------------- failures


@pytest.mark.parametrize(
    "kind", ["illegal", "compiler", "memory", "device-memory", "timeout", "crash", "device", "output"]
)
def test_only_failures_that_come_again_are_remembered(cache: ArtifactCache, kind: str) -> None:
    failed = replace(FAILED, kind=kind)  # type: ignore[arg-type]
    cache.publish_failure(KEY, failed)
    assert again(cache).find(KEY) == (failed if kind in LASTING else None)


@pytest.mark.parametrize("log", ["[Errno 28] No space left on device", "OSError: Too many open files: 'x'"])
def test_the_failure_of_a_sick_machine_is_not_remembered(cache: ArtifactCache, log: str) -> None:
    cache.publish_failure(KEY, replace(FAILED, log=log))
    assert cache.find(KEY) is None


def test_a_failure_of_running_is_not_one_of_building(cache: ArtifactCache) -> None:
    cache.publish_failure(KEY, replace(FAILED, stage="load"))
    assert cache.find(KEY) is None


def test_a_later_success_takes_the_place_of_a_failure(cache: ArtifactCache) -> None:
    cache.publish_failure(KEY, FAILED)
    made = build(cache)
    assert again(cache).find(KEY) == replace(made, reused=True)
    shutil.rmtree(objects(cache))
    assert again(cache).find(KEY) is None


@given(damage=st.binary(max_size=200))
def test_a_damaged_failure_is_forgotten(tmp_path_factory: pytest.TempPathFactory, damage: bytes) -> None:
    with ArtifactCache(tmp_path_factory.mktemp("cache")) as cache:
        cache.publish_failure(KEY, FAILED)
        (cache.root / "v1" / "failures" / KEY).write_bytes(damage)
        assert cache.find(KEY) is None
        assert cache.find(KEY) is None


# ---------------------------------------------------------------- damage


def test_every_flipped_bit_is_detected(cache: ArtifactCache) -> None:
    """One bit at 1000 random places of artifact and manifest: never found, always moved aside."""
    build(cache, content=random.Random(0).randbytes(3000))
    entry = objects(cache) / KEY[:2] / KEY
    chance = random.Random(1)
    whole = {path: path.read_bytes() for path in sorted(entry.rglob("*")) if path.is_file()}
    places = [(path, offset) for path, data in whole.items() for offset in range(len(data))]
    for path, offset in chance.sample(places, 1000):
        data = bytearray(whole[path])
        data[offset] ^= 1 << chance.randrange(8)
        path.chmod(0o644)
        path.write_bytes(data)
        cache._verified.clear()
        assert cache.find(KEY) is None, (path, offset)
        assert not entry.exists()
        (quarantined,) = (cache.root / "v1" / "quarantine").iterdir()
        quarantined.rename(entry)
        path.write_bytes(whole[path])
    assert cache.find(KEY) is not None


def damage_truncate(entry: Path) -> None:
    blob = entry / "files" / "model.blob"
    blob.chmod(0o644)
    os.truncate(blob, 17)


def damage_empty(entry: Path) -> None:
    damage_truncate(entry)
    os.truncate(entry / "files" / "model.blob", 0)


def damage_remove(entry: Path) -> None:
    (entry / "files" / "model.blob").unlink()


def damage_extra(entry: Path) -> None:
    (entry / "files" / "extra").write_text("x")


def damage_rename(entry: Path) -> None:
    (entry / "files" / "model.blob").rename(entry / "files" / "model.bin")


def damage_link(entry: Path) -> None:
    damage_remove(entry)
    (entry / "files" / "model.blob").symlink_to("/etc/passwd")


def damage_manifest(entry: Path) -> None:
    (entry / "manifest").unlink()


def damage_swap(entry: Path) -> None:
    """A sound entry of another key."""
    text = (entry / "manifest").read_text()
    with pytest.raises(Damaged):
        read_manifest(entry, OTHER)
    (entry / "manifest").write_text(text.replace(KEY, OTHER))


DAMAGES = [
    damage_truncate, damage_empty, damage_remove, damage_extra,
    damage_rename, damage_link, damage_manifest, damage_swap,
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("opened", [again, lambda cache: cache], ids=["by another process", "under our feet"])
def test_a_damaged_entry_counts_as_not_there_and_is_built_again(
    cache: ArtifactCache, damage: object, opened: object
) -> None:
    build(cache)
    assert callable(damage)
    assert callable(opened)
    damage(objects(cache) / KEY[:2] / KEY)
    reader: ArtifactCache = opened(cache)
    assert reader.find(KEY) is None
    assert len(os.listdir(cache.root / "v1" / "quarantine")) == 1
    made = build(reader)
    assert again(cache).find(KEY) == replace(made, reused=True)


def test_content_is_read_once_per_process(cache: ArtifactCache) -> None:
    """Data changed behind the file system's back (same size and times) is trusted by who has verified it, only."""
    made = build(cache)
    blob = Path(made.path) / "model.blob"
    seen = cache._verified[KEY]
    state = blob.stat()
    blob.chmod(0o644)
    blob.write_bytes(blob.read_bytes()[::-1])
    blob.chmod(0o444)
    os.utime(blob, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert blob.stat().st_ctime_ns != state.st_ctime_ns  # which is why even this is noticed
    cache._verified[KEY] = tuple((*row[:4], blob.stat().st_ctime_ns) if row[0] == str(blob) else row for row in seen)
    assert cache.find(KEY) is not None
    assert again(cache).find(KEY) is None


# ---------------------------------------------------------------- pruning


def filled(tmp_path: Path) -> tuple[ArtifactCache, list[float]]:
    """Three artifacts of 2000 bytes, last used at 100, 200 and 300 s; the clock stands at 1000 s."""
    clock = [0.0]
    with ArtifactCache(tmp_path / "cache", now=lambda: clock[0]) as cache:
        for i, key in enumerate(("11" * 32, "22" * 32, "33" * 32), start=1):
            build(cache, key, bytes([i]) * 1000)
            clock[0] = 100.0 * i
            assert cache.find(key) is not None
    clock[0] = 1000.0
    return ArtifactCache(tmp_path / "cache", now=lambda: clock[0]), clock


def test_entries_are_listed_least_recently_used_first(tmp_path: Path) -> None:
    cache, _ = filled(tmp_path)
    cache.publish_failure(OTHER, FAILED)
    found = cache.entries()
    assert [(e.key[:2], e.what, e.size_bytes, e.idle_s, e.in_use) for e in found[:3]] == [
        ("11", "artifact", 2000, 900.0, False),
        ("22", "artifact", 2000, 800.0, False),
        ("33", "artifact", 2000, 700.0, False),
    ]
    assert (found[3].key, found[3].what) == (OTHER, "failure")
    assert found[0].facts == (("tool", "4.2"),)
    cache.close()


def test_pruning_to_a_size_keeps_the_latest(tmp_path: Path) -> None:
    cache, _ = filled(tmp_path)
    assert [e.key[:2] for e in cache.prune_to(4500)] == ["11"]
    assert [e.key[:2] for e in cache.prune_to(4500)] == []
    assert [e.key[:2] for e in cache.entries()] == ["22", "33"]
    cache.close()


def test_pruning_by_age(tmp_path: Path) -> None:
    cache, _ = filled(tmp_path)
    assert [e.key[:2] for e in cache.prune_older(750)] == ["11", "22"]
    assert [e.key[:2] for e in cache.entries()] == ["33"]
    cache.close()


def test_pruning_all_removes_everything_nobody_uses(tmp_path: Path) -> None:
    cache, _ = filled(tmp_path)
    cache.publish_failure(OTHER, FAILED)
    (objects(cache) / "11" / ("11" * 32) / "manifest").unlink()
    with again(cache) as user:
        used = user.find("22" * 32)
        assert isinstance(used, Artifact)
        assert [e.key[:2] for e in cache.entries() if e.in_use] == ["22"]
        assert {(e.key[:2], e.what) for e in cache.prune_all()} == {
            ("11", "damaged"), ("33", "artifact"), ("cd", "failure"),
        }  # fmt: skip
        assert (Path(used.path) / "model.blob").exists()
    assert [e.key[:2] for e in cache.prune_all()] == ["22"]
    assert cache.entries() == ()
    cache.close()


def test_our_own_use_counts(cache: ArtifactCache) -> None:
    build(cache)
    assert cache.prune_all() == ()
    cache.close()
    assert len(cache.prune_all()) == 1


def test_what_a_dropped_cache_handed_out_stays_in_use(cache: ArtifactCache) -> None:
    artifact = build(ArtifactCache(cache.root))
    gc.collect()
    assert cache.prune_all() == ()
    assert Path(artifact.path).is_dir()


def test_a_vanished_entry_is_a_miss(cache: ArtifactCache) -> None:
    build(cache)
    shutil.rmtree(objects(cache))
    assert cache.find(KEY) is None


def test_listing_a_cache_that_is_not_there_creates_nothing(tmp_path: Path) -> None:
    with ArtifactCache(tmp_path / "none") as cache:
        assert cache.entries() == cache.prune_all() == ()
        assert cache.find(KEY) is None
    assert os.listdir(tmp_path) == []


# ---------------------------------------------------------------- many processes

BUILDER = """
import os, random, sys
from pathlib import Path
from infertune.build.cache import ArtifactCache
from infertune.core.records import Artifact
root, seed = Path(sys.argv[1]), int(sys.argv[2])
chance = random.Random(seed)
keys = [f"{i:032x}" for i in range(40)]
chance.shuffle(keys)
with ArtifactCache(root) as cache:
    for key in keys:
        if cache.find(key) is None:
            scratch = cache.scratch()
            (scratch / "a").write_text(key * 50)
            (scratch / "b").write_text(key[::-1] * 50)
            assert isinstance(cache.publish(key, scratch, 0.1), Artifact)
        found = cache.find(key)
        assert isinstance(found, Artifact)
        assert (Path(found.path) / "a").read_text() == key * 50
        print(key, flush=True)
    print("done", flush=True)
"""


def start(code: str, *arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    argv = [sys.executable, "-c", code, *arguments]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def test_builders_that_race_and_die_leave_one_sound_entry_each(cache: ArtifactCache) -> None:
    """Six builders of the same 40 keys, half of them killed at some point; whoever lives gets every artifact."""
    chance = random.Random(5)
    with contextlib.ExitStack() as stack:
        builders = [stack.enter_context(start(BUILDER, str(cache.root), str(seed))) for seed in range(6)]
        for victim in builders[::2]:
            assert victim.stdout is not None
            for _ in range(chance.randrange(1, 30)):
                victim.stdout.readline()
            victim.send_signal(signal.SIGKILL)
        endings = [builder.communicate() for builder in builders]
    assert [err for _, err in endings] == [""] * 6
    assert [out.endswith("done\n") for out, _ in endings[1::2]] == [True] * 3
    found = [cache.find(f"{i:032x}") for i in range(40)]
    assert all(isinstance(each, Artifact) for each in found)
    assert len(list(objects(cache).glob("*/*"))) == 40
    cache.prune_to(10**9)
    assert os.listdir(cache.root / "v1" / "scratch") == []
    assert len(os.listdir(cache.root / "v1" / "leases")) == 3  # the guard, and our own lock and keys


READER = """
import sys
from pathlib import Path
from infertune.build.cache import ArtifactCache
from infertune.core.records import Artifact
with ArtifactCache(Path(sys.argv[1])) as cache:
    for round in range(60):
        key = f"{round % 5:032x}"
        if cache.find(key) is None:
            scratch = cache.scratch()
            (scratch / "a").write_text(key)
            cache.publish(key, scratch, 0.1)
        found = cache.find(key)
        assert isinstance(found, Artifact)
        for _ in range(20):
            assert (Path(found.path) / "a").read_text() == key
        if round % 7 == 6:
            cache.close()
"""


def test_what_is_in_use_survives_a_greedy_evictor(cache: ArtifactCache) -> None:
    removed = 0
    with start(READER, str(cache.root)) as one, start(READER, str(cache.root)) as two:
        while one.poll() is None or two.poll() is None:
            removed += len(cache.prune_to(0))
        assert [process.communicate()[1] for process in (one, two)] == ["", ""]
    assert removed > 0
    assert not list(cache.root.glob("v1/quarantine/*"))
