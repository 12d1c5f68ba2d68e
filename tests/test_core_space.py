"""Spaces: what is legal and why not, artifacts' keys, narrowing, and records on the wire."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infertune.core import keys, wire
from infertune.core.errors import UsageError
from infertune.core.records import Event, Failed, Launch, Measurement, Outcome, RawNs
from infertune.core.space import Baseline, IntRange, Knob, Point, Rule, Space, Value
from infertune.testing.records import a_study

BATCH = Knob(
    name="batch", stage="run", default=1, values=(1, 8), allowed=IntRange(low=1, high=64), doc="d", spelling="s"
)
LEVEL = Knob(
    name="level", stage="build", default="all", values=("all", "off"), allowed=("all", "off"), doc="d", spelling="s"
)
BARE = Space(
    target="t",
    device="cpu",
    knobs=(BATCH, LEVEL),
    rules=(Rule(reason="a batch needs optimisation", holds=lambda v: v["batch"] == 1 or v["level"] == "all"),),
)
SPACE = Space(
    target="t",
    device="cpu",
    knobs=BARE.knobs,
    rules=BARE.rules,
    seeds=(BARE.point(batch=8), BARE.point()),
    baselines=(Baseline(name="default", point=BARE.point()),),
)


def test_only_legal_points_are_enumerated() -> None:
    assert [p.values for p in SPACE.points()] == [
        {"batch": 1, "level": "all"},
        {"batch": 1, "level": "off"},
        {"batch": 8, "level": "all"},
    ]
    assert SPACE.size() == (3, 4)


Holds = Callable[[Mapping[str, Value]], bool]
NAMES = "abcd"


def number(name: str, values: tuple[Value, ...]) -> Knob:
    allowed = IntRange(low=0, high=10**6)
    return Knob(name=name, stage="run", default=0, values=values, allowed=allowed, doc="d", spelling="s")


@st.composite
def conditions(draw: st.DrawFn) -> Holds:
    """Rules of all manners: those that read some knobs always, some only at times, one that is not there, or all."""
    first, second = draw(st.sampled_from(NAMES)), draw(st.sampled_from(NAMES))
    bound, refused = draw(st.integers(0, 4)), draw(st.integers(0, 2))
    manners: tuple[Holds, ...] = (
        lambda v: int(v[first]) + int(v[second]) <= bound,
        lambda v: v[first] == refused or v[second] != refused,
        lambda v: v.get(first, 0) != refused and "none" not in v and v.get("none", 7) == 7,
        lambda v: sum(map(int, dict(v).values())) >= bound,
        lambda v: bound > 0,
    )
    return draw(st.sampled_from(manners))


@given(
    st.lists(st.integers(0, 3), min_size=len(NAMES), max_size=len(NAMES)),
    st.lists(conditions(), max_size=4),
)
def test_points_are_counted_as_if_each_was_looked_at(sizes: list[int], holds: list[Holds]) -> None:
    knobs = tuple(number(name, tuple(range(size))) for name, size in zip(NAMES, sizes, strict=True))
    space = Space(target="t", device="cpu", knobs=knobs, rules=tuple(Rule(reason="r", holds=h) for h in holds))
    assert space.size() == (len(list(space.points())), math.prod(sizes))


def test_what_no_rule_ties_together_is_not_combined_to_be_counted() -> None:
    looked = 0

    def even(values: Mapping[str, Value]) -> bool:
        nonlocal looked
        looked += 1
        return (int(values["a"]) + int(values["b"])) % 2 == 0

    knobs = tuple(number(name, tuple(range(size))) for name, size in (("a", 4), ("b", 4), ("c", 1000), ("d", 1000)))
    space = Space(target="t", device="cpu", knobs=knobs, rules=(Rule(reason="even", holds=even),))
    assert space.size() == (8 * 10**6, 16 * 10**6)
    assert looked < 100


def test_reasons_are_given_in_words() -> None:
    assert SPACE.why_illegal(SPACE.point(batch=3)) is None  # allowed, though not searched
    assert SPACE.why_illegal(SPACE.point(batch=8, level="off")) == "a batch needs optimisation"
    assert SPACE.why_illegal(SPACE.point(batch=65)) == "batch cannot be 65; allowed on this machine: 1..64"
    assert SPACE.why_illegal(Point.of("t", "cpu", {"batch": 1})) == "a point has exactly one value for every knob"


def test_an_unknown_knob_names_the_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        SPACE.knob("bach")
    assert "did you mean `batch`?" in caught.value.hint


def test_narrowing_keeps_what_still_belongs() -> None:
    narrow = SPACE.narrowed({"batch": (1, 3), "unknown": (1,)})
    assert [k.values for k in narrow.knobs] == [(1, 3), ("all", "off")]
    assert narrow.seeds == (SPACE.point(),)
    assert narrow.baselines == SPACE.baselines
    with pytest.raises(UsageError) as caught:
        SPACE.narrowed({"batch": (0,)})
    assert (caught.value.id, caught.value.hint) == ("value-outside-space", "allowed on this machine: 1..64")


def test_points_are_identified_by_their_values_alone() -> None:
    a = Point.of("t", "cpu", {"x": 1, "y": "on"})
    b = Point.of("t", "cpu", {"y": "on", "x": 1})
    assert a == b and hash(a) == hash(b) and keys.point_key(a) == keys.point_key(b)
    assert keys.point_key(a) != keys.point_key(a.but(x=2))
    assert keys.point_key(a) != keys.point_key(Point.of("t", "cpu", {"x": "1", "y": "on"}))


def test_every_event_survives_the_wire() -> None:
    for entry in a_study({}, baselines={"openvino default": 100.0}):
        text = wire.to_json(entry.event, Event)
        assert wire.from_json(text, Event) == entry.event


def test_the_two_arms_of_an_outcome_are_told_apart() -> None:
    failed = Failed(stage="measure", kind="crash", message="m")
    launch = Launch(point=SPACE.point(), purpose="screen", block=0, outcome=failed, flags=(), wall_s=1.0)
    again = wire.from_json(wire.to_json(launch, Event), Event)
    assert again == launch and isinstance(again.outcome, Failed)


@given(st.lists(st.integers(min_value=0, max_value=2**62), max_size=50))
def test_raw_samples_survive_bit_exactly(samples: list[int]) -> None:
    measurement = Measurement(
        batch=1,
        in_flight=1,
        wall_ns=1,
        latencies_ns=RawNs(samples),
        ends_ns=RawNs(samples),
        setup_ns=0,
        first_ns=0,
        warmup_count=0,
    )
    again = wire.from_json(wire.to_json(measurement, Outcome), Outcome)
    assert tuple(again.latencies_ns) == tuple(samples)
    assert again == measurement
