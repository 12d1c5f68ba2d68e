"""Neighbourhood hill climbing, as Triton Model Analyzer's quick search does it.

A home is measured, then a few of the places near it (the fast mode: at most `FEW`, in alternating directions). Their
differences to home, added up as arrows, give the step; if that leads somewhere better, it is the new home. If not, all
adjacent places are measured (the slow mode) and the best of them is the new home; a home that none of them beats is a
peak. The original ends there. Here the next start follows, so that a budget is used up: the starts that targets name,
then places drawn with the seed, the spaces in turn.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterator, Mapping, Sequence

import numpy as np

from infertune.core.goal import Goal
from infertune.core.records import Trial
from infertune.core.space import Point, Space
from infertune.search.parts.arrays import Floats
from infertune.search.parts.candidates import allowed
from infertune.search.parts.catalogue import Catalogue, Table, catalogue
from infertune.search.parts.evidence import Evidence, read

FEW = 3
RADIUS = 2
FAILED = -1e9
MISSED = -1e6
"""What a place counts that failed, and one that misses a limit (less its gap, so that the climb leads inside)."""

Row = int
Values = Mapping[Row, float]
Climb = Generator[list[Row], Values, None]


def propose(spaces: Sequence[Space], history: Sequence[Trial], goal: Goal, n: int, seed: int) -> Sequence[Point]:
    """What the current climb needs next, at most ``n``: fewer, or nothing, where the next step waits for outcomes."""
    everything = catalogue(tuple(spaces))
    places = [(everything.find(trial.point), trial) for trial in read(history, goal)]
    waiting = {place for place, trial in places if trial.success is None}
    known = {place: _worth(trial) for place, trial in places if place is not None and place not in waiting}
    fine = allowed(everything, goal)
    for start in _starts(everything, seed):
        if fine[start] and (start not in known or known[start] > FAILED):
            missing = [place for place in _wanted(everything, start, known) if fine[place]]
            if missing:
                return tuple(everything.point(place) for place in missing if place not in waiting)[:n]
    return ()


def _worth(trial: Evidence) -> float:
    if trial.figures is None:
        return FAILED
    over = sum(max(0.0, gap) for gap in trial.figures[1:])
    return trial.figures[0] if over == 0.0 else MISSED - over


def _starts(everything: Catalogue, seed: int) -> Iterator[int]:
    """The named starts, the spaces in turn; then every place, in an order that the seed decides."""
    named = everything.starts_named()
    homes = everything.homes(named)
    by_space = [named[homes == number].tolist() for number in range(len(everything.tables))]
    for turn in itertools.zip_longest(*by_space):
        yield from (place for place in turn if place is not None)
    yield from np.random.default_rng(seed).permutation(len(everything)).tolist()


def _wanted(everything: Catalogue, start: int, known: Values) -> list[int]:
    """Places whose values the climb from ``start`` waits for; empty once it has ended."""
    number, row = everything.at(start)
    offset = everything.starts[number]
    inside = {place - offset: value for place, value in known.items()}
    walk = climb(everything.tables[number], row)
    try:
        asked = next(walk)
        while True:
            missing = [row for row in asked if row not in inside]
            if missing:
                return [row + offset for row in missing]
            asked = walk.send(inside)
    except StopIteration:
        return []


def climb(table: Table, home: Row) -> Climb:
    """Yields the rows whose values it needs next and is sent all values known."""
    values = yield [home]
    while True:
        found = yield from _fast(table, home)
        if found is None:
            near = adjacent(table, home)
            values = yield near
            found = max(near, key=lambda row: values.get(row, FAILED), default=home)
            if not near or values.get(found, FAILED) <= values.get(home, FAILED):
                return
        home = found


def _fast(table: Table, home: Row) -> Generator[list[Row], Values, Row | None]:
    """One step along the added-up differences of a few neighbours; None when it leads nowhere better."""
    near = adjacent(table, home)[:FEW]
    values = yield near
    step = direction(table, home, [(row, values.get(row, FAILED)) for row in near], values.get(home, FAILED))
    target = moved(table, home, step)
    if target is None:
        return None
    values = yield [target]
    return target if values.get(target, FAILED) > values.get(home, FAILED) else None


def adjacent(table: Table, home: Row) -> list[Row]:
    """Legal rows one step away in one knob: every knob upwards first, then downwards (any other choice of a name)."""
    here = table.rows[home]
    steps = [(knob, sign) for sign in (1, -1) for knob in range(len(table.shape))]
    changed = []
    for knob, sign in steps:
        place = here.copy()
        place[knob] += sign
        if 0 <= place[knob] < table.shape[knob]:
            changed.append(place)
    if not changed:
        return []
    return [int(row) for place in changed for row in table.lookup(table.numbers(place[None, :]))]


def direction(table: Table, home: Row, near: Sequence[tuple[Row, float]], here: float) -> Floats:
    """The sum of the arrows to the neighbours, each as long as its gain, scaled to `RADIUS` steps."""
    total = np.zeros(len(table.shape))
    for row, value in near:
        gain = float(np.clip(value - here, -1.0, 1.0))
        total += gain * (table.rows[row] - table.rows[home])
    length = float(np.linalg.norm(total))
    return total * (RADIUS / length) if length > 0 else total


def moved(table: Table, home: Row, step: Floats) -> Row | None:
    """The legal row that far from home, cut off at the bounds; None where there is none."""
    target = np.clip(table.rows[home] + np.rint(step).astype(np.int64), 0, np.asarray(table.shape) - 1)
    found = table.lookup(table.numbers(target[None, :]))
    return int(found[0]) if len(found) and int(found[0]) != home else None
