"""Stored tensors: checked against their own type and dimensions, counted, and taken out of a model in memory."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from infertune.core.errors import DataError, quoted
from infertune.prepare import external, graphs

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

KEPT_BYTES = 8192
"""Tensors up to this size stay in a stripped model: shapes, axes and scalars, which shape inference reads."""

STUB = "weights"
"""The external file that stripped tensors of a model in memory point to; it need not exist."""

_FLOATS = frozenset((1, 10, 11, 16, 17, 18, 19, 20, 23, 24, 27, 28))
_QUANTISED = frozenset((2, 3, 21, 22, 25, 26))
_STRING = 8
_FIELDS = ("float_data", "int32_data", "string_data", "int64_data", "raw_data", "double_data", "uint64_data")
_FIELD = {
    **dict.fromkeys((1, 14), "float_data"),
    **dict.fromkeys((11, 15), "double_data"),
    **dict.fromkeys((12, 13), "uint64_data"),
    7: "int64_data",
    _STRING: "string_data",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """A stored tensor: its TensorProto data type, element count, bytes, and the file stretch of external data."""

    name: str
    data_type: int
    elements: int
    size_bytes: int
    parameters: int
    stretch: external.Stretch | None


def weigh(model: ModelProto, folder: str) -> tuple[Weight, ...]:
    """Every stored tensor of a model, checked. Raises `DataError` for one whose data does not fit its type."""
    packed = _packed_parameters(model)
    return tuple(_weight(found, folder, packed) for found in graphs.tensors(model))


def _weight(found: graphs.Found, folder: str, packed: dict[str, int]) -> Weight:
    tensor = found.tensor
    elements = _elements(found)
    if tensor.data_type == _STRING:
        size = sum(map(len, tensor.string_data))
    else:
        size = external.stored_bytes(tensor.data_type, elements)
    outside = external.stretch(tensor, folder, size) if external.is_external(tensor) else None
    if outside is None:
        _check_data(found, elements, size)
    return Weight(
        name=found.name,
        data_type=tensor.data_type,
        elements=elements,
        size_bytes=size,
        parameters=packed.get(found.name, _parameters(found, elements)),
        stretch=outside,
    )


def _elements(found: graphs.Found) -> int:
    tensor = found.tensor
    if external.element_bits(tensor.data_type) is None and tensor.data_type != _STRING:
        raise _bad(found, f"has the unknown data type {tensor.data_type}")
    if any(dim < 0 for dim in tensor.dims):
        raise _bad(found, "has a negative dimension")
    if external.is_external(tensor) and tensor.data_type == _STRING:
        raise _bad(found, "keeps text as external data")
    return math.prod(tensor.dims)


def _check_data(found: graphs.Found, elements: int, size: int) -> None:
    """The data must sit in the one field that belongs to the type, with as many values as the dimensions say."""
    tensor = found.tensor
    used = [field for field in _FIELDS if len(getattr(tensor, field))]
    if tensor.HasField("raw_data") and tensor.data_type != _STRING:
        if used not in (["raw_data"], []) or len(tensor.raw_data) != size:
            raise _bad(found, f"stores {len(tensor.raw_data)} bytes, its dimensions need {size}")
        return
    field = _FIELD.get(tensor.data_type, "int32_data")
    stored, need = len(getattr(tensor, field)), _values(tensor, elements)
    if used not in ([field], []) or stored != need:
        raise _bad(found, f"stores {stored} values, its dimensions need {need}")


def _values(tensor: TensorProto, elements: int) -> int:
    bits = external.element_bits(tensor.data_type)
    if tensor.data_type in (tensor.COMPLEX64, tensor.COMPLEX128):
        return 2 * elements
    return math.ceil(elements * bits / 8) if bits in (2, 4) else elements


def _parameters(found: graphs.Found, elements: int) -> int:
    """Elements that a person would call parameters: of float and quantised types, no scalars, no indices."""
    constant = len(found.tensor.dims) > 0 and (found.node is None or found.node.op_type == "Constant")
    counted = found.tensor.data_type in _FLOATS | _QUANTISED
    return elements if constant and counted and not found.index else 0


def _packed_parameters(model: ModelProto) -> dict[str, int]:
    """Weights that com.microsoft MatMulNBits packs several to a byte: their true count is K x N."""
    found: dict[str, int] = {}
    for scope in graphs.scopes(model):
        for node in scope.body.node:
            if node.op_type == "MatMulNBits" and len(node.input) > 1:
                sizes = {a.name: a.i for a in node.attribute}
                found[node.input[1]] = max(0, sizes.get("K", 0) * sizes.get("N", 0))
    return found


def _bad(found: graphs.Found, what: str) -> DataError:
    return DataError(
        "model-tensor", f"tensor `{quoted(found.name)}` ({quoted(found.where)}) {what}", hint="export the model again"
    )


def strip(model: ModelProto, weights: Iterable[Weight]) -> None:
    """Take large tensors out of a model in memory and bring small external ones in. ``weights`` is `weigh` of it.

    A stripped tensor keeps its name, type and dimensions and points to the external file `STUB`. Of trees, which nodes
    of ai.onnx.ml hold as lists of millions of numbers and no shape depends on, the first few are left.
    """
    for scope in graphs.scopes(model):
        for node in scope.body.node:
            if node.domain == "ai.onnx.ml":
                _shorten(node)
    for found, weight in zip(graphs.tensors(model), weights, strict=True):
        if weight.size_bytes > KEPT_BYTES:
            point_outside(found.tensor, STUB, 0, weight.size_bytes)
        elif weight.stretch is not None:
            put_inside(found.tensor, weight.stretch.read())


def _shorten(node: NodeProto) -> None:
    for attribute in node.attribute:
        for values in (attribute.ints, attribute.floats, attribute.strings):
            del values[KEPT_BYTES:]


def bring_small_in(model: ModelProto, weights: Iterable[Weight]) -> None:
    """Store external tensors of up to `KEPT_BYTES` in the model itself: runtimes want shapes and axes there."""
    for found, weight in zip(graphs.tensors(model), weights, strict=True):
        if weight.stretch is not None and weight.size_bytes <= KEPT_BYTES:
            put_inside(found.tensor, weight.stretch.read())


def point_outside(tensor: TensorProto, location: str, offset: int, length: int) -> None:
    """Replace a tensor's data by a reference to a stretch of the file ``location`` in the model's folder."""
    _drop_data(tensor)
    tensor.data_location = tensor.EXTERNAL
    for key, value in (("location", location), ("offset", str(offset)), ("length", str(length))):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value


def put_inside(tensor: TensorProto, raw: bytes) -> None:
    """Replace a tensor's data by raw bytes in the model itself."""
    _drop_data(tensor)
    tensor.ClearField("data_location")
    tensor.raw_data = raw


def _drop_data(tensor: TensorProto) -> None:
    for field in (*_FIELDS, "external_data"):
        tensor.ClearField(field)
