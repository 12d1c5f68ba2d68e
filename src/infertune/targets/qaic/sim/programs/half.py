"""A model in the arithmetic of the card: every float32 tensor becomes float16, inputs and outputs stay as they are.

ONNX Runtime computes operators without a float16 kernel in float32 and rounds their results, which is what remains of
float16 after every operator anyway.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from infertune.prepare import graphs

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto

_KEPT_INPUTS = {"Resize": (1, 2), "Upsample": (1,)}  # positions that stay float32: region of interest, scales
_TYPE_ATTRIBUTES = ("to", "dtype", "output_dtype")


def in_half_precision(model: ModelProto) -> ModelProto:
    """The same model in float16 inside. Changes ``model``; weights must be loaded."""
    kept = _kept_names(model)
    for found in graphs.tensors(model):
        if found.name not in kept and not found.index:
            _halve(found.tensor)
    for scope in graphs.scopes(model):
        for node in scope.body.node:
            _halve_types(node)
    outer, *inner = (scope.body for scope in graphs.graph_scopes(model.graph))
    _forget_types(outer)
    for body in inner:
        _forget_types(body)
        _narrow_ports(body)
    _cast_ports(model.graph)
    return model


def _kept_names(model: ModelProto) -> set[str]:
    names = set()
    for scope in graphs.scopes(model):
        for node in scope.body.node:
            places = _KEPT_INPUTS.get(node.op_type, ())
            names |= {node.input[i] for i in places if i < len(node.input)}
    return names


def _halve(tensor: TensorProto) -> None:
    import onnx

    if tensor.data_type != onnx.TensorProto.FLOAT:
        return
    with np.errstate(over="ignore"):
        values = onnx.numpy_helper.to_array(tensor).astype(np.float16)
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))


def _halve_types(node: NodeProto) -> None:
    import onnx

    for attribute in node.attribute:
        wide = attribute.name in _TYPE_ATTRIBUTES and attribute.i == onnx.TensorProto.FLOAT
        if wide and attribute.type == onnx.AttributeProto.INT:
            attribute.i = onnx.TensorProto.FLOAT16
        if node.op_type == "Constant" and attribute.name in ("value_float", "value_floats"):
            numbers = [attribute.f] if attribute.name == "value_float" else list(attribute.floats)
            array = np.asarray(numbers[0] if attribute.name == "value_float" else numbers, dtype=np.float16)
            attribute.CopyFrom(onnx.helper.make_attribute("value", onnx.numpy_helper.from_array(array)))


def _forget_types(body: object) -> None:
    """Recorded types of inner values are stale now; ONNX Runtime infers them again."""
    del body.value_info[:]  # type: ignore[attr-defined]


def _narrow_ports(body: object) -> None:
    """What goes into and comes out of a body is as wide as everything inside the model."""
    import onnx

    for port in (*body.input, *body.output):  # type: ignore[attr-defined]
        if port.type.tensor_type.elem_type == onnx.TensorProto.FLOAT:
            port.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16


def _renamed(graph: GraphProto, new: Mapping[str, str]) -> None:
    """Give values their ``new`` names, also where bodies inside capture them; names that a body makes itself stay."""
    for node in graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                names[place] = new.get(name, name)
        for body in (body for attribute in node.attribute for body in graphs.subgraphs(attribute)):
            own = {port.name for port in (*body.input, *body.initializer)}
            own |= {name for inside in body.node for name in inside.output}
            _renamed(body, {old: name for old, name in new.items() if old not in own})


def _cast_ports(graph: GraphProto) -> None:
    """Casts behind float32 inputs and before float32 outputs."""
    import onnx

    weights = {w.name for w in graph.initializer}
    narrow, wide = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT
    inputs = [p.name for p in graph.input if p.type.tensor_type.elem_type == wide and p.name not in weights]
    outputs = [p.name for p in graph.output if p.type.tensor_type.elem_type == wide]
    inner = {name: f"{name}.half" for name in (*inputs, *outputs)}
    _renamed(graph, inner)
    for port in graph.input:
        if port.name in weights and port.type.tensor_type.elem_type == wide:
            port.type.tensor_type.elem_type = narrow
    first = [onnx.helper.make_node("Cast", [name], [inner[name]], to=narrow) for name in inputs]
    last = [onnx.helper.make_node("Cast", [inner[name]], [name], to=wide) for name in outputs if name not in inputs]
    nodes = [*first, *graph.node, *last]
    del graph.node[:]
    graph.node.extend(nodes)
