"""Which points to consider next: all that are left, or in a large space a seeded selection of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from infertune.core.goal import OF_KNOBS, Goal
from infertune.core.space import Point
from infertune.search.parts.arrays import Mask, Whole
from infertune.search.parts.catalogue import Catalogue
from infertune.search.parts.features import table_columns

AT_LEAST, AT_MOST = 2_000, 8_000
AFFORDABLE = 200_000
"""Points looked at times trials known: what thinking costs."""
LEADERS = 6


def allowed(everything: Catalogue, goal: Goal) -> Mask:
    """Per place: it meets the limits that need no launch (batch, cores)."""
    fine = np.ones(len(everything), dtype=bool)
    for limit in goal.limits:
        if limit.metric not in OF_KNOBS:
            continue
        for table, start in zip(everything.tables, everything.starts, strict=False):
            values = table_columns(table).get(limit.metric, np.ones(len(table.keys), dtype=np.int64))
            meets = {value: limit.excess(float(value)) == 0.0 for value in np.unique(values).tolist()}
            fine[start : start + len(table.keys)] &= np.asarray([meets[value] for value in values.tolist()], dtype=bool)
    return fine


def candidates(
    everything: Catalogue, left: Mask, leaders: Sequence[Point], trials: int, rng: np.random.Generator
) -> Whole:
    """Places of ``left``: all, or the named starts, those around the leaders and a random share of the others.

    The fewer ``trials`` there are to learn from, the more points can be looked at in the same time.
    """
    places = np.flatnonzero(left)
    most = int(np.clip(AFFORDABLE // max(1, trials), AT_LEAST, AT_MOST))
    if len(places) <= most:
        return places
    near = [everything.around(home) for home in everything.places(leaders[:LEADERS]).tolist()]
    drawn = rng.choice(places, most, replace=False)
    chosen = np.unique(np.concatenate([everything.starts_named(), drawn, *near]))
    return np.asarray(chosen[left[chosen]])
