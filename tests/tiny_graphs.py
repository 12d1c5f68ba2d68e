"""Tiny ONNX graphs for the tests of `infertune.prepare`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
Dims = Sequence[int | str | None]


def value(name: str, dims: Dims | None, kind: int = FLOAT) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, dims)


def weight(name: str, *shape: int, kind: npt.DTypeLike = np.float32) -> TensorProto:
    """A tensor of seeded values."""
    rng = np.random.default_rng(len(name))
    return numpy_helper.from_array((rng.standard_normal(shape) / 4).astype(kind), name)


def constant(name: str, *values: float, kind: npt.DTypeLike = np.int64) -> TensorProto:
    return numpy_helper.from_array(np.array(values, dtype=kind), name)


def scalar(name: str, number: float, kind: npt.DTypeLike = np.float32) -> TensorProto:
    return numpy_helper.from_array(np.array(number, dtype=kind), name)


def model(
    nodes: Sequence[NodeProto],
    inputs: Sequence[ValueInfoProto],
    outputs: Sequence[ValueInfoProto],
    weights: Sequence[TensorProto] = (),
    *,
    opset: int = 17,
    domains: Mapping[str, int] | None = None,
) -> ModelProto:
    graph = helper.make_graph(list(nodes), "tiny", list(inputs), list(outputs), list(weights))
    imports = [helper.make_opsetid(d, v) for d, v in ({"": opset} | dict(domains or {})).items()]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def branch(name: str, nodes: Sequence[NodeProto], output: str, weights: Sequence[TensorProto] = ()) -> GraphProto:
    """A subgraph for `If` with one float output of unknown shape."""
    return helper.make_graph(list(nodes), name, [], [value(output, None)], list(weights))


def save(made: ModelProto, path: Path) -> str:
    path.write_bytes(made.SerializeToString())
    return str(path)


def relu(*dims: int | str | None, kind: int = FLOAT, opset: int = 17) -> ModelProto:
    """``y = Relu(x)`` with the given dimensions."""
    ports = ([value("x", dims, kind)], [value("y", dims, kind)])
    return model([helper.make_node("Relu", ["x"], ["y"])], *ports, opset=opset)


def embedding(rows: int = 100, segments: int = 2) -> ModelProto:
    """Ids and segment ids, each looked up in a table of four columns, and a mask."""
    nodes = [
        helper.make_node("Cast", ["token_type_ids"], ["segments"], to=INT64),
        helper.make_node("Gather", ["words", "input_ids"], ["a"]),
        helper.make_node("Gather", ["kinds", "segments"], ["b"]),
        helper.make_node("Cast", ["attention_mask"], ["m"], to=FLOAT),
        helper.make_node("Unsqueeze", ["m", "last"], ["mm"]),
        helper.make_node("Add", ["a", "b"], ["ab"]),
        helper.make_node("Mul", ["ab", "mm"], ["y"]),
    ]
    dims = ("batch_size", "sequence_length")
    return model(
        nodes,
        [
            value("input_ids", dims, INT64),
            value("attention_mask", dims, INT64),
            value("token_type_ids", dims, TensorProto.INT32),
        ],
        [value("y", (*dims, 4))],
        [weight("words", rows, 4), weight("kinds", segments, 4), constant("last", -1)],
    )


def external(path: Path, made: ModelProto) -> str:
    """Write a model with every tensor in the file ``<name>.data`` beside it."""
    copied = ModelProto()
    copied.CopyFrom(made)  # saving moves the data out of the model that is saved
    onnx.save(
        copied, str(path), save_as_external_data=True, location=f"{path.name}.data", size_threshold=0,
        convert_attribute=False,
    )  # fmt: skip
    return str(path)
