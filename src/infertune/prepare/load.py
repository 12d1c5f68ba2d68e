"""An ONNX file as a `Model`: its inputs with every symbol bound, its outputs, its size and its digest."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from infertune.core.errors import DataError, UsageError, quoted
from infertune.core.records import Model, TensorSpec
from infertune.prepare import bounds, source, symbols
from infertune.prepare.labels import label_outputs
from infertune.prepare.shapes import bind
from infertune.prepare.traits import traits

if TYPE_CHECKING:
    from onnx import ModelProto, ValueInfoProto

LARGEST_INPUT_BYTES = 1 << 33

FEEDABLE = frozenset(
    (
        "float16", "float32", "float64", "bool",
        "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    )
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """What goes in and out as the file states it, the values of whole-number inputs (what they index, and what they
    are asked to equal), and which outputs are labels (`TensorSpec`)."""

    inputs: tuple[symbols.Port, ...]
    outputs: tuple[symbols.Port, ...]
    indexed: dict[str, frozenset[symbols.Row]]
    meant: dict[str, int]
    labels: frozenset[str]

    def named(self, batch_symbol: str | None = None) -> symbols.Naming:
        """See `symbols.name_dims`."""
        return symbols.name_dims(self.inputs, self.outputs, batch_symbol, self.indexed)

    def below(self, naming: symbols.Naming, bound: Mapping[str, int]) -> dict[str, int]:
        """Exclusive bounds by input name, as far as symbols are bound: the least of the sizes that are indexed."""
        known = {
            name: [size for symbol in sizes if (size := bound.get(str(symbol), symbol)) and isinstance(size, int)]
            for name, sizes in self._sizes(naming).items()
        }
        return {name: min(sizes) for name, sizes in known.items() if sizes}

    def _sizes(self, naming: symbols.Naming) -> dict[str, list[int | str]]:
        """By input name, numbers and symbols."""
        dims = {port.name: named for port, named in zip(self.inputs, naming.inputs, strict=True)}
        return {name: [symbols.size_of(row, dims) for row in rows] for name, rows in self.indexed.items()}

    def inputs_named(self, naming: symbols.Naming, bound: Mapping[str, int]) -> tuple[TensorSpec, ...]:
        """What indexes the batch is meant to index its first row: that one is there whatever the batch."""
        below = self.below(naming, bound)
        batch: int | str | None = naming.batch_symbol
        meant = {name: 0 for name, sizes in self._sizes(naming).items() if batch in sizes} | self.meant
        return tuple(
            TensorSpec(
                name=port.name, dtype=port.dtype, dims=dims, below=below.get(port.name), meant=meant.get(port.name)
            )
            for port, dims in zip(self.inputs, naming.inputs, strict=True)
        )

    def outputs_named(self, naming: symbols.Naming) -> tuple[TensorSpec, ...]:
        return tuple(
            TensorSpec(name=port.name, dtype=port.dtype, dims=dims, label=port.name in self.labels)
            for port, dims in zip(self.outputs, naming.outputs, strict=True)
        )


def describe(
    path: str, *, shapes: Mapping[str, int], batch_symbol: str | None = None, name: str | None = None
) -> Model:
    """Read an ONNX file of any size and bind its symbols. External data is digested, never loaded.

    A symbol of the batch that ``shapes`` binds makes the batch fixed. The dtype of outputs that are no
    tensors of numbers is ``sequence``, ``map``, ``optional`` or ``string``; an output of unknown rank has no dims.
    Raises `NotFoundError`, `DataError` or `UsageError`, one for each kind of bad file or binding; nothing else.
    """
    opened = source.read(path)
    ports = read_ports(opened.proto)
    _check_feedable(ports)
    naming = ports.named(batch_symbol)
    bound = bind(naming, shapes)
    model = Model(
        path=opened.path,
        digest=opened.digest(),
        name=name or Path(path).stem,
        inputs=ports.inputs_named(naming, bound),
        outputs=ports.outputs_named(naming),
        batch_symbol=None if naming.batch_symbol in shapes else naming.batch_symbol,
        fixed_batch=shapes.get(naming.batch_symbol or "", naming.fixed_batch),
        shapes=tuple(sorted(bound.items())),
        opset=opened.opset,
        parameters=opened.parameters,
        weight_bytes=opened.weight_bytes,
        traits=traits(opened.proto),
    )
    _check_sizes(model)
    return model


def _check_sizes(model: Model) -> None:
    for spec in model.inputs:
        dims = model.dims(spec, model.fixed_batch)
        size = math.prod(dims) * np.dtype(spec.dtype).itemsize
        if size > LARGEST_INPUT_BYTES:
            raise UsageError(
                "input-too-large",
                f"input `{quoted(spec.name)}` of {' x '.join(map(str, dims))} {spec.dtype} takes {size} bytes",
                hint=f"inputs of one request may take {LARGEST_INPUT_BYTES} bytes: bind smaller numbers with --shape",
            )


def read_ports(model: ModelProto) -> Ports:
    """Inputs without the stored tensors that old files also list there, and outputs; of any type."""
    stored = {t.name for t in model.graph.initializer} | {s.values.name for s in model.graph.sparse_initializer}
    fed = [port for port in model.graph.input if port.name not in stored]
    integers = {port.name for port in fed if "int" in _type_words(port)}
    indexed = bounds.index_bounds(model)
    meant = bounds.meant_values(model) if integers else {}
    kinds = {port.name: _type_words(port) for port in model.graph.output}
    whole = {name for name, kind in kinds.items() if "int" in kind or kind == "bool"}
    texts = {name for name, kind in kinds.items() if kind == "string"}
    return Ports(
        inputs=tuple(_port(port) for port in fed),
        outputs=tuple(_port(port) for port in model.graph.output),
        indexed={port.name: indexed[port.name] for port in fed if port.name in indexed},
        meant={name: value for name, value in meant.items() if name in integers},
        labels=label_outputs(model, whole).union(texts),
    )


def _check_feedable(ports: Ports) -> None:
    for port in ports.inputs:
        if port.dtype not in FEEDABLE:
            raise DataError(
                "input-type",
                f"input `{quoted(port.name)}` is of type {port.dtype}, which cannot be fed",
                hint="export the model with plain tensors of numbers as inputs; text needs a tokenizer before it",
            )
        if port.dims is None:
            raise DataError(
                "input-rank",
                f"input `{quoted(port.name)}` has no shape, not even a number of dimensions",
                hint="export the model with a shape for every input; dimensions may be symbols",
            )


def _port(port: ValueInfoProto) -> symbols.Port:
    return symbols.Port(name=port.name, dtype=_type_words(port), dims=_dims(port))


def _type_words(port: ValueInfoProto) -> str:
    kind = port.type.WhichOneof("value")
    if kind == "tensor_type":
        return type_name(port.type.tensor_type.elem_type)
    return (kind or "nothing").removesuffix("_type")


def type_name(code: int) -> str:
    """Numpy's name of a TensorProto data type where numpy has it, else ONNX's in lower case."""
    from onnx import TensorProto

    known = code in TensorProto.DataType.values()
    name = TensorProto.DataType.Name(code).lower() if known else f"type {code}"
    return {"float": "float32", "double": "float64"}.get(name, name)


def _dims(port: ValueInfoProto) -> tuple[symbols.RawDim, ...] | None:
    """Numbers, symbols, None for the nameless; negative numbers, which some exporters write, count as nameless."""
    if not port.type.tensor_type.HasField("shape"):
        return None
    found: list[symbols.RawDim] = []
    for dim in port.type.tensor_type.shape.dim:
        if dim.HasField("dim_value"):
            found.append(dim.dim_value if dim.dim_value >= 0 else None)
        else:
            found.append(dim.dim_param or None)
    return tuple(found)
