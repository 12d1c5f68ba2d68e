"""Spaces: what is legal and why not, artifacts' keys, narrowing, and records on the wire."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infertune.core import keys, wire
from infertune.core.errors import UsageError
from infertune.core.records import Event, Failed, Launch, Measurement, Outcome, RawNs
from infertune.core.space import Baseline, IntRange, Knob, Point, Rule, Space
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
