"""Small ONNX files for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def write_classifier(path: Path, *, batch: int | str = "batch", width: int = 32, depth: int = 2) -> Path:
    """A perceptron with input ``x`` (batch, width) and output ``y`` (batch, width)."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    nodes, weights, last = [], [], "x"
    for i in range(depth):
        weight = (rng.standard_normal((width, width)) / np.sqrt(width)).astype(np.float32)
        weights.append(numpy_helper.from_array(weight, f"w{i}"))
        weights.append(numpy_helper.from_array(np.full(width, 0.1, np.float32), f"b{i}"))
        nodes.append(helper.make_node("MatMul", [last, f"w{i}"], [f"m{i}"]))
        nodes.append(helper.make_node("Add", [f"m{i}", f"b{i}"], [f"a{i}"]))
        last = "y" if i == depth - 1 else f"r{i}"
        nodes.append(helper.make_node("Relu", [f"a{i}"], [last]))
    shape = [batch, width]
    graph = helper.make_graph(
        nodes,
        "classifier",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))
    return path
