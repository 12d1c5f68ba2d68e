"""When two points differ, which of two equals is taken, and what a study recommends against its baselines."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infertune.core.goal import parse_goal
from infertune.core.history import Sample
from infertune.core.records import Fidelity, Interval, RawNs
from infertune.core.space import Point
from infertune.core.verdict import (
    ENOUGH,
    Terms,
    compared,
    decide,
    faithful,
    ratio,
    relation,
    simpler,
    simplicity,
    stands,
    unsure_words,
)
from infertune.testing.records import a_baseline, a_measurement, a_point, a_space

SPACES = (a_space("onnxruntime"), a_space("openvino"))
THROUGHPUT = parse_goal("max throughput")
DEFAULT = a_baseline("openvino default")
FAST = a_point(batch=8)
WIDE = a_point(batch=16, instances=2, cores=1)


def terms(goal: str = "max throughput", fidelities: Mapping[Point, Fidelity] | None = None) -> Terms:
    return Terms(goal=parse_goal(goal), spaces=SPACES, fidelities=fidelities or {})


def sample(point: Point, throughputs: Sequence[float], latency_ms: float | None = None) -> Sample:
    runs = tuple((block, a_measurement(speed, latency_ms)) for block, speed in enumerate(throughputs))
    return Sample(point=point, runs=runs)


def fidelity(point: Point, cosine: float) -> Fidelity:
    return Fidelity(point=point, cosine=cosine, max_abs=0.0, max_rel=0.0, top1=None, inputs=2)


@pytest.mark.parametrize(
    ("low", "value", "high", "expected"),
    [
        (1.05, 1.10, 1.20, "better"),
        (1.01, 1.02, 1.04, "same"),  # clear of 1.00, but under 3 %
        (0.99, 1.40, 1.60, "same"),  # large, but the interval includes 1.00
        (1.00, 1.10, 1.20, "same"),
        (0.80, 0.90, 0.95, "worse"),
        (0.95, 0.98, 0.99, "same"),
        (0.70, 0.90, 1.00, "same"),
    ],
)
def test_a_difference_needs_three_per_cent_and_an_interval_clear_of_one(
    low: float, value: float, high: float, expected: str
) -> None:
    assert relation(Interval(value=value, low=low, high=high)) == expected


@given(st.lists(st.floats(0.5, 2.0), min_size=ENOUGH, max_size=9))
def test_turning_a_ratio_round_turns_the_relation_round(factors: list[float]) -> None:
    ours, theirs = sample(FAST, [100 * f for f in factors]), sample(DEFAULT, [100.0] * len(factors))
    there, back = ratio(THROUGHPUT, ours, theirs), ratio(THROUGHPUT, theirs, ours)
    assert there is not None and back is not None
    opposite = {"better": "worse", "worse": "better", "same": "same"}
    assert there.low <= there.value <= there.high
    if len(factors) % 2:  # the median of an even number of ratios lies between two and has no exact mirror image
        assert opposite[relation(there)] == relation(back)
        assert math.isclose(there.value * back.value, 1.0, rel_tol=1e-6)


def test_ratios_pair_blocks_so_that_drift_cancels() -> None:
    drift = [1.0, 0.5, 2.0, 0.7, 1.3, 0.9]
    found = ratio(THROUGHPUT, sample(FAST, [150 * d for d in drift]), sample(DEFAULT, [100 * d for d in drift]))
    assert found is not None
    assert (found.low, found.value, found.high) == pytest.approx((1.5, 1.5, 1.5), rel=1e-6)


def test_a_ratio_uses_shared_blocks_only_and_needs_enough_of_them() -> None:
    ours = Sample(point=FAST, runs=tuple((b, a_measurement(200.0)) for b in (0, 1, 2, 3)))
    theirs = Sample(point=DEFAULT, runs=tuple((b, a_measurement(100.0)) for b in (1, 2, 3, 4)))
    found = ratio(THROUGHPUT, ours, theirs)
    assert found is not None and found.value == pytest.approx(2.0, rel=1e-6)
    assert ratio(THROUGHPUT, ours, Sample(point=DEFAULT, runs=theirs.runs[1:])) is None


def test_several_launches_in_one_block_count_by_their_median() -> None:
    speeds = ((0, 100.0), (0, 300.0), (0, 200.0), (1, 200.0), (2, 200.0))
    ours = Sample(point=FAST, runs=tuple((b, a_measurement(s)) for b, s in speeds))
    found = ratio(THROUGHPUT, ours, sample(DEFAULT, [100.0] * 3))
    assert found is not None
    assert (found.low, found.high) == pytest.approx((2.0, 2.0), rel=1e-6)


def test_latency_ratios_are_theirs_over_ours() -> None:
    goal = parse_goal("min latency")
    found = ratio(goal, sample(FAST, [100.0] * 3, latency_ms=5.0), sample(DEFAULT, [100.0] * 3, latency_ms=10.0))
    assert found is not None and found.value == pytest.approx(2.0, rel=1e-6)


@pytest.mark.parametrize(
    ("simple", "other"),
    [
        (a_point(instances=1, batch=16), a_point(instances=2, batch=1)),  # fewer requests in flight
        (a_point(batch=4), a_point(batch=8)),  # then the smaller batch
        (a_point(precision="f32"), a_point(precision="bf16")),  # then fewer knobs off their default
        (a_baseline("openvino default"), a_point()),  # everything left to the runtime
    ],
)
def test_the_simpler_point_is_the_same_whatever_the_order(simple: Point, other: Point) -> None:
    assert simpler(simple, other, SPACES) == simpler(other, simple, SPACES) == simple


POINTS = st.builds(
    lambda batch, instances, precision: a_point(batch=batch, instances=instances, precision=precision),
    st.sampled_from([1, 4, 16]),
    st.sampled_from([0, 1, 2]),
    st.sampled_from(["f32", "bf16"]),
)


@given(POINTS, POINTS)
def test_simplicity_orders_all_points(a: Point, b: Point) -> None:
    assert (a == b) == (simplicity(a, SPACES) == simplicity(b, SPACES))
    assert simpler(a, b, SPACES) == simpler(b, a, SPACES)


def test_a_clear_winner_beats_the_best_baseline() -> None:
    slow = ("onnxruntime default", sample(a_baseline("onnxruntime default"), [50.0] * 6))
    found = decide(terms(), [sample(FAST, [200.0] * 6)], [slow, ("openvino default", sample(DEFAULT, [100.0] * 6))])
    assert found is not None and found.winner == FAST
    assert found.why == "2.00x (2.00 to 2.00) of the best baseline, openvino default"


def test_an_interval_that_includes_one_recommends_the_default() -> None:
    ours = sample(FAST, [98.0, 130.0, 140.0, 150.0, 120.0, 125.0])
    found = decide(terms(), [ours], [("openvino default", sample(DEFAULT, [100.0] * 6))])
    assert found is not None and found.winner == DEFAULT and found.challenger == FAST
    assert found.why.startswith(
        "the default is as good: openvino default; the best point found, openvino, f32, batch 8"
    )


def test_a_gain_under_three_per_cent_is_no_win() -> None:
    found = decide(terms(), [sample(FAST, [102.0] * 6)], [("openvino default", sample(DEFAULT, [100.0] * 6))])
    assert found is not None and found.winner == DEFAULT
    assert "the default is as good" in found.why


def test_a_point_that_lost_in_confirmation_is_not_recommended() -> None:
    found = decide(terms(), [sample(FAST, [80.0] * 6)], [("openvino default", sample(DEFAULT, [100.0] * 6))])
    assert found is not None and found.winner == DEFAULT
    assert "the default is better: openvino default" in found.why


def test_a_baseline_that_wins_as_a_finalist_says_so() -> None:
    both = sample(DEFAULT, [100.0] * 6)
    found = decide(terms(), [both], [("openvino default", both)])
    assert found is not None and found.winner == DEFAULT
    assert found.why == "no other point that was tried is better than openvino default"


def test_a_tie_is_named_and_goes_to_the_simpler_point() -> None:
    finalists = [sample(WIDE, [202.0] * 6), sample(FAST, [200.0] * 6)]
    found = decide(terms(), finalists, [("openvino default", sample(DEFAULT, [100.0] * 6))])
    assert found is not None and found.winner == FAST and found.tied == (WIDE,)
    assert "a tie: nothing separates it from openvino, f32, batch 16, 2 instances x 1 core" in found.why


def test_separated_finalists_are_no_tie() -> None:
    found = decide(terms(), [sample(WIDE, [240.0] * 6), sample(FAST, [200.0] * 6)], [])
    assert found is not None and found.winner == WIDE and not found.tied


def test_the_order_of_finalists_does_not_matter() -> None:
    finalists = [sample(WIDE, [202.0] * 6), sample(FAST, [200.0] * 6)]
    assert decide(terms(), finalists, []) == decide(terms(), finalists[::-1], [])


def test_an_unfaithful_finalist_cannot_win() -> None:
    unfaithful = {WIDE: fidelity(WIDE, 0.95), FAST: fidelity(FAST, 0.999)}  # each point's own check comes first
    found = decide(terms(fidelities=unfaithful), [sample(WIDE, [300.0] * 6), sample(FAST, [200.0] * 6)], [])
    assert found is not None and found.winner == FAST


def test_a_point_with_the_arithmetic_of_an_unfaithful_one_is_unfaithful_too() -> None:
    bf16, twin = a_point(precision="bf16"), a_point(precision="bf16", batch=8)
    known = terms(fidelities={bf16: fidelity(bf16, 0.9)})
    assert not faithful(known, bf16) and not faithful(known, twin)
    assert faithful(known, a_point(batch=8)) and faithful(known, a_point("onnxruntime", precision="bf16"))
    assert faithful(terms(fidelities={bf16: fidelity(bf16, 0.9), twin: fidelity(twin, 0.999)}), twin)


def test_limits_hold_for_finalists_and_baselines() -> None:
    late = sample(WIDE, [300.0] * 6, latency_ms=50.0)
    fit = sample(FAST, [200.0] * 6, latency_ms=10.0)
    late_default = ("openvino default", sample(DEFAULT, [400.0] * 6, latency_ms=50.0))
    found = decide(terms("max throughput, p99 < 20 ms"), [late, fit], [late_default])
    assert found is not None and found.winner == FAST
    assert found.why == "the best point found; no baseline could be compared with it"


def test_without_an_acceptable_finalist_a_baseline_that_meets_the_goal_is_taken() -> None:
    late = sample(WIDE, [300.0] * 6, latency_ms=50.0)
    default = ("openvino default", sample(DEFAULT, [100.0] * 6, latency_ms=10.0))
    found = decide(terms("max throughput, p99 < 20 ms"), [late], [default])
    assert found is not None and found.winner == DEFAULT
    assert "no finalist met the goal" in found.why


@pytest.mark.parametrize("launches", range(ENOUGH))
def test_nothing_is_decided_before_there_are_enough_launches(launches: int) -> None:
    default = ("openvino default", sample(DEFAULT, [100.0] * launches))
    assert decide(terms(), [sample(FAST, [200.0] * launches)], [default]) is None


def test_a_finalist_that_is_only_short_of_launches_is_waited_for() -> None:
    default = ("openvino default", sample(DEFAULT, [100.0] * ENOUGH))
    assert decide(terms(), [sample(FAST, [200.0] * (ENOUGH - 1))], [default]) is None


def test_a_baseline_that_left_early_is_not_called_the_best() -> None:
    early, whole = sample(a_baseline("openvino throughput hint"), [62, 60, 61]), sample(DEFAULT, [60] * 6)
    ours = sample(FAST, [120] * 6)
    decided = decide(terms(), [ours], [("hint", early), ("default", whole)])
    assert decided is not None and "of the best baseline, default" in decided.why
    few = sample(DEFAULT, [60] * 3)
    decided = decide(terms(), [ours], [("hint", early), ("default", few)])
    assert decided is not None and "of the best baseline, hint" in decided.why


def counted(point: Point, throughput: float, requests: int, launches: int = 6) -> Sample:
    """Launches of so many requests each, all far within 20 ms."""
    runs = tuple((block, a_measurement(throughput, 5.0, count=requests)) for block in range(launches))
    return Sample(point=point, runs=runs)


def test_what_is_not_known_is_told_of_the_winner() -> None:
    limited = terms("max throughput, p99 < 20 ms")
    slow, fast = counted(WIDE, 100.0, 5), counted(FAST, 200.0, 8)
    for finalists in ([slow, fast], [fast, slow]):
        decided = decide(limited, finalists, [])
        assert decided is not None and decided.winner == FAST
        assert "whether `p99 < 20 ms` holds (48)" in decided.why


def test_what_is_not_known_of_a_default_that_is_taken_is_told() -> None:
    default = ("openvino default", counted(DEFAULT, 300.0, 7))
    decided = decide(terms("max throughput, p99 < 20 ms"), [counted(FAST, 200.0, 400)], [default])
    assert decided is not None and decided.winner == DEFAULT
    assert "whether `p99 < 20 ms` holds (42)" in decided.why


def test_a_baseline_that_left_early_is_not_the_only_sure_one() -> None:
    few = ("hint", counted(a_baseline("openvino throughput hint"), 300.0, 400, launches=3))
    stayed = ("default", counted(DEFAULT, 250.0, 400, launches=9))
    decided = decide(terms("max throughput, p99 < 20 ms"), [counted(FAST, 200.0, 8)], [few, stayed])
    assert decided is not None and decided.winner == DEFAULT


@pytest.mark.parametrize(
    ("goal", "told"),
    [
        ("max throughput", "1.92x (1.85 to 2.01) of it"),
        ("max throughput, p99 < 20 ms", "1.92x (1.85 to 2.01) of it"),
        ("min latency", "1.92x (1.85 to 2.01) as fast as it"),
        ("pareto throughput, p99", "1.92x (1.85 to 2.01) of it, by the geometric mean of throughput and p99"),
    ],
)
def test_a_ratio_says_what_it_is_of(goal: str, told: str) -> None:
    assert compared(parse_goal(goal), Interval(value=1.92, low=1.85, high=2.01), "it") == told


def test_requests_that_exceed_a_limit_are_not_called_too_few() -> None:
    """Three of eleven are over: eleven more like them would say no more, whatever there is time for."""
    told = unsure_words(stands(terms("max throughput, p90 < 100 ms"), sample_of([90e6] * 8 + [110e6] * 3)))
    assert told.endswith("holds (11): so many exceed it that more like them would not show that it holds")


def sample_of(latencies_ns: Sequence[float]) -> Sample:
    measured = replace(a_measurement(10.0, count=len(latencies_ns)), latencies_ns=RawNs(list(map(int, latencies_ns))))
    return Sample(point=FAST, runs=((0, measured),))
