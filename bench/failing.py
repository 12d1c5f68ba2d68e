"""Ways for points to fail that are not blind chance, for searches that should learn from failures.

``memory``: what holds more samples at once (batch x instances) than three points in four runs out of memory.
``corner``: of two knobs of each space, drawn by the seed, the upper half of the values of one crashes with the upper
half of those of the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from infertune.core.records import Failed
from infertune.core.space import Point, Space
from infertune.search.replay.landscape import Landscape
from infertune.search.replay.recording import Recording

Fails = Callable[[Point], Failed | None]

LARGE = 0.75
"""Share of the points that have enough memory."""


def failing(case: Recording, way: str, seed: int) -> Recording:
    """The same space with points that fail that way, besides those that fail anyway."""
    ours, whole = WAYS[way](case.landscape, seed), case.landscape.fails
    return replace(case, landscape=replace(case.landscape, fails=lambda point: whole(point) or ours(point)))


def memory(landscape: Landscape, seed: int) -> Fails:
    enough = float(np.quantile([_held(point) for point in landscape.points()], LARGE))
    failed = Failed(stage="measure", kind="memory", message="made to run out of memory")
    return lambda point: failed if _held(point) > enough else None


def corner(landscape: Landscape, seed: int) -> Fails:
    rng = np.random.default_rng([seed, 2])
    upper = {(space.target, space.device): _upper(space, rng) for space in landscape.spaces}
    failed = Failed(stage="measure", kind="crash", message="made to crash")

    def fails(point: Point) -> Failed | None:
        halves = upper[point.target, point.device]
        return failed if len(halves) == 2 and all(point[knob] in half for knob, half in halves.items()) else None

    return fails


WAYS: Mapping[str, Callable[[Landscape, int], Fails]] = {"memory": memory, "corner": corner}


def _held(point: Point) -> int:
    return max(1, point.number("batch", 1)) * max(1, point.number("instances", 1))


def _upper(space: Space, rng: np.random.Generator) -> dict[str, tuple[object, ...]]:
    """The upper half of the values of two knobs; of fewer where fewer have a choice."""
    some = [knob for knob in space.knobs if len(knob.values) > 1]
    drawn = [some[place] for place in rng.permutation(len(some))[:2]]
    return {knob.name: knob.values[(len(knob.values) + 1) // 2 :] for knob in drawn}
