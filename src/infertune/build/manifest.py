"""What a cache entry should hold, written last, and the check that it does."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from infertune.core import wire
from infertune.core.records import Named
from infertune.edge.files import file_digest, sync_file, sync_folder, tree_files, write_text

NAME = "manifest"
FILES = "files"
FORMAT = 1

Signature = tuple[tuple[str, int, int, int, int], ...]
"""(name, bytes, inode, modification and change time) of every file: what changes when a file does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFact:
    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """``files`` are relative to the entry's ``files`` folder, sorted."""

    format: int
    key: str
    build_s: float
    made_at: str
    facts: Named
    files: tuple[FileFact, ...]

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)


class Damaged(Exception):  # noqa: N818  # what an entry is, caught in one place
    """An entry that is not what its manifest says."""


def take_stock(folder: Path) -> tuple[FileFact, ...]:
    """Every file below ``folder`` with size and digest. Raises ValueError for links, devices and sockets."""
    return tuple(
        FileFact(path=p.relative_to(folder).as_posix(), size_bytes=p.stat().st_size, sha256=file_digest(p))
        for p in tree_files(folder)
    )


def seal(folder: Path) -> None:
    """Make every file below ``folder`` read-only, and everything in it durable."""
    for path in tree_files(folder):
        with open(path, "rb") as file:
            os.fchmod(file.fileno(), 0o444)
            sync_file(file.fileno())
    for inner, _, _ in os.walk(folder):
        sync_folder(Path(inner))


def write_manifest(entry: Path, manifest: Manifest) -> None:
    """Durable when this returns. The first line is the digest of the second, so that no bit of it can change unseen."""
    body = wire.to_json(manifest)
    write_text(entry / NAME, f"{hashlib.sha256(body.encode()).hexdigest()}\n{body}")


def read_manifest(entry: Path, key: str) -> Manifest:
    """Raises `Damaged` for a manifest that is missing, changed, of another format, or of another key."""
    try:
        digest, _, body = (entry / NAME).read_text().partition("\n")
        if digest != hashlib.sha256(body.encode()).hexdigest():
            raise Damaged("the manifest was changed")
        manifest = wire.from_json(body, Manifest)
    except (OSError, UnicodeDecodeError) as error:
        raise Damaged(f"no manifest: {error}") from error
    if not isinstance(manifest, Manifest) or manifest.format != FORMAT or manifest.key != key:
        raise Damaged("the manifest belongs to something else")
    return manifest


def read_or_unknown(entry: Path) -> Manifest:
    """The entry's manifest; where none can be trusted, one without files and with the reason among its facts."""
    try:
        return read_manifest(entry, entry.name)
    except Damaged as why:
        facts = (("damaged", str(why)),)
        return Manifest(format=FORMAT, key=entry.name, build_s=0.0, made_at="", facts=facts, files=())


def signature(entry: Path) -> Signature:
    """What the file system tells about the entry's files without reading them. Raises `Damaged`."""
    try:
        found = [(path, path.stat()) for path in tree_files(entry / FILES)]
    except (OSError, ValueError) as error:
        raise Damaged(str(error)) from error
    return tuple((str(p), s.st_size, s.st_ino, s.st_mtime_ns, s.st_ctime_ns) for p, s in found)


def check_files(entry: Path, manifest: Manifest) -> None:
    """Compare every file with the manifest, byte by byte through its digest. Raises `Damaged`."""
    try:
        found = take_stock(entry / FILES)
    except (OSError, ValueError) as error:
        raise Damaged(str(error)) from error
    if found != manifest.files:
        wrong = sorted({file.path for file in set(found) ^ set(manifest.files)})
        raise Damaged(f"not as built: {', '.join(wrong[:3])}")
