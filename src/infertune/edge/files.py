"""Files and folders: written whole or not at all, checked before work begins, shown by their last name."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from infertune.core import linux
from infertune.core.errors import CreateError, quoted

NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "gpfs", "beegfs", "ocfs2"}
    | {"fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.s3fs", "fuse.gcsfuse", "fuse.rclone", "virtiofs"}
)


def shown(path: str | os.PathLike[str]) -> str:
    """A path as people see it in reports and messages: its last name, made safe to print."""
    return quoted(Path(path).name or str(path))


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file so that after a crash at any moment it holds its old content or ``data``, never a part.

    Written beside the target, synced, renamed over it, and the rename synced. Raises OSError; then nothing changed.
    """
    write_chunks(path, (data,))


def write_chunks(path: Path, chunks: Iterable[bytes | memoryview]) -> None:
    """`write_bytes` of content that never has to be in memory as a whole."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")
    try:
        with open(temporary, "xb") as file:
            file.writelines(chunks)
            file.flush()
            sync_file(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    sync_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """`write_bytes` of UTF-8 text."""
    write_bytes(path, text.encode())


def sync_file(fd: int) -> None:
    """What was written to ``fd`` is on disk when this returns."""
    os.fsync(fd)


def sync_folder(folder: Path) -> None:
    """Names created, renamed or removed in ``folder`` are on disk when this returns."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # file systems without folder syncing
            raise
    finally:
        os.close(fd)


def free_bytes(folder: Path) -> int:
    """Bytes that this user can still write to the file system of ``folder``, which need not be there yet."""
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    state = os.statvfs(there)
    return state.f_bavail * state.f_frsize


def file_digest(path: Path) -> str:
    """SHA-256 (hex) of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tree_files(folder: Path) -> Iterator[Path]:
    """Every regular file below ``folder``, sorted by its path. Raises ValueError for links, devices and sockets."""
    for entry in sorted(os.scandir(folder), key=lambda e: e.name):
        if entry.is_dir(follow_symlinks=False):
            yield from tree_files(Path(entry.path))
        elif entry.is_file(follow_symlinks=False):
            yield Path(entry.path)
        else:
            raise ValueError(f"`{shown(entry.path)}` is neither a file nor a folder")


def tree_digest(folder: Path) -> str:
    """SHA-256 (hex) over names and contents of all files below ``folder``; times, modes, empty folders do not count."""
    total = hashlib.sha256()
    for path in tree_files(folder):
        name = path.relative_to(folder).as_posix().encode()
        total.update(len(name).to_bytes(8, "little") + name + bytes.fromhex(file_digest(path)))
    return total.hexdigest()


def ensure_folder(folder: Path, purpose: str) -> Path:
    """``folder``, made with its parents where missing, and proven writable by writing to it.

    Raises `CreateError`: ``not-a-folder`` when a file is in the way, ``folder-unwritable`` otherwise. ``purpose`` says
    in words what it is for (`the run folder`).
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(prefix=".write-test.", dir=folder):
            pass
    except (FileExistsError, NotADirectoryError):
        raise CreateError(
            "not-a-folder",
            f"{purpose} cannot be `{quoted(str(folder))}`: a file is in the way",
            hint="give another path, or move that file away",
        ) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise CreateError(
            "folder-unwritable",
            f"{purpose} `{quoted(str(folder))}` cannot be written: {reason}",
            hint="give a folder in which you may create files, on a disk with free space",
        ) from None
    return folder


def file_system(path: Path, root: Path = Path("/")) -> str:
    """The type of the file system that holds ``path`` (``ext4``, ``nfs4``, ...); empty where it cannot be told."""
    try:
        mounted = linux.mounts((root / "proc/self/mountinfo").read_text())
    except OSError:
        return ""
    real = path.resolve()
    around = [m for m in reversed(mounted) if real.is_relative_to(m.point)]
    return max(around, key=lambda m: len(m.point)).kind if around else ""  # of equals the one mounted last, on top


def on_network(path: Path, root: Path = Path("/")) -> bool:
    """Whether ``path`` lives on a network file system, where shared memory maps of files are not to be relied upon."""
    return file_system(path, root) in NETWORK_FILE_SYSTEMS


def cache_folder(environment: Mapping[str, str] | None = None) -> Path:
    """Where built artifacts live: ``INFERTUNE_CACHE``, else ``infertune`` in the user's cache folder."""
    env = os.environ if environment is None else environment
    if chosen := env.get("INFERTUNE_CACHE"):
        return Path(chosen).expanduser()
    base = env.get("XDG_CACHE_HOME", "")
    home = Path(base) if os.path.isabs(base) else Path(env.get("HOME") or Path.home()) / ".cache"
    return home / "infertune"
