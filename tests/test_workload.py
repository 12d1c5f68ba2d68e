"""Workloads: what an ONNX graph is counted as, and that the encoder formulas count the same."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from infertune.core import wire
from infertune.prepare.reference import write_reference
from infertune.targets.qaic.sim.card import CARDS
from infertune.targets.qaic.sim.constants import fitted
from infertune.targets.qaic.sim.encoders import EncoderShape, encoder_workload
from infertune.targets.qaic.sim.graph import graph_workload, workload_of
from infertune.targets.qaic.sim.model import predict
from infertune.targets.qaic.sim.setting import Setting
from infertune.targets.qaic.sim.workload import Op, Workload, convolution, dense, product

MINILM = EncoderShape(layers=6, hidden=384, heads=12, intermediate=1536)


@pytest.fixture(scope="module")
def minilm(tmp_path_factory: pytest.TempPathFactory) -> Workload:
    path = tmp_path_factory.mktemp("minilm") / "minilm.onnx"
    write_reference("minilm-l6", path)
    return workload_of(str(path), {"sequence_length": 128})


def by_kind(workload: Workload, amount: str) -> dict[str, int]:
    totals: dict[str, int] = {}
    for op in workload.ops:
        totals[op.kind] = totals.get(op.kind, 0) + op.times * getattr(op, amount)
    return {kind: total for kind, total in totals.items() if total}


def count(workload: Workload, kind: str) -> int:
    return sum(op.times for op in workload.ops if op.kind == kind)


def test_a_graph_and_the_formula_of_its_architecture_agree(minilm: Workload) -> None:
    formula = encoder_workload("minilm", MINILM)
    assert by_kind(minilm, "macs") == by_kind(formula, "macs")
    assert minilm.weight_bytes == formula.weight_bytes
    assert minilm.matrix_operators == formula.matrix_operators
    assert minilm.output_bytes == formula.output_bytes == 4 * 128 * 384
    assert minilm.peak_bytes == pytest.approx(formula.peak_bytes, rel=0.15)
    graph, told = by_kind(minilm, "elements"), by_kind(formula, "elements")
    for kind in ("softmax", "erf", "move", "elementwise"):
        assert graph[kind] == pytest.approx(told[kind], rel=0.02)


@pytest.mark.parametrize(
    "setting",
    [
        Setting(cores=2, batch=8, instances=7, mos=1, ols=2),
        Setting(cores=12, batch=1, instances=1, set_size=1),
        Setting(cores=1, batch=4, instances=14, set_size=4, mos=1, ols=2),
    ],
)
def test_and_so_do_the_rates_predicted_from_them(minilm: Workload, setting: Setting) -> None:
    formula = encoder_workload("minilm", MINILM)
    rates = [predict(w, CARDS["standard"], setting).throughput_per_s for w in (minilm, formula)]
    assert rates[0] == pytest.approx(rates[1], rel=0.04)


def test_resnet_50_is_counted_as_published(tmp_path: Path) -> None:
    write_reference("resnet50", tmp_path / "r.onnx")
    found = workload_of(str(tmp_path / "r.onnx"), {})
    assert found.macs == pytest.approx(4.09e9, rel=0.005)
    assert found.weight_bytes == pytest.approx(2 * 25.5e6, rel=0.005)
    assert found.stored_bytes == 2 * 25_530_472
    assert found.input_bytes == 4 * 3 * 224 * 224
    assert count(found, "conv") == 53
    assert max(op.stage for op in found.ops) > 2


def test_depthwise_convolutions_go_to_the_vector_unit(tmp_path: Path) -> None:
    write_reference("mobilenet-v2", tmp_path / "m.onnx")
    found = workload_of(str(tmp_path / "m.onnx"), {})
    assert count(found, "depthwise") == 17
    assert found.macs == pytest.approx(0.3e9, rel=0.01)


def test_a_workload_survives_the_wire(minilm: Workload) -> None:
    assert wire.from_json(wire.to_json(minilm), Workload) == minilm


def _graph(
    nodes: list[onnx.NodeProto], shapes: dict[str, tuple[int, ...]], weights: dict[str, tuple[int, ...]]
) -> Workload:
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in shapes.items()]
    stored = [
        helper.make_tensor(name, TensorProto.FLOAT, dims, b"\0" * 4 * _count(dims), raw=True)
        for name, dims in weights.items()
    ]
    output = helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)
    model = helper.make_model(
        helper.make_graph(nodes, "g", inputs, [output], stored), opset_imports=[helper.make_opsetid("", 17)]
    )
    return graph_workload("g", model, shapes)


def _count(dims: tuple[int, ...]) -> int:
    total = 1
    for dim in dims:
        total *= dim
    return total


def test_amounts_are_per_sample_whatever_the_batch() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["y"]),
        helper.make_node("Add", ["y", "b"], ["z"]),
        helper.make_node("Relu", ["z"], ["out"]),
    ]
    weights = {"w": (64, 96), "b": (96,)}
    one, four = (_graph(nodes, {"x": (batch, 10, 64)}, weights) for batch in (1, 4))
    assert one == four
    assert [op.kind for op in one.ops] == ["dense", "elementwise"]  # the bias starts the sums
    assert one.macs == 10 * 64 * 96
    assert one.ops[1].elements == 10 * 96


def test_what_follows_from_weights_and_shapes_alone_costs_nothing() -> None:
    nodes = [
        helper.make_node("Transpose", ["w"], ["wt"], perm=[1, 0]),
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Reshape", ["x", "s"], ["r"]),
        helper.make_node("MatMul", ["r", "wt"], ["y"]),
    ]
    found = _graph(nodes, {"x": (1, 8, 32)}, {"w": (16, 32)})
    assert [op.kind for op in found.ops] == ["dense"]
    assert found.weight_bytes == 2 * 16 * 32


def test_activations_are_kept_until_they_are_read_for_the_last_time() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("MatMul", ["a", "w"], ["b"]),
        helper.make_node("MatMul", ["b", "w"], ["c"]),
        helper.make_node("Add", ["a", "c"], ["y"]),
    ]
    found = _graph(nodes, {"x": (1, 32, 64)}, {"w": (64, 64)})
    one = 2 * 32 * 64
    assert sorted(op.live_bytes for op in found.ops) == [one, 2 * one, 2 * one, 3 * one]


def test_padding_counts_as_work() -> None:
    assert dense(1, 32, 32).padded_macs == 32 * 32 * 32
    assert convolution((7, 7), 512, 512, 9).padded_macs == 64 * 512 * 512 * 9
    assert convolution((56, 56), 64, 64, 1).padded_macs == convolution((56, 56), 64, 64, 1).macs
    assert product(12, 128, 64, 128).padded_macs == product(12, 128, 64, 128).macs


def test_narrow_groups_are_packed_to_the_width_of_a_tile() -> None:
    grouped: Op = convolution((56, 56), 128, 128, 9, groups=32)
    assert grouped.macs == 56 * 56 * 4 * 9 * 128
    assert grouped.padded_macs == 8 * grouped.macs
    assert convolution((56, 56), 128, 128, 9, groups=128).kind == "depthwise"


def test_a_recurrent_layer_takes_its_steps_one_after_another() -> None:
    steps, size, hidden = 200, 64, 128
    weights = [
        helper.make_tensor(name, TensorProto.FLOAT, (1, 4 * hidden, deep), [0.1] * (4 * hidden * deep))
        for name, deep in (("w", size), ("r", hidden))
    ]
    node = helper.make_node("LSTM", ["x", "w", "r"], ["y"], hidden_size=hidden)
    made = {"x": (steps, 1, size), "y": (steps, 1, 1, hidden)}
    ports = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in made.items()}
    graph = helper.make_graph([node], "lstm", [ports["x"]], [ports["y"]], weights)
    found = graph_workload("lstm", helper.make_model(graph), {"x": made["x"]})
    alone, spread = (predict(found, CARDS["pro"], Setting(cores=cores, batch=1)) for cores in (1, 8))
    started_ns = steps * 1e3 * fitted().op_us
    assert min(alone.service_ns, spread.service_ns) > started_ns
    assert found.weight_bytes == pytest.approx(2 * 4 * hidden * (size + hidden), rel=0.01)


def _curve(op_type: str) -> int:
    node = helper.make_node(op_type, ["x"], ["y"])
    return by_kind(_graph([node], {"x": (1, 64, 56, 56)}, {}), "elements")["erf"]


def test_functions_cost_what_their_vector_code_needs() -> None:
    """An error function holds an exponential and a division, a sigmoid little else, and tanh is a sigmoid scaled."""
    assert _curve("Exp") < _curve("Sigmoid") < _curve("Tanh") < _curve("Erf") == 64 * 56 * 56


def test_a_tap_of_a_depthwise_convolution_costs_no_less_than_one_of_a_pooling() -> None:
    pool = helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    conv = helper.make_node("Conv", ["x", "w"], ["y"], group=64, pads=[1, 1, 1, 1])
    shapes: dict[str, tuple[int, ...]] = {"x": (1, 64, 56, 56)}
    pooled, folded = _graph([pool], shapes, {}), _graph([conv], shapes, {"w": (64, 1, 3, 3)})
    alone = Setting(cores=1, batch=4, instances=1)
    times = [predict(work, CARDS["standard"], alone).service_ns for work in (pooled, folded)]
    assert times[0] <= times[1] <= 1.1 * times[0]


def _after_conv(nodes: list[onnx.NodeProto], channels: int, size: int, **weights: tuple[int, ...]) -> Workload:
    """What ``nodes`` make of the picture x that a convolution of as many channels makes."""
    conv = helper.make_node("Conv", ["given", "kernel"], ["x"])
    kernel = {"kernel": (channels, 32, 1, 1)}
    return _graph([conv, *nodes], {"given": (1, 32, size, size)}, {**kernel, **weights})


def test_vector_work_on_pictures_is_that_of_whole_blocks() -> None:
    """Pictures lie in blocks of 8 x 4 positions by 32 channels; all of a block is worked on and kept."""
    found = _after_conv([helper.make_node("Relu", ["x"], ["y"])], 24, 7)
    assert [op.elements for op in found.ops if op.kind == "elementwise"] == [64 * 32]
    assert found.peak_bytes == 2 * 64 * (32 + 32) - 2 * 64 * 32
    assert convolution((7, 7), 40, 40, 9, groups=40).elements == 64 * 64 * 9
    assert convolution((14, 14), 64, 64, 9, groups=64).elements == 256 * 64 * 9


def test_rows_of_tokens_made_of_a_picture_are_not_padded_as_one() -> None:
    shape = helper.make_tensor("shape", TensorProto.INT64, (3,), [1, 24, 49])
    nodes = [
        helper.make_node("Constant", [], ["s"], value=shape),
        helper.make_node("Reshape", ["x", "s"], ["r"]),
        helper.make_node("Relu", ["r"], ["y"]),
    ]
    found = _after_conv(nodes, 24, 7)
    assert [op.elements for op in found.ops if op.kind == "elementwise"] == [24 * 49]


def test_only_a_first_layer_is_unrolled_over_its_window() -> None:
    assert convolution((112, 112), 3, 32, 9).padded_macs == 112 * 112 * 32 * 32
    assert convolution((112, 112), 16, 32, 9).padded_macs == 112 * 112 * 32 * 32 * 9


def test_a_product_with_its_own_sigmoid_is_one_pass_in_place() -> None:
    gate = [helper.make_node("Sigmoid", ["x"], ["s"]), helper.make_node("Mul", ["x", "s"], ["y"])]
    found = _after_conv(gate, 32, 32)
    one = 2 * 32 * 32 * 32
    curve, last = (next(op for op in found.ops if op.kind == kind) for kind in ("erf", "elementwise"))
    assert curve.live_bytes == last.live_bytes == one
    assert curve.in_bytes + last.in_bytes == one
    read_again = _after_conv([*gate, helper.make_node("Add", ["y", "s"], ["z"])], 32, 32)
    assert read_again.peak_bytes > found.peak_bytes


@pytest.mark.parametrize(("folded", "passes"), [(True, 0), (False, 1)])
def test_a_normalisation_is_free_only_where_it_folds_into_a_convolution(folded: bool, passes: int) -> None:
    factors = dict.fromkeys(("a", "b", "c", "d"), (64,))
    first = [] if folded else [helper.make_node("Concat", ["x", "x"], ["both"], axis=1)]
    node = helper.make_node("BatchNormalization", ["x" if folded else "both", *factors], ["y"])
    found = _after_conv([*first, node], 64 if folded else 32, 8, **factors)
    assert count(found, "elementwise") == passes


@pytest.mark.parametrize(
    ("node", "dims"),
    [
        (helper.make_node("Transpose", ["x"], ["y"], perm=[1, 0, 2]), (1, 50, 64)),
        (helper.make_node("Transpose", ["x"], ["y"], perm=[1, 0, 2]), (4, 50, 64)),
        (helper.make_node("Gather", ["x", "one"], ["y"], axis=1), (1, 3, 64)),
    ],
)
def test_moves_that_leave_elements_where_they_are_cost_nothing(node: onnx.NodeProto, dims: tuple[int, ...]) -> None:
    assert _graph([node], {"x": dims}, {"one": ()}).ops == ()


def test_a_transpose_of_the_elements_of_a_sample_costs_a_move() -> None:
    node = helper.make_node("Transpose", ["x"], ["y"], perm=[0, 2, 1])
    assert count(_graph([node], {"x": (4, 50, 64)}, {}), "move") == 1


@pytest.mark.parametrize(("channels", "moved"), [(128, 0), (116, 64 * 128)])
def test_pieces_of_whole_blocks_of_channels_are_views(channels: int, moved: int) -> None:
    found = _after_conv([helper.make_node("Split", ["x"], ["y", "z"], axis=1)], channels, 8)
    told = sum(op.elements for op in found.ops if op.kind == "move")
    assert told == moved
