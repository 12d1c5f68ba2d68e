"""Optuna's multivariate tree-structured Parzen estimator, over all spaces at once. Needs ``infertune[optuna]``.

Good trials and the rest are described by two densities (Bergstra et al. 2011); the next point is where their ratio is
highest. Limits are passed as constraints, points under way as such.
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
    return suggested(_sampler, spaces, history, goal, n, seed)


def _sampler(seed: int) -> Any:
    samplers = load_optuna().samplers
    return samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True, constraints_func=constraints)
