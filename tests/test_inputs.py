"""Inputs: seeded ones that every model of their kind can compute, and real ones from an `.npz`."""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infertune.core.errors import InfertuneError
from infertune.core.records import Feed, Model, TensorSpec
from infertune.prepare.inputs import LEAST, make_inputs

Inputs = dict[str, npt.NDArray[Any]]


def spec(name: str, dtype: str, *dims: int | str, below: int | None = None) -> TensorSpec:
    return TensorSpec(name=name, dtype=dtype, dims=dims, below=below)


def model(
    *inputs: TensorSpec, batch: str | None = "N", fixed: int = 1, shapes: Mapping[str, int] | None = None
) -> Model:
    return Model(
        path="m.onnx", digest="", name="m", inputs=inputs, outputs=(), batch_symbol=batch, fixed_batch=fixed,
        shapes=tuple(sorted((shapes or {}).items())), opset=17, parameters=0, weight_bytes=0,
    )  # fmt: skip


TEXT = model(
    spec("input_ids", "int64", "N", "S", below=100),
    spec("attention_mask", "int64", "N", "S"),
    spec("token_type_ids", "int32", "N", "S", below=2),
    spec("position_ids", "int64", "N", "S", below=4),
    shapes={"S": 6},
)


def made(wanted: Model, *, seed: int = 0, batch: int = 2, count: int = 1) -> list[Inputs]:
    return make_inputs(wanted, Feed(seed=seed), batch, count)


def one(wanted: TensorSpec) -> npt.NDArray[Any]:
    return made(model(wanted), batch=3)[0][wanted.name]


def same(a: Inputs, b: Inputs) -> bool:
    return a.keys() == b.keys() and all(a[k].tobytes() == b[k].tobytes() and a[k].dtype == b[k].dtype for k in a)


# ---------------------------------------------------------------- seeded


def test_text() -> None:
    inputs = made(TEXT)[0]
    assert [(a.shape, a.dtype.name) for a in inputs.values()] == [
        ((2, 6), "int64"), ((2, 6), "int64"), ((2, 6), "int32"), ((2, 6), "int64"),
    ]  # fmt: skip
    assert (inputs["attention_mask"] == 1).all()
    assert inputs["position_ids"].tolist() == [[0, 1, 2, 3, 0, 1]] * 2
    assert set(np.unique(inputs["token_type_ids"])) <= {0, 1}
    assert len(np.unique(inputs["input_ids"])) > 4


DTYPES = (
    "float32",
    "float64",
    "float16",
    "int8",
    "uint8",
    "int16",
    "uint16",
    "int32",
    "int64",
    "uint32",
    "uint64",
    "bool",
)
NAMES = ("x", "input_ids", "attention_mask", "token_type_ids", "position_ids", "lengths", "pixel_values", "image")


@st.composite
def specs(draw: st.DrawFn) -> TensorSpec:
    dims = draw(st.lists(st.one_of(st.integers(1, 4), st.sampled_from(["N", "S"])), max_size=4))
    below = draw(st.one_of(st.none(), st.integers(1, 70_000)))
    return spec(draw(st.sampled_from(NAMES)), draw(st.sampled_from(DTYPES)), *dims, below=below)


@settings(max_examples=300, deadline=None)
@given(specs(), st.integers(-5, 2**70), st.integers(1, 4), st.integers(1, 5))
def test_every_input_fits_its_model(wanted: TensorSpec, seed: int, batch: int, count: int) -> None:
    sets = made(model(wanted, shapes={"S": 3}), seed=seed, batch=batch, count=count)
    assert len(sets) == count
    for inputs in sets:
        array = inputs[wanted.name]
        assert array.shape == model(wanted, shapes={"S": 3}).dims(wanted, batch) and array.dtype == np.dtype(
            wanted.dtype
        )
        if array.dtype.kind == "f" and wanted.below is None:
            assert np.isfinite(array).all() and (np.abs(array) >= LEAST).all() and (np.abs(array) < 10).all()
        if wanted.below is not None and array.dtype.kind in "iuf" and wanted.name in NAMES[:2]:
            assert array.min() >= 0 and array.max() < wanted.below


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 6))
def test_a_seed_fixes_the_bytes_and_the_count_changes_nothing(seed: int, count: int) -> None:
    few, many = made(TEXT, seed=seed, count=count), made(TEXT, seed=seed, count=count + 3)
    assert all(same(a, b) for a, b in zip(few, many, strict=False))
    assert not same(many[0], many[1]) and not same(few[0], made(TEXT, seed=seed + 1)[0])


def test_the_bytes_of_a_seed_are_the_same_for_ever() -> None:
    """A change here makes measurements of before and after differ in their inputs."""
    inputs = made(model(spec("input_ids", "int64", "N", 4, below=1000), spec("x", "float32", "N", 2)), seed=7)[0]
    assert inputs["input_ids"].tolist() == IDS
    assert np.allclose(inputs["x"], FLOATS)


IDS = [[974, 797, 650, 243], [287, 635, 323, 68]]
FLOATS = [[-0.32338154, 0.24811517], [-0.4066177, 2.0781617]]


def test_images_are_between_zero_and_one_and_features_are_normal() -> None:
    for dims in (("N", 3, 8, 8), ("N", 8, 8, 3), ("N", 1, 8, 8)):
        image = one(spec("x", "float16", *dims))
        assert image.min() > 0 and image.max() <= 1
    features = one(spec("x", "float32", "N", 64, 64, 64))
    assert abs(features.mean()) < 0.01 and abs(features.std() - 1) < 0.01
    assert (one(spec("timestep", "float32", "N")) > 0).all() and one(spec("scale", "float32")).shape == ()


def test_whole_numbers_without_a_table() -> None:
    assert set(np.unique(one(spec("input_ids", "int64", "N", 64)))) == {0, 1}
    pixels = one(spec("image", "uint8", "N", 64, 64, 3))
    assert pixels.min() == 0 and pixels.max() == 255
    assert one(spec("feature_lengths", "int64", "N")).tolist() == [1, 1, 1]
    audio = made(model(spec("audio", "float32", "N", "T"), spec("audio_len", "int32", "N"), shapes={"T": 50}))[0]
    assert audio["audio_len"].tolist() == [50, 50]
    assert one(spec("segment_ids", "int64", "N", 4)).max() == 0
    assert one(spec("use_cache", "bool", 1)).tolist() == [True]


def test_a_fixed_batch_is_kept_whatever_is_asked() -> None:
    fixed = model(spec("x", "float32", 4, 3), batch=None, fixed=4)
    assert made(fixed, batch=1)[0]["x"].shape == (4, 3)


# ---------------------------------------------------------------- from a file

PAIR = model(spec("ids", "int64", "N", "S", below=10), spec("x", "float32", "N", 2), shapes={"S": 3})
SAMPLES = 5


def pair(**changes: npt.NDArray[Any] | None) -> Inputs:
    arrays: dict[str, npt.NDArray[Any] | None] = {
        "ids": np.arange(SAMPLES * 3).reshape(SAMPLES, 3) % 10,
        "x": np.arange(SAMPLES * 2, dtype=np.float32).reshape(SAMPLES, 2),
    }
    return {name: array for name, array in (arrays | changes).items() if array is not None}


def feed(folder: Path, arrays: Inputs) -> Feed:
    np.savez(folder / "data.npz", allow_pickle=True, **arrays)
    return Feed(seed=0, path=str(folder / "data.npz"))


def test_batches_go_round_the_samples(tmp_path: Path) -> None:
    arrays = pair()
    sets = make_inputs(PAIR, feed(tmp_path, arrays), 2, 4)
    for number, rows in enumerate(([0, 1], [2, 3], [4, 0], [1, 2])):
        assert all(np.array_equal(sets[number][name], arrays[name][rows]) for name in arrays)
    assert make_inputs(PAIR, feed(tmp_path, arrays), 7, 1)[0]["x"].shape == (7, 2)


def test_a_batch_that_is_not_the_first_axis(tmp_path: Path) -> None:
    """Sequence first: samples of (S, 2) are put side by side along axis 1."""
    wanted = model(spec("x", "float32", "S", "N", 2), shapes={"S": 3})
    arrays = {"x": np.arange(24, dtype=np.float32).reshape(4, 3, 2)}
    made_set = make_inputs(wanted, feed(tmp_path, arrays), 2, 1)[0]["x"]
    assert made_set.shape == (3, 2, 2) and np.array_equal(made_set[:, 1], arrays["x"][1])


def test_inputs_without_a_batch(tmp_path: Path) -> None:
    wanted = model(spec("x", "float32", "N", 2), spec("scale", "float32"), spec("limit", "float32", 1))
    x = np.ones((4, 2), np.float32)
    scale = np.arange(4, dtype=np.float32)
    sets = make_inputs(wanted, feed(tmp_path, {"x": x, "scale": scale, "limit": np.array([9], np.float32)}), 2, 2)
    assert all(isinstance(array, np.ndarray) for s in sets for array in s.values()), "ONNX Runtime takes nothing else"
    assert [s["scale"].item() for s in sets] == [0, 2] and [s["limit"].tolist() for s in sets] == [[9], [9]]


def test_a_fixed_batch_takes_its_samples(tmp_path: Path) -> None:
    wanted = model(spec("x", "float32", 2, 3), batch=None, fixed=2)
    arrays = {"x": np.arange(9, dtype=np.float32).reshape(3, 3)}
    sets = make_inputs(wanted, feed(tmp_path, arrays), 1, 2)
    assert np.array_equal(sets[1]["x"], arrays["x"][[2, 0]])


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"ids": None}, "inputs-missing"),
        ({"idz": np.zeros(1)}, "inputs-unknown"),
        ({"ids": np.zeros((SAMPLES, 3), np.int32)}, "inputs-dtype"),
        ({"ids": np.zeros((SAMPLES, 4), np.int64)}, "inputs-shape"),
        ({"ids": np.zeros(3, np.int64)}, "inputs-shape"),
        ({"ids": np.zeros((0, 3), np.int64)}, "inputs-shape"),
        ({"ids": np.full((SAMPLES, 3), 10)}, "inputs-range"),
        ({"x": np.zeros((SAMPLES - 1, 2), np.float32)}, "inputs-count"),
        ({"x": np.full((SAMPLES, 2), np.nan, np.float32)}, "inputs-nan"),
        ({"x": np.array([{}, 1], dtype=object)}, "inputs-not-npz"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path: Path, changes: dict[str, npt.NDArray[Any] | None], code: str) -> None:
    with pytest.raises(InfertuneError) as caught:
        make_inputs(PAIR, feed(tmp_path, pair(**changes)), 2, 1)
    assert caught.value.id == code and caught.value.hint


def test_a_misspelt_name_is_recognised(tmp_path: Path) -> None:
    with pytest.raises(InfertuneError) as caught:
        make_inputs(PAIR, feed(tmp_path, pair(ids=None, idss=pair()["ids"])), 2, 1)
    assert caught.value.id == "inputs-missing" and "did you mean `idss`" in caught.value.hint


def test_minus_infinity_is_allowed(tmp_path: Path) -> None:
    arrays = pair(x=np.full((SAMPLES, 2), -np.inf, np.float32))
    assert np.isneginf(make_inputs(PAIR, feed(tmp_path, arrays), 2, 1)[0]["x"]).all()


def test_files_that_hold_no_arrays(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    contents = [b"", b"text", b"PK\x03\x04 cut", pickle.dumps({"ids": 1})]
    for content in contents:
        path.write_bytes(content)
        with pytest.raises(InfertuneError) as caught:
            make_inputs(PAIR, Feed(seed=0, path=str(path)), 2, 1)
        assert caught.value.id == "inputs-not-npz"
    np.save(tmp_path / "data.npy", np.zeros(3))
    for name, code in (("data.npy", "inputs-not-npz"), ("none.npz", "inputs-not-found")):
        with pytest.raises(InfertuneError) as caught:
            make_inputs(PAIR, Feed(seed=0, path=str(tmp_path / name)), 2, 1)
        assert caught.value.id == code


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_damaged_files_never_surprise(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.getbasetemp()
    path = Path(feed(folder, pair()).path or "")
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    with contextlib.suppress(InfertuneError):
        assert make_inputs(PAIR, Feed(seed=0, path=str(path)), 2, 1)[0].keys() == {"ids", "x"}
