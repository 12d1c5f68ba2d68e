"""What values inputs take that are whole numbers: the rows that they index, of stored tables (a vocabulary, positions)
or of other inputs (nodes, in a graph network), or the constants that they are compared with."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from infertune.prepare import external, graphs
from infertune.prepare.inferred import dims_inside
from infertune.prepare.symbols import Row

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto

# operators whose first input's values reach the output unchanged (perhaps some of them, perhaps rearranged)
_CARRIES = frozenset(
    (
        "Cast", "CastLike", "Clip", "Concat", "Dropout", "Expand", "Flatten", "Gather", "Identity", "Reshape", "Slice",
        "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze",
    )
)  # fmt: skip
# operators that keep the shape of their first input, looked through when searching for a table's size
_KEEPS_SHAPE = frozenset(("Cast", "DequantizeLinear", "Identity", "QuantizeLinear"))
# com.microsoft embedding operators: place of the indices -> place of their table
_EMBEDDINGS = {
    "EmbedLayerNormalization": {0: 2, 1: 4, 8: 3},
    "QEmbedLayerNormalization": {0: 2, 1: 4},
}


_BY_AXIS = frozenset(("Gather", "GatherElements", "GatherBlockQuantized", "ScatterElements", "Scatter"))


@dataclass
class _Wiring:
    """Who makes and who reads each tensor, in the main graph and all subgraphs; names are unique across them."""

    model: ModelProto
    readers: defaultdict[str, list[tuple[NodeProto, int]]] = field(default_factory=lambda: defaultdict(list))
    makers: dict[str, NodeProto] = field(default_factory=dict)
    dims: dict[str, tuple[int, ...]] = field(default_factory=dict)
    small: dict[str, TensorProto] = field(default_factory=dict)

    @cached_property
    def inside(self) -> dict[str, tuple[Row | None, ...]]:
        """Dimensions of what the main graph computes, as far as they follow from those of its inputs."""
        return dims_inside(self.model)


def index_bounds(model: ModelProto) -> dict[str, frozenset[Row]]:
    """By input name, the sizes of everything that the input's values index, where any is known."""
    wiring = _wire(graphs.inlined(model))
    found = {port.name: frozenset(_bounds(wiring, port.name)) for port in model.graph.input}
    return {name: bounds for name, bounds in found.items() if bounds}


def meant_values(model: ModelProto) -> dict[str, int]:
    """By input name, the largest stored number that it is asked to equal: of two sampling rates the higher one.

    Of inputs that are one number; token ids are compared with the padding's, which they seldom are.
    """
    wiring = _wire(graphs.inlined(model))
    single = [port.name for port in model.graph.input if _is_single(port)]
    found = {name: [v for node, place in _uses(wiring, name) for v in _asked(wiring, node, place)] for name in single}
    return {name: max(values) for name, values in found.items() if values}


def _is_single(port: ValueInfoProto) -> bool:
    tensor = port.type.tensor_type
    return tensor.HasField("shape") and all(d.HasField("dim_value") and d.dim_value == 1 for d in tensor.shape.dim)


def _asked(wiring: _Wiring, node: NodeProto, place: int) -> Iterator[int]:
    if node.op_type == "Equal":
        yield from _scalar(wiring, node.input[1 - place])


def _wire(model: ModelProto) -> _Wiring:
    wiring = _Wiring(model)
    for scope in graphs.scopes(model):
        for tensor in scope.initializers:
            wiring.dims[tensor.name] = tuple(tensor.dims)
            wiring.small[tensor.name] = tensor
        for node in scope.body.node:
            wiring.makers.update(dict.fromkeys(node.output, node))
            for place, name in enumerate(node.input):
                wiring.readers[name].append((node, place))
            for attribute in node.attribute:
                if node.op_type == "Constant" and attribute.HasField("t"):
                    wiring.dims[node.output[0]] = tuple(attribute.t.dims)
                    wiring.small[node.output[0]] = attribute.t
    return wiring


def _bounds(wiring: _Wiring, start: str) -> set[Row]:
    return {bound for node, place in _uses(wiring, start) for bound in _bound_here(wiring, node, place)}


def _uses(wiring: _Wiring, start: str) -> Iterator[tuple[NodeProto, int]]:
    """Follow the values of ``start`` to every node that reads them: it, and the place among its inputs."""
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        for node, place in wiring.readers[name]:
            yield node, place
            if _carries(node.op_type, place):
                waiting.extend(node.output)


def _carries(op_type: str, place: int) -> bool:
    """TensorFlow has a Where choose between an index and the same counted from the end."""
    return op_type == "Concat" or (op_type == "Where" and place > 0) or (op_type in _CARRIES and place == 0)


def _bound_here(wiring: _Wiring, node: NodeProto, place: int) -> Iterator[Row]:
    if node.op_type in _BY_AXIS and place == 1:
        name = "gather_axis" if node.op_type == "GatherBlockQuantized" else "axis"
        yield from _size(wiring, node.input[0], _int_attribute(node, name, 0))
    elif node.op_type in ("GatherND", "ScatterND") and place == 1:
        yield from _sizes(wiring, node)
    elif node.op_type == "Equal":
        yield from _counted(wiring, node.input[1 - place])
    elif node.op_type == "OneHot" and place == 0:
        yield from _scalar(wiring, node.input[1])
    elif place in (tables := _EMBEDDINGS.get(node.op_type, {})) and tables[place] < len(node.input):
        yield from _size(wiring, node.input[tables[place]], 0)


def _int_attribute(node: NodeProto, name: str, default: int) -> int:
    return next((a.i for a in node.attribute if a.name == name), default)


def _size(wiring: _Wiring, table: str, axis: int) -> Iterator[Row]:
    """The number of rows of a table along ``axis``: of a stored tensor behind at most a few casts, or of what the model
    computes."""
    given = table
    for _ in range(8):
        if table in wiring.dims:
            yield from _row(wiring.dims[table], axis)
            return
        maker = wiring.makers.get(table)
        if maker is None or maker.op_type not in _KEEPS_SHAPE or not maker.input:
            break
        table = maker.input[0]
    yield from _row(wiring.inside.get(given, ()), axis)


def _row(dims: Sequence[Row | None], axis: int) -> Iterator[Row]:
    if -len(dims) <= axis < len(dims) and (size := dims[axis]):
        yield size


def _sizes(wiring: _Wiring, node: NodeProto) -> Iterator[Row]:
    """Of all axes that indices along several axes at once index."""
    depth = next(_row(wiring.inside.get(node.input[1], ()), -1), 0)
    first = _int_attribute(node, "batch_dims", 0)
    for axis in range(first, first + depth) if isinstance(depth, int) else ():
        yield from _size(wiring, node.input[0], axis)


def _counted(wiring: _Wiring, name: str) -> Iterator[int]:
    """The length of a stored 0, 1, 2, ...: comparing with it spells a one-hot encoding."""
    from onnx import numpy_helper

    tensor = wiring.small.get(name)
    size = math.prod(tensor.dims) if tensor is not None else 0
    if tensor is not None and size > 1 and not external.is_external(tensor):
        values = numpy_helper.to_array(tensor).ravel()
        yield from (size,) if np.array_equal(values, np.arange(size)) else ()


def _scalar(wiring: _Wiring, name: str) -> Iterator[int]:
    from onnx import numpy_helper

    tensor = wiring.small.get(name)
    if tensor is not None and len(tensor.raw_data) + len(tensor.int64_data) + len(tensor.int32_data) > 0:
        values = numpy_helper.to_array(tensor)
        if values.size == 1 and values.dtype.kind in "iuf" and values.reshape(-1)[0] >= 1:
            yield int(values.reshape(-1)[0])
