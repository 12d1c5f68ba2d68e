"""How steady a machine is, and what a study on it can promise. Pure readings of launches of one point."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from infertune.core import stats
from infertune.core.records import Launch, Measurement
from infertune.core.space import Point
from infertune.core.verdict import MARGIN

State = Literal["quiet", "noisy", "unusable"]

QUIET = 0.05
"""Below this share of foreign CPU, and this spread of launches, a machine is quiet (measurement.md A5, P0)."""

UNUSABLE = 0.50
"""From this share of foreign CPU on, nothing measured says anything about a point."""

ENOUGH = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """``spread``: standard deviation of the log throughput of ``launches`` launches of one point, each in a fresh
    process. ``foreign_cpu``: median share of our CPUs' time that other programs used meanwhile."""

    spread: float
    foreign_cpu: float
    launches: int

    @property
    def state(self) -> State:
        if self.foreign_cpu > UNUSABLE:
            return "unusable"
        return "quiet" if self.foreign_cpu < QUIET and self.spread < QUIET else "noisy"

    def told_apart(self, launches: int = 6) -> float:
        """The smallest relative difference that ``launches`` of each of two points show.

        With 95 % confidence and 80 % power two samples of n need n = 16 (sigma / difference)^2 (Lehr 1992).
        """
        return max(MARGIN, 4.0 * self.spread / math.sqrt(launches))


def of(measurements: Sequence[Measurement]) -> Noise | None:
    """The noise that launches of one point show; None with fewer than three."""
    speeds = [math.log(rate) for rate in map(stats.throughput, measurements) if rate > 0]
    if len(speeds) < ENOUGH:
        return None
    foreign = statistics.median(m.conditions.foreign_cpu for m in measurements)
    return Noise(spread=statistics.stdev(speeds), foreign_cpu=foreign, launches=len(speeds))


def of_study(launches: Iterable[Launch], baselines: Iterable[Point]) -> Noise | None:
    """The noise over a whole study: of the baseline that was launched most often, anchors and confirmation included.

    Disturbed launches count too: they are the noise.
    """
    wanted = dict.fromkeys(baselines)
    own: dict[Point, list[Measurement]] = {point: [] for point in wanted}
    for launch in launches:
        if launch.point in own and isinstance(launch.outcome, Measurement):
            own[launch.point].append(launch.outcome)
    most = max(own.values(), key=len, default=[])
    return of(most)
