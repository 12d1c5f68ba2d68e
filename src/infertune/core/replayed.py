"""What a replay found: how far each run of a strategy was from the best point, trial by trial."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

Regrets = tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """One strategy on one recorded space with one seed.

    ``regrets[i]``: log ratio of the best point's score to that of the best point tried within i + 1 trials; infinite
    before any worked. ``seconds[i]``: what these trials cost when they were recorded. ``why``: "" unless the strategy
    ended by itself before the trials were used up. ``left``: what it then says it left untried.
    """

    recording: str
    strategy: str
    seed: int
    simulated: bool
    regrets: Regrets
    seconds: tuple[float, ...]
    why: str = ""
    left: str = ""

    def reached(self, tolerance: float) -> int | None:
        """The first trial within ``tolerance`` (0.02: 2 %) of the best; None if there is none."""
        bound = -math.log1p(-tolerance) + 1e-12
        return next((i + 1 for i, regret in enumerate(self.regrets) if regret <= bound), None)

    def reached_s(self, tolerance: float) -> float | None:
        """The recorded seconds until then."""
        trial = self.reached(tolerance)
        return None if trial is None else self.seconds[trial - 1]

    def regret(self, trials: int) -> float:
        """As a share (0.02: 2 % slower than the best) after that many trials, or after the last one."""
        found = self.regrets[:trials]
        return -math.expm1(-found[-1]) if found else 1.0


def rank(values: Iterable[float | None], percent: float) -> float | None:
    """The smallest value that ``percent`` of all do not exceed; None when that many never came (None counts as never).

    A percentile without interpolation: with 20 runs the median is the 10th, the 90th percentile the 18th.
    """
    ordered = sorted(math.inf if value is None else value for value in values)
    if not ordered:
        return None
    found = ordered[max(0, math.ceil(percent / 100.0 * len(ordered)) - 1)]
    return found if math.isfinite(found) else None


def curve(runs: Sequence[Replayed], trials: int, percent: float = 50.0) -> list[float]:
    """Per trial the percentile over runs of the regret (a share); a run that ended keeps its last one."""
    table = np.asarray([[run.regret(after) for after in range(1, trials + 1)] for run in runs])
    return [float(value) for value in np.percentile(table, percent, axis=0, method="inverted_cdf")]


def grouped(runs: Iterable[Replayed]) -> dict[str, dict[str, list[Replayed]]]:
    """Recording -> strategy -> its runs, in the order of their coming."""
    found: dict[str, dict[str, list[Replayed]]] = {}
    for run in runs:
        found.setdefault(run.recording, {}).setdefault(run.strategy, []).append(run)
    return found
