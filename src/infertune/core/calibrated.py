"""Cards beside others of their kind: how fast they are, and which the search did without."""

from __future__ import annotations

from dataclasses import dataclass

from infertune.core.space import Point


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """How fast ``device`` is beside its twin ``like``: medians of the rates of ``point``, samples/s, launch by launch.

    Times measured on ``device`` are multiplied by ``factor`` before anything compares them with those of ``like``.
    """

    device: str
    like: str
    point: Point
    rates: tuple[float, ...]
    like_rates: tuple[float, ...]
    factor: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftAlone:
    """From here on the command did without a card, and why."""

    device: str
    why: str


CardFact = Calibrated | LeftAlone
