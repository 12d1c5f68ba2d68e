"""What a simulated Pro card does at every point of a space, without noise: what a search's answer is compared with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from card_space import rated, setting_of

from infertune.core.records import Model
from infertune.core.space import Point, Space
from infertune.targets.qaic.sim.card import CARDS
from infertune.targets.qaic.sim.graph import workload_of
from infertune.targets.qaic.sim.model import Prediction, device_bytes, predict, why_not
from infertune.targets.qaic.sim.programs.queueing import requests
from infertune.targets.qaic.sim.setting import Setting

CARD = CARDS["pro"]
REQUESTS = 1000
"""Of one instance, from which its p99 is read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    samples_per_s: float
    p99_ms: float


def predicted(model: Model, point: Point) -> Prediction:
    """Of one point."""
    return predict(workload_of(model.path, dict(model.shapes)), CARD, setting_of(point))


def figures(model: Model, space: Space) -> dict[Point, Figures]:
    """Of every legal point that fits the card's memory."""
    work = workload_of(model.path, dict(model.shapes))
    points = [(point, setting_of(point)) for point in space.points()]
    points = [(p, how) for p, how in points if not why_not(CARD, how, device_bytes(work, how))]
    told = zip(points, rated(work, CARD, [how for _, how in points]), strict=True)
    return {point: _figures(how, rate, spread) for (point, how), (rate, spread) in told}


def _figures(how: Setting, requests_per_s: float, spread: float) -> Figures:
    period_us = 1e6 * how.instances / requests_per_s
    ran = requests(period_us, spread, how.set_size, np.random.default_rng(0), seconds=None, most=REQUESTS)
    p99_us = float(np.percentile((ran.done - ran.sent)[how.set_size :], 99.0))
    return Figures(samples_per_s=requests_per_s * how.batch, p99_ms=p99_us / 1e3)
