"""Which knobs mattered: how much of the differences between trials each one explains, and how large its effect is.

A model of main effects is fitted to the logarithm of the goal's figure (ridge regression on knob values, so effects
are factors). What it explains of the variance is shared among the knobs by their Shapley values, which is the average
over all orders of adding them (LMG; Lindeman, Merenda and Gold 1980, Groemping 2007): knobs that were varied together
share their part fairly. How far the model may be trusted is told by predicting each trial from all others.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from infertune.core.space import Value

Floats = npt.NDArray[np.float64]

PER_EFFECT = 2
"""Measured trials wanted for every effect that is fitted."""

TRUSTED = 0.3
"""Least share of the variance that the model must predict of trials it has not seen."""

NO_DIFFERENCE = 0.03
"""Effects below 3 % are within what neighbours on a shared host cause (see `core.verdict.MARGIN`)."""

MOST_KNOBS = 12
_RIDGE = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """``share`` of the explained variance; ``factor`` between the best and the worst of its values, others equal."""

    knob: str
    share: float
    factor: float
    best: Value
    worst: Value
    values: int

    @property
    def matters(self) -> bool:
        return self.factor >= 1.0 + NO_DIFFERENCE


@dataclass(frozen=True, slots=True, kw_only=True)
class Importance:
    """``effects`` are empty where there is too little to tell, and ``why_not`` says so.

    ``explained`` is the share of the variance the model describes, ``predicted`` the share it predicts of trials left
    out. ``fixed`` names knobs of which only one value was measured.
    """

    effects: tuple[Effect, ...]
    fixed: tuple[str, ...]
    trials: int
    explained: float
    predicted: float
    why_not: str = ""


def importance(points: Sequence[Mapping[str, Value]], scores: Sequence[float]) -> Importance:
    """``scores`` are logarithms of how good each of ``points`` is; a knob that a point lacks has no effect there."""
    levels = _levels(points)
    varied = {knob: values for knob, values in levels.items() if len(values) > 1}
    fixed = tuple(knob for knob in levels if knob not in varied)
    effects = sum(len(values) - 1 for values in varied.values())
    bare = Importance(effects=(), fixed=fixed, trials=len(points), explained=0.0, predicted=0.0)
    too_little = _too_little(len(points), effects, len(varied), scores)
    if too_little:
        return _but(bare, too_little)
    columns = [(knob, value) for knob, values in varied.items() for value in values]
    design = np.array([[float(point.get(knob) == value) for knob, value in columns] for point in points])
    return _fitted(bare, columns, design - design.mean(axis=0), np.asarray(scores) - np.mean(scores))


def _but(bare: Importance, why_not: str, explained: float = 0.0, predicted: float = 0.0) -> Importance:
    return Importance(
        effects=(), fixed=bare.fixed, trials=bare.trials, explained=explained, predicted=predicted, why_not=why_not
    )


def _levels(points: Sequence[Mapping[str, Value]]) -> dict[str, list[Value]]:
    found: dict[str, dict[Value, None]] = {}
    for point in points:
        for knob, value in point.items():
            found.setdefault(knob, {})[value] = None
    return {knob: list(values) for knob, values in found.items()}


def _too_little(trials: int, effects: int, knobs: int, scores: Sequence[float]) -> str:
    if not effects:
        return "no knob was measured at more than one value"
    if trials < PER_EFFECT * effects:
        return f"{trials} measured trials are too few to tell {effects} effects apart: {PER_EFFECT * effects} would do"
    if knobs > MOST_KNOBS:
        return f"{knobs} knobs were varied, more than the {MOST_KNOBS} that can be told apart"
    if float(np.ptp(np.asarray(scores))) == 0.0:
        return "all trials gave the same figure"
    return ""


def _fitted(bare: Importance, columns: Sequence[tuple[str, Value]], design: Floats, scores: Floats) -> Importance:
    gram, moment, total = design.T @ design, design.T @ scores, float(scores @ scores)
    predicted = _predicted(design, gram, moment, scores)
    knobs = list(dict.fromkeys(knob for knob, _ in columns))
    places = {knob: [i for i, (name, _) in enumerate(columns) if name == knob] for knob in knobs}
    worth = {
        chosen: _explained(gram, moment, total, [i for knob in chosen for i in places[knob]])
        for size in range(len(knobs) + 1)
        for chosen in itertools.combinations(knobs, size)
    }
    explained = worth[tuple(knobs)]
    if predicted < TRUSTED:
        said = f"a model of single knobs predicts {100 * max(0.0, predicted):.0f} % of the differences, too little"
        return _but(bare, said, explained, predicted)
    coefficients = np.linalg.solve(gram + _RIDGE * np.eye(len(columns)), moment)
    effects = [
        _effect(
            knob, _shapley(knob, knobs, worth) / explained, [(columns[i][1], coefficients[i]) for i in places[knob]]
        )
        for knob in knobs
    ]
    effects.sort(key=lambda effect: -effect.share)
    return Importance(
        effects=tuple(effects), fixed=bare.fixed, trials=bare.trials, explained=explained, predicted=predicted
    )


def _explained(gram: Floats, moment: Floats, total: float, places: Sequence[int]) -> float:
    """Share of the variance that a model with these columns describes."""
    if not places:
        return 0.0
    part, ours = gram[np.ix_(places, places)], moment[places]
    found = np.linalg.solve(part + _RIDGE * np.eye(len(places)), ours)
    return float((2 * found @ ours - found @ part @ found) / total)


def _predicted(design: Floats, gram: Floats, moment: Floats, scores: Floats) -> float:
    """Share of the variance predicted when each trial is left out in turn (by the leverage of its row)."""
    inverse = np.linalg.inv(gram + _RIDGE * np.eye(len(gram)))
    leverage = np.einsum("ij,jk,ik->i", design, inverse, design) + 1.0 / len(scores)
    missed = (scores - design @ (inverse @ moment)) / np.maximum(1e-9, 1.0 - leverage)
    return 1.0 - float(missed @ missed) / float(scores @ scores)


def _shapley(knob: str, knobs: Sequence[str], worth: Mapping[tuple[str, ...], float]) -> float:
    others = [name for name in knobs if name != knob]
    total = 0.0
    for size in range(len(others) + 1):
        weight = math.factorial(size) * math.factorial(len(others) - size) / math.factorial(len(knobs))
        for chosen in itertools.combinations(others, size):
            joined = tuple(name for name in knobs if name in chosen or name == knob)
            total += weight * (worth[joined] - worth[chosen])
    return max(0.0, total)


def _effect(knob: str, share: float, values: Sequence[tuple[Value, float]]) -> Effect:
    best, high = max(values, key=lambda pair: pair[1])
    worst, low = min(values, key=lambda pair: pair[1])
    return Effect(
        knob=knob, share=share, factor=math.exp(float(high - low)), best=best, worst=worst, values=len(values)
    )
