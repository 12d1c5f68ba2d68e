"""What is owed a try, whatever the models say: spaces (a lone one two of its starts), and values that are names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from infertune.search.parts.arrays import Floats, Mask, Whole
from infertune.search.parts.catalogue import Catalogue
from infertune.search.parts.evidence import Evidence
from infertune.search.parts.features import Inputs

STARTS = 1
"""Trials that every space gets."""
FREE_STARTS = 2
"""Of named starts in all spaces together, where one number is searched for without limits: one start alone tells
nothing of what starts decide, the cut of the device."""
EVERY = 5
"""Every so many trials a value that is a name (a precision, a policy) and was never tried comes next, if there is one.
Between whole numbers a model can tell; of a name it knows what the others did, which may be nothing to go by."""


@dataclass(frozen=True, slots=True, eq=False)
class Turns:
    """Per candidate: the number of its space, whether its target names it as a start, and whether it is still open.

    ``names``: which of all values that are names each candidate has, and ``tried`` which of them any trial had.
    ``begun``: trials per space. ``starts``: named ones to try at least, in all spaces together.
    """

    homes: Whole
    named: Mask
    open: Mask
    names: Mask
    tried: Mask
    begun: tuple[int, ...]
    starts: int

    def next(self, expected: Floats, hope: Floats) -> int | None:
        """A start in the space with the fewest trials; None once no space is owed one.

        Of the starts that its target bets on the one of which most is expected: an optimist would take the one that is
        known least. Where it names none, the most hopeful point: a corner tells most about the slopes.
        """
        for space in sorted(range(len(self.begun)), key=self.begun.__getitem__):
            ours = self.open & (self.homes == space)
            starts = ours & self.named
            if starts.any() and self.begun[space] < max(STARTS, self.starts // len(self.begun)):
                return highest(expected, starts)
            if ours.any() and self.begun[space] < STARTS:
                return highest(hope, ours)
        return None

    def first(self, expected: Floats, hope: Floats) -> int:
        """What to try as long as nothing was measured: of the starts the one of which most is expected, then hope."""
        starts = self.open & self.named
        return highest(expected, starts) if starts.any() else highest(hope, self.open)

    def untried(self) -> Mask:
        """Open candidates with a name that no trial had."""
        return np.asarray(self.open & np.any(self.names & ~self.tried, axis=1), dtype=np.bool_)

    def after(self, row: int) -> Turns:
        """The turns once that candidate was tried."""
        home = int(self.homes[row])
        begun = tuple(count + (space == home) for space, count in enumerate(self.begun))
        closed = np.arange(len(self.open)) == row
        return replace(self, begun=begun, open=self.open & ~closed, tried=self.tried | self.names[row])


def highest(values: Floats, among: Mask) -> int:
    """The first of the highest ``values`` among some."""
    return int(np.argmax(np.where(among, values, -np.inf)))


def turns(
    everything: Catalogue, evidence: Sequence[Evidence], told: Inputs, places: Whole, inputs: Inputs, starts: int = 0
) -> Turns:
    """``told``: the inputs of ``evidence``; ``inputs``: those of the candidates, which are at ``places``."""
    spaces = [table.space for table in everything.tables]
    tried = [(trial.point.target, trial.point.device) for trial in evidence]
    return Turns(
        homes=everything.homes(places),
        named=np.isin(places, everything.starts_named()),
        open=np.ones(len(places), dtype=bool),
        names=_names(inputs),
        tried=np.any(_names(told), axis=0),
        begun=tuple(tried.count((space.target, space.device)) for space in spaces),
        starts=starts,
    )


def _names(inputs: Inputs) -> Mask:
    return np.asarray(inputs.x[:, list(inputs.choices)] > 0.0, dtype=np.bool_)
