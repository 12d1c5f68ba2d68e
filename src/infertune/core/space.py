"""Knobs, rules, points and spaces: what can be set, what may be combined, and which combinations exist."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from infertune.core.errors import UsageError, nearest

Value = int | str
Stage = Literal["build", "run"]
AUTO = 0  # for cores, instances and set_size: left to the runtime


@dataclass(frozen=True, slots=True, kw_only=True)
class IntRange:
    """Whole numbers from ``low`` to ``high``, both included."""

    low: int
    high: int

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int) and self.low <= value <= self.high

    def __str__(self) -> str:
        return f"{self.low}..{self.high}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TextForm:
    """Texts that match ``pattern`` (a regular expression) as a whole; ``shown`` says so in words."""

    pattern: str
    shown: str

    def __contains__(self, value: object) -> bool:
        return isinstance(value, str) and re.fullmatch(self.pattern, value) is not None

    def __str__(self) -> str:
        return self.shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Knob:
    """One setting.

    ``values`` is what a search tries; ``allowed`` what a person may ask for (never less than ``values``).
    ``stage`` says whether a new value needs a new artifact. ``spelling`` is the name the tool underneath uses.
    ``calibrated``: values of a build knob whose artifact also depends on the inputs it is calibrated with.
    """

    name: str
    stage: Stage
    default: Value
    values: tuple[Value, ...]
    allowed: tuple[Value, ...] | IntRange | TextForm
    doc: str
    spelling: str
    calibrated: tuple[Value, ...] = ()

    def with_values(self, values: tuple[Value, ...]) -> Knob:
        """The same knob, searched over ``values``. Raises `UsageError` for a value outside ``allowed``."""
        for value in values:
            if value not in self.allowed:
                raise UsageError(
                    "value-outside-space",
                    f"knob `{self.name}` cannot be `{value}` here",
                    hint=f"allowed on this machine: {self.allowed_words}",
                )
        return replace(self, values=tuple(dict.fromkeys(values)))

    @property
    def allowed_words(self) -> str:
        return ", ".join(map(str, self.allowed)) if isinstance(self.allowed, tuple) else str(self.allowed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One value for every knob of one target on one device: the only identity of a candidate."""

    target: str
    device: str
    settings: tuple[tuple[str, Value], ...]

    @staticmethod
    def of(target: str, device: str, values: Mapping[str, Value]) -> Point:
        return Point(target=target, device=device, settings=tuple(sorted(values.items())))

    @property
    def values(self) -> dict[str, Value]:
        return dict(self.settings)

    def __getitem__(self, knob: str) -> Value:
        for name, value in self.settings:
            if name == knob:
                return value
        raise KeyError(knob)

    def get(self, knob: str, default: Value) -> Value:
        return self.values.get(knob, default)

    def number(self, knob: str, default: int = 0) -> int:
        """The value of a whole-number knob; ``default`` where the space has no such knob."""
        value = self.get(knob, default)
        return value if isinstance(value, int) else default

    def but(self, **changes: Value) -> Point:
        """A copy with some knobs changed."""
        return Point.of(self.target, self.device, {**self.values, **changes})

    def __str__(self) -> str:
        return f"{self.target}: " + " ".join(f"{name}={value}" for name, value in self.settings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A legality condition over knobs, with its reason in words (shown to people).

    ``holds`` reads the knobs that it needs by name, and no others: points are counted without looking at each.
    ``only``: every combination for which it holds, where those are known; no others are then looked at.
    """

    reason: str
    holds: Callable[[Mapping[str, Value]], bool] = field(compare=False)
    only: tuple[Mapping[str, Value], ...] | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """A named point people start from (a runtime's default, a hint); measured beside the winner."""

    name: str
    point: Point


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """A target's knobs, rules and seed points for one model on one device.

    ``whole_samples``: cores of an instance take whole samples each, or samples whole cores, as far as that goes.
    """

    target: str
    device: str
    knobs: tuple[Knob, ...]
    rules: tuple[Rule, ...] = ()
    seeds: tuple[Point, ...] = ()
    baselines: tuple[Baseline, ...] = ()
    whole_samples: bool = False

    def knob(self, name: str) -> Knob:
        """Raises `UsageError` with the nearest name when there is no such knob."""
        for knob in self.knobs:
            if knob.name == name:
                return knob
        names = [k.name for k in self.knobs]
        raise UsageError(
            "unknown-knob",
            f"`{name}` is not a knob of target `{self.target}`",
            hint=f"{nearest(name, names)}knobs: {', '.join(names)}",
        )

    def point(self, **values: Value) -> Point:
        """A point from some values, every other knob at its default. Legality is not checked."""
        for name in values:
            self.knob(name)
        return Point.of(self.target, self.device, {k.name: values.get(k.name, k.default) for k in self.knobs})

    def why_illegal(self, point: Point) -> str | None:
        """The reason in words, or None for a legal point. Values need only be allowed, not searched."""
        values = point.values
        if set(values) != {k.name for k in self.knobs}:
            return "a point has exactly one value for every knob"
        for knob in self.knobs:
            if values[knob.name] not in knob.allowed:
                return f"{knob.name} cannot be {values[knob.name]}; allowed on this machine: {knob.allowed_words}"
        return next((rule.reason for rule in self.rules if not rule.holds(values)), None)

    def points(self) -> Iterator[Point]:
        """Every legal point over the searched values, in a fixed order."""
        names = [k.name for k in self.knobs]
        listed = self.listed()
        for combo in itertools.product(*(k.values for k in self.knobs)) if listed is None else listed:
            values = dict(zip(names, combo, strict=True))
            if all(rule.holds(values) for rule in self.rules):
                yield Point.of(self.target, self.device, values)

    def listed(self) -> list[tuple[Value, ...]] | None:
        """The combinations of searched values that a rule lists, in the order of `points`; None where none does."""
        only = next((rule.only for rule in self.rules if rule.only is not None), None)
        if only is None:
            return None
        places = [{value: place for place, value in enumerate(k.values)} for k in self.knobs]
        found = {tuple(at.get(values[k.name], -1) for k, at in zip(self.knobs, places, strict=True)) for values in only}
        return [tuple(k.values[i] for k, i in zip(self.knobs, at, strict=True)) for at in sorted(found) if -1 not in at]

    def size(self) -> tuple[int, int]:
        """(legal points, all combinations) over the searched values."""
        values = {knob.name: knob.values for knob in self.knobs}
        listed = self.listed()
        legal = _legal(values, self.rules) if listed is None else sum(1 for _ in self.points())
        return legal, math.prod(map(len, values.values()))

    def build_part(self, point: Point) -> tuple[tuple[str, Value], ...]:
        """The build-stage values of a point: points that agree here share one artifact."""
        build = {k.name for k in self.knobs if k.stage == "build"}
        return tuple((name, value) for name, value in point.settings if name in build)

    def narrowed(self, wanted: Mapping[str, tuple[Value, ...]]) -> Space:
        """The same space searched over other values of some knobs; knobs it does not have are ignored."""
        knobs = tuple(k.with_values(wanted[k.name]) if k.name in wanted else k for k in self.knobs)
        space = replace(self, knobs=knobs)
        inside = {k.name: set(k.values) for k in knobs}
        seeds = tuple(s for s in self.seeds if all(v in inside[n] for n, v in s.settings))
        return replace(space, seeds=seeds)


# ---------------------------------------------------------------- counting

Searched = Mapping[str, tuple[Value, ...]]
"""Knobs by name, with the values that a search tries."""


class _Undecided(Exception):  # noqa: N818  not an error: what a rule wants to know
    """A rule read a knob that has no value yet."""

    def __init__(self, knob: str) -> None:
        super().__init__(knob)
        self.knob = knob


class _Partly(Mapping[str, Value]):
    """Values of some of the knobs; reading another one, or all of them, raises `_Undecided`."""

    def __init__(self, knobs: Searched, given: Mapping[str, Value]) -> None:
        self._knobs, self._given = knobs, given

    def __getitem__(self, knob: str) -> Value:
        if knob in self._knobs and knob not in self._given:
            raise _Undecided(knob)
        return self._given[knob]

    def __iter__(self) -> Iterator[str]:
        for knob in self._knobs:
            self[knob]
        return iter(self._knobs)

    def __len__(self) -> int:
        return len(self._knobs)


def _legal(knobs: Searched, rules: Sequence[Rule]) -> int:
    """How many combinations keep the rules: knobs that no rule reads together are counted apart and multiplied."""
    groups: list[tuple[set[str], list[Rule]]] = [({knob}, []) for knob in knobs]
    for rule in rules:
        read = _read(knobs, rule, {})
        tied = [group for group in groups if group[0] & read] or groups[:1]
        groups = [group for group in groups if group not in tied]
        groups.append((set().union(*(names for names, _ in tied)), [*itertools.chain(*(of for _, of in tied)), rule]))
    return math.prod(_kept({k: knobs[k] for k in knobs if k in names}, of, {}) for names, of in groups)


def _read(knobs: Searched, rule: Rule, given: Mapping[str, Value]) -> set[str]:
    """The knobs that a rule reads beside those ``given``, for any of their values."""
    try:
        rule.holds(_Partly(knobs, given))
    except _Undecided as wanted:
        name = wanted.knob
        return {name}.union(*(_read(knobs, rule, {**given, name: value}) for value in knobs[name]))
    return set()


def _kept(knobs: Searched, rules: Sequence[Rule], given: Mapping[str, Value]) -> int:
    """How many combinations with the values ``given`` keep the rules; a knob gets values once a rule reads it."""
    wanted: list[tuple[str, Rule]] = []
    for rule in rules:
        try:
            if not rule.holds(_Partly(knobs, given)):
                return 0
        except _Undecided as undecided:
            wanted.append((undecided.knob, rule))
    if not wanted:
        return math.prod(len(values) for name, values in knobs.items() if name not in given)
    name, open_rules = wanted[0][0], [rule for _, rule in wanted]
    return sum(_kept(knobs, open_rules, {**given, name: value}) for value in knobs[name])
