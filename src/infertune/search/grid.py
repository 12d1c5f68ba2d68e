"""Every point of every space, in order."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from infertune.core.goal import Goal
from infertune.core.records import Trial
from infertune.core.space import Point, Space


def propose(spaces: Sequence[Space], history: Sequence[Trial], goal: Goal, n: int, seed: int) -> Sequence[Point]:
    """The next ``n`` points that were not tried yet; the goal and the seed do not matter."""
    tried = {trial.point for trial in history}
    everything = itertools.chain.from_iterable(space.points() for space in spaces)
    return tuple(itertools.islice((point for point in everything if point not in tried), n))
