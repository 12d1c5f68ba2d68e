"""What a file is, judged from its bytes: one clear error for everything that is not a whole ONNX model."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from infertune.core.errors import DataError, InfertuneError, NotFoundError, nearest, quoted

PROTOBUF_LIMIT = 2**31 - 1
GIT_LFS = b"version https://git-lfs.github.com/spec/"

_EXPORT = "export it to ONNX first (torch.onnx.export, or `infertune import` for a Hugging Face model)"
_HEAD = 4096


def check_file(path: str) -> None:
    """Pass for a file that looks like a whole ONNX model; else raise `NotFoundError` or `DataError` with the reason."""
    size = _size(path)
    with open(path, "rb") as file:
        head = file.read(_HEAD)
        for sign in _SIGNS:
            if sign.fits(head):
                raise sign.error(path, head)
        _check_fields(file, path, size)


def _size(path: str) -> int:
    shown = quoted(path)
    try:
        if os.path.isdir(path):
            raise _directory(path)
        if not os.path.isfile(path):
            raise _missing(path)
        size = os.path.getsize(path)
        if not os.access(path, os.R_OK):
            raise NotFoundError("model-permission", f"`{shown}` may not be read", hint="check the file's permissions")
    except ValueError:  # a NUL in the name
        raise NotFoundError("model-not-found", f"`{shown}` is not a file name", hint="check the path") from None
    if size == 0:
        raise DataError("model-empty", f"`{shown}` is empty", hint="download or export the model again")
    if size > PROTOBUF_LIMIT:
        raise DataError(
            "model-too-large",
            f"`{shown}` has {size} bytes; one ONNX file cannot exceed 2 GB",
            hint="export with the weights outside: onnx.save(model, path, save_as_external_data=True)",
        )
    return size


def _missing(path: str) -> NotFoundError:
    folder, name = os.path.split(path)
    shown = quoted(path)
    if folder and not os.path.isdir(folder):
        return NotFoundError(
            "model-not-found", f"there is no file `{shown}`", hint=f"there is no folder `{quoted(folder)}` either"
        )
    beside = sorted(n for n in os.listdir(folder or ".") if n.endswith(".onnx"))
    listed = (
        f"models in this folder: {quoted(', '.join(beside))}" if beside else "there is no .onnx file in this folder"
    )
    return NotFoundError("model-not-found", f"there is no file `{shown}`", hint=nearest(name, beside) + listed)


def _directory(path: str) -> DataError:
    inside = sorted(
        os.path.relpath(os.path.join(folder, name), path)
        for folder, _, names in _two_levels(path)
        for name in names
        if name.endswith(".onnx")
    )
    named = f"name a file in it: {quoted(', '.join(inside))}" if inside else "name an .onnx file"
    return DataError("model-is-directory", f"`{quoted(path)}` is a directory, not an ONNX file", hint=named)


def _two_levels(path: str) -> list[tuple[str, list[str], list[str]]]:
    found: list[tuple[str, list[str], list[str]]] = []
    for folder, folders, names in os.walk(path):
        found.append((folder, folders, names))
        if folder != path:
            folders.clear()
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sign:
    """A kind of file that people hand over instead of an ONNX model."""

    fits: Callable[[bytes], bool]
    what: str
    hint: str
    id: str = "model-not-onnx"

    def error(self, path: str, head: bytes) -> InfertuneError:
        text = self.what.format(size=lfs_size(head))
        return DataError(self.id, f"`{quoted(path)}` is {text}", hint=self.hint)


def lfs_size(head: bytes) -> str:
    """The real size that a Git LFS pointer states, in words."""
    for line in head[:400].splitlines():
        if line.startswith(b"size ") and line[5:].isdigit():
            return f"{int(line[5:])} bytes"
    return "more"


def _starts(*prefixes: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(prefixes)


_SIGNS = (
    _Sign(
        fits=_starts(GIT_LFS),
        what="a Git LFS pointer, not the model itself ({size})",
        hint="fetch the file: git lfs install && git lfs pull",
        id="model-git-lfs",
    ),
    _Sign(
        fits=lambda head: head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"),
        what="a Python pickle (a PyTorch checkpoint?); loading one can run any code, so it is never opened",
        hint=_EXPORT,
        id="model-pickle",
    ),
    _Sign(
        fits=lambda head: head[:4] == b"PK\x03\x04" and b".pkl" in head,
        what="a PyTorch checkpoint (a zip of pickles); loading one can run any code, so it is never opened",
        hint=_EXPORT,
        id="model-pickle",
    ),
    _Sign(fits=_starts(b"PK\x03\x04"), what="a zip archive", hint="unpack it and name the .onnx file inside"),
    _Sign(fits=_starts(b"\x1f\x8b"), what="a gzip archive", hint="unpack it and name the .onnx file inside"),
    _Sign(fits=_starts(b"\x89HDF"), what="an HDF5 file (Keras?)", hint="convert it to ONNX with tf2onnx first"),
    _Sign(fits=lambda head: head[4:8] == b"TFL3", what="a TensorFlow Lite model", hint="convert it with tf2onnx first"),
    _Sign(fits=_starts(b"GGUF"), what="a GGUF file", hint=_EXPORT),
    _Sign(fits=_starts(b"\x93NUMPY"), what="a numpy array", hint="name the .onnx file"),
    _Sign(
        fits=lambda head: head[8:10] in (b'{"', b"{ ") and head[6:8] == b"\0\0",
        what="a safetensors file: weights without a graph",
        hint=_EXPORT,
    ),
    _Sign(
        fits=lambda head: head.lstrip()[:15].lower().startswith((b"<!doctype html", b"<html")),
        what="a web page",
        hint="the download was answered by a page (a login?): download the file itself",
    ),
    _Sign(
        fits=lambda head: head.lstrip().startswith((b"<?xml", b"<net")),
        what="an XML file (OpenVINO IR?)",
        hint="name the ONNX model that it was made from",
    ),
    _Sign(
        fits=lambda head: head.lstrip().startswith((b"ir_version:", b'{"', b"{\n", b"<\n", b"<ir_version")),
        what="a text file",
        hint="write it in ONNX's binary form: onnx.save(onnx.load(PATH), 'model.onnx')",
    ),
    _Sign(
        fits=lambda head: not any(head),
        what="filled with zero bytes: the content never arrived",
        hint="download or copy the model again",
    ),
)

_VARINT, _BYTES = 0, 2
_FIXED = {1: 8, 5: 4}
_GRAPH = 7
# ModelProto's fields (onnx.proto): number -> wire type
_KNOWN = {
    **dict.fromkeys((1, 5), _VARINT),
    **dict.fromkeys((2, 3, 4, 6, _GRAPH, 8, 14, 20, 25, 26), _BYTES),
}


def _check_fields(file: BinaryIO, path: str, size: int) -> None:
    """Walk the outermost protobuf fields, reading only their headers, to tell a cut file from another format."""
    seen: set[int] = set()
    at = 0
    try:
        while at < size:
            number, at = _field(file, at)
            seen.add(number)
            if at > size:
                raise _truncated(path, size, f"its fields need {at} bytes")
    except EOFError:
        raise _truncated(path, size, "it ends inside a field header") from None
    except ValueError as error:
        raise (damaged(path, str(error)) if _GRAPH in seen else _foreign(path)) from None
    if _GRAPH not in seen:
        raise _truncated(path, size, "it has no graph") if seen <= set(_KNOWN) and 1 in seen else _foreign(path)


def _field(file: BinaryIO, at: int) -> tuple[int, int]:
    """(field number, where the field ends). Raises ValueError for what no ONNX model holds, EOFError at the end."""
    tag, at = _varint(file, at)
    number, wire = tag >> 3, tag & 7
    if number == 0 or wire != _KNOWN.get(number, wire):
        raise ValueError(f"field {number} of wire type {wire}")
    if wire == _VARINT:
        return number, _varint(file, at)[1]
    if wire == _BYTES:
        length, at = _varint(file, at)
        if number not in _KNOWN and length > PROTOBUF_LIMIT:
            raise ValueError(f"field {number} of {length} bytes")
        return number, at + length
    if wire in _FIXED:
        return number, at + _FIXED[wire]
    raise ValueError(f"wire type {wire}")


def _varint(file: BinaryIO, at: int) -> tuple[int, int]:
    file.seek(at)
    raw = file.read(10)
    value = 0
    for number, byte in enumerate(raw):
        value |= (byte & 127) << (7 * number)
        if byte < 128:
            return value, at + number + 1
    if len(raw) < 10:
        raise EOFError
    raise ValueError("a number of more than ten bytes")


def _truncated(path: str, size: int, why: str) -> DataError:
    return DataError(
        "model-truncated",
        f"`{quoted(path)}` is cut off: it has {size} bytes, but {why}",
        hint="download or export the model again",
    )


def damaged(path: str, why: str) -> DataError:
    return DataError(
        "model-damaged",
        f"`{quoted(path)}` is a damaged ONNX model: {quoted(why)}",
        hint="download or export the model again",
    )


def _foreign(path: str) -> DataError:
    return DataError("model-not-onnx", f"`{quoted(path)}` is not an ONNX model", hint="name an .onnx file")
