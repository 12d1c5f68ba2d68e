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
it spends its trials on corners that nobody would bet on. Where a limit depends on the score, too, the chance to meet it
keeps promises down, and leaps count whole."""

SLICES = 16
"""Over all outlooks together; each takes a fourth at least."""
LEAST = 1e-300


@dataclass(frozen=True, slots=True, eq=False)
class Outlook:
    """Beliefs about candidates: one per figure, and the chance that each works at all."""

    inputs: Inputs
    figures: tuple[Figure, ...]
    beliefs: tuple[Belief, ...]
    works: Floats

    def expected(self) -> Floats:
        """The score that is expected, discounted by the chance to work within the limits."""
        mean = self.figures[0].told(self.beliefs[0].mean, self.inputs.depth)
        return np.asarray(mean + np.log(self.works) + self._log_within())

    def hope(self) -> Floats:
        """The same for an optimist."""
        return self.expected() + self.beliefs[0].sd

    def gain(self, best: float, caution: float = 1.0, slices: int = SLICES) -> Floats:
        """Expected gain in score (a log ratio) over ``best``, weighed by the chance to work within the limits.

        Without a limit that depends on the score, what a point may gain beyond `CEILING` does not count. ``caution``:
        how many times less sure than it says the model is taken to be.
        """
        mean = self.figures[0].told(self.beliefs[0].mean, self.inputs.depth)
        sd = caution * self.beliefs[0].sd
        if any(figure.rides for figure in self.figures):
            return self.works * self._gain_within(mean, sd, best, slices)
        beyond = expected_gain(mean, sd, best + CEILING)
        return np.maximum(expected_gain(mean, sd, best) - beyond, 0.0) * self.chance()

    def chance(self) -> Floats:
        """The chance that each works within the limits."""
        return np.asarray(self.works * np.exp(self._log_within()))

    def after(self, row: int) -> Outlook:
        """The outlook once that candidate has been tried and came out as expected."""
        return replace(self, beliefs=tuple(assume(belief, row) for belief in self.beliefs))

    def _gain_within(self, mean: Floats, sd: Floats, best: float, slices: int) -> Floats:
        """The same gain where limits depend on the score: over ``slices`` equally likely scores beyond ``best``."""
        from scipy import special

        total, beyond = np.zeros(len(mean)), special.ndtr((mean - best) / sd)
        for share in (np.arange(slices) + 0.5) / slices:
            score = np.maximum(mean - sd * special.ndtri(np.maximum(beyond * share, LEAST)), best)
            y = self.figures[0].learned(score, self.inputs.depth)
            total += (score - best) * np.exp(self._log_within(y))
        return np.asarray(total * beyond / slices)

    def _log_within(self, y: Floats | None = None) -> Floats:
        """Log of the chance to meet all limits; given ``y``, what is learned as the score, where it is supposed."""
        from scipy import special

        total = np.zeros(len(self.inputs))
        for figure, belief in zip(self.figures[1:], self.beliefs[1:], strict=True):
            mean, var = belief.mean, belief.var
            if figure.rides:
                mean = mean + (self.beliefs[0].mean if y is None else y)
                var = var + (self.beliefs[0].var if y is None else 0.0)
            total += special.log_ndtr(-figure.told(mean, self.inputs.depth) / np.sqrt(var))
        return total


@dataclass(frozen=True, slots=True, eq=False)
class Outlooks:
    """Outlooks on the same candidates by models that are all likely, and the best score that each believes in."""

    each: tuple[Outlook, ...]
    bests: tuple[float | None, ...]

    @property
    def best(self) -> float | None:
        """By the likeliest model; None without a trial within all limits."""
        return self.bests[0]

    def expected(self) -> Floats:
        return np.asarray(np.mean([outlook.expected() for outlook in self.each], axis=0))

    def hope(self) -> Floats:
        return np.asarray(np.mean([outlook.hope() for outlook in self.each], axis=0))

    def gain(self, caution: float = 1.0) -> Floats:
        """The expected gain of each over its own best score, in the mean."""
        slices = max(SLICES // 4, SLICES // len(self.each))
        known = [(outlook, best) for outlook, best in zip(self.each, self.bests, strict=True) if best is not None]
        return np.asarray(np.mean([outlook.gain(best, caution, slices) for outlook, best in known], axis=0))

    def after(self, row: int) -> Outlooks:
        """The outlooks once that candidate has been tried and came out as each expected."""
        return replace(self, each=tuple(outlook.after(row) for outlook in self.each))


def expected_gain(mean: Floats, sd: Floats, best: float) -> Floats:
    """Expected improvement (Jones, Schonlau & Welch 1998, eq. 15)."""
    from scipy import special

    z = (mean - best) / sd
    density = np.exp(-0.5 * z**2) / np.sqrt(2.0 * np.pi)
    return np.asarray(np.maximum(sd * (z * special.ndtr(z) + density), 0.0))
