"""What to measure again because other programs disturbed it, and when to look at the anchor: pure readings of launches.

Slow spells of a shared machine last about a minute, so a disturbed launch is repeated later, never at once. Disturbance
only ever slows down: a launch that is far behind even so is not worth another.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from infertune.core.history import untold
from infertune.core.records import Launch, Measurement
from infertune.core.space import Point

RETRIES = 2
LATER = 8
"""Launches of other points between a disturbed one and its repetition."""

ANCHOR_EVERY = 10


def disturbed(launches: Sequence[Launch], score: Callable[[Measurement], float]) -> list[Point]:
    """Points that are `untold`, with retries left; first tried first."""
    tries = Counter(launch.point for launch in launches)
    return [point for point in untold(launches, score) if tries[point] <= RETRIES]


def due(launches: Sequence[Launch], score: Callable[[Measurement], float]) -> Point | None:
    """The point to launch again now: disturbed, and long enough ago."""
    recent = {launch.point for launch in launches[-LATER:]}
    return next((point for point in disturbed(launches, score) if point not in recent), None)


def anchor_due(launches: Sequence[Launch]) -> bool:
    """Whether `ANCHOR_EVERY` search launches were made since the last anchor, or none was made yet."""
    places = [place for place, launch in enumerate(launches) if launch.purpose == "anchor"]
    return not places or len(launches) - 1 - places[-1] >= ANCHOR_EVERY
