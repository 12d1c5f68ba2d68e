"""The artifact cache: what was built once is found again under its key, whole and unchanged, or not at all.

    v1/objects/ab/<key>/manifest      digests of all files; written last, so an entry without it never counts
    v1/objects/ab/<key>/files/...     what the build left, read-only
    v1/failures/<key>                 builds that fail every time
    v1/scratch/ quarantine/ leases/   work in progress, damaged entries, who uses what

An entry appears by one rename, so builders of the same key need not know of each other: one wins, all succeed. It is
compared with its digests when a process first uses it; a damaged one is moved aside and counts as not there.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

from infertune.build import manifest as manifests
from infertune.build.leases import Leases
from infertune.build.manifest import Damaged, Manifest, Signature
from infertune.core import wire
from infertune.core.errors import StorageError, quoted
from infertune.core.records import Artifact, Failed, Named
from infertune.edge.clock import wall_clock, wall_seconds
from infertune.edge.files import cache_folder, ensure_folder, sync_folder, write_text

LASTING = frozenset({"illegal", "compiler", "device-memory", "output"})
"""Kinds of failure that come again every time; the others (time, memory, crash, device) may not."""

_PASSING = re.compile(
    r"no space left|too many open files|resource temporarily unavailable|disk quota|cannot allocate|out of memory"
    r"|input/output error|read-only file system|stale file handle|interrupted",
    re.IGNORECASE,
)
_KEY = re.compile(r"[0-9a-f]{16,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheEntry:
    """One line of ``infertune cache list``. ``idle_s`` is the time since it was last used."""

    key: str
    what: str  # artifact, damaged, or failure
    size_bytes: int
    build_s: float
    made_at: str
    idle_s: float
    in_use: bool
    facts: Named = ()


class ArtifactCache:
    """A cache below ``root`` (default: `files.cache_folder`). Nothing is created before it is needed.

    Every artifact that `find` or `publish` hands out is leased until `close` or the end of the process: nobody prunes
    it meanwhile. Safe to use from several threads and processes at once.
    """

    def __init__(self, root: Path | None = None, now: Callable[[], float] = wall_seconds) -> None:
        self.root = cache_folder() if root is None else root
        self._base = self.root / "v1"
        self._now = now
        self._verified: dict[str, Signature] = {}

    # ------------------------------------------------------------ finding

    def find(self, key: str) -> Artifact | Failed | None:
        """What was built or failed under ``key``, or None: nothing usable is there."""
        return self._found(key) or self._failure(key)

    def _found(self, key: str) -> Artifact | None:
        entry = self._entry(key)
        if not entry.is_dir():
            return None
        with _told(self.root):
            self._leases.hold(key)
            manifest = self._verify(key, entry)
            if manifest is None:
                self._leases.drop(key)
                return None
            with contextlib.suppress(OSError):
                os.utime(entry / manifests.NAME, (self._now(), self._now()))
        return _artifact(entry, manifest, reused=True)

    def _verify(self, key: str, entry: Path) -> Manifest | None:
        """The manifest of a sound entry. Digests are computed once per process, and again when a file's data moved."""
        try:
            inode = entry.stat().st_ino
        except FileNotFoundError:
            return None
        try:
            manifest = manifests.read_manifest(entry, key)
            seen = manifests.signature(entry)
            if self._verified.get(key) != seen:
                manifests.check_files(entry, manifest)
                self._verified[key] = seen
        except Damaged:
            self._quarantine(key, entry, inode)
            return None
        return manifest

    def _quarantine(self, key: str, entry: Path, inode: int) -> None:
        """Move a damaged entry aside, unless another process already did and a fresh one is in its place."""
        with self._leases.guarded(), contextlib.suppress(FileNotFoundError):
            if entry.stat().st_ino == inode:
                os.rename(entry, self._folder("quarantine") / f"{key}-{secrets.token_hex(4)}")

    def _failure(self, key: str) -> Failed | None:
        path = self._base / "failures" / key
        try:
            failed: Failed = wire.from_json(path.read_text(), Failed)
        except FileNotFoundError:
            return None
        except Exception:  # noqa: BLE001  # whatever is wrong with it, it is not knowledge: build again
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        return failed

    # ------------------------------------------------------------ building

    def scratch(self) -> Path:
        """A new empty folder to build into, on the cache's own disk; `publish` or `discard` ends it."""
        with _told(self.root):
            folder = self._folder("scratch") / f"{self._leases.name}.{secrets.token_hex(6)}"
            folder.mkdir()
        return folder

    def discard(self, scratch: Path) -> None:
        """Remove a scratch folder whose build came to nothing."""
        shutil.rmtree(scratch, ignore_errors=True)

    def publish(self, key: str, scratch: Path, build_s: float, facts: Named = ()) -> Artifact | Failed:
        """Move what a build left in ``scratch`` into the cache under ``key``; on disk when this returns.

        A build that left nothing, or something that is no plain file, gives `Failed` (kind ``output``). When another
        builder was first, its artifact is the answer. Raises `StorageError` when the disk fails.
        """
        with _told(self.root):
            try:
                files = manifests.take_stock(scratch)
            except ValueError as error:
                return self._unusable(key, scratch, str(error))
            if not any(file.size_bytes for file in files):
                return self._unusable(key, scratch, "the build reported success but left no data")
            manifest = Manifest(
                format=manifests.FORMAT, key=key, build_s=build_s, made_at=wall_clock(), facts=facts, files=files
            )
            return self._place(self._staged(scratch, manifest), manifest)

    def _unusable(self, key: str, scratch: Path, why: str) -> Failed:
        self.discard(scratch)
        failed = Failed(stage="build", kind="output", message=why)
        self.publish_failure(key, failed)
        return failed

    def _staged(self, scratch: Path, manifest: Manifest) -> Path:
        staging = self.scratch()
        shutil.move(scratch, staging / manifests.FILES)
        manifests.seal(staging / manifests.FILES)
        manifests.write_manifest(staging, manifest)
        return staging

    def _place(self, staging: Path, manifest: Manifest) -> Artifact:
        """One rename puts the entry in its place; where a sound one is already, ours is dropped."""
        key, entry = manifest.key, self._entry(manifest.key)
        self._leases.hold(key)
        entry.parent.mkdir(parents=True, exist_ok=True)
        for _ in range(10):
            try:
                os.rename(staging, entry)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                if first := self._found(key):
                    self.discard(staging)
                    return first
                continue  # a damaged one was in the way, and has been moved aside
            sync_folder(entry.parent)
            self._verified[key] = manifests.signature(entry)
            (self._base / "failures" / key).unlink(missing_ok=True)
            return _artifact(entry, manifest, reused=False)
        raise OSError(errno.EBUSY, "an entry keeps coming back damaged", str(entry))

    def publish_failure(self, key: str, failed: Failed) -> None:
        """Remember a failure that would come again every time; any other is forgotten at once."""
        if failed.stage == "build" and failed.kind in LASTING and not _PASSING.search(f"{failed.message} {failed.log}"):
            with _told(self.root):
                write_text(self._folder("failures") / _checked(key), wire.to_json(failed))

    # ------------------------------------------------------------ looking after it

    def entries(self) -> tuple[CacheEntry, ...]:
        """Everything kept, least recently used first."""
        if not self._base.is_dir():
            return ()
        with _told(self.root):
            with self._leases.guarded():
                used = self._leases.in_use()
            found = [*self._artifacts(used), *self._failures()]
        return tuple(sorted(found, key=lambda e: (-e.idle_s, e.key)))

    def _artifacts(self, used: set[str]) -> Iterator[CacheEntry]:
        for entry in self._base.glob("objects/*/*"):
            with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                used_at = _used_at(entry)
                manifest = manifests.read_or_unknown(entry)
                yield CacheEntry(
                    key=entry.name,
                    what="artifact" if manifest.files else "damaged",
                    size_bytes=manifest.size_bytes,
                    build_s=manifest.build_s,
                    made_at=manifest.made_at,
                    idle_s=max(0.0, self._now() - used_at),
                    in_use=entry.name in used,
                    facts=manifest.facts,
                )

    def _failures(self) -> Iterator[CacheEntry]:
        for path in self._base.glob("failures/*"):
            with contextlib.suppress(FileNotFoundError):
                state = path.stat()
                idle_s = max(0.0, self._now() - state.st_mtime)
                yield CacheEntry(
                    key=path.name, what="failure", size_bytes=state.st_size, build_s=0.0, made_at="", idle_s=idle_s,
                    in_use=False,
                )  # fmt: skip

    def prune_to(self, max_bytes: int) -> tuple[CacheEntry, ...]:
        """Remove the least recently used entries until at most ``max_bytes`` are kept; what was removed."""
        entries = self.entries()
        excess = sum(entry.size_bytes for entry in entries) - max_bytes
        removed: list[CacheEntry] = []
        for entry in entries:
            if excess > 0 and self._remove(entry):
                removed.append(entry)
                excess -= entry.size_bytes
        self._sweep()
        return tuple(removed)

    def prune_older(self, idle_s: float) -> tuple[CacheEntry, ...]:
        """Remove entries not used for ``idle_s`` seconds; what was removed."""
        return self._prune([entry for entry in self.entries() if entry.idle_s > idle_s])

    def prune_all(self) -> tuple[CacheEntry, ...]:
        """Remove every entry that no living process uses; what was removed."""
        return self._prune(self.entries())

    def _prune(self, doomed: Sequence[CacheEntry]) -> tuple[CacheEntry, ...]:
        removed = tuple(entry for entry in doomed if self._remove(entry))
        self._sweep()
        return removed

    def _remove(self, entry: CacheEntry) -> bool:
        """False for an entry in use or already gone. It vanishes by one rename; its bytes go afterwards."""
        with _told(self.root):
            if entry.what == "failure":
                (self._base / "failures" / entry.key).unlink(missing_ok=True)
                return True
            trash = self.scratch()
            with self._leases.guarded():
                gone = entry.key not in self._leases.in_use() and _renamed(self._entry(entry.key), trash)
            self.discard(trash)
        return gone

    def _sweep(self) -> None:
        """Remove damaged entries put aside, and what dead builders left."""
        if self._base.is_dir():
            with _told(self.root):
                self._clear_scratch(self._leases)
            for folder in self._base.glob("quarantine/*"):
                shutil.rmtree(folder, ignore_errors=True)

    def _clear_scratch(self, leases: Leases) -> None:
        there = list(self._base.glob("scratch/*"))  # before asking who lives: a folder is younger than its owner
        with leases.guarded():
            alive = leases.alive()
        for folder in there:
            if folder.name.partition(".")[0] not in alive:
                shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Give all leases back and remove unfinished scratch folders. Closing twice is fine."""
        leases = self.__dict__.pop("_leases", None)
        if isinstance(leases, Leases):
            for folder in self._base.glob(f"scratch/{leases.name}.*"):
                shutil.rmtree(folder, ignore_errors=True)
            with contextlib.suppress(OSError):
                leases.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    # ------------------------------------------------------------ places

    @cached_property
    def _leases(self) -> Leases:
        leases = Leases(self._folder("leases"))
        self._clear_scratch(leases)
        return leases

    @cached_property
    def _writable(self) -> Path:
        ensure_folder(self.root, "the artifact cache")
        return self._base

    def _folder(self, name: str) -> Path:
        folder = self._writable / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _entry(self, key: str) -> Path:
        return self._base / "objects" / _checked(key)[:2] / key


def _used_at(entry: Path) -> float:
    """When an entry was last found, which the time of its manifest tells; of a damaged one, when it last changed."""
    try:
        return (entry / manifests.NAME).stat().st_mtime
    except FileNotFoundError:
        return entry.stat().st_mtime


def _checked(key: str) -> str:
    """Keys become names of folders. Raises ValueError for one that is not plain hexadecimal."""
    if not _KEY.fullmatch(key):
        raise ValueError(f"not a cache key: {quoted(key)}")
    return key


def _artifact(entry: Path, manifest: Manifest, *, reused: bool) -> Artifact:
    return Artifact(
        key=manifest.key,
        path=str(entry / manifests.FILES),
        size_bytes=manifest.size_bytes,
        build_s=manifest.build_s,
        reused=reused,
    )


def _renamed(source: Path, target: Path) -> bool:
    """Whether ``source`` was there to be moved over the empty folder ``target``."""
    try:
        os.rename(source, target)
    except FileNotFoundError:
        return False
    return True


@contextlib.contextmanager
def _told(root: Path) -> Iterator[None]:
    """Errors of the file system as errors meant for people."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise StorageError(
            "disk-full" if full else "cache-io",
            f"the artifact cache `{quoted(str(root))}` failed: {error.strerror or error}",
            hint="free space with `infertune cache prune`, or set INFERTUNE_CACHE to another folder",
        ) from error
