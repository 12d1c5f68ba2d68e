"""Goals and limits: grammar, scores, excess, errors that show the grammar."""

from __future__ import annotations

import contextlib
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infertune.core.errors import UsageError
from infertune.core.goal import GRAMMAR, metric_value, parse_goal
from infertune.core.records import Conditions, Measurement, RawNs
from infertune.core.space import Point

POINT = Point.of("openvino", "cpu", {"batch": 8, "cores": 2})


def measurement(latency_ms: float = 10.0, count: int = 100, batch: int = 1) -> Measurement:
    latency = round(latency_ms * 1e6)
    return Measurement(
        batch=batch,
        in_flight=1,
        wall_ns=latency * count,
        latencies_ns=RawNs([latency] * count),
        ends_ns=RawNs(latency * (i + 1) for i in range(count)),
        setup_ns=0,
        first_ns=0,
        warmup_count=0,
        conditions=Conditions(peak_rss_bytes=500_000_000),
    )


@pytest.mark.parametrize(
    "text",
    [
        "max throughput",
        "min latency",
        "min p99",
        "max throughput, p99 < 20 ms, fidelity > 0.995",
        "max throughput, memory < 2 GB, batch <= 16",
        "min latency, throughput > 100 /s",
        "max rate, p99 < 50 ms at 99 %",
        "max throughput, p99.9 latency < 1 s, cores <= 4",
        "pareto throughput, p99",
        "pareto throughput, latency, memory, p99 < 50 ms, fidelity > 0.98",
        "pareto throughput, p99 at 5 ms and 30 ms, memory < 2 GB",
        "pareto throughput at 1000/s, p99 latency at 5 ms at 99 %",
    ],
)
def test_a_goal_printed_and_parsed_again_is_the_same(text: str) -> None:
    goal = parse_goal(text)
    assert parse_goal(str(goal)) == goal


def test_scores_are_logs_of_ratios() -> None:
    fast, slow = measurement(10.0), measurement(20.0)
    for text in ("max throughput", "min latency", "min p99"):
        goal = parse_goal(text)
        assert goal.score(fast) - goal.score(slow) == pytest.approx(math.log(2))


def test_units_are_understood() -> None:
    m = measurement(10.0)
    assert parse_goal("max throughput, p99 < 20 ms").excess(POINT, m) == 0
    assert parse_goal("max throughput, p99 < 0.005 s").excess(POINT, m) == pytest.approx(math.log(2))
    assert parse_goal("max throughput, p50 < 5000 us").excess(POINT, m) == pytest.approx(math.log(2))
    assert parse_goal("max throughput, memory < 250 MB").excess(POINT, m) == pytest.approx(math.log(2))
    assert parse_goal("min latency, throughput > 200/s").excess(POINT, m) == pytest.approx(math.log(2))
    assert parse_goal("max throughput, batch <= 4").excess(POINT, m) == pytest.approx(math.log(2))


def test_fidelity_has_a_floor_without_being_asked() -> None:
    assert parse_goal("max throughput").fidelity_floor == 0.99
    assert parse_goal("max throughput, fidelity > 0.9").fidelity_floor == 0.9


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("max througput", "max throughput"),
        ("max throughput, p98 < 20 ms", "p99"),
        ("max throughput, p99 < 20", "`ms`"),
        ("max throughput, p99 < 20 MB", "`ms`"),
        ("max throughput, p99 = 20 ms", "p99 < 20 ms"),
        ("max throughput, p99 < 1.2.3 ms", "max throughput"),
        ("", "max throughput"),
        ("max throughput, batch < 20 ms", "no unit"),
        ("max throughput, memory < 20 ms", "`MB`"),
        ("max throughput, throughput > 20 at 99 %", "`/s`"),
        ("max throughput, fidelity < 0.5", "fidelity > 0.99"),
        ("max throughput, fidelity <= 0.5", "fidelity > 0.99"),
        ("max throughput, memory < 2 GB at 99 %", "latency percentiles"),
        ("max throughput, p99 < 2 ms at 100 %", "99.99 %"),
        ("pareto throughput", "pareto throughput, p99"),
        ("pareto p99, p99 latency", "pareto throughput, p99"),
        ("pareto throughput, fidelity", "memory"),
        ("pareto", "throughput"),
        ("pareto throughput, p99 at soon", "p99 at 5 ms and 30 ms"),
        ("pareto throughput, p99 at 5 GB", "`ms`"),
        ("max throughput, p99 at 5 ms", "p99 < 20 ms"),
    ],
)
def test_errors_show_what_to_write(text: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_goal(text)
    assert caught.value.id == "goal-syntax"
    assert hint in caught.value.hint
    assert GRAMMAR in caught.value.hint


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("max throughput, fidelity > 1.5", "fidelity > 1.5"),
        ("max throughput, p99 < 20 ms, p99 > 30 ms", "p99 > 30 ms"),
        ("max throughput, p99 < 0 ms", "p99 < 0 ms"),
        ("pareto throughput, p99 at 0 ms and 30 ms", "p99 < 0 ms"),
        ("max throughput, p50 > 30 ms, p99 < 20 ms", "p50 > 30 ms"),
        ("max throughput, batch >= 8, batch <= 4", "batch <= 4"),
        ("pareto throughput, p99 at 5 ms and 30 ms, p99 > 10 ms", "p99 < 5 ms"),
    ],
)
def test_limits_that_nothing_can_keep_are_refused(text: str, named: str) -> None:
    with pytest.raises(UsageError, match=named) as caught:
        parse_goal(text)
    assert caught.value.id == "goal-impossible" and caught.value.hint


def test_limits_around_a_figure_are_not_refused() -> None:
    for limits in ("p99 > 20 ms, p99 < 30 ms", "p99 > 30 ms, p50 < 20 ms", "batch >= 4, batch <= 4", "fidelity > 1"):
        assert parse_goal(f"max throughput, {limits}").limits


@given(st.text(max_size=60))
def test_any_text_is_a_goal_or_a_usage_error(text: str) -> None:
    with contextlib.suppress(UsageError):
        goal = parse_goal(text)
        assert parse_goal(str(goal)) == goal


def test_metrics_of_a_launch() -> None:
    m = measurement(10.0, batch=4)
    assert metric_value("throughput", m) == pytest.approx(400.0)
    assert metric_value("p90", m) == pytest.approx(0.010)
    assert metric_value("memory", m) == 5e8


def test_a_limit_says_how_sure_it_must_be() -> None:
    plain, sure = parse_goal("max throughput, p99 < 50 ms, p95 latency <= 20 ms at 99 %").limits
    assert (plain.confidence, sure.confidence) == (0.95, 0.99)
    assert sure.metric == "p95" and sure.bound == pytest.approx(0.02)


def test_a_front_names_its_figures_and_has_a_score_that_rises_with_each_of_them() -> None:
    goal = parse_goal("pareto throughput, p99 latency, memory < 1 GB")
    assert goal.metrics == ("throughput", "p99") and goal.is_front and goal.metric == "throughput"
    slow, fast = measurement(20.0), measurement(10.0)
    assert list(goal.scores(fast)) == pytest.approx([math.log(100.0), -math.log(0.010)])
    assert goal.score(fast) == pytest.approx(sum(goal.scores(fast)) / 2)
    assert goal.score(fast) - goal.score(slow) == pytest.approx(math.log(2))  # both figures are twice as good


def test_a_front_asks_one_question_per_level() -> None:
    goal = parse_goal("Pareto throughput at 900/s, p99 latency at 5 ms and 30 ms, memory < 2 GB")
    assert [str(asked) for asked in goal.at_levels] == [
        "min p99, memory < 2 GB, throughput > 900 /s",
        "max throughput, memory < 2 GB, p99 < 5 ms",
        "max throughput, memory < 2 GB, p99 < 30 ms",
    ]
    assert [limit.text for limit in goal.limits] == ["memory < 2 GB"]
    assert all(parse_goal(str(asked)) == asked for asked in goal.at_levels)


def test_levels_may_stand_between_commas_and_each_counts_once() -> None:
    assert parse_goal("pareto throughput, p99 at 5 ms, 30 ms") == parse_goal("pareto throughput, p99 at 5 ms and 30 ms")
    assert len(parse_goal("pareto throughput, p99 at 5 ms and 5 ms").levels) == 1
    assert parse_goal("pareto throughput, p99").at_levels == ()


def test_a_level_may_begin_with_its_point() -> None:
    assert parse_goal("pareto throughput, p99 at 5 ms, .5 ms") == parse_goal("pareto throughput, p99 at 5 ms and .5 ms")


@pytest.mark.parametrize("text", ["max throughput, memory < 1 MB", "pareto throughput, memory"])
def test_memory_that_was_not_measured_is_not_none_at_all(text: str) -> None:
    goal, unmeasured = parse_goal(text), replace(measurement(), conditions=Conditions())
    with pytest.raises(UsageError, match="did not measure") as caught:
        goal.excess(POINT, unmeasured) + goal.score(unmeasured)
    assert caught.value.id == "not-measured"


@pytest.mark.parametrize(
    ("text", "begins"),
    [
        ("max thruput", "did you mean `max throughput`? goals: max throughput | "),
        ("max throughput p99 < 5 ms", "write a comma after `max throughput`; goals: "),
        ("min p99 throughput > 5/s", "write a comma after `min p99`; goals: "),
        ("fast", "goals: max throughput | "),
    ],
)
def test_what_is_no_goal_is_told_what_would_be_one(text: str, begins: str) -> None:
    with pytest.raises(UsageError) as told:
        parse_goal(text)
    assert told.value.hint.startswith(begins)
    assert told.value.hint.count("max rate") == 1
