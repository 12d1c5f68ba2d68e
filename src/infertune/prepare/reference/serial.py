"""A sketch as an ONNX file, one weight in memory at a time.

``onnx.save`` would hold the arrays, the messages and the serialised bytes at once: three times the model. All sizes
are known beforehand, so the two outer messages are framed by hand and the weights are drawn as they are written.
Field numbers are those of onnx.proto: ModelProto.graph = 7, GraphProto.initializer = 5, TensorProto.raw_data = 9.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from infertune.core.records import TensorSpec
from infertune.prepare.reference.draw import draw
from infertune.prepare.reference.sketch import Constant, Node, Sketch, Weight

if TYPE_CHECKING:
    import onnx

OPSET = 17
IR_VERSION = 8  # of ONNX 1.12, which brought opset 17
_GRAPH, _INITIALIZER, _RAW_DATA = 7, 5, 9


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _framed(field: int, size: int) -> bytes:
    """What precedes a length-delimited field of ``size`` bytes."""
    return _varint(field << 3 | 2) + _varint(size)


def _bytes(message: onnx.ModelProto | onnx.GraphProto | onnx.TensorProto) -> bytes:
    return bytes(message.SerializeToString(deterministic=True))


def _value_info(spec: TensorSpec) -> onnx.ValueInfoProto:
    import onnx

    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(spec.dtype))
    return onnx.helper.make_tensor_value_info(spec.name, kind, spec.dims)


def _node(node: Node) -> onnx.NodeProto:
    import onnx

    made = onnx.helper.make_node(node.op, node.inputs, node.outputs, name=node.name)
    attributes = list(node.attributes) if node.value is None else [("value", _constant(node.value))]
    made.attribute.extend(onnx.helper.make_attribute(name, value) for name, value in attributes)
    return made


def _constant(value: Constant) -> onnx.TensorProto:
    import onnx

    kind = np.float32 if isinstance(value, float) else np.int64
    return onnx.numpy_helper.from_array(np.asarray(value, dtype=kind))


def _graph(sketch: Sketch, name: str) -> bytes:
    """The graph without its weights. Constants come first, as every operator must follow its inputs."""
    import onnx

    ordered = sorted(sketch.nodes, key=lambda node: node.op != "Constant")
    graph = onnx.helper.make_graph(
        [_node(node) for node in ordered],
        name,
        [_value_info(spec) for spec in sketch.inputs],
        [_value_info(spec) for spec in sketch.outputs],
    )
    return _bytes(graph)


def _around(name: str, seed: int) -> bytes:
    """The model without its graph."""
    import onnx

    model = onnx.ModelProto(ir_version=IR_VERSION, producer_name="infertune")
    model.opset_import.append(onnx.helper.make_opsetid("", OPSET))
    onnx.helper.set_model_props(model, {"reference": name, "seed": str(seed)})
    return _bytes(model)


def _heading(weight: Weight) -> bytes:
    """A tensor message up to its data, which follows as the last field."""
    import onnx

    tensor = onnx.TensorProto(name=weight.name, data_type=onnx.TensorProto.FLOAT, dims=weight.shape)
    return _bytes(tensor) + _framed(_RAW_DATA, 4 * weight.count)


def onnx_chunks(sketch: Sketch, name: str, seed: int) -> Iterator[bytes | memoryview]:
    """The bytes of the ONNX file, in order."""
    graph = _graph(sketch, name)
    headings = [_heading(weight) for weight in sketch.weights]
    framed = [
        _framed(_INITIALIZER, len(heading) + 4 * weight.count) + heading
        for heading, weight in zip(headings, sketch.weights, strict=True)
    ]
    size = len(graph) + sum(map(len, framed)) + 4 * sketch.parameters
    yield _around(name, seed) + _framed(_GRAPH, size) + graph
    for before, weight in zip(framed, sketch.weights, strict=True):
        yield before
        yield draw(weight, seed).astype("<f4", copy=False).data.cast("B")
