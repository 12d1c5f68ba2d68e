"""Fidelity: a point's outputs against the fp32 reference's, output by output and input by input."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
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
_HARDLY = 1 / 20
"""Root mean square of slices beside the largest's, from where they hardly count: without them the cosine is 0.999."""
_NOTHING = 1e-6
"""The same of a slice's largest magnitude, down to where nothing is in it but rounding."""
_MOST_SLICES = 256
_LONGER = 4
_BROKEN = "holds NaN or infinities"
_BEYOND = "; constants that fp16 cannot hold are the usual cause: `infertune prepare MODEL --fp16-range clip`"
_UNKNOWN = "cannot be judged: one number per sample, and the reference gives the same one for every input"


def cosine(a: Array, b: Array) -> float:
    """Cosine similarity of two flattened arrays; 1 for two zero vectors, 0 when only one of them is zero."""
    norms = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    if min(norms) < _TINY:
        return 1.0 if max(norms) < _TINY else 0.0
    return float(np.dot(a.ravel(), b.ravel()) / (norms[0] * norms[1]))


def alike(a: Array, b: Array) -> tuple[float, Measure]:
    """How near two flattened arrays are: their `cosine`, which does not change with a factor, or where that is less
    2r / (1 + r^2) with r the ratio of their lengths: 1 for equal ones, 0.99 where one is 15 % longer.
    """
    norms = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    found = cosine(a, b)
    if min(norms) < _TINY:
        return found, "cosine"
    ratio = min(norms) / max(norms)
    length = 2.0 * ratio / (1.0 + ratio**2)
    return (length, "length") if length < found - _ROUNDING else (found, "cosine")


def least_alike(ours: Array, theirs: Array) -> tuple[float, Measure]:
    """The worst of `alike` over samples (first axis); scalars and vectors count as one sample."""
    if ours.ndim < 2:
        return alike(ours, theirs)
    return min((alike(a, b) for a, b in zip(ours, theirs, strict=True)), default=(1.0, "cosine"))


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


@dataclass(slots=True)
class Slices:
    """Of an output of one matrix per sample, its columns (or rows) over all input sets, as sums: few long ones, such as
    a detector's boxes and scores. ``peaks`` are the reference's largest magnitudes."""

    dots: Array
    ours: Array
    theirs: Array
    peaks: Array

    def __add__(self, other: Slices) -> Slices:
        return Slices(
            dots=self.dots + other.dots,
            ours=self.ours + other.ours,
            theirs=self.theirs + other.theirs,
            peaks=np.maximum(self.peaks, other.peaks),
        )

    def alike(self) -> float | None:
        """2 x·r / (|x|² + |r|²) of all those together that are too small for the cosine of the whole output to see, x
        ours and r the reference's: 1 only where they are equal. None where there are none.
        """
        known = self.peaks > _NOTHING * np.max(self.peaks)
        hidden = known & (self.theirs < _HARDLY**2 * np.max(self.theirs))
        if not hidden.any():
            return None
        dot, ours, theirs = (float(np.sum(sums[hidden])) for sums in (self.dots, self.ours, self.theirs))
        return 2.0 * dot / (ours + theirs)


def slices(ours: Array, theirs: Array) -> Slices | None:
    """Along the short axis of the matrices; None for outputs of other ranks and for matrices that are nearly square."""
    if theirs.ndim != 3 or not theirs.size:
        return None
    count, length = sorted(theirs.shape[1:])
    if not 2 <= count <= _MOST_SLICES or length < _LONGER * count:
        return None
    along = (0, 2 if theirs.shape[1] == count else 1)
    return Slices(
        dots=np.sum(ours * theirs, axis=along),
        ours=np.sum(ours**2, axis=along),
        theirs=np.sum(theirs**2, axis=along),
        peaks=np.max(np.abs(theirs), axis=along),
    )


def agreement(ours: Array, theirs: Array) -> float:
    """Share of positions along the last axis whose largest element is the same one; 1 where there is nothing."""
    if not ours.size:
        return 1.0
    return float(np.mean(np.argmax(ours, axis=-1) == np.argmax(theirs, axis=-1)))


def equal_share(same: npt.NDArray[np.bool_]) -> float:
    """Of labels; 1 where there is nothing."""
    return float(np.mean(same)) if same.size else 1.0


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
            return _others(a.files, b.files)
        broken = (name for name in b.files if not _sound(a[name], b[name]))
        return next((f"{name} {_BROKEN}{_why(point)}" for name in broken), "")


def _others(ours: Sequence[str], theirs: Sequence[str]) -> str:
    return f"outputs {sorted(ours)} instead of {sorted(theirs)}"


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


@dataclass(slots=True)
class _Scores:
    """What outputs of all input sets say, and ``numbers``, ``parts`` and ``same`` of those that are judged over all."""

    batch: int
    labels: frozenset[str]
    each: list[tuple[float, Measure]] = field(default_factory=list)
    numbers: dict[str, list[tuple[Array, Array]]] = field(default_factory=dict)
    parts: dict[tuple[str, int], Slices] = field(default_factory=dict)
    same: dict[str, list[npt.NDArray[np.bool_]]] = field(default_factory=dict)

    def take(self, output: str, mine: Array, true: Array) -> None:
        """An output of one input set."""
        if output in self.labels:
            self.same.setdefault(output, []).append((mine == true).ravel())
            return
        if one_number(true, self.batch):
            self.numbers.setdefault(output, []).append((mine.ravel(), true.ravel()))
            return
        self.each.append(least_alike(mine, true))
        if (part := slices(mine, true)) is not None:
            key = output, len(part.dots)
            self.parts[key] = self.parts[key] + part if key in self.parts else part

    def worst(self) -> tuple[float, Measure] | str:
        """The least of all, or why one cannot be judged."""
        small = (part.alike() for part in self.parts.values())
        scores = self.each + [(found, "slices") for found in small if found is not None]
        scores += [(equal_share(np.concatenate(same)), "agreement") for same in self.same.values()]
        for name, pairs in self.numbers.items():
            agreeing = concordance(*(np.concatenate(side) for side in zip(*pairs, strict=True)))
            if agreeing is None:
                return f"{name} {_UNKNOWN}"
            scores.append((agreeing, "concordance"))
        return min(scores, default=(1.0, "cosine"))


def compare_outputs(
    point: Point, ours: Path, theirs: Path, *, inputs: int, labels: frozenset[str] = frozenset()
) -> Fidelity:
    """Compare two ``.npz`` files of outputs named ``<output>.<i>``.

    What counts is the worst of `alike` over outputs and samples; an output of one number per sample is judged by its
    `concordance` over all of them instead, and of a matrix per sample the small `Slices` are judged by themselves, too.
    Of the outputs ``labels`` the share of equal numbers over all input sets counts alone.
    Relative error is against the reference output's largest magnitude.
    Missing outputs, other shapes, NaN and infinities where the reference has none are wrong outputs: cosine 0.
    """
    scores = _Scores(point.number("batch", 1), labels)
    with np.load(ours) as a, np.load(theirs) as b:
        if set(a.files) != set(b.files):
            return _wrong(point, _others(a.files, b.files), inputs)
        max_abs, max_rel, top1 = 0.0, 0.0, 1.0
        for name in b.files:
            mine, true = np.asarray(a[name], dtype=np.float64), np.asarray(b[name], dtype=np.float64)
            if not _sound(mine, true):
                return _wrong(point, f"{name} {_BROKEN}{_why(point)}", inputs)
            if mine.shape != true.shape:
                return _wrong(point, _reshaped(name, mine, true), inputs)
            mine, true = finite(mine, true)
            scores.take(name.rpartition(".")[0], mine, true)
            error = float(np.max(np.abs(mine - true), initial=0.0))
            max_abs = max(max_abs, error)
            max_rel = max(max_rel, error / max(float(np.max(np.abs(true), initial=0.0)), _TINY))
            top1 = min(top1, agreement(mine, true)) if true.ndim else top1
    worst = scores.worst()
    if isinstance(worst, str):
        return _wrong(point, worst, 0)
    value, measure = worst
    return Fidelity(
        point=point, cosine=min(1.0, value), max_abs=max_abs, max_rel=max_rel, top1=top1, inputs=inputs, measure=measure
    )


def distance(
    ours: Mapping[str, Raw],
    theirs: Mapping[str, Raw],
    floor: float,
    *,
    batch: int = 1,
    labels: frozenset[str] = frozenset(),
    others: Callable[[str], Sequence[Raw]] = lambda name: (),
) -> str:
    """Why outputs of one input set are wrong, in words; empty when every one is within ``floor`` of its reference.

    ``others`` gives the reference's answers to other input sets by an output's name: one number per sample is judged
    among them, as if they were ours too, and is not judged where all are the same; of ``labels`` there may be as many
    others as there are in all of these.
    """
    if ours.keys() != theirs.keys():
        return f"outputs are {sorted(ours)} instead of {sorted(theirs)}"
    for name, true in theirs.items():
        mine = ours[name]
        if mine.shape != true.shape:
            return _reshaped(name, mine, true)
        if not _sound(mine, true):
            return f"{name} {_BROKEN}"
        found: float | None
        told: Measure
        if name in labels:
            told = "agreement"
            wrong = np.count_nonzero(mine != true)
            found = 1.0 - wrong / max(1, true.size + sum(other.size for other in others(name)))
        elif one_number(true, batch):
            told, rest = "concordance", [other.ravel() for other in others(name)]
            found = concordance(*finite(*(np.concatenate([array.ravel(), *rest]) for array in (mine, true))))
        else:
            found, told = least_alike(*finite(mine, true))
        if found is not None and found < floor:
            return f"{name} has {told} {words.beside(found, floor)} to the reference; the limit is {floor:g}"
    return ""
