"""What a model is, for people and scripts: ports, symbols, operator sets, weights, arithmetic."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from infertune.prepare import arithmetic, graphs, load, source, symbols
from infertune.prepare.shapes import bind_known


@dataclass(frozen=True, slots=True, kw_only=True)
class PortFact:
    """An input or output; ``dims`` is None where not even their number is known, ``shape`` is for one batch."""

    name: str
    dtype: str
    dims: tuple[int | str, ...] | None
    shape: tuple[int, ...] | None
    below: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolFact:
    """A symbol of the inputs, where it stands (``input_ids.1``: the port and the axis), and its number if bound."""

    name: str
    places: tuple[str, ...]
    value: int | None
    is_batch: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightFact:
    """Stored tensors of one type."""

    dtype: str
    tensors: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """``arithmetic`` is None where shapes are missing; ``arithmetic_missing`` then says which."""

    path: str
    name: str
    digest: str
    file_bytes: int
    data_files: tuple[str, ...]
    ir_version: int
    opsets: tuple[tuple[str, int], ...]
    producer: str
    nodes: int
    inputs: tuple[PortFact, ...]
    outputs: tuple[PortFact, ...]
    symbols: tuple[SymbolFact, ...]
    batch: int
    is_batch_fixed: bool
    parameters: int
    weight_bytes: int
    weights: tuple[WeightFact, ...]
    arithmetic: arithmetic.Arithmetic | None
    arithmetic_missing: str


def summarise(path: str, shapes: Mapping[str, int], batch_symbol: str | None = None) -> Summary:
    """All that can be told about a model without running it.

    Raises what `load.describe` raises for bad files and unknown symbols; unresolved symbols and inputs that cannot be
    fed are shown instead.
    """
    opened = source.read(path)
    ports = load.read_ports(opened.proto)
    naming = ports.named(batch_symbol)
    free_batch = naming.batch_symbol is not None and naming.batch_symbol not in shapes
    batch = 1 if free_batch else shapes.get(naming.batch_symbol or "", naming.fixed_batch)
    bound = bind_known(naming, shapes)
    sizes = bound | ({naming.batch_symbol: batch} if naming.batch_symbol else {})
    inputs = _ports(ports.inputs, naming.inputs, sizes, ports.below(naming, bound))
    counted, missing = _count(opened, inputs, sizes, batch)
    proto = opened.proto
    return Summary(
        path=opened.path,
        name=Path(path).stem,
        digest=opened.digest(),
        file_bytes=os.path.getsize(path),
        data_files=tuple(sorted({s.location for s in opened.stretches})),
        ir_version=proto.ir_version,
        opsets=_opsets(opened),
        producer=f"{proto.producer_name} {proto.producer_version}".strip(),
        nodes=sum(len(scope.body.node) for scope in graphs.scopes(proto)),
        inputs=inputs,
        outputs=_ports(ports.outputs, naming.outputs, sizes, {}),
        symbols=_symbols(inputs, naming, bound),
        batch=batch,
        is_batch_fixed=not free_batch,
        parameters=opened.parameters,
        weight_bytes=opened.weight_bytes,
        weights=_weights(opened),
        arithmetic=counted,
        arithmetic_missing=missing,
    )


def _opsets(opened: source.Source) -> tuple[tuple[str, int], ...]:
    """Of the domains that nodes use; a model saved by ONNX Runtime imports every domain that it knows."""
    used = {"", *(node.domain for scope in graphs.scopes(opened.proto) for node in scope.body.node)}
    found = source.opsets(opened.proto)
    return tuple(sorted((domain or "ai.onnx", version) for domain, version in found.items() if domain in used))


def _ports(
    ports: Sequence[symbols.Port],
    named: Sequence[tuple[int | str, ...]],
    sizes: Mapping[str, int],
    below: Mapping[str, int],
) -> tuple[PortFact, ...]:
    return tuple(
        PortFact(
            name=port.name,
            dtype=port.dtype,
            dims=None if port.dims is None else dims,
            shape=None if port.dims is None else _shape(dims, sizes),
            below=below.get(port.name),
        )
        for port, dims in zip(ports, named, strict=True)
    )


def _shape(dims: tuple[int | str, ...], sizes: Mapping[str, int]) -> tuple[int, ...] | None:
    found = [dim if isinstance(dim, int) else sizes.get(dim) for dim in dims]
    return None if None in found else tuple(size for size in found if size is not None)


def _symbols(inputs: Sequence[PortFact], naming: symbols.Naming, bound: Mapping[str, int]) -> tuple[SymbolFact, ...]:
    places: dict[str, list[str]] = {name: [] for name in naming.symbols}
    for port in inputs:
        for axis, dim in enumerate(port.dims or ()):
            if isinstance(dim, str):
                places[dim].append(f"{port.name}.{axis}")
    return tuple(
        SymbolFact(name=name, places=tuple(where), value=bound.get(name), is_batch=name == naming.batch_symbol)
        for name, where in places.items()
    )


def _weights(opened: source.Source) -> tuple[WeightFact, ...]:
    """By type, the largest share of bytes first."""
    tensors: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for weight in opened.weights:
        name = load.type_name(weight.data_type)
        tensors[name] += 1
        sizes[name] += weight.size_bytes
    return tuple(
        WeightFact(dtype=name, tensors=tensors[name], size_bytes=size)
        for name, size in sorted(sizes.items(), key=lambda item: (-item[1], item[0]))
    )


def _count(
    opened: source.Source, inputs: Sequence[PortFact], sizes: Mapping[str, int], batch: int
) -> tuple[arithmetic.Arithmetic | None, str]:
    """(the count, or None and why there is none)."""
    if any(port.dims is None for port in inputs):
        return None, "an input has no shape"
    unresolved = dict.fromkeys(d for port in inputs for d in port.dims or () if isinstance(d, str) and d not in sizes)
    if unresolved:
        return None, f"symbols without a number: {', '.join(unresolved)}"
    shapes = {port.name: port.shape for port in inputs if port.shape is not None}
    return arithmetic.count_macs(opened.proto, shapes, batch), ""
