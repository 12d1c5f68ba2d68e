"""Points of several spaces as numbers, for models that learn from distances.

Whole numbers become octaves (log2), so that 32 is as far from 16 as 2 from 1; one choice is `APART` octaves from
another. ``cores`` and ``instances`` become ``cores`` and ``used`` (their product): how the device is cut, and how much
of it works. A knob left to the runtime (AUTO) is marked as such, and one that a space does not have is neutral.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from infertune.core.space import AUTO, Point, Space, Value
from infertune.search.parts import trend
from infertune.search.parts.arrays import Column, Columns, Floats, Whole
from infertune.search.parts.catalogue import Catalogue, Table

APART = 2.0
AUTO_KNOBS = ("cores", "instances", "set_size")


@dataclass(frozen=True, eq=False)
class Inputs:
    """What a model knows of some points.

    ``x`` (points, columns) with ``groups[j]`` the number of the knob that column j belongs to, and ``choices`` the
    columns of knobs with named values; ``basis`` and ``depth`` as in `trend`.
    """

    x: Floats
    groups: tuple[int, ...]
    choices: tuple[int, ...]
    basis: Floats
    depth: Floats

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, rows: Whole | slice) -> Inputs:
        return Inputs(self.x[rows], self.groups, self.choices, self.basis[rows], self.depth[rows])

    @cached_property
    def levels(self) -> tuple[tuple[Floats, Whole], ...]:
        """Per knob: its distinct values (levels, columns), and which of them each point has.

        A knob has few values, so kernels of one knob are tables: far cheaper than a distance for every pair of points.
        """
        found = []
        for knob in range(max(self.groups) + 1):
            values = self.x[:, [j for j, group in enumerate(self.groups) if group == knob]]
            label = values @ (17.0 ** np.arange(values.shape[1]))
            _, first, places = np.unique(label, return_index=True, return_inverse=True)
            found.append((values[first], places))
        return tuple(found)

    @cached_property
    def tags(self) -> Whole:
        """A number for each point: the same for equal points, and for others another one."""
        weights = np.random.default_rng(0).normal(size=self.x.shape[1])
        return np.asarray(np.rint(1e9 * (self.x @ weights)), dtype=np.int64)


def stacked(parts: Sequence[Inputs]) -> Inputs:
    return Inputs(
        np.concatenate([part.x for part in parts]),
        parts[0].groups,
        parts[0].choices,
        np.concatenate([part.basis for part in parts]),
        np.concatenate([part.depth for part in parts]),
    )


@dataclass(frozen=True, slots=True)
class Octaves:
    """A knob of whole numbers: column of log2(value + shift), and one that marks AUTO if there is any."""

    knob: str
    shift: int
    middle: float
    auto: bool

    def encode(self, columns: Columns, count: int) -> Floats:
        values = columns.get(self.knob)
        if values is None:
            neutral = np.full((count, 1), self.middle)
            return np.hstack([neutral, np.zeros((count, 1))]) if self.auto else neutral
        shifted = values.astype(np.int64) + self.shift
        left = np.asarray(values == AUTO) if self.auto else shifted <= 0  # a baseline outside a narrowed space
        octaves: Floats = np.where(left, self.middle, np.log2(np.where(left, 1, shifted)))
        return np.stack([octaves, APART * left], axis=1) if self.auto else octaves[:, None]


@dataclass(frozen=True, slots=True)
class Choice:
    """A knob of named values: one column per value."""

    knob: str
    levels: tuple[str, ...]

    def encode(self, columns: Columns, count: int) -> Floats:
        values = columns.get(self.knob)
        if values is None:
            return np.zeros((count, len(self.levels)))
        chosen = np.stack([values.astype(str) == level for level in self.levels], axis=1)
        return np.asarray(chosen * (APART / np.sqrt(2.0)))


@dataclass(frozen=True, slots=True)
class Mix:
    """Sums and differences of octaves: products and quotients of knobs that matter as such."""

    parts: tuple[tuple[Octaves, float], ...]

    def encode(self, columns: Columns, count: int) -> Floats:
        total = np.zeros((count, 1))
        for octaves, sign in self.parts:
            total += sign * octaves.encode(columns, count)[:, :1]
        return total


@dataclass(frozen=True, slots=True)
class Encoder:
    """How points become numbers. ``units[i]``: the most compute units that a point of space i uses."""

    spaces: tuple[Space, ...]
    units: tuple[int, ...]
    knobs: tuple[Octaves | Choice | Mix, ...]

    def encode(self, number: int, columns: Columns, count: int) -> Inputs:
        """Points of space ``number``, given the values of each of its knobs."""
        full = with_used(columns, self.units[number])
        home = np.zeros((count, len(self.spaces)))
        home[:, number] = APART / np.sqrt(2.0)
        blocks = [home, *(knob.encode(full, count) for knob in self.knobs)]
        groups = tuple(group for group, block in enumerate(blocks) for _ in range(block.shape[1]))
        named = {0, *(i for i, knob in enumerate(self.knobs, start=1) if isinstance(knob, Choice))}
        choices = tuple(j for j, group in enumerate(groups) if group in named)
        whole = self.spaces[number].whole_samples
        basis = trend.basis({**columns, **full}, self.units[number], count, whole_samples=whole)
        return Inputs(np.hstack(blocks), groups, choices, basis, trend.depth(columns, count))

    def encode_point(self, point: Point) -> Inputs:
        """Raises ValueError for a point of none of the spaces."""
        number = [(space.target, space.device) for space in self.spaces].index((point.target, point.device))
        return self.encode(number, {name: _array([value]) for name, value in point.settings}, 1)


def encode_points(everything: Catalogue, points: Sequence[Point]) -> Inputs:
    """The inputs of some points of the spaces; they may have values that are allowed but not searched."""
    places = [everything.find(point) for point in points]
    scheme, whole = encoder(everything), encoded(everything)
    if all(place is not None for place in places):
        return whole[np.asarray(places, dtype=np.int64)]
    one_by_one = (scheme.encode_point(point) for point in points)
    return stacked([whole[:0], *one_by_one])


@lru_cache(maxsize=8)
def encoder(everything: Catalogue) -> Encoder:
    """Where cores take whole samples, the mixes say all that a batch does beyond the trend, so it is no knob by itself.

    A batch that no longer fits into the memory of two cores fits into that of four: its size alone is no reason.
    """
    tables = everything.tables
    units = tuple(_units(table_columns(table)) for table in tables)
    full = [with_used(table_columns(table), most) for table, most in zip(tables, units, strict=True)]
    names = sorted({name for columns in full for name in columns})
    scales = (_scale(name, [columns[name] for columns in full if name in columns]) for name in names)
    spaces = tuple(table.space for table in tables)
    knobs = tuple(scale for scale in scales if scale is not None)
    mixes = _mixes(knobs)
    if mixes and all(space.whole_samples for space in spaces):
        knobs = tuple(knob for knob in knobs if knob.knob != "batch")
    return Encoder(spaces, units, (*knobs, *mixes))


def _mixes(knobs: Sequence[Octaves | Choice]) -> list[Mix]:
    """``batch x instances`` (what caches must hold) and ``batch / cores`` (what each core gets to do)."""
    found = {knob.knob: knob for knob in knobs if isinstance(knob, Octaves)}
    batch, used, cores = (found.get(name) for name in ("batch", "used", "cores"))
    each = cores or used
    if batch is None or each is None:
        return []
    share = Mix(((batch, 1.0), (each, -1.0)))
    return [share, Mix(((batch, 1.0), (used, 1.0), (cores, -1.0)))] if used and cores else [share]


@lru_cache(maxsize=8)
def encoded(everything: Catalogue) -> Inputs:
    """The inputs of every point of the catalogue, in its order."""
    scheme = encoder(everything)
    tables = enumerate(everything.tables)
    return stacked([scheme.encode(i, table_columns(table), len(table.keys)) for i, table in tables])


def table_columns(table: Table) -> Columns:
    return {knob.name: _array(knob.values)[table.rows[:, k]] for k, knob in enumerate(table.space.knobs)}


def with_used(columns: Columns, units: int) -> Columns:
    """``used``, the compute units at work, in place of ``instances``; AUTO counts as the whole device.

    A space without instances has nothing to cut: there ``used`` takes the place of ``cores``. Neither do names have a
    product: where either is no whole number, both stay as they are.
    """
    if "cores" not in columns or any(columns[name].dtype == object for name in columns.keys() & {"cores", "instances"}):
        return columns
    cores, instances = columns["cores"], columns.get("instances")
    product = cores if instances is None else cores * instances
    dropped = "cores" if instances is None else "instances"
    rest = {name: values for name, values in columns.items() if name != dropped}
    return {**rest, "used": np.where(product > 0, product, units)}


def _units(columns: Columns) -> int:
    used = with_used(columns, 1).get("used")
    return 1 if used is None else int(used.max(initial=1))


def _array(values: Sequence[Value]) -> Column:
    whole = all(isinstance(value, int) for value in values)
    return np.asarray(values, dtype=np.int64 if whole else object)


def _scale(name: str, found: Sequence[Column]) -> Octaves | Choice | None:
    """How to encode a knob from its values in every space that has it; None when it never varies."""
    levels = sorted({value for values in found for value in np.unique(values).tolist()}, key=str)
    if len(levels) < 2:
        return None
    if any(isinstance(level, str) for level in levels):
        return Choice(name, tuple(str(level) for level in levels))
    auto = name in AUTO_KNOBS and AUTO in levels
    numbers = [level for level in levels if not (auto and level == AUTO)]
    shift = 0 if min(numbers) > 0 else 1 - min(numbers)
    return Octaves(name, shift, float(np.mean(np.log2(np.asarray(numbers) + shift))), auto)
