"""Every legal point of several spaces as rows of numbers, so that a strategy can look at all of them at once."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from infertune.core.space import Point, Space, Value
from infertune.search.parts.arrays import Column, Whole

ENUMERATED = 1 << 21
"""Up to this many combinations of values all are looked at; of a larger space a fixed sample stands for the whole,
unless a rule lists what is legal."""
SAMPLED = 1 << 16

Holds = Callable[[Mapping[str, Value]], bool]


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """The legal points of one space: ``rows[i, k]`` is the place of point i's value among the values of knob k.

    ``keys`` is the number of each combination in the order of `Space.points`, ascending; ``builds`` the same for its
    build-stage values alone: rows that agree in it share an artifact.
    """

    space: Space
    rows: Whole
    keys: Whole
    builds: Whole

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(len(knob.values) for knob in self.space.knobs)

    def point(self, row: int) -> Point:
        values = {k.name: k.values[i] for k, i in zip(self.space.knobs, self.rows[row], strict=True)}
        return Point.of(self.space.target, self.space.device, values)

    def find(self, point: Point) -> int | None:
        """The row of a point; None when it is not one of this table."""
        number = _number(self.space, point)
        if number is None:
            return None
        at = int(np.searchsorted(self.keys, number))
        return at if at < len(self.keys) and self.keys[at] == number else None

    def lookup(self, numbers: Whole) -> Whole:
        """Rows of those combinations that are in the table."""
        if not len(self.keys):
            return np.zeros(0, dtype=np.int64)
        at = np.minimum(np.searchsorted(self.keys, numbers), len(self.keys) - 1)
        return np.asarray(at[self.keys[at] == numbers])

    def numbers(self, places: Whole) -> Whole:
        """The combinations whose values are at ``places``, one per row."""
        return np.asarray(places @ _steps(self.shape))

    def column(self, knob: int) -> Column:
        """The values of one knob over all rows."""
        values = self.space.knobs[knob].values
        whole = all(isinstance(value, int) for value in values)
        return np.asarray(values, dtype=np.int64 if whole else object)[self.rows[:, knob]]

    def around(self, row: int) -> Whole:
        """Rows that differ in one knob, or by one step each in two (a trade, such as cores against instances)."""
        here = self.rows[row]
        changed = []
        for knob, size in enumerate(self.shape):
            others = np.repeat(here[None, :], size, axis=0)
            others[:, knob] = np.arange(size)
            changed.append(others)
        for a, b in itertools.combinations(range(len(self.shape)), 2):
            for step in ((1, -1), (-1, 1)):
                trade = here.copy()
                trade[[a, b]] += step
                if 0 <= trade[a] < self.shape[a] and 0 <= trade[b] < self.shape[b]:
                    changed.append(trade[None, :])
        found = self.lookup(self.numbers(np.concatenate(changed)))
        return np.asarray(found[found != row])


@dataclass(frozen=True, slots=True, eq=False)
class Catalogue:
    """The tables of several spaces end to end; a place is an index into all of them."""

    tables: tuple[Table, ...]
    starts: tuple[int, ...]

    def __len__(self) -> int:
        return self.starts[-1]

    def at(self, place: int) -> tuple[int, int]:
        """(number of the space, row in its table)."""
        number = int(np.searchsorted(self.starts, place, side="right")) - 1
        return number, int(place) - self.starts[number]

    def point(self, place: int) -> Point:
        number, row = self.at(place)
        return self.tables[number].point(row)

    def find(self, point: Point) -> int | None:
        for table, start in zip(self.tables, self.starts, strict=False):
            row = table.find(point)
            if row is not None:
                return start + row
        return None

    def has(self, point: Point) -> bool:
        """Whether it is a point of one of the spaces, perhaps with values that are allowed but not searched."""
        return any(_fits(table.space, point) for table in self.tables)

    def places(self, points: Sequence[Point]) -> Whole:
        """Places of those points that are in the catalogue, in order."""
        found = (self.find(point) for point in points)
        return np.asarray([place for place in found if place is not None], dtype=np.int64)

    def starts_named(self) -> Whole:
        """Places of the seeds and baselines that targets name."""
        spaces = [table.space for table in self.tables]
        return self.places([p for s in spaces for p in (*s.seeds, *(baseline.point for baseline in s.baselines))])

    def artifacts(self) -> Whole:
        """Per place a number: places with the same one share an artifact."""
        count = len(self.tables)
        return np.concatenate([table.builds * count + i for i, table in enumerate(self.tables)])

    def homes(self, places: Whole) -> Whole:
        """Per place the number of its space."""
        return np.searchsorted(self.starts, places, side="right") - 1

    def around(self, place: int) -> Whole:
        number, row = self.at(place)
        return self.tables[number].around(row) + self.starts[number]


def catalogue(spaces: tuple[Space, ...]) -> Catalogue:
    """The catalogue of some spaces; made once, then remembered."""
    return _catalogue(spaces, tuple(rule.holds for space in spaces for rule in space.rules))


@lru_cache(maxsize=8)
def _catalogue(spaces: tuple[Space, ...], holds: tuple[Holds, ...]) -> Catalogue:
    """``holds`` is only there to be remembered: rules compare by their words, and equal words may judge differently."""
    tables = tuple(_table(space) for space in spaces)
    return Catalogue(tables, (0, *itertools.accumulate(len(t.keys) for t in tables)))


def _table(space: Space) -> Table:
    shape = tuple(len(knob.values) for knob in space.knobs)
    raw = math.prod(shape)
    combos = _listed(space) or (_all(space) if raw <= ENUMERATED else _some(space, raw))
    names = [knob.name for knob in space.knobs]
    holds = [rule.holds for rule in space.rules]
    legal = []
    for number, combo in combos:
        values = dict(zip(names, combo, strict=True))
        if all(rule(values) for rule in holds):
            legal.append(number)
    keys = np.asarray(legal, dtype=np.int64)
    rows = np.stack(np.unravel_index(keys, shape), axis=1) if shape else np.zeros((len(keys), 0))
    rows = rows.astype(np.int64)
    build = np.asarray([knob.stage == "build" for knob in space.knobs], dtype=np.int64)
    return Table(space, rows, keys, (rows * build) @ _steps(shape))


def _steps(shape: tuple[int, ...]) -> Whole:
    return np.asarray([math.prod(shape[k + 1 :]) for k in range(len(shape))], dtype=np.int64)


def _listed(space: Space) -> Iterator[tuple[int, tuple[Value, ...]]] | None:
    listed = space.listed()
    return None if listed is None else ((_combination(space, combo), combo) for combo in listed)


def _all(space: Space) -> Iterator[tuple[int, tuple[Value, ...]]]:
    return enumerate(itertools.product(*(knob.values for knob in space.knobs)))


def _some(space: Space, raw: int) -> Iterator[tuple[int, tuple[Value, ...]]]:
    """A fixed sample of the combinations of a space too large to look at, its seeds always among them."""
    shape = tuple(len(knob.values) for knob in space.knobs)
    drawn = np.random.default_rng(0).integers(0, raw, size=SAMPLED)
    seeds = [_number(space, point) for point in space.seeds]
    for number in np.unique([*drawn, *(seed for seed in seeds if seed is not None)]):
        places = np.unravel_index(int(number), shape)
        yield int(number), tuple(knob.values[i] for knob, i in zip(space.knobs, places, strict=True))


def _fits(space: Space, point: Point) -> bool:
    values = point.values
    if (point.target, point.device) != (space.target, space.device) or values.keys() != {k.name for k in space.knobs}:
        return False
    return all(values[knob.name] in knob.allowed for knob in space.knobs)


def _number(space: Space, point: Point) -> int | None:
    values = point.values
    if not _fits(space, point) or any(values[knob.name] not in knob.values for knob in space.knobs):
        return None
    return _combination(space, [values[knob.name] for knob in space.knobs])


def _combination(space: Space, combo: Sequence[Value]) -> int:
    number = 0
    for knob, value in zip(space.knobs, combo, strict=True):
        number = number * len(knob.values) + knob.values.index(value)
    return number
