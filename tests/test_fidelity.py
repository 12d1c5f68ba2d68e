"""Fidelity: outputs against the reference's, down to outputs that hold nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from infertune.core.records import Fidelity
from infertune.core.space import Point
from infertune.verify.outputs import compare_outputs, distance, unusable

POINT = Point.of("onnxruntime", "cpu", {"batch": 1})


def saved(path: Path, **outputs: np.ndarray) -> Path:
    np.savez(path, **outputs)  # type: ignore[arg-type]
    return path


def test_a_detector_that_finds_nothing_agrees_with_one_that_finds_nothing(tmp_path: Path) -> None:
    nothing: dict[str, np.ndarray] = {"boxes.0": np.zeros((0, 4), np.float32), "ids.0": np.zeros((2, 0), np.int64)}
    ours, theirs = (saved(tmp_path / f"{name}.npz", **nothing) for name in ("ours", "theirs"))
    found = compare_outputs(POINT, ours, theirs, inputs=1)
    assert (found.cosine, found.max_abs, found.top1, found.reason) == (1.0, 0.0, 1.0, "")
    assert distance(nothing, nothing, 0.99) == ""


def test_one_that_finds_something_else_is_wrong(tmp_path: Path) -> None:
    theirs = saved(tmp_path / "theirs.npz", **{"boxes.0": np.ones((3, 4), np.float32)})
    ours = saved(tmp_path / "ours.npz", **{"boxes.0": np.ones((2, 4), np.float32)})
    found = compare_outputs(POINT, ours, theirs, inputs=1)
    assert found.cosine == 0.0 and "shape" in found.reason and "--metric" in found.reason
    assert unusable(POINT, ours, theirs) == "", "a metric may judge it"
    broken = saved(tmp_path / "broken.npz", **{"boxes.0": np.full((2, 4), np.nan)})
    assert unusable(POINT, broken, theirs) == "boxes.0 holds NaN or infinities"


def test_the_worst_sample_counts(tmp_path: Path) -> None:
    true = np.eye(4, dtype=np.float32)
    mine = true.copy()
    mine[3] = [1.0, 0.0, 0.0, 0.0]
    ours, theirs = saved(tmp_path / "a.npz", **{"y.0": mine}), saved(tmp_path / "b.npz", **{"y.0": true})
    found = compare_outputs(POINT, ours, theirs, inputs=4)
    assert found.cosine == 0.0 and found.max_abs == 1.0 and found.top1 == 0.75


def test_infinities_in_fp16_are_told_with_their_usual_cause(tmp_path: Path) -> None:
    ours = saved(tmp_path / "ours.npz", **{"y.0": np.full((1, 2), np.nan)})
    theirs = saved(tmp_path / "theirs.npz", **{"y.0": np.ones((1, 2))})
    half = compare_outputs(POINT.but(precision="f16"), ours, theirs, inputs=1).reason
    assert half.startswith("y.0 holds NaN or infinities; ") and "--fp16-range clip" in half
    whole = compare_outputs(POINT.but(precision="f32"), ours, theirs, inputs=1).reason
    assert whole == "y.0 holds NaN or infinities"


# ---------------------------------------------------------------- one number per sample

CHANCES = np.linspace(0.02, 0.98, 16, dtype=np.float32)


def one_each(path: Path, chances: np.ndarray, shape: tuple[int, ...] = (1, 1)) -> Path:
    return saved(path, **{f"p.{i}": np.full(shape, value, np.float32) for i, value in enumerate(chances)})


def found_for(folder: Path, mine: np.ndarray, true: np.ndarray, shape: tuple[int, ...] = (1, 1)) -> Fidelity:
    ours, theirs = one_each(folder / "ours.npz", mine, shape), one_each(folder / "theirs.npz", true, shape)
    return compare_outputs(POINT, ours, theirs, inputs=len(true))


@pytest.mark.parametrize("shape", [(1, 1), (1,), ()])
def test_the_same_number_for_every_sample_agrees_with_nothing(tmp_path: Path, shape: tuple[int, ...]) -> None:
    collapsed = found_for(tmp_path, np.full(16, 0.5), CHANCES, shape)
    assert abs(collapsed.cosine) < 1e-6 and collapsed.inputs == 16 and collapsed.measure == "concordance"
    assert found_for(tmp_path, CHANCES, CHANCES, shape).cosine == 1.0


def test_one_number_per_sample_is_judged_by_scale_and_level_too(tmp_path: Path) -> None:
    assert found_for(tmp_path, CHANCES + np.float32(0.001) * (-1) ** np.arange(16), CHANCES).cosine > 0.999
    assert found_for(tmp_path, 2 * CHANCES, CHANCES).cosine < 0.9
    assert found_for(tmp_path, CHANCES + 0.2, CHANCES).cosine < 0.9
    assert found_for(tmp_path, 1 - CHANCES, CHANCES).cosine == pytest.approx(-1.0)


def test_samples_of_a_batch_are_judged_together(tmp_path: Path) -> None:
    for shape in ((16,), (16, 1)):
        theirs = saved(tmp_path / "theirs.npz", **{"p.0": CHANCES.reshape(shape)})
        ours = saved(tmp_path / "ours.npz", **{"p.0": np.full(shape, 0.5, np.float32)})
        assert abs(compare_outputs(POINT.but(batch=16), ours, theirs, inputs=16).cosine) < 1e-6


def test_the_measure_is_that_of_the_worst_output(tmp_path: Path) -> None:
    def outputs(name: str, chances: np.ndarray, logits: np.ndarray) -> Path:
        return saved(tmp_path / f"{name}.npz", **{"p.0": chances, "y.0": logits})

    def worst(chances: np.ndarray, logits: np.ndarray) -> Fidelity:
        ours, theirs = outputs("ours", chances, logits), outputs("theirs", CHANCES, np.eye(16))
        return compare_outputs(POINT.but(batch=16), ours, theirs, inputs=16)

    assert worst(CHANCES + 0.2, np.eye(16)).words("") == "concordance 0.81315"
    assert worst(CHANCES, np.eye(16) + 0.1).words("") == "cosine 0.94324"
    assert replace(worst(CHANCES, np.eye(16)), metric=0.5).words("mine:top1") == "mine:top1 0.50000"


def test_outputs_wrong_by_a_factor_are_wrong(tmp_path: Path) -> None:
    true = np.random.default_rng(0).normal(size=(4, 32))

    def found(factor: float) -> Fidelity:
        ours, theirs = saved(tmp_path / "a.npz", **{"y.0": factor * true}), saved(tmp_path / "b.npz", **{"y.0": true})
        return compare_outputs(POINT, ours, theirs, inputs=4)

    assert found(200.0).words("") == found(1 / 200).words("") == "length 0.01000"
    assert found(1.15).cosine == pytest.approx(0.990, abs=5e-4)
    assert found(1.001).words("") == "cosine 1.00000", "rounding"
    assert distance({"y": 200 * true}, {"y": true}, 0.99) == "y has length 0.0100 to the reference; the limit is 0.99"


@pytest.mark.parametrize("axes", [(0, 1, 2), (0, 2, 1)])
def test_a_detector_whose_scores_are_lost_is_wrong(tmp_path: Path, axes: tuple[int, ...]) -> None:
    """Boxes in pixels and scores in one output, as YOLO has them: the cosine over all of it is 1 without any score."""
    rng = np.random.default_rng(0)
    boxes, scores = rng.uniform(1, 320, (4, 1, 4, 300)), rng.uniform(0, 0.9, (4, 1, 18, 300)) ** 8
    scores[0] = 1e-4  # nothing is to be seen on the first image

    def found(factor: float, floor: float = 0.0) -> Fidelity:
        kept = np.where(scores < floor, 0.0, scores)
        both = zip(boxes, factor * kept, strict=True), zip(boxes, scores, strict=True)
        for name, pairs in zip(("ours", "theirs"), both, strict=True):
            outputs = (np.concatenate(pair, axis=1).transpose(axes) for pair in pairs)
            saved(tmp_path / f"{name}.npz", **{f"y.{i}": array for i, array in enumerate(outputs)})
        return compare_outputs(POINT, tmp_path / "ours.npz", tmp_path / "theirs.npz", inputs=4)

    assert found(0.0).words("") == "slices 0.00000" and found(0.5).words("") == "slices 0.80000"
    assert found(1.0, floor=1 / 255).cosine > 0.999, "eight bits of a score are enough"


@pytest.mark.parametrize("shape", [(4, 18, 30), (4, 300), (4, 300, 18, 2)])
def test_slices_are_judged_in_long_matrices_alone(tmp_path: Path, shape: tuple[int, ...]) -> None:
    true = np.random.default_rng(0).normal(size=shape)
    true[:, 1] /= 1000
    mine = true.copy()
    mine[:, 1] = 0.0
    ours, theirs = saved(tmp_path / "a.npz", **{"y.0": mine}), saved(tmp_path / "b.npz", **{"y.0": true})
    assert compare_outputs(POINT, ours, theirs, inputs=4).measure == "cosine"


def test_a_slice_that_holds_rounding_alone_says_nothing(tmp_path: Path) -> None:
    true = np.random.default_rng(0).normal(size=(1, 300, 6))
    mine, true[:, :, 0] = true.copy(), 1e-9
    mine[:, :, 0] = -1e-9
    ours, theirs = saved(tmp_path / "a.npz", **{"y.0": mine}), saved(tmp_path / "b.npz", **{"y.0": true})
    assert compare_outputs(POINT, ours, theirs, inputs=4).words("") == "cosine 1.00000"


def test_a_reference_that_never_varies_cannot_judge(tmp_path: Path) -> None:
    true = np.full(16, 0.25)
    found = found_for(tmp_path, np.full(16, 0.26), true)
    assert (found.cosine, found.inputs) == (0.0, 0) and found.reason.startswith("p cannot be judged")
    assert found_for(tmp_path, true * (1 + 1e-6), true).cosine == 1.0, "rounding is no error"


def test_after_timing_one_number_is_judged_among_the_references(tmp_path: Path) -> None:
    def told(mine: float, others: list[np.ndarray]) -> str:
        return distance({"p": np.array([[mine]])}, {"p": np.array([[0.5]])}, 0.99, others=lambda name: others)

    others = [np.array([[value]]) for value in CHANCES]
    assert told(0.52, others) == ""
    assert told(1.9, others).startswith("p has concordance 0.")
    assert told(0.6, []) == "", "one sample says nothing"


# ---------------------------------------------------------------- labels


def test_labels_are_judged_by_the_share_of_equal_ones(tmp_path: Path) -> None:
    """Classes 18 and 19 are as different as 0 and 19; a cosine of 0.999 would say that nearly nothing is wrong."""
    true = np.random.default_rng(0).integers(10, 20, (4, 1, 50, 50))
    mine = true.copy()
    mine[:, :, :3] = 29 - mine[:, :, :3]

    def found(labels: set[str]) -> Fidelity:
        for name, maps in (("ours", mine), ("theirs", true)):
            saved(tmp_path / f"{name}.npz", **{f"classes.{i}": array for i, array in enumerate(maps)})
        ours, theirs = tmp_path / "ours.npz", tmp_path / "theirs.npz"
        return compare_outputs(POINT, ours, theirs, inputs=4, labels=frozenset(labels))

    assert found({"classes"}).words("") == "agreement 0.94000"
    assert found(set()).cosine > 0.99


def test_labels_of_one_input_set_are_judged_among_all(tmp_path: Path) -> None:
    def told(wrong: int, others: int) -> str:
        true = np.arange(100)
        mine = np.where(true < wrong, true + 1, true)
        rest = [true] * others
        return distance({"y": mine}, {"y": true}, 0.99, labels=frozenset({"y"}), others=lambda name: rest)

    assert told(1, 0) == told(16, 15) == ""
    assert told(2, 0) == "y has agreement 0.9800 to the reference; the limit is 0.99"
    assert told(17, 15).startswith("y has agreement 0.98")
