"""Float constants that fp16 cannot hold: found wherever a model keeps them, clipped in a copy, each edit listed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from onnx import TensorProto, helper, numpy_helper

import tiny_graphs as tiny
from infertune.core.errors import CreateError, UsageError
from infertune.prepare import fp16, rewrite, source, spread

BIG, SMALL, INF = 3.0e38, 1.0e-12, float("inf")
Values = npt.NDArray[Any]

# ---------------------------------------------------------------- counting


def by_numpy(values: Values) -> spread.Spread:
    """The same counts by converting to fp16 for real."""
    with np.errstate(all="ignore"):
        half = values.astype(np.float16)
    finite = np.isfinite(values)
    comparable = values[~np.isnan(values)]
    return spread.Spread(
        elements=values.size,
        outside=int((np.abs(values[finite].astype(np.float64)) > 65504).sum()),
        infinite=int(np.isinf(values).sum()),
        nan=int(np.isnan(values).sum()),
        zeroed=int(((half == 0) & (values != 0)).sum()),
        subnormal=int(((half != 0) & (np.abs(half) < np.finfo(np.float16).smallest_normal)).sum()),
        nonzero=int((comparable != 0).sum()),
        low=float(comparable.min()) if comparable.size else None,
        high=float(comparable.max()) if comparable.size else None,
    )


EDGES = [2.0**-25, 2.0**-24, 2.0**-14, 2.0**-14 - 2.0**-25, 2.0**-14 - 2.0**-26, 65504, 65504.004, 65520, INF, 0.0]


@st.composite
def arrays(draw: st.DrawFn) -> Values:
    """Up to 20 values, many of them where fp16 changes its behaviour, as fp16, fp32 or fp64."""
    values = draw(st.lists(st.floats(width=16) | st.sampled_from(EDGES) | st.floats(width=32), max_size=20))
    with np.errstate(over="ignore"):
        return np.array(values, np.float64).astype(draw(st.sampled_from([np.float16, np.float32, np.float64])))


@settings(max_examples=300, deadline=None)
@given(arrays())
def test_counts_are_those_of_a_real_conversion(values: Values) -> None:
    assert spread.spread_of(values) == by_numpy(values)
    assert spread.survey([values[:3], values[3:]]) == spread.spread_of(values)


def test_signalling_nan() -> None:
    values = np.array([0x7F800001, 0x3F800000], np.uint32).view(np.float32)
    found = spread.spread_of(values)
    assert (found.nan, found.low, found.high) == (1, 1.0, 1.0)


@settings(max_examples=200, deadline=None)
@given(hnp.arrays(np.float32, st.integers(1, 20), elements=st.floats(width=32)), st.sampled_from(["keep", "clip"]))
def test_clipping_changes_only_what_lies_outside(values: Values, infinities: spread.Infinities) -> None:
    after = spread.clipped(values, spread.FLOAT, infinities)
    inside = np.abs(values) <= 65504
    assert after.dtype == values.dtype and np.array_equal(after[inside], values[inside])
    assert np.array_equal(np.isnan(after), np.isnan(values))
    assert np.array_equal(np.sign(after), np.sign(values), equal_nan=True)
    found = spread.spread_of(after)
    assert found.outside == 0 and found.infinite == (spread.spread_of(values).infinite if infinities == "keep" else 0)


@given(hnp.arrays(np.uint16, 8))
def test_bfloat16_survives_its_round_trip(bits: Values) -> None:
    tensor = TensorProto(data_type=spread.BFLOAT16, dims=[8], raw_data=bits.tobytes())
    values = next(spread.pieces(tensor, None))
    assert spread.encoded(values, spread.BFLOAT16) == bits.tobytes()
    clipped = spread.encoded(spread.clipped(values, spread.BFLOAT16, "clip"), spread.BFLOAT16)
    with np.errstate(all="ignore"):
        half = np.frombuffer(clipped, ml_dtypes.bfloat16).astype(np.float16)
    assert not np.isinf(half).any()


# ---------------------------------------------------------------- finding


def stored(name: str, values: list[float], kind: npt.DTypeLike = np.float32) -> TensorProto:
    return numpy_helper.from_array(np.array(values, dtype=kind), name)


def typed(name: str, kind: int, values: list[float]) -> TensorProto:
    """A tensor whose values sit in the field of their type, not in raw data."""
    return helper.make_tensor(name, kind, [len(values)], values)


def sparse(name: str, values: list[float]) -> onnx.SparseTensorProto:
    indices = numpy_helper.from_array(np.arange(len(values), dtype=np.int64) * 2, f"{name}_at")
    return helper.make_sparse_tensor(stored(name, values), indices, [2 * len(values)])


def everywhere() -> onnx.ModelProto:
    """A model with a constant of every kind, each of two values: one that fp16 cannot hold, and 1."""
    pair = [BIG, 1.0]
    in_branch = [
        helper.make_node("Constant", [], ["c4"], value=stored("v", pair)),
        helper.make_node("Add", ["x", "c4"], ["t"]),
    ]
    in_other = [helper.make_node("Add", ["x", "w4"], ["e"])]
    in_function = [
        helper.make_node("Constant", [], ["c5"], value_floats=pair),
        helper.make_node("Add", ["i", "c5"], ["o"]),
    ]
    then_branch = tiny.branch("a", in_branch, "t")
    else_branch = tiny.branch("b", in_other, "e", [stored("w4", pair)])
    nodes = [
        helper.make_node("Constant", [], ["c0"], value=stored("v", pair)),
        helper.make_node("Constant", [], ["c1"], value_float=BIG),
        helper.make_node("Constant", [], ["c2"], value_floats=pair),
        helper.make_node("Constant", [], ["c3"], sparse_value=sparse("c3", [BIG])),
        helper.make_node("ConstantOfShape", ["two"], ["cs"], name="filled", value=stored("v", [BIG])),
        helper.make_node("LeakyRelu", ["x"], ["leaky"], name="leaky", alpha=BIG),
        helper.make_node("Cast", ["w1"], ["k1"], to=tiny.FLOAT),
        helper.make_node("Cast", ["w2"], ["k2"], to=tiny.FLOAT),
        helper.make_node("Cast", ["w3"], ["k3"], to=tiny.FLOAT),
        helper.make_node("If", ["flag"], ["branched"], then_branch=then_branch, else_branch=else_branch),
        helper.make_node("Own", ["x"], ["called"], domain="own"),
    ]
    parts = ["x", "w0", "c0", "c1", "c2", "c3", "cs", "leaky", "k1", "k2", "k3", "s0", "branched", "called"]
    nodes.append(helper.make_node("Sum", parts, ["y"]))
    weights = [
        stored("w0", pair),
        stored("w1", [1.0e300, 1.0], np.float64),
        typed("w2", TensorProto.BFLOAT16, pair),
        typed("w3", TensorProto.DOUBLE, pair),
        tiny.constant("two", 2),
    ]
    ports = [tiny.value("x", (2,)), tiny.value("flag", (), TensorProto.BOOL)]
    made = tiny.model(nodes, ports, [tiny.value("y", (2,))], weights, domains={"own": 1})
    made.graph.sparse_initializer.append(sparse("s0", [BIG]))
    own = helper.make_function("own", "Own", ["i"], ["o"], in_function, [helper.make_opsetid("", 17)])
    own.attribute_proto.append(helper.make_attribute("slope", BIG))
    made.functions.append(own)
    return made


PLACES = {
    "w0",
    "w1",
    "w2",
    "w3",
    "w4",
    "s0",
    "c0",
    "c1",
    "c2",
    "c3",
    "c4",
    "c5",
    "filled.value",
    "leaky.alpha",
    "slope",
}


def test_every_kind_of_constant_is_found_and_clipped(tmp_path: Path) -> None:
    path = tiny.save(everywhere(), tmp_path / "m.onnx")
    before = Path(path).read_bytes()
    seen = fp16.examine(path)
    into = str(tmp_path / "out" / "m.onnx")
    report = fp16.clip(path, into)
    assert {f.name for f in report.edits} == PLACES and report == seen
    assert report.total.outside == len(PLACES) and all(f.changed == 1 for f in report.edits)
    places = {f.name: f.where for f in report.findings}
    assert places["w4"] == "initializer in else_branch of If `branched`"
    assert places["c5"] == "attribute value_floats of Constant `c5` in function `Own`"
    assert {f.name: f.high_after for f in report.edits} == dict.fromkeys(PLACES, 65504.0) | {"w2": 65280.0}
    onnx.checker.check_model(into)
    after = fp16.examine(into)
    assert after.total.outside == 0 and after.total.elements == seen.total.elements and not after.edits
    assert Path(path).read_bytes() == before and os.listdir(tmp_path / "out") == ["m.onnx"]


def test_what_is_not_computed_in_fp16_is_left_alone(tmp_path: Path) -> None:
    scaled = helper.make_node("Scaler", ["x"], ["y"], domain="ai.onnx.ml", scale=[BIG], offset=[0.0])
    made = tiny.model([scaled], [tiny.value("x", ("N", 1))], [tiny.value("y", ("N", 1))], domains={"ai.onnx.ml": 3})
    assert fp16.examine(tiny.save(made, tmp_path / "m.onnx")).constants == 0


def adds(*weights: TensorProto) -> onnx.ModelProto:
    nodes = [helper.make_node("Sum", ["x", *(w.name for w in weights)], ["y"])]
    return tiny.model(nodes, [tiny.value("x", (None,))], [tiny.value("y", (None,))], weights)


def test_counts_of_a_report(tmp_path: Path) -> None:
    values = [BIG, -BIG, INF, float("nan"), SMALL, 1e-6, 0.0, 1.0]
    path = tiny.save(adds(stored("w", values), stored("fine", [1.0] * 8), stored("eps", [SMALL])), tmp_path / "m.onnx")
    report = fp16.examine(path)
    assert [f.name for f in report.findings] == ["w", "eps"] and report.findings[1].vanishes
    found = report.findings[0]
    assert found.before == by_numpy(np.array(values, np.float32)) and not found.vanishes
    assert (found.before.outside, found.before.infinite, found.before.nan) == (2, 1, 1)
    assert (found.before.zeroed, found.before.subnormal) == (1, 1)
    assert (found.low_after, found.high_after) == (-65504.0, INF)


# ---------------------------------------------------------------- infinities


def test_infinities_want_a_choice(tmp_path: Path) -> None:
    path = tiny.save(adds(stored("w", [-INF, BIG])), tmp_path / "m.onnx")
    into = tmp_path / "out.onnx"
    with pytest.raises(UsageError) as caught:
        fp16.clip(path, str(into))
    assert caught.value.id == "infinities-choice" and not into.exists()
    for choice, expected in (("keep", [-INF, 65504.0]), ("clip", [-65504.0, 65504.0])):
        report = fp16.clip(path, str(into), choice)  # type: ignore[arg-type]
        values = numpy_helper.to_array(onnx.load(str(into)).graph.initializer[0])
        assert values.tolist() == expected and report.edits[0].changed == (2 if choice == "clip" else 1)


def test_infinities_of_fp16_itself(tmp_path: Path) -> None:
    made = adds(stored("w", [-INF, 2.0], np.float16))
    made.graph.input[0].type.tensor_type.elem_type = made.graph.output[0].type.tensor_type.elem_type = (
        TensorProto.FLOAT16
    )
    fp16.clip(tiny.save(made, tmp_path / "m.onnx"), str(tmp_path / "o.onnx"), "clip")
    assert numpy_helper.to_array(onnx.load(str(tmp_path / "o.onnx")).graph.initializer[0]).tolist() == [-65504.0, 2.0]


# ---------------------------------------------------------------- the same results


def masked_softmax() -> onnx.ModelProto:
    """Attention weights: scores + (1 - mask) x the lowest float32, then softmax."""
    nodes = [
        helper.make_node("Sub", ["one", "mask"], ["inverted"]),
        helper.make_node("Mul", ["inverted", "lowest"], ["bias"]),
        helper.make_node("Add", ["x", "bias"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["y"], axis=-1),
    ]
    weights = [tiny.scalar("one", 1.0), tiny.scalar("lowest", float(np.finfo(np.float32).min))]
    ports = [tiny.value("x", ("N", 4)), tiny.value("mask", ("N", 4))]
    return tiny.model(nodes, ports, [tiny.value("y", ("N", 4))], weights)


def test_a_clipped_mask_computes_the_same(tmp_path: Path) -> None:
    path = tiny.save(masked_softmax(), tmp_path / "m.onnx")
    into = str(tmp_path / "o.onnx")
    assert [f.name for f in fp16.clip(path, into).edits] == ["lowest"]
    rng = np.random.default_rng(0)
    inputs = {"x": rng.standard_normal((3, 4)).astype(np.float32), "mask": np.array([[1, 1, 0, 0]] * 3, np.float32)}
    runs = [
        onnxruntime.InferenceSession(p, providers=["CPUExecutionProvider"]).run(None, inputs)[0] for p in (path, into)
    ]
    assert np.array_equal(runs[0], runs[1])


# ---------------------------------------------------------------- external data


def outside_model(path: Path) -> str:
    """Two large weights, one to clip, a small one, and a second name for the stretch of the first."""
    rng = np.random.default_rng(0)
    first = rng.standard_normal(5000).astype(np.float32)
    first[17] = -BIG
    made = adds(
        numpy_helper.from_array(first, "first"),
        numpy_helper.from_array(rng.standard_normal(5000).astype(np.float32), "second"),
        stored("small", [BIG]),
        numpy_helper.from_array(first, "shared"),
    )
    tiny.external(path, made)
    split = onnx.load(str(path), load_external_data=False)
    by_name = {t.name: t for t in split.graph.initializer}
    by_name["shared"].CopyFrom(by_name["first"])
    by_name["shared"].name = "shared"
    return tiny.save(split, path)


def test_external_data_is_copied_and_clipped(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    path = outside_model(tmp_path / "in" / "m.onnx")
    before = {f.name: f.read_bytes() for f in (tmp_path / "in").iterdir()}
    into = tmp_path / "out" / "safe.onnx"
    report = fp16.clip(path, str(into))
    assert {f.name for f in report.edits} == {"first", "small", "shared"}
    assert {f.name: f.read_bytes() for f in (tmp_path / "in").iterdir()} == before
    assert sorted(os.listdir(into.parent)) == ["safe.onnx", "safe.onnx.data"]
    onnx.checker.check_model(str(into))
    old = {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
    new = {t.name: numpy_helper.to_array(t) for t in onnx.load(str(into)).graph.initializer}
    assert all(np.array_equal(new[name], np.clip(old[name], -65504, 65504)) for name in old)
    places = {s.offset for s in source.read(str(into)).stretches}
    assert len(places) == 2 and all(place % 4096 == 0 for place in places)
    assert (into.parent / "safe.onnx.data").stat().st_size < 2 * 5000 * 4 + 4096


def test_a_model_too_large_for_one_file_gets_a_data_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    large, zeros = rng.standard_normal(3000).astype(np.float32), np.zeros(3000, np.float32)
    made = adds(stored("small", [1.0]), numpy_helper.from_array(large, "w"), numpy_helper.from_array(zeros, "z"))
    written = rewrite.publish(made, (), str(tmp_path / "m.onnx"), limit_bytes=10_000)
    assert [Path(p).name for p in written] == ["m.onnx.data", "m.onnx"]
    again = {t.name: numpy_helper.to_array(t) for t in onnx.load(written[1]).graph.initializer}
    assert np.array_equal(again["w"], large) and np.array_equal(again["z"], zeros) and again["small"].tolist() == [1.0]
    assert [s.location for s in source.read(written[1]).stretches] == ["m.onnx.data"] * 2


# ---------------------------------------------------------------- places that must not be written


def test_the_original_is_never_the_output(tmp_path: Path) -> None:
    path = outside_model(tmp_path / "m.onnx")
    (tmp_path / "link.onnx").symlink_to("m.onnx")
    os.rename(tmp_path / "m.onnx.data", tmp_path / "n.onnx.data")
    split = onnx.load(path, load_external_data=False)
    for tensor in split.graph.initializer:
        tensor.external_data[0].value = "n.onnx.data"
    tiny.save(split, Path(path))
    before = {f.name: f.read_bytes() for f in tmp_path.iterdir()}
    for into in ("m.onnx", "link.onnx", "n.onnx"):
        with pytest.raises(UsageError) as caught:
            fp16.clip(path, str(tmp_path / into))
        assert caught.value.id == "output-is-input"
    assert {f.name: f.read_bytes() for f in tmp_path.iterdir()} == before


def test_an_output_that_cannot_be_written(tmp_path: Path) -> None:
    path = tiny.save(adds(stored("w", [BIG])), tmp_path / "m.onnx")
    (tmp_path / "folder").mkdir()
    for into in (tmp_path / "folder", tmp_path / "m.onnx" / "o.onnx"):
        with pytest.raises(CreateError):
            fp16.clip(path, str(into))
    assert sorted(os.listdir(tmp_path)) == ["folder", "m.onnx"]


def test_an_older_output_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tiny.save(adds(stored("w", [BIG])), tmp_path / "m.onnx")
    (tmp_path / "o.onnx").write_bytes(b"older")
    fp16.clip(path, str(tmp_path / "o.onnx"))
    assert (
        sorted(os.listdir(tmp_path)) == ["m.onnx", "o.onnx"] and fp16.examine(str(tmp_path / "o.onnx")).constants == 1
    )


@settings(max_examples=25, deadline=None)
@given(hnp.arrays(np.float32, st.integers(1, 12), elements=st.floats(width=32)), st.booleans())
def test_clipping_twice_changes_nothing_more(
    tmp_path_factory: pytest.TempPathFactory, values: Values, outside: bool
) -> None:
    folder = tmp_path_factory.mktemp("twice")
    made = adds(numpy_helper.from_array(values, "w"))
    path = tiny.external(folder / "m.onnx", made) if outside else tiny.save(made, folder / "m.onnx")
    first, second = str(folder / "a.onnx"), str(folder / "b.onnx")
    fp16.clip(path, first, "clip")
    assert fp16.clip(first, second, "clip").edits == ()
    assert Path(first).read_bytes() == Path(second).read_bytes()
