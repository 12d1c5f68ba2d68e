"""External data: weights that an ONNX file keeps in other files of its folder."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from infertune.core.errors import DataError, NotFoundError, quoted
from infertune.edge import files
from infertune.prepare import sniff

if TYPE_CHECKING:
    from onnx import TensorProto

CHUNK_BYTES = 1 << 24

_KEYS = {"location", "offset", "length", "checksum", "basepath"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """``length`` bytes from ``offset`` in the file ``path`` (absolute); ``location`` is how the model names it."""

    location: str
    path: str
    offset: int
    length: int

    def chunks(self, multiple: int = 1) -> Iterator[bytes]:
        """The bytes in order, at most 16 MiB at a time, each piece a multiple of ``multiple`` bytes."""
        most = CHUNK_BYTES // multiple * multiple
        with open(self.path, "rb") as file:
            file.seek(self.offset)
            left = self.length
            while left:
                piece = file.read(min(most, left))
                if not piece:
                    raise _short(self.location, self.path, self.offset + self.length)
                left -= len(piece)
                yield piece

    def read(self) -> bytes:
        return b"".join(self.chunks())


def is_external(tensor: TensorProto) -> bool:
    return tensor.HasField("data_location") and tensor.data_location == tensor.EXTERNAL


def stretch(tensor: TensorProto, folder: str, size: int) -> Stretch:
    """Where a tensor of ``size`` bytes lies. Raises for a file that is missing, too short or outside ``folder``."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    name = quoted(tensor.name)
    location = entries.get("location", "")
    if strange := sorted(set(entries) - _KEYS):
        raise _bad(f"external data of `{name}` has the unknown key `{quoted(strange[0])}`")
    offset, length = (_whole(entries, key, name) for key in ("offset", "length"))
    if length is not None and length != size:
        raise _bad(f"external data of `{name}` states {length} bytes, its type and dimensions need {size}")
    path = _inside(folder, location, name)
    found = Stretch(location=location, path=path, offset=offset or 0, length=size)
    if os.path.getsize(path) < found.offset + size:
        raise _short(location, path, found.offset + size)
    return found


def _whole(entries: dict[str, str], key: str, name: str) -> int | None:
    text = entries.get(key)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise _bad(f"external data of `{name}` has {key} `{quoted(text)}`, not a number of bytes")
    return int(text)


def _inside(folder: str, location: str, name: str) -> str:
    """The real path of ``location``, which must stay inside ``folder`` even after links are followed."""
    parts = location.replace("\\", "/").split("/")
    if not location or "\0" in location or os.path.isabs(location) or ".." in parts:
        raise _escapes(location, name, "must be a plain relative path")
    path = os.path.join(os.path.abspath(folder), *parts)
    if not os.path.lexists(path):
        raise NotFoundError(
            "external-data-missing",
            f"the model keeps `{name}` in the file `{quoted(location)}`, which is not beside it",
            hint=f"put that file into {quoted(os.path.abspath(folder))}",
        )
    real = os.path.realpath(path)
    if os.path.commonpath([real, os.path.realpath(folder)]) != os.path.realpath(folder):
        raise _escapes(location, name, "is a link that leaves the model's folder")
    if not os.path.isfile(real):
        raise _bad(f"external data file `{quoted(location)}` of `{name}` is not a regular file")
    return real


def _escapes(location: str, name: str, why: str) -> DataError:
    return DataError(
        "external-data-escapes",
        f"external data file `{quoted(location)}` of `{name}` {why}",
        hint="copy the model and its data files into one plain folder: cp -rL FOLDER NEW_FOLDER",
    )


def _short(location: str, path: str, need: int) -> DataError:
    with open(path, "rb") as file:
        head = file.read(len(sniff.GIT_LFS))
    if head == sniff.GIT_LFS:
        return DataError(
            "model-git-lfs",
            f"external data file `{quoted(location)}` is a Git LFS pointer, not the data itself",
            hint="fetch the file: git lfs install && git lfs pull",
        )
    return DataError(
        "external-data-truncated",
        f"external data file `{quoted(location)}` has {os.path.getsize(path)} bytes, the model needs {need}",
        hint="download or export the model again",
    )


def _bad(what: str) -> DataError:
    return DataError("external-data-invalid", what, hint="export the model again")


def copy_files(stretches: Iterable[Stretch], folder: Path) -> None:
    """Copy every external data file to the same location below ``folder``, each whole or not at all. Raises OSError."""
    for location, real in sorted({(s.location, s.path) for s in stretches}):
        target = folder.joinpath(*location.replace("\\", "/").split("/"))
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(real, "rb") as file:
            files.write_chunks(target, iter(lambda: file.read(CHUNK_BYTES), b""))


def digest(path: str, others: Iterable[Stretch]) -> str:
    """SHA-256 over a model file, then each external data file it names (by location), as hex.

    Without external data this is the plain digest of the file, as ``sha256sum`` prints it.
    """
    total = hashlib.sha256()
    _feed(total, path)
    for location, real in sorted({(o.location, o.path) for o in others}):
        total.update(f"\n{location}\n{os.path.getsize(real)}\n".encode())
        _feed(total, real)
    return total.hexdigest()


def _feed(total: hashlib._Hash, path: str) -> None:
    with open(path, "rb") as file:
        while piece := file.read(CHUNK_BYTES):
            total.update(piece)


_BITS = {
    **dict.fromkeys((2, 3, 9, 17, 18, 19, 20, 24), 8),  # UINT8, INT8, BOOL, FLOAT8*, FLOAT8E8M0
    **dict.fromkeys((4, 5, 10, 16), 16),  # UINT16, INT16, FLOAT16, BFLOAT16
    **dict.fromkeys((1, 6, 12), 32),  # FLOAT, INT32, UINT32
    **dict.fromkeys((7, 11, 13, 14), 64),  # INT64, DOUBLE, UINT64, COMPLEX64
    15: 128,  # COMPLEX128
    **dict.fromkeys((21, 22, 23), 4),  # UINT4, INT4, FLOAT4E2M1
    **dict.fromkeys((25, 26), 2),  # UINT2, INT2
    **dict.fromkeys((27, 28), 6),  # FLOAT6*
}


def element_bits(data_type: int) -> int | None:
    """Bits of one element of a TensorProto data type; None for text and for types that do not exist."""
    return _BITS.get(data_type)


def stored_bytes(data_type: int, elements: int) -> int:
    """Bytes of raw data: types below eight bits are packed."""
    return math.ceil(elements * _BITS[data_type] / 8)
