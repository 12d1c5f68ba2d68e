"""What is known of a tensor without running the model: dimensions, type, and the value of a small constant."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from infertune.prepare import external, fold
from infertune.prepare.contrib import Dims

if TYPE_CHECKING:
    from onnx import AttributeProto, NodeProto, TensorProto, TypeProto


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """Dimensions (None: not even how many), TensorProto data type (0: unknown), value (None: unknown or large)."""

    dims: Dims | None = None
    data_type: int = 0
    value: fold.Array | None = None

    @property
    def elements(self) -> int | None:
        return None if self.dims is None or None in self.dims else math.prod(d for d in self.dims if d is not None)


UNKNOWN = Fact()


def stored(tensor: TensorProto) -> Fact:
    """Of a stored tensor; a stripped or large one has no value."""
    from onnx import numpy_helper

    dims = tuple(tensor.dims)
    inside = not external.is_external(tensor) and tensor.data_type in _VALUED
    if not inside or math.prod(dims) > fold.MOST_ELEMENTS:
        return Fact(dims=dims, data_type=tensor.data_type)
    return of_value(numpy_helper.to_array(tensor))


# FLOAT, UINT8, INT8, UINT16, INT16, INT32, INT64, BOOL, FLOAT16, DOUBLE, UINT32, UINT64
_VALUED = frozenset((1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13))


def of_value(value: fold.Array) -> Fact:
    from onnx import helper

    return Fact(dims=value.shape, data_type=helper.np_dtype_to_tensor_dtype(value.dtype), value=value)


def constant(attributes: Mapping[str, Any]) -> Fact:
    """Of the output of a Constant node; one of text, or sparse, has no value."""
    for name, kind in (("value_int", np.int64), ("value_ints", np.int64), ("value_float", np.float32),
                       ("value_floats", np.float32)):  # fmt: skip
        if name in attributes:
            return of_value(np.array(attributes[name], dtype=kind))
    found = attributes.get("value")
    return found if isinstance(found, Fact) else UNKNOWN


def attributes_of(node: NodeProto) -> dict[str, Any]:
    """A node's attributes as plain values, tensors as a `Fact`, subgraphs as they are."""
    return {attribute.name: _plain(attribute) for attribute in node.attribute}


def _plain(attribute: AttributeProto) -> Any:
    from onnx import helper

    if attribute.type == attribute.TENSOR:
        return stored(attribute.t)
    if attribute.type == attribute.UNDEFINED or attribute.ref_attr_name:
        return None
    value = helper.get_attribute_value(attribute)
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def to_type(fact: Fact) -> TypeProto:
    import onnx

    made = onnx.TypeProto()
    made.tensor_type.elem_type = fact.data_type or onnx.TensorProto.FLOAT
    if fact.dims is not None:
        made.tensor_type.shape.SetInParent()
        for size in fact.dims:
            dim = made.tensor_type.shape.dim.add()
            if size is not None:
                dim.dim_value = size
    return made


def of_type(found: TypeProto) -> Fact:
    if not found.HasField("tensor_type"):
        return UNKNOWN
    tensor = found.tensor_type
    if not tensor.HasField("shape"):
        return Fact(data_type=tensor.elem_type)
    dims = tuple(d.dim_value if d.HasField("dim_value") and d.dim_value >= 0 else None for d in tensor.shape.dim)
    return Fact(dims=dims, data_type=tensor.elem_type)


def to_tensor(name: str, value: fold.Array) -> TensorProto:
    from onnx import numpy_helper

    return numpy_helper.from_array(np.asarray(value, order="C"), name)


def either(facts: Iterable[Fact]) -> Fact:
    """What holds whichever of the facts is true."""
    first, *others = facts
    dims = first.dims
    for other in others:
        if dims is None or other.dims is None or len(dims) != len(other.dims):
            dims = None
        else:
            dims = tuple(a if a == b else None for a, b in zip(dims, other.dims, strict=True))
    return Fact(dims=dims, data_type=first.data_type)
