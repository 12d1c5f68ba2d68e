"""Optuna's Gaussian process with expected improvement, over all spaces at once. Needs ``infertune[optuna]``.

A general process that knows nothing of inference: Matern-5/2 over all knobs, one length scale each. Limits are passed
as constraints and become the probability to meet them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from infertune.core.goal import Goal
from infertune.core.records import Trial
from infertune.core.space import Point, Space
from infertune.search.parts.optuna import constraints, load_optuna, suggested


def propose(spaces: Sequence[Space], history: Sequence[Trial], goal: Goal, n: int, seed: int) -> Sequence[Point]:
    """The next ``n`` points, none twice. Empty when every point was asked for."""
    load_optuna("torch")
    return suggested(_sampler, spaces, history, goal, n, seed)


def _sampler(seed: int) -> Any:
    return load_optuna().samplers.GPSampler(seed=seed, constraints_func=constraints)
