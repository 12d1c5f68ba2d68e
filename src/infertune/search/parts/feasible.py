"""Failures are data: which points cannot work, and the chance that one works at all."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from infertune.core.space import Point, Value
from infertune.search.parts.arrays import Floats, Mask, Whole
from infertune.search.parts.catalogue import Catalogue, Table
from infertune.search.parts.evidence import Evidence
from infertune.search.parts.features import Inputs
from infertune.search.parts.figures import ANYTHING
from infertune.search.parts.surrogate import Data, believe, learn

MEMORY_KNOBS = ("batch", "instances", "set_size")
"""More of any of these, all else equal, never needs less memory."""

TOO_MUCH = ("memory", "device-memory")

SURE, HALF_SURE = 0.5, 0.15
"""What a trial that worked counts as, and the spread over which belief turns into chance."""
OTHER_CAUSE = 0.25
"""How likely it is that failures have another cause than the kernels see: one launch of the only int8 point so far that
ran out of memory says little of int8. The shares 0.1, 0.25 and 0.5 did alike on spaces made by others."""


def hopeless(everything: Catalogue, evidence: Sequence[Evidence]) -> Mask:
    """Per place: it shares an artifact that could not be built, or needs as much memory as was too much before."""
    closed = np.zeros(len(everything), dtype=bool)
    for trial in evidence:
        if trial.failure is None:
            continue
        for table, start in zip(everything.tables, everything.starts, strict=False):
            if trial.failure.stage == "build":
                closed[start + _same_artifact(table, trial.point)] = True
            if trial.failure.kind in TOO_MUCH:
                closed[start + _larger(table, trial.point)] = True
    return closed


def _same_artifact(table: Table, point: Point) -> Whole:
    row = table.find(point)
    return np.flatnonzero(table.builds == table.builds[row]) if row is not None else np.zeros(0, dtype=np.int64)


def _larger(table: Table, point: Point) -> Whole:
    """Rows that differ from ``point`` only by more of what needs memory."""
    home = (table.space.target, table.space.device) == (point.target, point.device)
    values = point.values if home else {}
    choices = [_at_least(values.get(k.name), k.name, k.values) for k in table.space.knobs]
    places = np.asarray(list(itertools.product(*choices)), dtype=np.int64).reshape(-1, len(choices))
    return table.lookup(table.numbers(places))


def _at_least(value: Value | None, knob: str, values: Sequence[Value]) -> list[int]:
    """Places of the values that are no less than ``value``; of the value itself where less or more means nothing."""
    if knob in MEMORY_KNOBS and isinstance(value, int):
        return [i for i, other in enumerate(values) if isinstance(other, int) and other >= value]
    return [values.index(value)] if value is not None and value in values else []


def chance(tried: Inputs, success: Floats, inputs: Inputs) -> Floats:
    """The chance that each point works: success is a figure like any other, learned with the same kernels.

    A failed trial counts as -`SURE`, one that worked as `SURE`; what is believed in between, and how surely, gives the
    chance (probit). As far as the cause may be another one (`OTHER_CAUSE`), a point works as often as the trials did
    (Laplace's rule of succession).
    """
    from scipy import special

    if np.all(success == 1.0):
        return np.ones(len(inputs))
    data = Data(tried, SURE * (2.0 * success - 1.0), np.ones(len(tried)))
    belief = believe(learn(data, ANYTHING)[0], inputs)
    sure = special.ndtr(belief.mean / np.sqrt(HALF_SURE**2 + belief.var))
    often = (np.sum(success) + 1.0) / (len(success) + 2.0)
    return np.asarray((1.0 - OTHER_CAUSE) * sure + OTHER_CAUSE * often)
