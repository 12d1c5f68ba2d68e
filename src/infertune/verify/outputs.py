"""Fidelity: a point's outputs against the fp32 reference's, output by output and input by input."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from infertune.core import words
from infertune.core.records import Fidelity, Measure
from infertune.core.space import Point

Array = npt.NDArray[np.float64]
Raw = npt.NDArray[Any]
_TINY = 1e-12
_ROUNDING = 1e-5
"""Share of an output's largest magnitude that f32 programs of the same model differ by: no error, and no variation."""
_BROKEN = "holds NaN or infinities"
_BEYOND = "; constants that fp16 cannot hold are the usual cause: `infertune prepare MODEL --fp16-range clip`"
_UNKNOWN = "cannot be judged: one number per sample, and the reference gives the same one for every input"


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


def one_number(output: Raw, batch: int) -> bool:
    """Whether an output of one input set holds at most one number per sample: ``(batch,)``, ``(batch, 1)``, ``()``."""
    return 0 < output.size <= (batch if output.ndim < 2 else len(output))


def concordance(ours: Array, theirs: Array) -> float | None:
    """Lin's concordance of numbers with the reference's, over all samples (Biometrics 45, 1989), in [-1, 1]:

        1 - mean((ours - theirs)^2) / (var(ours) + var(theirs) + (mean(ours) - mean(theirs))^2)

    One number has no direction: its cosine is 1 whenever the signs agree. This is the correlation, made less by every
    error of scale and of level: 0 where the same number answers every sample, 1 only for equal numbers, and 0.99 for
    errors of a seventh of the reference's standard deviation. Where the reference itself hardly varies the direction
    of its answers is unknown: None, unless ours are equal up to rounding.
    """
    error, size = ours - theirs, _ROUNDING * float(np.max(np.abs(theirs), initial=0.0))
    if float(np.max(np.abs(error), initial=0.0)) <= size:
        return 1.0
    if float(np.std(theirs)) <= size:
        return None
    apart = float(np.mean(ours) - np.mean(theirs)) ** 2
    return 1.0 - float(np.mean(error**2)) / float(np.var(ours) + np.var(theirs) + apart)


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


def unusable(point: Point, ours: Path, theirs: Path) -> str:
    """Why no measure of closeness can judge outputs in an ``.npz`` file: some are missing, or hold NaN."""
    with np.load(ours) as a, np.load(theirs) as b:
        if set(a.files) != set(b.files):
            return f"outputs {sorted(a.files)} instead of {sorted(b.files)}"
        broken = (name for name in b.files if not _sound(a[name], b[name]))
        return next((f"{name} {_BROKEN}{_why(point)}" for name in broken), "")


def _sound(mine: Raw, true: Raw) -> bool:
    """Whether NaN and infinities are only where the reference has some (anywhere, for another shape)."""
    mine, true = np.asarray(mine, dtype=np.float64), np.asarray(true, dtype=np.float64)
    known = np.isfinite(true) if mine.shape == true.shape else np.all(np.isfinite(true))
    return bool(np.all(np.isfinite(mine) | ~known))


def _reshaped(name: str, mine: Raw, true: Raw) -> str:
    told = f"{name} has shape {mine.shape}, the reference {true.shape}"
    return f"{told}; where shapes depend on the data, judge outputs with `--metric`"


def _why(point: Point) -> str:
    """The usual cause, where the point's arithmetic has it."""
    return _BEYOND if point.get("precision", "") in ("f16", "fp16") else ""


def compare_outputs(point: Point, ours: Path, theirs: Path, *, inputs: int) -> Fidelity:
    """Compare two ``.npz`` files of outputs named ``<output>.<i>``.

    Cosine is the worst over outputs and samples; an output of one number per sample is judged by its `concordance` over
    all of them instead. Relative error is against the reference output's largest magnitude.
    Missing outputs, other shapes, NaN and infinities where the reference has none are wrong outputs: cosine 0.
    """
    numbers: dict[str, list[tuple[Array, Array]]] = {}
    scores: list[tuple[float, Measure]] = []
    reason = unusable(point, ours, theirs)
    if reason:
        return _wrong(point, reason, inputs)
    with np.load(ours) as a, np.load(theirs) as b:
        max_abs, max_rel, top1 = 0.0, 0.0, 1.0
        for name in b.files:
            mine, true = np.asarray(a[name], dtype=np.float64), np.asarray(b[name], dtype=np.float64)
            if mine.shape != true.shape:
                return _wrong(point, _reshaped(name, mine, true), inputs)
            mine, true = finite(mine, true)
            if one_number(true, point.number("batch", 1)):
                numbers.setdefault(name.rpartition(".")[0], []).append((mine.ravel(), true.ravel()))
            else:
                scores.append((worst_cosine(mine, true), "cosine"))
            error = float(np.max(np.abs(mine - true), initial=0.0))
            max_abs = max(max_abs, error)
            max_rel = max(max_rel, error / max(float(np.max(np.abs(true), initial=0.0)), _TINY))
            top1 = min(top1, agreement(mine, true)) if true.ndim else top1
    for name, pairs in numbers.items():
        mine, true = (np.concatenate(side) for side in zip(*pairs, strict=True))
        found = concordance(mine, true)
        if found is None:
            return _wrong(point, f"{name} {_UNKNOWN}", 0)
        scores.append((found, "concordance"))
    worst, measure = min(scores, default=(1.0, "cosine"))
    return Fidelity(
        point=point, cosine=min(1.0, worst), max_abs=max_abs, max_rel=max_rel, top1=top1, inputs=inputs, measure=measure
    )


def distance(
    ours: Mapping[str, Raw],
    theirs: Mapping[str, Raw],
    floor: float,
    *,
    batch: int = 1,
    others: Callable[[str], Sequence[Raw]] = lambda name: (),
) -> str:
    """Why outputs of one input set are wrong, in words; empty when every one is within ``floor`` of its reference.

    ``others`` gives the reference's answers to other input sets by an output's name: one number per sample is judged
    among them, as if they were ours too, and is not judged where all are the same.
    """
    if ours.keys() != theirs.keys():
        return f"outputs are {sorted(ours)} instead of {sorted(theirs)}"
    for name, true in theirs.items():
        mine = ours[name]
        if mine.shape != true.shape:
            return _reshaped(name, mine, true)
        if not _sound(mine, true):
            return f"{name} {_BROKEN}"
        told = "cosine"
        found: float | None
        if one_number(true, batch):
            told, rest = "concordance", [other.ravel() for other in others(name)]
            found = concordance(*finite(*(np.concatenate([array.ravel(), *rest]) for array in (mine, true))))
        else:
            found = worst_cosine(*finite(mine, true))
        if found is not None and found < floor:
            return f"{name} has {told} {words.beside(found, floor)} to the reference; the limit is {floor:g}"
    return ""
