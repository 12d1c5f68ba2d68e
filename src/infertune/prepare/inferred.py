"""Dimensions inside a model that follow from those of its inputs, symbols among them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from infertune.prepare.symbols import Place, Row

if TYPE_CHECKING:
    from onnx import ModelProto
    from onnx.onnx_ml_pb2 import TensorShapeProto


def dims_inside(model: ModelProto) -> dict[str, tuple[Row | None, ...]]:
    """Of every tensor of the main graph: numbers, places of the inputs (the first with that symbol), None for the rest.

    Nothing where ONNX's inference does not get through.
    """
    from onnx import checker, shape_inference

    named = type(model)()
    named.CopyFrom(model)
    places = dict(_named(named))
    del named.graph.value_info[:]
    try:
        found = shape_inference.infer_shapes(named, data_prop=True).graph
    except (shape_inference.InferenceError, checker.ValidationError, RuntimeError, ValueError, IndexError):
        return {}
    ports = [port for port in (*found.value_info, *found.input) if port.type.tensor_type.HasField("shape")]
    return {port.name: _dims(port.type.tensor_type.shape, places) for port in ports}


def _named(model: ModelProto) -> Iterator[tuple[str, Place]]:
    """Every symbol of the inputs with a place where it stands, the first one last; what has no name is given one."""
    for port in reversed(model.graph.input):
        for axis, dim in enumerate(port.type.tensor_type.shape.dim):
            if not dim.HasField("dim_value") and not dim.dim_param:
                dim.dim_param = f"{port.name}.{axis}"
            if dim.dim_param:
                yield dim.dim_param, (port.name, axis)


def _dims(shape: TensorShapeProto, places: dict[str, Place]) -> tuple[Row | None, ...]:
    return tuple(dim.dim_value if dim.HasField("dim_value") else places.get(dim.dim_param) for dim in shape.dim)
