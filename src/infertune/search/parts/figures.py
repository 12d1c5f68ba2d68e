"""The figures a goal asks for, each as something a process with the trend of `trend` can learn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from infertune.core.goal import Goal, latency_percent
from infertune.search.parts.arrays import Floats
from infertune.search.parts.evidence import measured_limits
from infertune.search.parts.surrogate import Prior
from infertune.search.parts.trend import LEVEL_SD, SLOPE_SDS, SLOPES

SDS = np.asarray([LEVEL_SD, *SLOPE_SDS])
THROUGHPUT = Prior(np.asarray([0.0, *SLOPES]), SDS)
"""How log throughput behaves."""
ANYTHING = Prior(np.zeros(len(SDS)), SDS)
"""How the log of another figure (memory, seconds) behaves: somehow, with the same knobs."""


@dataclass(frozen=True, slots=True, eq=False)
class Figure:
    """A figure is ``sign * y + lean * depth``: y is what is learned, depth the log of the samples in flight.

    By Little's law a log latency is depth - log throughput, so latencies are learned as the throughput they stand for.
    """

    sign: float
    lean: float
    prior: Prior

    def learned(self, values: Floats, depth: Floats) -> Floats:
        return self.sign * (values - self.lean * depth)

    def told(self, y: Floats, depth: Floats) -> Floats:
        return self.sign * y + self.lean * depth


def figures(goal: Goal) -> tuple[Figure, ...]:
    """The score (more is better), then the gap of each measured limit (less is better), as `evidence` reads them."""
    latencies = sum(latency_percent(metric) is not None for metric in goal.metrics)
    score = Figure(1.0, -latencies / len(goal.metrics), THROUGHPUT)
    return (score, *(_gap(limit.metric, 1.0 if limit.below else -1.0) for limit in measured_limits(goal)))


def _gap(metric: str, sign: float) -> Figure:
    if latency_percent(metric) is not None:
        return Figure(-sign, sign, THROUGHPUT)
    return Figure(sign, 0.0, THROUGHPUT if metric == "throughput" else ANYTHING)
