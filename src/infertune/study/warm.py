"""An earlier study as a start: its best points are tried first, and believed only once they are measured here."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from infertune.core import history
from infertune.core.goal import Goal
from infertune.core.records import Entry, Measurement, Trial
from infertune.core.seams import Strategy
from infertune.core.space import Point, Space
from infertune.store.sqlite import read_entries

MOST = 1
"""Points taken over per goal that is asked. Further ones resemble the first: where it helps they are not needed, and
where it does not they cost a trial each (decision 0024)."""


def warm_points(run: str | Path | None, goal: Goal, spaces: Sequence[Space]) -> tuple[Point, ...]:
    """The best points of the study in ``run`` that are legal here; none without a run.

    Raises `InfertuneError` when there is no record in that folder.
    """
    return () if run is None else best_points(read_entries(Path(run)), goal, spaces)


def best_points(entries: Sequence[Entry], goal: Goal, spaces: Sequence[Space], most: int = MOST) -> tuple[Point, ...]:
    """The ``most`` best by the median score of their launches, best first; those within the limits before all others.

    As many of each level that a front is asked at have their turns with the best of the whole.
    """
    found: dict[Point, list[Measurement]] = {}
    for launch in history.launches(entries):
        if isinstance(launch.outcome, Measurement):
            found.setdefault(launch.point, []).append(launch.outcome)
    legal = [point for point in found if _legal(point, spaces)]
    ranked = [
        sorted(legal, key=lambda point: _worth(point, found[point], asked), reverse=True)[:most]
        for asked in (goal, *goal.at_levels)
    ]
    return tuple(dict.fromkeys(chain.from_iterable(zip(*ranked, strict=True))))


def _worth(point: Point, launches: Sequence[Measurement], goal: Goal) -> tuple[float, float]:
    over = statistics.median(goal.excess(point, launch) for launch in launches)
    return -over, statistics.median(goal.score(launch) for launch in launches)


def _legal(point: Point, spaces: Sequence[Space]) -> bool:
    homes = [space for space in spaces if (space.target, space.device) == (point.target, point.device)]
    return any(space.why_illegal(point) is None for space in homes)


def warmed(strategy: Strategy, first: Sequence[Point]) -> Strategy:
    """``strategy``, once the points ``first`` were asked for."""

    def propose(spaces: Sequence[Space], trials: Sequence[Trial], goal: Goal, n: int, seed: int) -> Sequence[Point]:
        known = {trial.point for trial in trials}
        due = [point for point in first if point not in known and _legal(point, spaces)]
        return due[:n] or strategy(spaces, trials, goal, n, seed)

    return propose
