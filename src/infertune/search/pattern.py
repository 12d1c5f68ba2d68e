"""Pattern search from several starts, as the vendor's configurator for Cloud AI 100 does it (known from its logs).

Around a centre every coordinate's neighbours are tried; their differences give a direction in which several coordinates
move at once. A trial that fails is tried again at half the step, truncated towards zero; one that succeeds at double
the step, for as long as that helps. Starts come one after another and share what they know. Batch moves in powers of
two.

What the logs do not tell is how long the first step is. Here the steepest coordinate moves by two units (batch by four
doublings, cut off at its bound, as every recorded one was), the others in proportion to their slopes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass

from infertune.core.goal import Goal
from infertune.core.records import Trial
from infertune.core.space import Point, Space, Value
from infertune.search.parts.evidence import read

ORDER = ("cores", "mos", "ols", "batch", "instances", "set_size")
DOUBLING = ("batch",)
FIRST_STEP = 2
FIRST_DOUBLINGS = 4
NOTHING = float("-inf")

Place = tuple[int, ...]
Known = Mapping[Place, float]
Climb = Generator[tuple[Place, ...], Known, Place]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Coordinates from ``low`` to ``high``, in units; ``doubles`` marks those whose unit is a doubling."""

    low: Place
    high: Place
    doubles: tuple[bool, ...]
    legal: Callable[[Place], bool]

    def inside(self, place: Place) -> bool:
        return all(a <= x <= b for a, x, b in zip(self.low, place, self.high, strict=True)) and self.legal(place)

    def clipped(self, place: Place) -> Place:
        return tuple(min(max(a, x), b) for a, x, b in zip(self.low, place, self.high, strict=True))


def stencil(centre: Place, grid: Grid) -> tuple[Place, ...]:
    """The neighbours one unit below in every coordinate, then those above, as far as they are legal."""
    moved = ((*centre[:i], centre[i] + step, *centre[i + 1 :]) for step in (-1, 1) for i in range(len(centre)))
    return tuple(place for place in moved if grid.inside(place))


def halved(step: Place) -> Place:
    """Half the step, every component truncated towards zero."""
    return tuple(int(part / 2) for part in step)


def added(centre: Place, step: Place, times: int = 1) -> Place:
    return tuple(x + times * d for x, d in zip(centre, step, strict=True))


def direction(centre: Place, values: Known, grid: Grid) -> Place:
    """Where to go from the differences around ``centre``: proportional to the slopes, the steepest coordinate furthest.

    A coordinate's slope is that of its better neighbour, and 0 where neither is better than the centre. All zero means
    that the centre is a local best, or that it failed, so that nothing tells how steep the way from it is.
    """
    slopes = [_slope(centre, i, values) for i in range(len(centre))]
    steepest = max((abs(s) for s in slopes), default=0.0)
    if steepest == 0.0:
        return (0,) * len(centre)
    lengths = [FIRST_DOUBLINGS if doubles else FIRST_STEP for doubles in grid.doubles]
    return tuple(round(length * slope / steepest) for length, slope in zip(lengths, slopes, strict=True))


def _slope(centre: Place, i: int, values: Known) -> float:
    here = values[centre]
    if here == NOTHING:
        return 0.0
    gains = {step: values.get((*centre[:i], centre[i] + step, *centre[i + 1 :]), NOTHING) - here for step in (-1, 1)}
    best = max(gains, key=lambda step: gains[step])
    return best * gains[best] if gains[best] > 0 else 0.0


def trials(centre: Place, step: Place, grid: Grid) -> Climb:
    """Along one direction: halve until something is better than the centre, then double for as long as that helps.

    The result is the best place found, or the centre itself.
    """
    values = yield (centre,)
    while any(step):
        place = grid.clipped(added(centre, step))
        if place != centre and grid.inside(place):
            values = yield (place,)
            if values[place] > values[centre]:
                return (yield from _expanded(centre, step, place, grid))
        step = halved(step)
    return centre


def _expanded(centre: Place, step: Place, place: Place, grid: Grid) -> Climb:
    for doublings in itertools.count(1):
        further = grid.clipped(added(centre, step, 2**doublings))
        if further == place or not grid.inside(further):
            return place
        values = yield (further,)
        if values[further] <= values[place]:
            return place
        place = further
    raise AssertionError("counting does not end")


def climb(start: Place, grid: Grid) -> Climb:
    """One start: yields the places whose values it needs next, is sent all values known, and returns where it ended."""
    yield (start,)
    centre = start
    while True:
        values = yield stencil(centre, grid)
        step = direction(centre, values, grid)
        found = yield from trials(centre, step, grid)
        if found == centre:
            around = stencil(centre, grid)
            best = max(around, key=lambda place: values[place], default=centre)
            if not around or values[best] <= values[centre]:
                return centre
            found = best
        centre = found


def wanted(start: Place, grid: Grid, known: Known) -> tuple[tuple[Place, ...], Place | None, int]:
    """(places to evaluate next, where it ended, places it has used) for one start with these values known."""
    walk, used = climb(start, grid), {start}
    try:
        asked = next(walk)
        while True:
            used.update(asked)
            missing = tuple(dict.fromkeys(place for place in asked if place not in known))
            if missing:
                return missing, None, len(used)
            asked = walk.send(known)
    except StopIteration as ended:
        return (), ended.value, len(used)


# ---------------------------------------------------------------- as a strategy


@dataclass(frozen=True, slots=True)
class Chart:
    """A space's points as places and back; knobs that do not move keep the values of the start."""

    space: Space

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name in ORDER if any(k.name == name and len(k.values) > 1 for k in self.space.knobs))

    def place(self, point: Point) -> Place:
        """Raises ValueError for a batch that is no power of two."""
        return tuple(_units(name, point.number(name)) for name in self.names)

    def point(self, place: Place, like: Point) -> Point:
        changed: dict[str, Value] = {
            name: 2**x if name in DOUBLING else x for name, x in zip(self.names, place, strict=True)
        }
        return like.but(**changed)

    def grid(self, like: Point) -> Grid:
        ranges = [self._range(name) for name in self.names]
        return Grid(
            low=tuple(low for low, _ in ranges),
            high=tuple(high for _, high in ranges),
            doubles=tuple(name in DOUBLING for name in self.names),
            legal=lambda place: self.space.why_illegal(self.point(place, like)) is None,
        )

    def _range(self, name: str) -> tuple[int, int]:
        numbers = [v for v in self.space.knob(name).values if isinstance(v, int) and v > 0]
        if name in DOUBLING:
            return (min(numbers) - 1).bit_length(), max(numbers).bit_length() - 1
        return min(numbers), max(numbers)


def _units(name: str, value: int) -> int:
    if name not in DOUBLING:
        return value
    if value < 1 or value & (value - 1):
        raise ValueError(f"{name} {value} is no power of two")
    return value.bit_length() - 1


def propose(spaces: Sequence[Space], history: Sequence[Trial], goal: Goal, n: int, seed: int) -> Sequence[Point]:
    """The rest of the current start's stencil or its next trial, whatever the seed.

    Empty when all have ended, and while what the next step depends on is under way.
    """
    evidence = read(history, goal)
    waiting = {e.point for e in evidence if e.success is None}
    known = {e.point: NOTHING if e.figures is None else e.figures[0] for e in evidence if e.success is not None}
    for space in spaces:
        for start in space.seeds:
            missing, _, _ = progress(space, start, known)
            if missing:
                return tuple(point for point in missing if point not in waiting)[:n]
    return ()


def progress(space: Space, start: Point, known: Mapping[Point, float]) -> tuple[tuple[Point, ...], Point | None, int]:
    """`wanted` in points, with the scores known so far (minus infinity for what failed)."""
    chart = Chart(space)
    values = {chart.place(p): score for p, score in known.items() if _comparable(chart, p, start)}
    missing, ended, used = wanted(chart.place(start), chart.grid(start), values)
    points = tuple(chart.point(place, start) for place in missing)
    return points, None if ended is None else chart.point(ended, start), used


def _comparable(chart: Chart, point: Point, start: Point) -> bool:
    """Whether a point differs from the start in moving coordinates alone."""
    try:
        return chart.point(chart.place(point), start) == point
    except ValueError:
        return False
