"""Writing a changed model: whole or not at all, large weights streamed to a data file beside it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from infertune.core.errors import CreateError, UsageError, quoted
from infertune.edge import files
from infertune.edge.scratch import Scratch
from infertune.prepare import external, graphs, sniff, source, weights
from infertune.prepare.shapes import unwritable

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto

PAGE = 4096
"""Data of a page and more begins at a page, so that runtimes can map it."""

LEAST_OUTSIDE = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """A tensor whose data goes to the data file. Tensors of equal ``source`` share one stretch of it."""

    tensor: TensorProto
    source: object
    size_bytes: int
    chunks: Callable[[], Iterator[bytes | memoryview]]


def check_distinct(into: str, path: str, stretches: Iterable[external.Stretch]) -> None:
    """Raise `UsageError` where writing ``into`` or its data file would replace a file of the original."""
    originals = {os.path.realpath(path), *(s.path for s in stretches)}
    for target in (into, data_path(into)):
        if os.path.realpath(target) in originals:
            raise UsageError(
                "output-is-input", f"`{quoted(target)}` belongs to the original", hint="write to another name or folder"
            )


def data_path(into: str) -> str:
    return f"{into}.data"


def publish(
    model: ModelProto, outside: Iterable[Outside], into: str, *, limit_bytes: int = sniff.PROTOBUF_LIMIT
) -> tuple[str, ...]:
    """Write the model, checked, and the files that hold its external data; returns what was written, the model last.

    A model that would not fit one file of ``limit_bytes`` keeps its large initializers outside although it did not
    before. Both files are written in a scratch folder beside ``into`` and renamed: data first, the model last.
    Raises `CreateError` where that fails; then nothing but scratch was written.
    """
    target = Path(into).absolute()
    files.ensure_folder(target.parent, "the folder of the new model")
    if target.is_dir():
        raise CreateError("output-unwritable", f"`{quoted(into)}` is a folder", hint="give the name of a file")
    data = Path(data_path(str(target)))
    moved = list(outside)
    if model.ByteSize() > limit_bytes:
        moved += _large_initializers(model)
    try:
        with Scratch("model", inside=target.parent) as folder:
            scratch = Path(folder)
            if moved:
                _write_data(moved, scratch / data.name)
            files.write_chunks(scratch / target.name, (model.SerializeToString(),))
            source.read(str(scratch / target.name))
            written = [p for p in (data, target) if (scratch / p.name).exists()]
            for path in written:
                os.replace(scratch / path.name, path)
        files.sync_folder(target.parent)
    except OSError as error:
        raise unwritable(into, error) from None
    return tuple(str(path) for path in written)


def _large_initializers(model: ModelProto) -> Iterator[Outside]:
    for found in graphs.tensors(model):
        raw = len(found.tensor.raw_data)
        if found.node is None and raw >= LEAST_OUTSIDE:
            yield Outside(tensor=found.tensor, source=id(found.tensor), size_bytes=raw, chunks=_own_data(found.tensor))


def _own_data(tensor: TensorProto) -> Callable[[], Iterator[bytes]]:
    return lambda: iter((tensor.raw_data,))


def _write_data(outside: Iterable[Outside], path: Path) -> None:
    """Data of one tensor after the other; each is pointed to its place in the file."""
    places: dict[object, int] = {}
    with open(path, "xb") as file:
        for item in outside:
            if item.source not in places:
                places[item.source] = _append(file, item)
            weights.point_outside(item.tensor, path.name, places[item.source], item.size_bytes)
        file.truncate()
        file.flush()
        files.sync_file(file.fileno())


def _append(file: BinaryIO, item: Outside) -> int:
    begin = file.tell()
    if item.size_bytes >= PAGE:
        begin = -(-begin // PAGE) * PAGE
        file.seek(begin)
    for chunk in item.chunks():
        if np.frombuffer(chunk, np.uint8).any():
            file.write(chunk)
        else:
            file.seek(len(chunk), os.SEEK_CUR)  # zeros stay a hole
    return begin
