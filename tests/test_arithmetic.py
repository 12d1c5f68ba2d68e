"""Multiply-accumulates per sample: by formula for each operator, as published for whole models, never a silent zero."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import NodeProto, TensorProto, helper

import tiny_graphs as tiny
from infertune.core.errors import InfertuneError
from infertune.prepare import source
from infertune.prepare.arithmetic import Arithmetic, count_macs
from infertune.prepare.reference import write_reference
from infertune.prepare.summary import summarise
from infertune.prepare.trace import trace

Shapes = Mapping[str, tuple[int, ...]]


def counted(made: onnx.ModelProto, shapes: Shapes, batch: int = 1) -> Arithmetic:
    return count_macs(made, shapes, batch)


def one_node(node: NodeProto, inputs: Sequence[tuple[int, ...]], *, opset: int = 17) -> Arithmetic:
    """The count of one node whose inputs, all fed, have these shapes."""
    names = [name for name in node.input if name]
    ports = [tiny.value(name, dims) for name, dims in zip(names, inputs, strict=True)]
    outputs = [tiny.value(name, None) for name in node.output if name]
    made = tiny.model([node], ports, outputs, opset=opset, domains={"com.microsoft": 1})
    return counted(made, dict(zip(names, inputs, strict=True)))


def node(kind: str, inputs: int, **attributes: Any) -> NodeProto:
    return helper.make_node(kind, [f"i{n}" for n in range(inputs)], ["o"], name="n", **attributes)


def runtime(kind: str, inputs: int, **attributes: Any) -> NodeProto:
    made = node(kind, inputs, **attributes)
    made.domain = "com.microsoft"
    return made


@pytest.mark.parametrize(
    ("made", "inputs", "macs"),
    [
        (node("MatMul", 2), [(2, 3, 4), (4, 5)], 2 * 3 * 4 * 5),
        (node("MatMul", 2), [(7, 2, 3, 4), (7, 2, 4, 5)], 7 * 2 * 3 * 4 * 5),
        (node("MatMul", 2), [(4,), (4, 5)], 4 * 5),
        (node("Gemm", 3), [(3, 4), (4, 5), (5,)], 3 * 4 * 5),
        (node("Gemm", 2, transA=1, transB=1), [(4, 3), (5, 4)], 3 * 4 * 5),
        (node("Conv", 2, pads=[1, 1, 1, 1]), [(1, 3, 8, 8), (6, 3, 3, 3)], 6 * 8 * 8 * 3 * 9),
        (node("Conv", 2, group=4, strides=[2, 2]), [(1, 4, 9, 9), (4, 1, 3, 3)], 4 * 4 * 4 * 9),
        (node("Conv", 2), [(1, 3, 16), (6, 3, 5)], 6 * 12 * 3 * 5),
        (node("ConvTranspose", 2, strides=[2, 2]), [(1, 8, 5, 5), (8, 4, 2, 2)], 8 * 25 * 4 * 4),
        (node("Einsum", 2, equation="bhqd,bhkd->bhqk"), [(2, 3, 4, 5), (2, 3, 6, 5)], 2 * 3 * 4 * 6 * 5),
        (node("LSTM", 3, hidden_size=6), [(7, 1, 4), (1, 24, 4), (1, 24, 6)], 7 * 24 * (4 + 6)),
        (node("GRU", 3, hidden_size=6, direction="bidirectional"), [(7, 1, 4), (2, 18, 4), (2, 18, 6)], 7 * 36 * 10),
        (runtime("FusedMatMul", 2, transA=1, transB=1), [(2, 4, 3), (2, 5, 4)], 2 * 3 * 4 * 5),
        (runtime("FusedMatMul", 2, transBatchA=1), [(3, 2, 6, 4), (2, 6, 4, 5)], 2 * 6 * 3 * 4 * 5),
        (runtime("MatMulNBits", 3, K=32, N=8, bits=4, block_size=32), [(2, 32), (8, 1, 16), (8,)], 2 * 32 * 8),
        (runtime("FusedConv", 2, activation="Relu"), [(1, 3, 8, 8), (6, 3, 3, 3)], 6 * 6 * 6 * 3 * 9),
        (runtime("FusedGemm", 3, activation="Relu"), [(3, 4), (4, 5), (5,)], 3 * 4 * 5),
        (runtime("Attention", 3, num_heads=2), [(1, 7, 8), (8, 24), (24,)], 7 * 8 * 24 + 2 * 7 * 7 * 8),
        (runtime("MultiHeadAttention", 3, num_heads=2), [(1, 7, 8), (1, 9, 8), (1, 9, 8)], 7 * 9 * (8 + 8)),
        (runtime("MultiHeadAttention", 1, num_heads=2), [(1, 7, 2, 3, 4)], 2 * 7 * 7 * 8),
        (runtime("GroupQueryAttention", 3, num_heads=4, kv_num_heads=2), [(1, 7, 16), (1, 7, 8), (1, 7, 8)], 32 * 49),
        (runtime("GroupQueryAttention", 1, num_heads=4, kv_num_heads=2), [(1, 7, 32)], 32 * 49),
        (node("Relu", 1), [(3, 4)], 0),
    ],
    ids=lambda value: value.op_type if isinstance(value, NodeProto) else "",
)  # fmt: skip
def test_operators(made: NodeProto, inputs: list[tuple[int, ...]], macs: int) -> None:
    found = one_node(made, inputs)
    assert found.macs == macs and found.uncounted == ()


def test_attention_of_newer_operator_sets() -> None:
    made = node("Attention", 3)
    assert one_node(made, [(1, 2, 7, 4), (1, 2, 9, 4), (1, 2, 9, 4)], opset=23).macs == 2 * 7 * 9 * 8
    flat = node("Attention", 3, q_num_heads=2, kv_num_heads=1)
    assert one_node(flat, [(1, 7, 8), (1, 9, 4), (1, 9, 4)], opset=23).macs == 7 * 9 * (8 + 8)


@settings(max_examples=60, deadline=None)
@given(
    size=st.integers(3, 9), channels=st.integers(1, 3), groups=st.integers(1, 3), out=st.integers(1, 3),
    kernel=st.integers(1, 3), stride=st.integers(1, 2), padding=st.integers(0, 1),
)  # fmt: skip
def test_convolutions_against_counting_by_hand(
    size: int, channels: int, groups: int, out: int, kernel: int, stride: int, padding: int
) -> None:
    made = node("Conv", 2, group=groups, strides=[stride] * 2, pads=[padding] * 4)
    weights = (out * groups, channels, kernel, kernel)
    steps = len(range(0, size + 2 * padding - kernel + 1, stride))
    by_hand = sum(channels * kernel * kernel for _ in range(out * groups) for _ in range(steps) for _ in range(steps))
    assert one_node(made, [(1, channels * groups, size, size), weights]).macs == by_hand


# ---------------------------------------------------------------- whole models


@pytest.mark.parametrize(
    ("name", "shapes", "published"),
    [
        ("resnet50", {}, 4.09e9),  # torchvision's page of its weights: 4.09 GFLOPS, counted as multiply-accumulates
        ("mobilenet-v2", {}, 0.30e9),  # Sandler et al. 2018, table 4: 300 M multiply-adds
        ("minilm-l6", {"sequence_length": 128}, 1.4345e9),  # 6 x (128 x (4 x 384^2 + 2 x 384 x 1536) + 2 x 128^2 x 384)
    ],
)
def test_published_counts(tmp_path: Path, name: str, shapes: dict[str, int], published: float) -> None:
    write_reference(name, tmp_path / "m.onnx")
    found = summarise(str(tmp_path / "m.onnx"), shapes).arithmetic
    assert found is not None and found.uncounted == ()
    assert found.macs == pytest.approx(published, rel=0.005)


def bert_layer_macs(steps: int, width: int, inner: int) -> int:
    """Projections of query, key, value and output, both products of attention, and the two dense layers."""
    return steps * (4 * width * width + 2 * width * inner) + 2 * steps * steps * width


def test_a_bert_base_layer_by_its_formula(tmp_path: Path) -> None:
    assert bert_layer_macs(128, 768, 3072) == 931_135_488
    write_reference("minilm-l6", tmp_path / "m.onnx")
    found = summarise(str(tmp_path / "m.onnx"), {"sequence_length": 77}).arithmetic
    assert found is not None and found.macs == 6 * bert_layer_macs(77, 384, 1536)


def test_a_fixed_batch_is_divided_out() -> None:
    made = tiny.model(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        [tiny.value("x", (8, 3))],
        [tiny.value("y", (8, 5))],
        [tiny.weight("w", 3, 5)],
    )
    assert counted(made, {"x": (8, 3)}, batch=8).macs == 15


# ---------------------------------------------------------------- shapes that the model works out itself


def reshaping(*, heads: int = 2, width: int = 8) -> onnx.ModelProto:
    """(batch, seq, width) to (batch, seq, heads, width / heads) as exporters spell it: Shape, Gather, Div, Concat."""
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["b"]),
        helper.make_node("Gather", ["s", "one"], ["q"]),
        helper.make_node("Gather", ["s", "two"], ["w"]),
        helper.make_node("Div", ["w", "heads"], ["size"]),
        helper.make_node("Unsqueeze", ["b", "first"], ["b1"]),
        helper.make_node("Unsqueeze", ["q", "first"], ["q1"]),
        helper.make_node("Unsqueeze", ["size", "first"], ["size1"]),
        helper.make_node("Concat", ["b1", "q1", "heads1", "size1"], ["to"], axis=0),
        helper.make_node("Reshape", ["x", "to"], ["split"]),
        helper.make_node("Transpose", ["split"], ["a"], perm=[0, 2, 1, 3]),
        helper.make_node("Transpose", ["split"], ["t"], perm=[0, 2, 3, 1]),
        helper.make_node("MatMul", ["a", "t"], ["y"]),
    ]
    scalars = {"zero": 0, "one": 1, "two": 2, "heads": heads}
    weights = [tiny.scalar(name, value, np.int64) for name, value in scalars.items()]
    weights += [tiny.constant("first", 0), tiny.constant("heads1", heads)]
    return tiny.model(nodes, [tiny.value("x", ("N", "S", width))], [tiny.value("y", None)], weights)


@settings(max_examples=25, deadline=None)
@given(batch=st.integers(1, 4), steps=st.integers(1, 9))
def test_reshapes_by_computed_shapes(batch: int, steps: int) -> None:
    found = counted(reshaping(), {"x": (batch, steps, 8)}, batch)
    assert found.macs == steps * steps * 8 and found.lost_at == ()


def test_traced_shapes_are_those_of_a_run(tmp_path: Path) -> None:
    """Expand, Range, Where, Slice, ConstantOfShape, Tile, Split and Resize, against ONNX Runtime."""
    nodes = [
        helper.make_node("Shape", ["x"], ["s"], start=1),
        helper.make_node("Squeeze", ["s"], ["n"]),
        helper.make_node("Range", ["zero", "n", "one"], ["r"]),
        helper.make_node("Slice", ["x", "first", "s", "axis"], ["cut"]),
        helper.make_node("ConstantOfShape", ["s"], ["filled"]),
        helper.make_node("Cast", ["r"], ["rf"], to=tiny.FLOAT),
        helper.make_node("Add", ["filled", "rf"], ["line"]),
        helper.make_node("Shape", ["x"], ["to"]),
        helper.make_node("Expand", ["line", "to"], ["spread"]),
        helper.make_node("Equal", ["to", "to"], ["same"]),
        helper.make_node("Where", ["same", "to", "s"], ["reps"]),
        helper.make_node("Tile", ["spread", "reps"], ["tiled"]),
        helper.make_node("Split", ["tiled"], ["left", "right"], axis=1),
        helper.make_node("NonZero", ["filled"], ["none"]),
    ]
    weights = [tiny.scalar("zero", 0, np.int64), tiny.scalar("one", 1, np.int64)]
    weights += [tiny.constant("first", 1), tiny.constant("axis", 1)]
    names = [name for made in nodes for name in made.output]
    outputs = [onnx.ValueInfoProto(name=name) for name in names]
    made = tiny.model(nodes, [tiny.value("x", ("N", 4))], outputs, weights)
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    ran = dict(zip(names, session.run(names, {"x": np.ones((3, 4), np.float32)}), strict=True))
    traced = {
        name: fact
        for step in trace(made, {"x": (3, 4)})
        for name, fact in zip(step.node.output, step.outputs, strict=True)
    }
    assert {name: fact.dims for name, fact in traced.items()} == {name: array.shape for name, array in ran.items()}
    known = {name: fact.value for name, fact in traced.items() if fact.value is not None}
    assert len(known) > 6 and all(np.array_equal(value, ran[name]) for name, value in known.items())


# ---------------------------------------------------------------- what cannot be known is said


def test_sizes_that_depend_on_data_are_named() -> None:
    nodes = [
        helper.make_node("NonZero", ["x"], ["where"], name="find"),
        helper.make_node("Cast", ["where"], ["f"], to=tiny.FLOAT),
        helper.make_node("Transpose", ["f"], ["t"], perm=[1, 0]),
        helper.make_node("MatMul", ["t", "w"], ["y"], name="dense"),
    ]
    made = tiny.model(nodes, [tiny.value("x", ("N", 4))], [tiny.value("y", (None, 5))], [tiny.weight("w", 2, 5)])
    found = counted(made, {"x": (1, 4)})
    assert found.macs is None and found.uncounted == ("MatMul `dense`",) and found.lost_at == ("NonZero `find`",)
    assert {c.name: c.macs for c in found.classes} == {"matrix multiplication": None, "other": 0}


def test_an_unknown_operator_of_another_domain() -> None:
    nodes = [
        helper.make_node("Mystery", ["x"], ["m"], name="what", domain="com.example"),
        helper.make_node("MatMul", ["m", "w"], ["y"], name="after"),
    ]
    ports = ([tiny.value("x", ("N", 2))], [tiny.value("y", (None, 5))])
    made = tiny.model(nodes, *ports, [tiny.weight("w", 2, 5)], domains={"com.example": 1})
    found = counted(made, {"x": (1, 2)})
    assert found.uncounted == ("MatMul `after`",) and found.lost_at == ("Mystery `what`",)


def dense(name: str, columns: int) -> onnx.GraphProto:
    """A branch that multiplies ``x`` by a weight of 4 x ``columns`` and adds the columns up."""
    nodes = [
        helper.make_node("MatMul", ["x", f"{name}_w"], [f"{name}_m"]),
        helper.make_node("ReduceSum", [f"{name}_m"], [f"{name}_y"]),
    ]
    return tiny.branch(name, nodes, f"{name}_y", [tiny.weight(f"{name}_w", 4, columns)])


def test_the_larger_branch_counts() -> None:
    choose = helper.make_node("If", ["flag"], ["y"], then_branch=dense("a", 3), else_branch=dense("b", 7))
    ports = [tiny.value("x", ("N", 4)), tiny.value("flag", (), TensorProto.BOOL)]
    made = tiny.model([choose], ports, [tiny.value("y", None)])
    assert counted(made, {"x": (1, 4), "flag": ()}).macs == 28


@pytest.mark.parametrize(("rounds", "macs"), [(5, 5 * 16), (2**63 - 1, None)])
def test_loops(rounds: int, macs: int | None) -> None:
    body = helper.make_graph(
        [helper.make_node("MatMul", ["state", "w"], ["next"]), helper.make_node("Identity", ["going"], ["on"])],
        "body",
        [tiny.value("number", (), tiny.INT64), tiny.value("going", (), TensorProto.BOOL), tiny.value("state", None)],
        [tiny.value("on", (), TensorProto.BOOL), tiny.value("next", None)],
    )
    nodes = [helper.make_node("Loop", ["rounds", "", "x"], ["y"], name="again", body=body)]
    weights = [tiny.scalar("rounds", rounds, np.int64), tiny.weight("w", 4, 4)]
    made = tiny.model(nodes, [tiny.value("x", ("N", 4))], [tiny.value("y", None)], weights)
    found = counted(made, {"x": (1, 4)})
    assert found.macs == macs
    assert found.uncounted == (() if macs else ("Loop `again` (how often it runs is not known)",))


def test_scans() -> None:
    body = helper.make_graph(
        [helper.make_node("MatMul", ["part", "w"], ["o"]), helper.make_node("Add", ["state", "o"], ["next"])],
        "body",
        [tiny.value("state", None), tiny.value("part", None)],
        [tiny.value("next", None), tiny.value("o", None)],
    )
    scan = helper.make_node("Scan", ["start", "x"], ["last", "all"], body=body, num_scan_inputs=1)
    after = helper.make_node("MatMul", ["all", "w"], ["y"])
    weights = [tiny.weight("w", 4, 4), tiny.weight("start", 2, 4)]
    made = tiny.model([scan, after], [tiny.value("x", (6, 2, 4))], [tiny.value("y", None)], weights)
    assert counted(made, {"x": (6, 2, 4)}).macs == 2 * 6 * 2 * 16


def test_functions_are_looked_into() -> None:
    body = [helper.make_node("MatMul", ["a", "b"], ["c"])]
    made = tiny.model(
        [helper.make_node("Own", ["x", "w"], ["y"], domain="own")],
        [tiny.value("x", ("N", 4))],
        [tiny.value("y", ("N", 5))],
        [tiny.weight("w", 4, 5)],
        domains={"own": 1},
    )
    made.functions.append(helper.make_function("own", "Own", ["a", "b"], ["c"], body, [helper.make_opsetid("", 17)]))
    assert counted(made, {"x": (1, 4)}).macs == 20


def test_weights_outside_and_stripped_count_the_same(tmp_path: Path) -> None:
    made = tiny.model(
        [helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node("Reshape", ["m", "to"], ["y"])],
        [tiny.value("x", ("N", 100))],
        [tiny.value("y", ("N", 100))],
        [tiny.weight("w", 100, 100), tiny.constant("to", 0, -1)],
    )
    plain = source.read(tiny.save(made, tmp_path / "m.onnx")).proto
    outside = source.read(tiny.external(tmp_path / "e.onnx", made)).proto
    assert not plain.graph.initializer[0].raw_data and plain.ByteSize() < 1000
    counts = [counted(proto, {"x": (1, 100)}) for proto in (plain, outside, made)]
    assert counts[0] == counts[1] == counts[2] and counts[0].macs == 10_000


# ---------------------------------------------------------------- summaries


def test_a_summary_without_bindings_says_what_is_missing(tmp_path: Path) -> None:
    found = summarise(tiny.save(tiny.embedding(), tmp_path / "m.onnx"), {})
    assert found.arithmetic is None and found.arithmetic_missing == "symbols without a number: sequence_length"
    assert [(s.name, s.is_batch) for s in found.symbols] == [("batch_size", True), ("sequence_length", False)]
    assert found.symbols[1].places == ("input_ids.1", "attention_mask.1", "token_type_ids.1")
    assert found.inputs[0].below == 100 and found.inputs[0].shape is None
    assert [(w.dtype, w.tensors, w.size_bytes) for w in found.weights] == [("float32", 2, 1632), ("int64", 1, 8)]
    bound = summarise(str(tmp_path / "m.onnx"), {"sequence_length": 4})
    assert bound.outputs[0].shape == (1, 4, 4) and bound.arithmetic is not None


def test_a_summary_of_inputs_that_cannot_be_fed(tmp_path: Path) -> None:
    kind = TensorProto.STRING
    ports = ([tiny.value("x", ("N",), kind)], [tiny.value("y", ("N",), kind)])
    made = tiny.model([helper.make_node("Identity", ["x"], ["y"])], *ports)
    assert summarise(tiny.save(made, tmp_path / "m.onnx"), {}).inputs[0].dtype == "string"


# ---------------------------------------------------------------- fuzz


def control_flow() -> bytes:
    """Branches, shape arithmetic and a model-local function in one model."""
    made = reshaping()
    made.graph.input.append(tiny.value("flag", (), TensorProto.BOOL))
    made.graph.node.append(
        helper.make_node("If", ["flag"], ["z"], then_branch=dense("a", 3), else_branch=dense("b", 7))
    )
    made.graph.node.append(helper.make_node("Own", ["x"], ["u"], domain="own"))
    made.graph.output.extend([tiny.value("z", ()), tiny.value("u", ("N", "S", 8))])
    made.graph.output[0].CopyFrom(tiny.value("y", ("N", 2, "S", "S")))
    made.opset_import.append(helper.make_opsetid("own", 1))
    body = [helper.make_node("Relu", ["i"], ["o"])]
    made.functions.append(helper.make_function("own", "Own", ["i"], ["o"], body, [helper.make_opsetid("", 17)]))
    return bytes(made.SerializeToString())


WHOLE = control_flow()


@settings(max_examples=300, deadline=None)
@given(flips=st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(1, 255)), max_size=3))
def test_damaged_models_never_surprise(tmp_path_factory: pytest.TempPathFactory, flips: list[tuple[int, int]]) -> None:
    content = bytearray(WHOLE)
    for place, mask in flips:
        content[place] ^= mask
    path = tmp_path_factory.getbasetemp() / "damaged.onnx"
    path.write_bytes(content)
    with contextlib.suppress(InfertuneError):
        found = summarise(str(path), {})
        bound = summarise(str(path), {s.name: 3 for s in found.symbols if not s.is_batch})
        assert flips or bound.arithmetic is not None


def test_an_lstm_of_eight_bits_counts_as_one_of_floats_and_tells_its_last_state() -> None:
    """As ONNX Runtime's dynamic quantisation writes it: weights are (directions, size, gates)."""
    quantised = helper.make_node(
        "DynamicQuantizeLSTM",
        ["x", "w", "r", "", "", "", "", "", "ws", "wz", "rs", "rz"],
        ["y", "last"],
        hidden_size=8,
        domain="com.microsoft",
    )
    head = helper.make_node("MatMul", ["last", "head"], ["z"])
    stored = [tiny.weight("w", 1, 4, 32, kind=np.int8), tiny.weight("r", 1, 8, 32, kind=np.int8)]
    stored += [tiny.weight("head", 8, 3), *(tiny.constant(name, 0.1, kind=np.float32) for name in ("ws", "rs"))]
    stored += [tiny.constant(name, 0, kind=np.int8) for name in ("wz", "rz")]
    ports = [tiny.value("x", (5, 1, 4))], [tiny.value("z", (1, 1, 3))]
    made = tiny.model([quantised, head], *ports, stored, domains={"com.microsoft": 1})
    found = counted(made, {"x": (5, 1, 4)})
    assert found.macs == 5 * (4 * 32 + 8 * 32) + 8 * 3 and not found.lost_at


def test_what_scales_features_keeps_their_shape() -> None:
    steps = [
        helper.make_node("Scaler", ["x"], ["s"], domain="ai.onnx.ml", offset=[0.0] * 4, scale=[1.0] * 4),
        helper.make_node("MatMul", ["s", "w"], ["y"]),
    ]
    made = tiny.model(
        steps, [tiny.value("x", (1, 4))], [tiny.value("y", (1, 3))], [tiny.weight("w", 4, 3)], domains={"ai.onnx.ml": 1}
    )
    assert counted(made, {"x": (1, 4)}).macs == 12
