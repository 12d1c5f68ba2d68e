"""The figures a goal asks for, each as something a process with the trend of `trend` can learn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from infertune.core.goal import Goal, is_speed, latency_percent
from infertune.search.parts.arrays import Floats
from infertune.search.parts.surrogate import Prior
from infertune.search.parts.trend import LEVEL_SD, SLOPE_SDS, SLOPES

SDS = np.asarray([LEVEL_SD, *SLOPE_SDS])
THROUGHPUT = Prior(np.asarray([0.0, *SLOPES]), SDS)
"""How log throughput behaves."""
ANYTHING = Prior(np.zeros(len(SDS)), SDS)
"""How the log of another figure (memory, seconds) behaves: somehow, with the same knobs."""
TAIL = Prior(np.zeros(len(SDS)), SDS / 3.0)
"""How a limited latency differs from what Little's law makes of the score: little, and slowly."""


@dataclass(frozen=True, slots=True, eq=False)
class Figure:
    """A figure is ``sign * y + lean * depth``: y is what is learned, depth the log of the samples in flight.

    By Little's law a log latency is depth - log throughput, so latencies are learned as the throughput they stand for.
    ``rides``: a limit on what the score depends on, too; of such a one only the difference to the score's y is learned,
    as a launch that was faster than expected meets its limits sooner.
    """

    sign: float
    lean: float
    prior: Prior
    rides: bool = False

    def learned(self, values: Floats, depth: Floats) -> Floats:
        return self.sign * (values - self.lean * depth)

    def told(self, y: Floats, depth: Floats) -> Floats:
        return self.sign * y + self.lean * depth


def figures(goal: Goal) -> tuple[Figure, ...]:
    """The score (more is better), then the gap of each measured limit (less is better), as `evidence` reads them."""
    latencies = sum(latency_percent(metric) is not None for metric in goal.metrics)
    score = Figure(1.0, -latencies / len(goal.metrics), THROUGHPUT)
    of_rates = all(is_speed(metric) for metric in goal.metrics)
    limits = goal.measured_limits
    return (score, *(_gap(x.metric, 1.0 if x.below else -1.0, rides=of_rates and is_speed(x.metric)) for x in limits))


def _gap(metric: str, sign: float, *, rides: bool) -> Figure:
    if not is_speed(metric):
        return Figure(sign, 0.0, ANYTHING)
    prior = TAIL if rides else THROUGHPUT
    return Figure(-sign, sign, prior, rides) if latency_percent(metric) is not None else Figure(sign, 0.0, prior, rides)
