"""What a history says: per trial its figures, how much they are worth, what they cost, and whether it failed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from infertune.core import audit, history
from infertune.core.goal import Goal, Limit, metric_value
from infertune.core.records import Artifact, Failed, Launch, Measurement, Trial
from infertune.core.space import Point

DISTURBED, DOUBTFUL = 16.0, 4.0
"""Variance of a launch that the environment disturbed, and of one with another flag, in units of a clean one's."""
USUAL_NOISE = 0.04
TRUST = 4.0
"""How many launches' worth of evidence it takes to believe a trial's own spread over `USUAL_NOISE`."""

Reading = tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One trial, read for a goal.

    ``figures``: the score, then one gap per measured limit (see `gap`); None when no launch gave any. ``weight``:
    variance in units of that of one clean launch. ``success``: share of the attempts that gave figures; None while
    it is under way.
    """

    point: Point
    figures: Reading | None
    weight: float
    feasible: bool
    success: float | None
    failure: Failed | None
    launch_s: float | None
    build_s: float | None


def gap(limit: Limit, value: float) -> float:
    """Log of value / bound, negative when the limit holds by that much: unlike `Limit.excess` also below zero."""
    if value <= 0 or limit.bound <= 0:
        return 1.0 if limit.excess(value) > 0 else -1.0
    ratio = math.log(value / limit.bound)
    return ratio if limit.below else -ratio


def read(trials: Sequence[Trial], goal: Goal) -> tuple[Evidence, ...]:
    return tuple(_read(trial, goal) for trial in trials)


def _read(trial: Trial, goal: Goal) -> Evidence:
    good = [(launch.outcome, _doubt(launch)) for launch in trial.launches if isinstance(launch.outcome, Measurement)]
    told = [(figures_of(window, goal), doubt) for window, doubt in good if history.has_figures(window)]
    failure = history.failure(trial)
    attempts = len(trial.launches) or int(failure is not None)
    figures, weight = _combined(told)
    return Evidence(
        point=trial.point,
        figures=figures,
        weight=weight,
        feasible=figures is not None and all(value <= 0.0 for value in figures[1:]),
        success=len(told) / attempts if attempts else None,
        failure=failure,
        launch_s=sum(x.wall_s for x in trial.launches) / len(trial.launches) if trial.launches else None,
        build_s=trial.build.build_s if isinstance(trial.build, Artifact) and not trial.build.reused else None,
    )


def _doubt(launch: Launch) -> float:
    if audit.contaminated(launch.flags):
        return DISTURBED
    return DOUBTFUL if launch.flags else 1.0


@lru_cache(maxsize=1024)
def figures_of(measurement: Measurement, goal: Goal) -> Reading:
    return (goal.score(measurement), *(gap(x, metric_value(x.metric, measurement)) for x in goal.measured_limits))


def _combined(launches: Sequence[tuple[Reading, float]]) -> tuple[Reading | None, float]:
    """Precision-weighted mean figures of some launches, each (figures, variance), and the variance of that mean.

    The trial's own spread is shrunk towards the usual one, as a handful of launches says little about it.
    """
    if not launches:
        return None, 1.0
    precisions = [1.0 / variance for _, variance in launches]
    total = sum(precisions)
    mean = tuple(
        sum(p * figures[i] for p, (figures, _) in zip(precisions, launches, strict=True)) / total
        for i in range(len(launches[0][0]))
    )
    spread = sum(p * (figures[0] - mean[0]) ** 2 for p, (figures, _) in zip(precisions, launches, strict=True))
    scale = (TRUST + spread / USUAL_NOISE**2) / (TRUST + len(launches) - 1)
    return mean, scale / total
