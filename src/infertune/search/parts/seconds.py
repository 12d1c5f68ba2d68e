"""What a point would cost: a launch, and a build unless its artifact is there already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from infertune.search.parts.arrays import Floats, Whole
from infertune.search.parts.features import Inputs
from infertune.search.parts.figures import ANYTHING
from infertune.search.parts.surrogate import Data, believe, condition, usual

LEARN_FROM = 200
UNKNOWN = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Price:
    """Seconds per candidate; ``artifacts`` tells which of them share a build, ``built`` which artifacts exist."""

    launch: Floats
    build: Floats
    artifacts: Whole
    built: frozenset[int]

    def total(self) -> Floats:
        return self.launch + np.where(np.isin(self.artifacts, list(self.built)), 0.0, self.build)

    def after(self, row: int) -> Price:
        """Prices once that candidate was tried."""
        return replace(self, built=self.built | {int(self.artifacts[row])})


def expected(tried: Inputs, seconds: Sequence[float | None], inputs: Inputs) -> Floats:
    """Seconds at each of ``inputs``, learned from what trials cost (None where that is not known)."""
    known = [i for i, cost in enumerate(seconds) if cost is not None and cost > 0.0][-LEARN_FROM:]
    if not known:
        return np.full(len(inputs), UNKNOWN)
    logs = np.log([seconds[i] or UNKNOWN for i in known])
    data = Data(tried[np.asarray(known)], logs, np.ones(len(known)))
    learned = believe(condition(data, ANYTHING, usual(tried)), inputs).mean
    return np.exp(np.clip(learned, np.min(logs) - 0.5, np.max(logs) + 0.5))
