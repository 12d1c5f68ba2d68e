"""Fidelity: a point's outputs against the fp32 reference's, output by output and input by input."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from infertune.core.records import Fidelity
from infertune.core.space import Point

Array = npt.NDArray[np.float64]
Raw = npt.NDArray[Any]
_TINY = 1e-12
_BEYOND = "; constants that fp16 cannot hold are the usual cause: `infertune prepare MODEL --fp16-range clip`"


def cosine(a: Array, b: Array) -> float:
    """Cosine similarity of two flattened arrays; 1 for two zero vectors, 0 when only one of them is zero."""
    norms = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    if min(norms) < _TINY:
        return 1.0 if max(norms) < _TINY else 0.0
    return float(np.dot(a.ravel(), b.ravel()) / (norms[0] * norms[1]))


def worst_cosine(ours: Array, theirs: Array) -> float:
    """The least cosine similarity over samples (first axis); scalars and vectors count as one sample."""
    if ours.ndim < 2:
        return cosine(ours, theirs)
    return min((cosine(a, b) for a, b in zip(ours, theirs, strict=True)), default=1.0)


def agreement(ours: Array, theirs: Array) -> float:
    """Share of positions along the last axis whose largest element is the same one; 1 where there is nothing."""
    if not ours.size:
        return 1.0
    return float(np.mean(np.argmax(ours, axis=-1) == np.argmax(theirs, axis=-1)))


def finite(ours: Raw, theirs: Raw) -> tuple[Array, Array]:
    """Both with zeros where the reference is not finite."""
    mine, true = np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
    known = np.isfinite(true)
    return np.where(known, mine, 0.0), np.where(known, true, 0.0)


def _wrong(point: Point, reason: str, inputs: int) -> Fidelity:
    return Fidelity(point=point, cosine=0.0, max_abs=0.0, max_rel=0.0, top1=None, inputs=inputs, reason=reason)


def _why(point: Point) -> str:
    """The usual cause, where the point's arithmetic has it."""
    return _BEYOND if point.get("precision", "") in ("f16", "fp16") else ""


def compare_outputs(point: Point, ours: Path, theirs: Path, *, inputs: int) -> Fidelity:
    """Compare two ``.npz`` files of outputs named ``<output>.<i>``.

    Cosine is the worst over outputs and samples; relative error is against the reference output's largest magnitude.
    Missing outputs, other shapes, NaN and infinities where the reference has none are wrong outputs: cosine 0.
    """
    with np.load(ours) as a, np.load(theirs) as b:
        if set(a.files) != set(b.files):
            return _wrong(point, f"outputs {sorted(a.files)} instead of {sorted(b.files)}", inputs)
        worst, max_abs, max_rel, top1 = 1.0, 0.0, 0.0, 1.0
        for name in b.files:
            mine, true = np.asarray(a[name], dtype=np.float64), np.asarray(b[name], dtype=np.float64)
            if mine.shape != true.shape:
                return _wrong(point, f"{name} has shape {mine.shape}, the reference {true.shape}", inputs)
            if not np.all(np.isfinite(mine) | ~np.isfinite(true)):
                return _wrong(point, f"{name} holds NaN or infinities{_why(point)}", inputs)
            mine, true = finite(mine, true)
            worst = min(worst, worst_cosine(mine, true))
            error = float(np.max(np.abs(mine - true), initial=0.0))
            max_abs = max(max_abs, error)
            max_rel = max(max_rel, error / max(float(np.max(np.abs(true), initial=0.0)), _TINY))
            top1 = min(top1, agreement(mine, true)) if true.ndim else top1
    return Fidelity(point=point, cosine=worst, max_abs=max_abs, max_rel=max_rel, top1=top1, inputs=inputs)


def distance(ours: Mapping[str, Raw], theirs: Mapping[str, Raw], floor: float) -> str:
    """Why outputs of one input set are wrong, in words; empty when every one is within ``floor`` of its reference."""
    if ours.keys() != theirs.keys():
        return f"outputs are {sorted(ours)} instead of {sorted(theirs)}"
    for name, true in theirs.items():
        mine = ours[name]
        if mine.shape != true.shape:
            return f"{name} has shape {mine.shape}, the reference {true.shape}"
        if not np.all(np.isfinite(mine) | ~np.isfinite(true)):
            return f"{name} holds NaN or infinities"
        found = worst_cosine(*finite(mine, true))
        if found < floor:
            return f"{name} has cosine {found:.4f} to the reference; the limit is {floor:g}"
    return ""
