"""Points drawn evenly from all spaces, none twice: the control that every other strategy is compared with."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from infertune.core.goal import Goal
from infertune.core.records import Trial
from infertune.core.space import Point, Space
from infertune.search.parts.catalogue import catalogue


def propose(spaces: Sequence[Space], history: Sequence[Trial], goal: Goal, n: int, seed: int) -> Sequence[Point]:
    """The next ``n`` points, in an order that the seed alone decides."""
    everything = catalogue(tuple(spaces))
    tried = {trial.point for trial in history}
    order = np.random.default_rng(seed).permutation(len(everything))
    fresh = (point for point in map(everything.point, order) if point not in tried)
    return tuple(itertools.islice(fresh, n))
