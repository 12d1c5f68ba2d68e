"""Models that programs are compiled from: read once, kept in the tree by digest, their work counted once per shape."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from infertune.core import wire
from infertune.core.records import TensorSpec
from infertune.targets.qaic.sim.programs.tree import Tree
from infertune.targets.qaic.sim.workload import Workload

if TYPE_CHECKING:
    from onnx import ValueInfoProto

    from infertune.prepare.source import Source

MODEL_FILE = "model.onnx"


class Undefined(Exception):  # noqa: N818  the message is all there is to it
    """The model leaves something open that the compiler needs, or has not what the compiler is told of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A model at bound shapes: dimensions of ``inputs`` are numbers. ``workload`` is per sample."""

    digest: str
    name: str
    batch: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    workload: Workload


def network(tree: Tree, path: str, symbols: Mapping[str, int], rebatched: int | None = None) -> Network:
    """Read the model at ``path``; remembered in the tree as long as the file does not change.

    Raises `Undefined` for a symbol that ``symbols`` leaves open or the model has not, `InfertuneError` for what is no
    sound model.
    """
    memory = tree.state / "networks" / f"{_stamp(path, symbols, rebatched)}.json"
    if memory.is_file():
        known = wire.from_json(memory.read_text(), Network)
        if isinstance(known, Network) and (tree.state / "models" / known.digest / MODEL_FILE).is_file():
            return known
    made = _read(tree, path, symbols, rebatched)
    memory.parent.mkdir(parents=True, exist_ok=True)
    temporary = memory.with_suffix(f".{secrets.token_hex(6)}")
    temporary.write_text(wire.to_json(made))
    temporary.replace(memory)
    return made


def _stamp(path: str, symbols: Mapping[str, int], rebatched: int | None) -> str:
    told = os.stat(path)
    parts = (os.path.abspath(path), told.st_size, told.st_mtime_ns, told.st_ino, sorted(symbols.items()), rebatched)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


def _read(tree: Tree, path: str, symbols: Mapping[str, int], rebatched: int | None) -> Network:
    from infertune.prepare import source
    from infertune.targets.qaic.sim.graph import batch_of, spec_workload

    read = source.read(path)
    digest = read.digest()
    _keep(tree, read, digest)
    weights = {initializer.name for initializer in read.proto.graph.initializer}
    inputs = tuple(_spec(port, symbols) for port in read.proto.graph.input if port.name not in weights)
    _complete(inputs)
    _check_known(read, symbols)
    batch = batch_of(read.proto, inputs)
    if rebatched not in (None, batch) and (symbol := _batch_symbol(read, inputs, batch)) is not None:
        raise Undefined(f"-batchsize {rebatched} contradicts -onnx-define-symbol={symbol},{batch}")
    return Network(
        digest=digest,
        name=os.path.basename(path),
        batch=rebatched or batch,
        inputs=tuple(_rebatched(spec, batch, rebatched) for spec in inputs),
        outputs=tuple(_rebatched(_spec(port, symbols), batch, rebatched) for port in read.proto.graph.output),
        workload=spec_workload(os.path.basename(path), read.proto, inputs),
    )


def _rebatched(spec: TensorSpec, batch: int, wanted: int | None) -> TensorSpec:
    if wanted is None or not spec.dims or spec.dims[0] != batch or (len(spec.dims) == batch == 1):
        return spec
    return TensorSpec(name=spec.name, dtype=spec.dtype, dims=(wanted, *spec.dims[1:]))


def _spec(port: ValueInfoProto, symbols: Mapping[str, int]) -> TensorSpec:
    """An input or output; a symbol without a value keeps its name, a dimension without either is ``?``."""
    import onnx

    tensor = port.type.tensor_type
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
    dims: list[int | str] = []
    for dim in tensor.shape.dim:
        name = dim.dim_param
        dims.append(symbols.get(name, name) if name else dim.dim_value if dim.HasField("dim_value") else "?")
    return TensorSpec(name=port.name, dtype=dtype, dims=tuple(dims))


def _complete(inputs: tuple[TensorSpec, ...]) -> None:
    for spec in inputs:
        for dim in spec.dims:
            if isinstance(dim, str):
                raise Undefined(
                    f"Undefined symbol '{dim}' in the shape of input '{spec.name}'; use -onnx-define-symbol"
                )


def _check_known(read: Source, symbols: Mapping[str, int]) -> None:
    graph = read.proto.graph
    ports = (*graph.input, *graph.output, *graph.value_info)
    known = {dim.dim_param for port in ports for dim in port.type.tensor_type.shape.dim}
    for name in symbols:
        if name not in known:
            raise Undefined(f"the model has no symbol '{name}', which -onnx-define-symbol names")


def _batch_symbol(read: Source, inputs: tuple[TensorSpec, ...], batch: int) -> str | None:
    """The symbol that an input's batch is bound by."""
    ports = {port.name: port.type.tensor_type.shape.dim for port in read.proto.graph.input}
    firsts = (ports[spec.name][0].dim_param for spec in inputs if spec.dims and spec.dims[0] == batch)
    return next((name for name in firsts if name), None)


def _keep(tree: Tree, read: Source, digest: str) -> None:
    """A copy of the model with its external data, for the outputs that runs compute."""
    folder = tree.state / "models" / digest
    if (folder / MODEL_FILE).is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    for location, path in sorted({(s.location, s.path) for s in read.stretches}):
        target = folder / location
        target.parent.mkdir(parents=True, exist_ok=True)
        _copy(path, target)
    _copy(read.path, folder / MODEL_FILE)


def _copy(path: str, target: Path) -> None:
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}")
    shutil.copyfile(path, temporary)
    temporary.replace(target)
