"""Fidelity: outputs against the reference's, down to outputs that hold nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from infertune.core.space import Point
from infertune.verify.outputs import compare_outputs, distance

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
    assert found.cosine == 0.0 and "shape" in found.reason


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
