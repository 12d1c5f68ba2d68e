"""What to measure again because other programs disturbed it, and when to look at the anchor: pure readings of launches.

Slow spells of a shared machine last about a minute, so a disturbed launch is repeated later, never at once. Disturbance
only ever slows down: a launch that is far behind even so is not worth another.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from infertune.core import audit
from infertune.core.records import Launch, Measurement
from infertune.core.space import Point

RETRIES = 2
LATER = 8
"""Launches of other points between a disturbed one and its repetition."""

WORTH = math.log(3.0)
"""The worst contamination seen slowed a launch by 3x: what is further behind the best than that is no candidate."""

ANCHOR_EVERY = 10


def disturbed(launches: Sequence[Launch], score: Callable[[Measurement], float]) -> list[Point]:
    """Points that are `untold`, with retries left; first tried first."""
    tries = Counter(launch.point for launch in launches)
    return [point for point in untold(launches, score) if tries[point] <= RETRIES]


def untold(launches: Sequence[Launch], score: Callable[[Measurement], float]) -> list[Point]:
    """Points whose launches were all disturbed, so that they may be better than they seem; first tried first.

    Not those that are further behind the best than any disturbance explains.
    """
    if not any(audit.contaminated(launch.flags) for launch in launches):
        return []
    own: dict[Point, list[Launch]] = {}
    for launch in launches:
        own.setdefault(launch.point, []).append(launch)
    never = {point: of for point, of in own.items() if _never_undisturbed(of)}
    best = max(_scores(launches, score), default=0.0) if never else 0.0
    return [point for point, of in never.items() if best - max(_scores(of, score)) <= WORTH]


def _never_undisturbed(own: Sequence[Launch]) -> bool:
    measured = any(isinstance(launch.outcome, Measurement) for launch in own)
    return measured and all(audit.contaminated(launch.flags) for launch in own)


def _scores(launches: Sequence[Launch], score: Callable[[Measurement], float]) -> Iterator[float]:
    return (score(launch.outcome) for launch in launches if isinstance(launch.outcome, Measurement))


def due(launches: Sequence[Launch], score: Callable[[Measurement], float]) -> Point | None:
    """The point to launch again now: disturbed, and long enough ago."""
    recent = {launch.point for launch in launches[-LATER:]}
    return next((point for point in disturbed(launches, score) if point not in recent), None)


def anchor_due(launches: Sequence[Launch]) -> bool:
    """Whether `ANCHOR_EVERY` search launches were made since the last anchor, or none was made yet."""
    places = [place for place, launch in enumerate(launches) if launch.purpose == "anchor"]
    return not places or len(launches) - 1 - places[-1] >= ANCHOR_EVERY
