"""An ONNX file becomes a `Model`, or one error that says what is wrong with it."""

from __future__ import annotations

import hashlib
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.datasets import get_example

import tiny_graphs as tiny
from infertune.core import wire
from infertune.core.errors import DataError, InfertuneError, NotFoundError, UsageError
from infertune.core.records import Feed, Model
from infertune.prepare import inputs as run_inputs
from infertune.prepare import source
from infertune.prepare.inputs import make_inputs
from infertune.prepare.load import describe
from infertune.prepare.symbols import Port, name_dims


def refused(path: str | Path, **shapes: int) -> InfertuneError:
    with pytest.raises(InfertuneError) as caught:
        describe(str(path), shapes=shapes)
    assert caught.value.hint and caught.value.message
    return caught.value


def described(made: onnx.ModelProto, folder: Path, **shapes: int) -> Model:
    return describe(tiny.save(made, folder / "m.onnx"), shapes=shapes)


# ---------------------------------------------------------------- good models


def test_a_text_model(tmp_path: Path) -> None:
    model = described(tiny.embedding(rows=100), tmp_path, sequence_length=16)
    assert model.name == "m" and model.opset == 17 and model.path == str(tmp_path / "m.onnx")
    assert model.batch_symbol == "batch_size" and model.shapes == (("sequence_length", 16),)
    assert [(s.name, s.dtype, s.below) for s in model.inputs] == [
        ("input_ids", "int64", 100),
        ("attention_mask", "int64", None),
        ("token_type_ids", "int32", 2),
    ]
    assert model.outputs[0].dims == ("batch_size", "sequence_length", 4)
    assert model.dims(model.inputs[0], 3) == (3, 16)
    assert model.parameters == 102 * 4 and model.weight_bytes == 102 * 4 * 4 + 8
    assert wire.from_plain(wire.to_plain(model), Model) == model


def test_a_single_number_takes_the_value_that_the_model_asks_for(tmp_path: Path) -> None:
    """With any other sampling rate a voice detector took the branch of another network, which refused the window."""
    rates = [tiny.scalar("low", 8000, np.int64), tiny.scalar("high", 16000, np.int64), tiny.constant("pad", 1)]
    nodes = [
        helper.make_node("Equal", ["rate", "low"], ["is_low"]),
        helper.make_node("Reshape", ["rate", "pad"], ["flat"]),
        helper.make_node("Equal", ["high", "flat"], ["is_high"]),
        helper.make_node("Equal", ["ids", "pad"], ["is_pad"]),
        helper.make_node("Add", ["other", "pad"], ["more"]),
    ]
    dims: dict[str, list[int | str]] = {"rate": [], "ids": ["batch", 4], "other": []}
    inputs = [tiny.value(name, dims[name], TensorProto.INT64) for name in dims]
    outputs = [tiny.value(name, None, TensorProto.BOOL) for name in ("is_low", "is_high", "is_pad")]
    model = described(tiny.model(nodes, inputs, outputs, rates), tmp_path)
    assert {spec.name: spec.meant for spec in model.inputs} == {"rate": 16000, "ids": None, "other": None}
    drawn = make_inputs(model, Feed(seed=0), 2, 3)
    assert [int(each["rate"]) for each in drawn] == [16000] * 3 and drawn[0]["rate"].dtype == np.int64
    assert run_inputs.described(model.inputs[0], model, 2) == ["whole", 16000, 16001]


def test_trees_are_checked_without_their_millions_of_numbers(tmp_path: Path) -> None:
    """Copying, writing and reading them again took most of the 40 s of a forest of 185 MiB."""
    count = 200_000
    lists: dict[str, Any] = {
        "nodes_values": [0.5] * count,
        "nodes_nodeids": [7] * count,
        "nodes_modes": ["LEAF"] * count,
    }
    node = helper.make_node("TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml", n_targets=1, **lists)
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", size]) for name, size in (("x", 4), ("y", 1))
    ]
    graph = helper.make_graph([node], "trees", ports[:1], ports[1:])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    path = tiny.save(helper.make_model(graph, opset_imports=opsets), tmp_path / "m.onnx")
    assert os.path.getsize(path) > 2_000_000 and source.read(path).proto.ByteSize() < 200_000
    assert describe(path, shapes={}).batch_symbol == "batch" and onnx.load(path).graph.node[0] == node


@pytest.mark.parametrize(
    ("dims", "batch", "fixed"),
    [
        ((1, 3, 8, 8), None, 1),
        ((4, 3, 8, 8), None, 4),
        (("N", 3, 8, 8), "N", 1),
        ((None, 3, 8, 8), "batch", 1),
        (("unk__7", 3), "unk__7", 1),
        (("p2o.DynamicDimension.0", 3, 8, 8), "p2o.DynamicDimension.0", 1),
        (("DynamicDimension.0", 3, 8, 8), "DynamicDimension.0", 1),
        ((-1, 3), "batch", 1),
        ((100,), None, 1),
        ((), None, 1),
        (("samples",), "samples", 1),
    ],
)
def test_the_batch_is_axis_0(tmp_path: Path, dims: tuple[int | str | None, ...], batch: str | None, fixed: int) -> None:
    model = described(tiny.relu(*dims), tmp_path)
    assert (model.batch_symbol, model.fixed_batch, model.shapes) == (batch, fixed, ())


@pytest.mark.parametrize(
    ("name", "dims", "named"),
    [
        ("state", (2, None, 128), (2, "batch", 128)),
        ("h", (1, None, 64), (1, "batch", 64)),
        ("features", (1, None, 80), (1, "features.1", 80)),
        ("state", (2, "n", 128), (2, "n", 128)),
    ],
)
def test_the_nameless_middle_of_a_recurrent_state_is_the_batch(
    name: str, dims: tuple[int | str | None, ...], named: tuple[int | str, ...]
) -> None:
    ports = [Port(name="input", dtype="float32", dims=(None, 512)), Port(name=name, dtype="float32", dims=dims)]
    assert name_dims(ports, ()).inputs == (("batch", 512), named)


def test_a_placeholder_on_several_axes_is_no_name() -> None:
    """Paddle2ONNX writes `?` for height and for width."""

    def named(*dims: tuple[int | str, ...]) -> tuple[tuple[int | str, ...], ...]:
        ports = [Port(name="xyz"[i], dtype="float32", dims=of) for i, of in enumerate(dims)]
        return name_dims(ports, ports).inputs

    assert named(("N", 3, "?", "?")) == (("N", 3, "x.2", "x.3"),)
    assert named(("?", "?")) == (("batch", "x.1"),)
    assert named(("N", "?"), ("N", "?")) == (("N", "?"), ("N", "?")), "one symbol for all inputs is handier"
    assert named(("N", "side", "side")) == (("N", "side", "side"),)


def test_a_batch_on_another_axis_is_found_by_its_name() -> None:
    ports = [Port(name="x", dtype="float32", dims=("time", "batch", 32))]
    assert name_dims(ports, ()).batch_symbol == "batch"
    assert name_dims([*ports, Port(name="z", dtype="float32", dims=(None, 8))], ()).batch_symbol != "time"


def graph_network(nodes: int | str | None, edges: int | str | None) -> onnx.ModelProto:
    """Every edge adds the features of the node that it comes from to the node that it goes to."""
    steps = [
        helper.make_node("Split", ["edge_index"], ["from_row", "to_row"], axis=0, num_outputs=2),
        helper.make_node("Squeeze", ["from_row", "first"], ["start"]),
        helper.make_node("Transpose", ["to_row"], ["end"], perm=[1, 0]),
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Gather", ["h", "start"], ["sent"], axis=0),
        helper.make_node("ScatterND", ["h", "end", "sent"], ["y"], reduction="add"),
    ]
    ports = [tiny.value("x", (nodes, 4)), tiny.value("edge_index", (2, edges), tiny.INT64)]
    stored = [tiny.weight("w", 4, 8), tiny.constant("first", 0)]
    return tiny.model(steps, ports, [tiny.value("y", (nodes, 8))], stored, opset=18)


@pytest.mark.parametrize("name", ["num_nodes", "N", "s77", None])
def test_the_nodes_of_a_graph_are_not_its_batch_and_edges_name_nodes_that_are_there(
    name: str | None, tmp_path: Path
) -> None:
    made = graph_network(name, None)
    model = described(made, tmp_path, **{name or "x.0": 5, "edge_index.1": 40})
    assert model.batch_symbol is None and model.fixed_batch == 1
    assert [s.below for s in model.inputs] == [None, 5]
    inputs = make_inputs(model, Feed(seed=0), 1, 1)[0]
    assert set(inputs["edge_index"].ravel()) == {0, 1, 2, 3, 4}
    session = onnxruntime.InferenceSession(model.path, providers=["CPUExecutionProvider"])
    assert session.run(None, inputs)[0].shape == (5, 8)


def test_the_nodes_of_a_graph_of_fixed_size_are_counted(tmp_path: Path) -> None:
    assert [s.below for s in described(graph_network(5, 40), tmp_path).inputs] == [None, 5]


def test_what_chooses_rows_of_its_own_batch_leaves_it_the_batch(tmp_path: Path) -> None:
    """The beams that a decoder goes on with: the first is there whatever the batch."""
    look = helper.make_node("Gather", ["state", "beam_idx"], ["y"], axis=0)
    ports = [tiny.value("state", ("n", 8)), tiny.value("beam_idx", ("n",), tiny.INT64)]
    model = described(tiny.model([look], ports, [tiny.value("y", ("n", 8))]), tmp_path)
    assert model.batch_symbol == "n" and model.inputs[1].below is None
    assert make_inputs(model, Feed(seed=0), 3, 1)[0]["beam_idx"].tolist() == [0, 0, 0]


def test_boxes_that_name_their_picture_leave_the_pictures_the_batch(tmp_path: Path) -> None:
    look = helper.make_node("Gather", ["x", "picture"], ["y"], axis=0)
    ports = [tiny.value("x", ("batch", 8)), tiny.value("picture", ("boxes",), tiny.INT64)]
    model = described(tiny.model([look], ports, [tiny.value("y", ("boxes", 8))]), tmp_path, boxes=5)
    assert model.batch_symbol == "batch"
    assert make_inputs(model, Feed(seed=0), 1, 1)[0]["picture"].tolist() == [0] * 5


def test_a_graph_per_sample_keeps_its_batch(tmp_path: Path) -> None:
    look = helper.make_node("Gather", ["x", "edge_index"], ["y"], axis=1)
    ports = [tiny.value("x", ("batch", "nodes", 4)), tiny.value("edge_index", (12,), tiny.INT64)]
    model = described(tiny.model([look], ports, [tiny.value("y", ("batch", 12, 4))]), tmp_path, nodes=7)
    assert model.batch_symbol == "batch" and model.inputs[1].below == 7


def test_ids_as_floats_are_ids(tmp_path: Path) -> None:
    """Keras exports them so; a table behind arithmetic is a table."""
    steps = [
        helper.make_node("Cast", ["q"], ["stored"], to=tiny.FLOAT),
        helper.make_node("Mul", ["stored", "scale"], ["table"]),
        helper.make_node("Cast", ["ids"], ["whole"], to=tiny.INT64),
        helper.make_node("Less", ["whole", "zero"], ["before"]),
        helper.make_node("Add", ["whole", "rows"], ["from_end"]),
        helper.make_node("Where", ["before", "from_end", "whole"], ["index"]),
        helper.make_node("Gather", ["table", "index"], ["y"]),
    ]
    stored = [tiny.weight("q", 50, 4, kind=np.int8), tiny.scalar("scale", 0.1)]
    stored += [tiny.scalar("zero", 0, np.int64), tiny.scalar("rows", 50, np.int64)]
    made = tiny.model(steps, [tiny.value("ids", ("batch", 30))], [tiny.value("y", ("batch", 30, 4))], stored)
    model = described(made, tmp_path)
    assert model.inputs[0].below == 50
    ids = make_inputs(model, Feed(seed=0), 3, 1)[0]["ids"]
    assert ids.dtype == np.float32 and len(set(ids.ravel())) > 20 and ids.min() >= 0 and ids.max() < 50


def test_bytes_that_are_compared_with_all_of_them_are_bounded(tmp_path: Path) -> None:
    """A one-hot encoding as JAX spells it."""
    steps = [
        helper.make_node("Unsqueeze", ["bytes", "last"], ["each"]),
        helper.make_node("Equal", ["each", "all"], ["same"]),
        helper.make_node("Cast", ["same"], ["y"], to=tiny.FLOAT),
    ]
    stored = [tiny.constant("last", -1), tiny.constant("all", *range(257), kind=np.int32)]
    ports = [tiny.value("bytes", ("batch", 8), TensorProto.INT32)], [tiny.value("y", ("batch", 8, 257))]
    assert described(tiny.model(steps, *ports, stored), tmp_path).inputs[0].below == 257
    stored[1] = tiny.constant("all", *range(30_000), kind=np.int32)
    ports[1][0].type.tensor_type.shape.dim[2].dim_value = 30_000
    assert described(tiny.model(steps, *ports, stored), tmp_path).inputs[0].below is None, "too long to be read"
    stored[1] = tiny.constant("all", 7, 9, kind=np.int32)
    ports[1][0].type.tensor_type.shape.dim[2].dim_value = 2
    assert described(tiny.model(steps, *ports, stored), tmp_path).inputs[0].below is None


def test_which_outputs_are_labels(tmp_path: Path) -> None:
    """Classes are, also picked from a table, and masks; pixels that were rounded are sizes."""
    steps = [
        helper.make_node("ArgMax", ["x"], ["best"], axis=1, keepdims=0),
        helper.make_node("Cast", ["best"], ["small"], to=TensorProto.UINT8),
        helper.make_node("Gather", ["names", "best"], ["named"]),
        helper.make_node("Greater", ["x", "half"], ["mask"]),
        helper.make_node("Cast", ["x"], ["pixels"], to=TensorProto.UINT8),
        helper.make_node("Gather", ["pixels", "best"], ["picked"], axis=1),
        helper.make_node("TopK", ["x", "two"], ["values", "places"]),
    ]
    kinds = {"small": TensorProto.UINT8, "named": tiny.INT64, "mask": TensorProto.BOOL, "pixels": TensorProto.UINT8}
    kinds |= {"picked": TensorProto.UINT8, "values": tiny.FLOAT, "places": tiny.INT64}
    outputs = [tiny.value(name, None, kind) for name, kind in kinds.items()]
    stored = [tiny.constant("names", *range(40, 49)), tiny.scalar("half", 0.5), tiny.constant("two", 2)]
    model = described(tiny.model(steps, [tiny.value("x", ("batch", 9))], outputs, stored), tmp_path)
    assert model.labels == {"small", "named", "mask", "places"}


def test_a_second_batch_and_the_channels_are_suggested_as_such(tmp_path: Path) -> None:
    """CLIP, as Optimum exports it: as many pictures as texts, or any other number."""
    made = two_inputs(("text_batch_size", 16), ("batch_size", "num_channels", "height", "width"))
    hint = refused(tiny.save(made, tmp_path / "m.onnx")).hint
    sizes = "--shape num_channels=3 --shape height=224 --shape width=224"
    assert hint.endswith((f"--shape batch_size=1 {sizes}", f"--shape text_batch_size=1 {sizes}"))


def two_inputs(first: tiny.Dims, second: tiny.Dims) -> onnx.ModelProto:
    nodes = [helper.make_node("Relu", ["a"], ["y"]), helper.make_node("Relu", ["b"], ["z"])]
    ports = [tiny.value("a", first), tiny.value("b", second)]
    return tiny.model(nodes, ports, [tiny.value("y", first), tiny.value("z", second)])


@pytest.mark.parametrize(
    ("first", "second", "batch", "named"),
    [
        ((None, 4), (None, 5), "batch", ("batch", "batch")),
        (("unk__1", 4), ("unk__2", 5), "batch", ("batch", "batch")),
        (("N", 4), (None, 5), "N", ("N", "N")),
        (("a_dynamic_axes_1", 4), ("batch", 5), "batch", ("batch", "batch")),
        (("s0", 4), ("s0", 5), "s0", ("s0", "s0")),
        (("batch_size", 4), (1, 5), "batch_size", ("batch_size", 1)),
    ],
)
def test_axis_0_of_several_inputs_is_one_batch(
    tmp_path: Path, first: tiny.Dims, second: tiny.Dims, batch: str, named: tuple[int | str, int | str]
) -> None:
    model = described(two_inputs(first, second), tmp_path)
    assert model.batch_symbol == batch
    assert (model.inputs[0].dims[0], model.inputs[1].dims[0]) == named


def test_a_length_on_axis_0_is_no_batch(tmp_path: Path) -> None:
    error = refused(tiny.save(tiny.relu("sequence_length", 1, 8), tmp_path / "m.onnx"))
    assert error.id == "unresolved-symbols"
    path = tiny.save(tiny.relu("sequence_length", "lanes", 8), tmp_path / "m.onnx")
    model = describe(path, shapes={"sequence_length": 9}, batch_symbol="lanes")
    assert model.batch_symbol == "lanes" and model.dims(model.inputs[0], 2) == (9, 2, 8)


def test_a_bound_batch_is_fixed(tmp_path: Path) -> None:
    model = described(tiny.relu("N", 3), tmp_path, N=4)
    assert (model.batch_symbol, model.fixed_batch) == (None, 4)
    assert model.dims(model.inputs[0], 4) == (4, 3)


def test_nameless_dimensions_get_the_name_of_their_place(tmp_path: Path) -> None:
    error = refused(tiny.save(tiny.relu(None, None, 8), tmp_path / "m.onnx"))
    assert error.id == "unresolved-symbols" and "--shape x.1=128" in error.hint
    assert described(tiny.relu(None, None, 8), tmp_path, **{"x.1": 5}).shapes == (("x.1", 5),)


def test_symbols_that_are_formulas_are_computed(tmp_path: Path) -> None:
    made = two_inputs(("batch", "past_len"), ("batch", "past_len + 1"))
    model = described(made, tmp_path, past_len=7)
    assert model.dims(model.inputs[1], 2) == (2, 8)
    assert described(made, tmp_path, past_len=0).dims(model.inputs[1], 2) == (2, 1)


def test_old_files_list_stored_tensors_as_inputs_too(tmp_path: Path) -> None:
    made = tiny.model(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        [tiny.value("x", ("N", 4)), tiny.value("w", (4,))],
        [tiny.value("y", ("N", 4))],
        [tiny.weight("w", 4)],
        opset=7,
    )
    made.ir_version = 3
    assert [s.name for s in described(made, tmp_path).inputs] == ["x"]


@pytest.mark.parametrize(("name", "dims"), [("mul_1", (3, 2)), ("sigmoid", (3, 4, 5)), ("logreg_iris", (3, 2))])
def test_models_that_come_with_onnxruntime(name: str, dims: tuple[int, ...]) -> None:
    """The first breaks a rule of its IR version; the last has a label and a sequence of maps as outputs."""
    model = describe(get_example(f"{name}.onnx"), shapes={})
    assert model.inputs[0].dims == dims and model.fixed_batch == 3


@pytest.mark.parametrize("opset", range(7, 25))
def test_opsets(tmp_path: Path, opset: int) -> None:
    assert described(tiny.relu("N", 3, opset=opset), tmp_path).opset == opset


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        (TensorProto.FLOAT16, "float16"),
        (TensorProto.DOUBLE, "float64"),
        (TensorProto.UINT8, "uint8"),
        (TensorProto.INT32, "int32"),
        (TensorProto.BOOL, "bool"),
    ],
)
def test_input_types(tmp_path: Path, kind: int, dtype: str) -> None:
    made = tiny.model(
        [helper.make_node("Identity", ["x"], ["y"])], [tiny.value("x", ("N",), kind)], [tiny.value("y", ("N",), kind)]
    )
    assert described(made, tmp_path).inputs[0].dtype == dtype


@pytest.mark.parametrize("domains", [{"com.microsoft": 1}, {}])
def test_operators_of_onnxruntime_are_no_error(tmp_path: Path, domains: dict[str, int]) -> None:
    nodes = [
        helper.make_node("FastGelu", ["x"], ["g"], domain="com.microsoft"),
        helper.make_node("SimplifiedLayerNormalization", ["g", "s"], ["y"], axis=-1),
    ]
    ports = ([tiny.value("x", ("N", 4))], [tiny.value("y", ("N", 4))])
    assert described(tiny.model(nodes, *ports, [tiny.weight("s", 4)], domains=domains), tmp_path).opset == 17


def test_outputs_without_a_shape_or_of_another_kind(tmp_path: Path) -> None:
    made = tiny.model(
        [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("SequenceConstruct", ["x"], ["s"])],
        [tiny.value("x", ("N", 4))],
        [tiny.value("y", None), helper.make_tensor_sequence_value_info("s", tiny.FLOAT, None)],
    )
    assert [(s.dtype, s.dims) for s in described(made, tmp_path).outputs] == [("float32", ()), ("sequence", ())]


def test_quantised_tables_bound_their_ids(tmp_path: Path) -> None:
    """A table behind DequantizeLinear, looked up inside both branches of an If."""

    def looked_up(name: str) -> onnx.GraphProto:
        return tiny.branch(name, [helper.make_node("Gather", ["table", "flat"], [f"{name}_y"])], f"{name}_y")

    table = numpy_helper.from_array(np.zeros((30, 4), np.uint8), "q")
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["table"]),
        helper.make_node("Reshape", ["ids", "minus"], ["flat"]),
        helper.make_node("If", ["flag"], ["y"], then_branch=looked_up("a"), else_branch=looked_up("b")),
    ]
    stored = [table, tiny.constant("minus", -1)]
    stored += [tiny.scalar("scale", 0.1, np.float32), tiny.scalar("zero", 3, np.uint8)]
    ports = [tiny.value("ids", ("N", 6), tiny.INT64), tiny.value("flag", (), TensorProto.BOOL)]
    model = described(tiny.model(nodes, ports, [tiny.value("y", (None, 4))], stored), tmp_path)
    assert [s.below for s in model.inputs] == [30, None]
    assert model.parameters == 120


def test_ids_inside_model_local_functions_are_bounded(tmp_path: Path) -> None:
    body = [helper.make_node("Gather", ["t", "i"], ["o"])]
    imports = [helper.make_opsetid("", 17)]
    look = helper.make_function("own", "LookUp", ["t", "i"], ["o"], body, imports)
    made = tiny.model(
        [helper.make_node("LookUp", ["w", "ids"], ["y"], domain="own")],
        [tiny.value("ids", ("N",), tiny.INT64)],
        [tiny.value("y", ("N", 4))],
        [tiny.weight("w", 50, 4)],
        domains={"own": 1},
    )
    made.functions.append(look)
    assert described(made, tmp_path).inputs[0].below == 50


# ---------------------------------------------------------------- external data and digests


def test_external_data_changes_the_digest_but_not_the_rest(tmp_path: Path) -> None:
    plain = described(tiny.embedding(), tmp_path, sequence_length=4)
    (tmp_path / "outside").mkdir()
    path = tiny.external(tmp_path / "outside" / "m.onnx", tiny.embedding())
    outside = describe(path, shapes={"sequence_length": 4})
    assert outside.inputs == plain.inputs and outside.parameters == plain.parameters
    assert plain.digest == hashlib.sha256((tmp_path / "m.onnx").read_bytes()).hexdigest()
    data = tmp_path / "outside" / "m.onnx.data"
    data.write_bytes(data.read_bytes()[:-1] + b"\x55")
    changed = describe(path, shapes={"sequence_length": 4})
    assert len({plain.digest, outside.digest, changed.digest}) == 3


@pytest.fixture
def split(tmp_path: Path) -> Path:
    """A model whose weights lie in `m.onnx.data` beside it."""
    folder = tmp_path / "split"
    folder.mkdir()
    return Path(tiny.external(folder / "m.onnx", tiny.embedding()))


def relocated(split: Path, location: str) -> Path:
    made = onnx.load(str(split), load_external_data=False)
    for tensor in made.graph.initializer:
        for entry in tensor.external_data:
            entry.value = location if entry.key == "location" else entry.value
    return Path(tiny.save(made, split))


@pytest.mark.parametrize("location", ["../m.data", "a/../../m.data", "/etc/hostname", "", "..", "x\\..\\..\\m"])
def test_external_data_must_stay_in_the_folder(split: Path, location: str) -> None:
    (split.parent.parent / "m.data").write_bytes((split.parent / "m.onnx.data").read_bytes())
    assert refused(relocated(split, location), sequence_length=4).id == "external-data-escapes"


def test_links_to_external_data_must_stay_in_the_folder(split: Path) -> None:
    data, inside = split.parent / "m.onnx.data", split.parent / "real.bin"
    data.rename(inside)
    data.symlink_to("real.bin")
    assert describe(str(split), shapes={"sequence_length": 4}).parameters == 408
    outside = split.parent.parent / "real.bin"
    inside.rename(outside)
    data.unlink()
    data.symlink_to(outside)
    error = refused(split, sequence_length=4)
    assert error.id == "external-data-escapes" and "cp -rL" in error.hint


def test_external_data_that_is_missing_short_or_a_pointer(split: Path) -> None:
    data = split.parent / "m.onnx.data"
    whole = data.read_bytes()
    data.write_bytes(whole[:-4])
    assert refused(split, sequence_length=4).id == "external-data-truncated"
    data.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    assert refused(split, sequence_length=4).id == "model-git-lfs"
    data.unlink()
    error = refused(split, sequence_length=4)
    assert error.id == "external-data-missing" and isinstance(error, NotFoundError) and "m.onnx.data" in error.message


@pytest.mark.parametrize(("key", "text"), [("offset", "-4"), ("length", "3"), ("offset", "1e3"), ("exec", "1")])
def test_external_data_entries_that_make_no_sense(split: Path, key: str, text: str) -> None:
    made = onnx.load(str(split), load_external_data=False)
    entries = made.graph.initializer[0].external_data
    kept = [(e.key, e.value) for e in entries if e.key != key]
    del entries[:]
    for name, content in [*kept, (key, text)]:
        entry = entries.add()
        entry.key, entry.value = name, content
    assert refused(tiny.save(made, split), sequence_length=4).id == "external-data-invalid"


# ---------------------------------------------------------------- files that are no model


def write_pointer(path: Path) -> None:
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 431\n")


def write_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps({"weights": [1, 2, 3]}))


def write_checkpoint(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps([1]))


def write_archive(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model.onnx", b"x")


@pytest.mark.parametrize(
    ("write", "code"),
    [
        (lambda path: path.mkdir(), "model-is-directory"),
        (lambda path: path.touch(), "model-empty"),
        (write_pointer, "model-git-lfs"),
        (write_pickle, "model-pickle"),
        (write_checkpoint, "model-pickle"),
        (write_archive, "model-not-onnx"),
        (lambda path: path.write_bytes(b"\0" * 300), "model-not-onnx"),
        (lambda path: path.write_bytes(b"hello, world\n" * 9), "model-not-onnx"),
        (lambda path: path.write_bytes(b"<!DOCTYPE html><html></html>"), "model-not-onnx"),
        (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n"), "model-not-onnx"),
        (lambda path: path.write_bytes(b"\x40\0\0\0\0\0\0\0" + b'{"w":{}}'), "model-not-onnx"),
        (lambda path: path.write_bytes(os.urandom(0) + bytes(range(256))), "model-not-onnx"),
    ],
)
def test_what_is_no_onnx_file(tmp_path: Path, write: Callable[[Path], None], code: str) -> None:
    path = tmp_path / "m.onnx"
    write(path)
    error = refused(path)
    assert error.id == code and isinstance(error, DataError)


def test_a_pointer_tells_the_size_of_the_model(tmp_path: Path) -> None:
    write_pointer(tmp_path / "m.onnx")
    error = refused(tmp_path / "m.onnx")
    assert "431 bytes" in error.message and "git lfs pull" in error.hint


def test_a_missing_file_names_the_nearest(tmp_path: Path) -> None:
    tiny.save(tiny.relu("N"), tmp_path / "bert-base.onnx")
    error = refused(tmp_path / "bert_base.onnx")
    assert isinstance(error, NotFoundError) and "did you mean `bert-base.onnx`" in error.hint
    assert refused(tmp_path / "no" / "m.onnx").id == "model-not-found"
    assert refused("bad\0name").id == "model-not-found"


def test_a_cut_file_says_how_much_is_missing(tmp_path: Path) -> None:
    whole = tiny.embedding().SerializeToString()
    path = tmp_path / "m.onnx"
    path.write_bytes(whole[: len(whole) // 2])
    error = refused(path)
    assert error.id == "model-truncated" and f"{len(whole) // 2} bytes" in error.message


def test_one_file_above_two_gigabytes(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    with open(path, "wb") as file:
        file.write(tiny.relu("N").SerializeToString())
        file.truncate(2**31 + 5)
    error = refused(path)
    assert error.id == "model-too-large" and "save_as_external_data" in error.hint


# ---------------------------------------------------------------- models that cannot be used


def broken_tensor(path: Path) -> onnx.ModelProto:
    made = tiny.embedding()
    made.graph.initializer[0].raw_data = b"123"
    return made


def no_outputs() -> onnx.ModelProto:
    made = tiny.relu("N")
    del made.graph.output[:]
    return made


def twice_named() -> onnx.ModelProto:
    made = tiny.relu("N")
    made.graph.output.append(made.graph.output[0])
    return made


def text_input() -> onnx.ModelProto:
    kind = TensorProto.STRING
    ports = ([tiny.value("x", ("N",), kind)], [tiny.value("y", ("N",), kind)])
    return tiny.model([helper.make_node("Identity", ["x"], ["y"])], *ports)


def sequence_input() -> onnx.ModelProto:
    inputs = [helper.make_tensor_sequence_value_info("x", tiny.FLOAT, None), tiny.value("i", (), tiny.INT64)]
    return tiny.model([helper.make_node("SequenceAt", ["x", "i"], ["y"])], inputs, [tiny.value("y", ("N",))])


def shapeless_input() -> onnx.ModelProto:
    made = tiny.relu("N")
    made.graph.input[0].type.tensor_type.ClearField("shape")
    return made


def future_ir() -> onnx.ModelProto:
    made = tiny.relu("N")
    made.ir_version = 9999
    return made


def calls_itself() -> onnx.ModelProto:
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    body = [helper.make_node("F", ["i"], ["o"], domain="own")]
    made = tiny.model(
        [helper.make_node("F", ["x"], ["y"], domain="own")],
        [tiny.value("x", ("N",), tiny.INT64)],
        [tiny.value("y", ("N",), tiny.INT64)],
        domains={"own": 1},
    )
    made.functions.append(helper.make_function("own", "F", ["i"], ["o"], body, imports))
    return made


def doubling_functions() -> onnx.ModelProto:
    """Sixty functions, each of which calls the next one twice: 2^60 nodes when unfolded."""
    made = calls_itself()
    del made.functions[:]
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    for depth in range(60):
        inner = f"F{depth + 1}" if depth < 59 else "Identity"
        domain = "own" if depth < 59 else ""
        body = [
            helper.make_node(inner, ["i"], ["h"], domain=domain),
            helper.make_node(inner, ["h"], ["o"], domain=domain),
        ]
        made.functions.append(helper.make_function("own", f"F{depth}" if depth else "F", ["i"], ["o"], body, imports))
    return made


def one_node(kind: str, reads: str) -> onnx.ModelProto:
    node = helper.make_node(kind, [reads], ["y"])
    return tiny.model([node], [tiny.value("x", (1,))], [tiny.value("y", (1,))])


@pytest.mark.parametrize(
    ("made", "code"),
    [
        (no_outputs(), "model-no-outputs"),
        (twice_named(), "model-invalid"),
        (text_input(), "input-type"),
        (sequence_input(), "input-type"),
        (shapeless_input(), "input-rank"),
        (future_ir(), "ir-version-unknown"),
        (tiny.relu("N", opset=999), "opset-unknown"),
        (calls_itself(), "model-invalid"),
        (doubling_functions(), "model-functions"),
        (broken_tensor(Path()), "model-tensor"),
        (one_node("Rellu", "x"), "operator-unknown"),
        (one_node("Relu", "z"), "model-invalid"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)  # fmt: skip
def test_models_that_cannot_be_used(tmp_path: Path, made: onnx.ModelProto, code: str) -> None:
    error = refused(tiny.save(made, tmp_path / "m.onnx"))
    assert error.id == code and isinstance(error, DataError)


def test_an_unknown_operator_names_the_nearest(tmp_path: Path) -> None:
    made = one_node("Rellu", "x")
    assert "did you mean `Relu`" in refused(tiny.save(made, tmp_path / "m.onnx")).hint


# ---------------------------------------------------------------- symbols that are wrong


def test_unresolved_symbols_are_listed_with_what_to_type(tmp_path: Path) -> None:
    error = refused(tiny.save(tiny.relu("batch", 3, "height", "width"), tmp_path / "m.onnx"))
    assert isinstance(error, UsageError) and error.id == "unresolved-symbols"
    assert "height, width" in error.message and "--shape height=224 --shape width=224" in error.hint


@pytest.mark.parametrize(
    ("shapes", "code"),
    [
        ({"sequence_lenght": 4}, "unknown-symbol"),
        ({"sequence_length": 0}, "shape-value"),
        ({"sequence_length": 2**40}, "shape-value"),
        ({"sequence_length": 2**31 - 1}, "input-too-large"),
    ],
)
def test_wrong_bindings(tmp_path: Path, shapes: dict[str, int], code: str) -> None:
    error = refused(tiny.save(tiny.embedding(), tmp_path / "m.onnx"), **shapes)
    assert isinstance(error, UsageError) and error.id == code


def test_an_unknown_symbol_names_the_nearest(tmp_path: Path) -> None:
    path = tiny.save(tiny.embedding(), tmp_path / "m.onnx")
    assert "did you mean `sequence_length`" in refused(path, sequence_lenght=4).hint
    assert "fixed numbers" in refused(tiny.save(tiny.relu(1, 3), tmp_path / "f.onnx"), N=4).hint
    with pytest.raises(UsageError) as caught:
        describe(path, shapes={"sequence_length": 4}, batch_symbol="bach_size")
    assert "did you mean `batch_size`" in caught.value.hint


def test_names_from_outside_are_safe_to_print(tmp_path: Path) -> None:
    error = refused(tiny.save(tiny.relu("N", "\x1b[31mred\u202e"), tmp_path / "m.onnx"))
    assert "\x1b" not in error.message + error.hint and "\u202e" not in error.message + error.hint


# ---------------------------------------------------------------- fuzz

WHOLE = tiny.embedding(rows=9).SerializeToString()


def outcome(path: Path) -> None:
    """Either a model or one of our errors."""
    try:
        assert isinstance(describe(str(path), shapes={"sequence_length": 4}), Model)
    except InfertuneError as refusal:
        error = refusal
    else:
        return
    assert error.id and error.hint and "\n" not in error.message


@settings(max_examples=150, deadline=None)
@given(length=st.integers(0, len(WHOLE) - 1))
def test_a_truncated_model_never_surprises(tmp_path_factory: pytest.TempPathFactory, length: int) -> None:
    path = tmp_path_factory.getbasetemp() / "cut.onnx"
    path.write_bytes(WHOLE[:length])
    outcome(path)


@settings(max_examples=400, deadline=None)
@given(flips=st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(1, 255)), min_size=1, max_size=4))
def test_flipped_bytes_never_surprise(tmp_path_factory: pytest.TempPathFactory, flips: list[tuple[int, int]]) -> None:
    content = bytearray(WHOLE)
    for place, mask in flips:
        content[place] ^= mask
    path = tmp_path_factory.getbasetemp() / "flipped.onnx"
    path.write_bytes(content)
    outcome(path)
