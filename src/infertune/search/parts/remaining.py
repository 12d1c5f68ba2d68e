"""The chance that something better was left untried, for people who ask whether a search ended too soon."""

from __future__ import annotations

import numpy as np

from infertune.search.parts.arrays import Floats
from infertune.search.parts.features import Inputs, stacked
from infertune.search.parts.known import Known
from infertune.search.parts.surrogate import Belief, believe, kernel, safe_cholesky

DRAWS = 1000
MOST = 300
"""Points that are drawn together: those that promise most; what the others add is far below a per cent."""


def chance_of_better(trials: Known, inputs: Inputs, gain: float) -> float:
    """The chance that one of ``inputs`` beats the best trial's true score by more than ``gain`` (log ratio).

    Draws whole worlds from the model (joint, so that neighbours rise and fall together), lets each point work within
    the limits with the chance that it has, and counts. It is as good as the model: a cliff that no trial came near is
    not in it.
    """
    leader, best = trials.leader(), trials.best()
    if leader is None or best is None or not len(inputs):
        return 1.0
    outlook = trials.outlook(inputs)
    promising = np.argsort(-outlook.gain(best), kind="stable")[:MOST]
    worlds = _worlds(trials, stacked([trials.inputs[np.asarray([leader])], inputs[promising]]))
    lucky = np.random.default_rng(0).uniform(size=(DRAWS, len(promising))) < outlook.chance()[promising]
    better = (worlds[:, 1:] > worlds[:, :1] + gain) & lucky
    return float(np.mean(better.any(axis=1)))


def _worlds(trials: Known, inputs: Inputs) -> Floats:
    """(draws, points): scores as they may truly be."""
    figure, belief = trials.figures[0], believe(trials.models[0], inputs)
    normal = np.random.default_rng(1).standard_normal((DRAWS, len(inputs)))
    drawn = belief.mean + normal @ safe_cholesky(_covariance(belief)).T
    return np.asarray(figure.told(drawn, inputs.depth))


def _covariance(belief: Belief) -> Floats:
    fitted = belief.fitted
    before = kernel(fitted.theta, fitted.prior, belief.inputs, belief.inputs)
    return np.asarray(before - belief.spent.T @ belief.spent)
