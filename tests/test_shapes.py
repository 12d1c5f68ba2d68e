"""Symbols: parsed from the command line, bound to numbers, written into a copy of a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

import tiny_graphs as tiny
from infertune.core.errors import CreateError, UsageError
from infertune.core.records import Feed
from infertune.prepare.inputs import make_inputs
from infertune.prepare.load import describe
from infertune.prepare.shapes import bind, bind_batch, evaluate, parse_shapes
from infertune.prepare.symbols import Naming


@pytest.mark.parametrize(
    ("items", "shapes"),
    [
        ([], {}),
        (["sequence_length=128"], {"sequence_length": 128}),
        ([" H = 224 ", "W=320"], {"H": 224, "W": 320}),
        (["past + 1=9"], {"past + 1": 9}),
        (["a==3"], {"a=": 3}),
        (["n=4", "n=4"], {"n": 4}),
    ],
)
def test_items_that_parse(items: list[str], shapes: dict[str, int]) -> None:
    assert parse_shapes(items) == shapes


@pytest.mark.parametrize(
    "items", [["128"], ["=128"], ["n="], ["n=-1"], ["n=1.5"], ["n=1x2"], ["n=4", "n=5"], ["n=\u0663"], ["n=1e3"], [""]]
)
def test_items_that_do_not_parse(items: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        parse_shapes(items)
    assert caught.value.id == "shape-syntax" and caught.value.hint


@given(st.dictionaries(st.from_regex(r"[A-Za-z_][\w. ]{0,9}[\w]", fullmatch=True), st.integers(0, 10**9)))
def test_every_binding_survives_its_spelling(shapes: dict[str, int]) -> None:
    assert parse_shapes([f"{symbol}={value}" for symbol, value in shapes.items()]) == shapes


@pytest.mark.parametrize(
    ("formula", "value"),
    [
        ("a + 1", 8),
        ("a*b", 21),
        ("a//2", 3),
        ("2*(a - b)", 8),
        ("a - 8", None),
        ("a + c", None),
        ("a // 0", None),
        ("a ** 2", None),
        ("__import__('os')", None),
        ("(" * 5000, None),
        ("a" + "+a" * 500, None),
        ("", None),
    ],
)
def test_formulas(formula: str, value: int | None) -> None:
    assert evaluate(formula, {"a": 7, "b": 3}) == value


DECODER = Naming(
    inputs=(("b", "sequence_length"), ("b", "total_sequence_length"), ("b", 4, "past_sequence_length", 32)),
    outputs=(),
    batch_symbol="b",
    fixed_batch=1,
)


def test_a_decoders_total_follows_and_is_not_asked_for() -> None:
    with pytest.raises(UsageError) as caught:
        bind(DECODER, {})
    assert "total" not in caught.value.message
    assert "--shape sequence_length=1 --shape past_sequence_length=127" in caught.value.hint
    assert bind(DECODER, {"sequence_length": 1, "past_sequence_length": 127})["total_sequence_length"] == 128
    given = {"sequence_length": 1, "past_sequence_length": 0, "total_sequence_length": 9}
    assert bind(DECODER, given)["total_sequence_length"] == 9


def outputs(path: str, made: dict[str, np.ndarray]) -> list[np.ndarray]:
    return list(onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, made))


@pytest.mark.parametrize("outside", [False, True])
def test_a_bound_copy_is_static_and_computes_the_same(tmp_path: Path, outside: bool) -> None:
    (tmp_path / "in").mkdir()
    place = tmp_path / "in" / "m.onnx"
    path = tiny.external(place, tiny.embedding()) if outside else tiny.save(tiny.embedding(), place)
    model = describe(path, shapes={"sequence_length": 5})
    before = {file.name: file.read_bytes() for file in place.parent.iterdir()}
    into = bind_batch(path, model, 3, str(tmp_path / "out" / "bound.onnx"))
    onnx.checker.check_model(into)
    bound = describe(into, shapes={})
    assert [s.dims for s in bound.inputs] == [(3, 5)] * 3
    assert bound.outputs[0].dims == (3, 5, 4)
    assert (bound.batch_symbol, bound.fixed_batch) == (None, 3)
    made = make_inputs(model, Feed(seed=1), 3, 1)[0]
    original = tiny.save(tiny.embedding(), tmp_path / "plain.onnx")
    assert np.array_equal(outputs(into, made)[0], outputs(original, made)[0])
    assert {file.name: file.read_bytes() for file in place.parent.iterdir()} == before


def test_a_bound_copy_beside_the_original_shares_its_data(tmp_path: Path) -> None:
    path = tiny.external(tmp_path / "m.onnx", tiny.embedding())
    into = bind_batch(path, describe(path, shapes={"sequence_length": 5}), 2, str(tmp_path / "b.onnx"))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["b.onnx", "m.onnx", "m.onnx.data"]
    assert describe(into, shapes={}).fixed_batch == 2


def test_nameless_and_merged_symbols_are_bound_too(tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", ["a"], ["y"]), helper.make_node("Relu", ["b"], ["z"])]
    ports = [tiny.value("a", ("unk__1", None)), tiny.value("b", (None, 4))]
    made = tiny.model(nodes, ports, [tiny.value("y", ("unk__1", None)), tiny.value("z", (None, 4))])
    path = tiny.save(made, tmp_path / "m.onnx")
    into = bind_batch(path, describe(path, shapes={"a.1": 6}), 2, str(tmp_path / "b.onnx"))
    assert [s.dims for s in describe(into, shapes={}).inputs] == [(2, 6), (2, 4)]
    assert describe(into, shapes={}).outputs[0].dims[0] == 2


def test_another_batch_than_the_fixed_one(tmp_path: Path) -> None:
    path = tiny.save(tiny.relu(4, 3), tmp_path / "m.onnx")
    with pytest.raises(UsageError) as caught:
        bind_batch(path, describe(path, shapes={}), 8, str(tmp_path / "b.onnx"))
    assert caught.value.id == "batch-fixed"


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    path = tiny.save(tiny.relu("N", 3), tmp_path / "m.onnx")
    with pytest.raises(CreateError):
        bind_batch(path, describe(path, shapes={}), 8, f"{path}/b.onnx")
