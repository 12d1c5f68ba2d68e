"""Which space is owed a try: each gets one before the models may neglect it, a lone one two of its starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from infertune.search.parts.arrays import Floats, Mask, Whole
from infertune.search.parts.catalogue import Catalogue
from infertune.search.parts.evidence import Evidence

STARTS = 1
"""Trials that every space gets."""
FREE_STARTS = 2
"""Of named starts in all spaces together, where one number is searched for without limits: one start alone tells
nothing of what starts decide, the cut of the device."""


@dataclass(frozen=True, slots=True, eq=False)
class Turns:
    """Per candidate: the number of its space, whether its target names it as a start, and whether it is still open.

    ``begun``: trials per space. ``starts``: named ones to try at least, in all spaces together.
    """

    homes: Whole
    named: Mask
    open: Mask
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

    def after(self, row: int) -> Turns:
        """The turns once that candidate was tried."""
        home = int(self.homes[row])
        begun = tuple(count + (space == home) for space, count in enumerate(self.begun))
        return replace(self, begun=begun, open=self.open & (np.arange(len(self.open)) != row))


def highest(values: Floats, among: Mask) -> int:
    """The first of the highest ``values`` among some."""
    return int(np.argmax(np.where(among, values, -np.inf)))


def turns(everything: Catalogue, evidence: Sequence[Evidence], places: Whole, starts: int = 0) -> Turns:
    spaces = [table.space for table in everything.tables]
    tried = [(trial.point.target, trial.point.device) for trial in evidence]
    return Turns(
        homes=everything.homes(places),
        named=np.isin(places, everything.starts_named()),
        open=np.ones(len(places), dtype=bool),
        begun=tuple(tried.count((space.target, space.device)) for space in spaces),
        starts=starts,
    )
