"""What may be gained by trying each of some points, as far as the models tell."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from infertune.search.parts.arrays import Floats
from infertune.search.parts.features import Inputs
from infertune.search.parts.figures import Figure
from infertune.search.parts.surrogate import Belief, assume

CEILING = 0.1
"""The most that a trial is taken to gain: far from all trials a process promises anything, and a search that believes
it spends its trials on corners that nobody would bet on."""


@dataclass(frozen=True, slots=True, eq=False)
class Outlook:
    """Beliefs about candidates: one per figure, and the chance that each works at all."""

    inputs: Inputs
    figures: tuple[Figure, ...]
    beliefs: tuple[Belief, ...]
    works: Floats

    def hope(self) -> Floats:
        """An optimistic score, discounted by the chance to work within the limits."""
        mean = self.figures[0].told(self.beliefs[0].mean, self.inputs.depth)
        return mean + self.beliefs[0].sd + self._log_chance()

    def gain(self, best: float, caution: float = 1.0) -> Floats:
        """Expected gain in score (a log ratio) over ``best``, weighed by the chance to work within the limits.

        What a point may gain beyond `CEILING` does not count. ``caution``: how many times less sure than it says the
        model is taken to be.
        """
        mean = self.figures[0].told(self.beliefs[0].mean, self.inputs.depth)
        sd = caution * self.beliefs[0].sd
        beyond = expected_gain(mean, sd, best + CEILING)
        return np.maximum(expected_gain(mean, sd, best) - beyond, 0.0) * self.chance()

    def chance(self) -> Floats:
        """The chance that each works within the limits."""
        return np.exp(self._log_chance())

    def after(self, row: int) -> Outlook:
        """The outlook once that candidate has been tried and came out as expected."""
        return replace(self, beliefs=tuple(assume(belief, row) for belief in self.beliefs))

    def _log_chance(self) -> Floats:
        from scipy import special

        total = np.log(self.works)
        for figure, belief in zip(self.figures[1:], self.beliefs[1:], strict=True):
            total += special.log_ndtr(-figure.told(belief.mean, self.inputs.depth) / belief.sd)
        return total


def expected_gain(mean: Floats, sd: Floats, best: float) -> Floats:
    """Expected improvement (Jones, Schonlau & Welch 1998, eq. 15)."""
    from scipy import special

    z = (mean - best) / sd
    density = np.exp(-0.5 * z**2) / np.sqrt(2.0 * np.pi)
    return np.asarray(np.maximum(sd * (z * special.ndtr(z) + density), 0.0))
