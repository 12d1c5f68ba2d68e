"""Comparing two studies: no difference where there is none, and no ratio that would not be fair."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infertune.core.records import Closed, Entry, Feed
from infertune.report.comparison import compare, comparison_json, comparison_text
from infertune.testing.records import (
    a_baseline,
    a_confirmation,
    a_model,
    a_point,
    a_question,
    a_search,
    a_study,
    opening,
    recorded,
)

FAST, SLOW = a_point(batch=8), a_point(batch=2)
LITTLE = {"onnxruntime default": 1.0}


def study(throughput: float, goal: str = "max throughput") -> list[Entry]:
    return a_study({FAST: throughput}, baselines=LITTLE, question=a_question(goal))


def unconfirmed() -> list[Entry]:
    return recorded([*opening(a_question()), *a_search({FAST: 200.0}), Closed(status="interrupted", why="")])


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        (100.0, 150.0, "B is better: 1.50x"),
        (150.0, 100.0, "A is better: B is 0.67x"),
        (100.0, 102.0, "no difference: B is 1.02x"),
        (100.0, 100.0, "no difference: B is 1.00x"),
    ],
)
def test_the_verdict_is_in_words(a: float, b: float, words: str) -> None:
    assert compare(study(a), study(b)).verdict.startswith(words)


@given(st.floats(10.0, 1000.0), st.floats(10.0, 1000.0))
def test_the_ratio_spans_the_worst_of_both_intervals(a: float, b: float) -> None:
    found = compare(study(a), study(b))
    ours, theirs = found.b.figures, found.a.figures
    assert found.ratio is not None and ours is not None and theirs is not None
    assert found.ratio.low == ours.throughput.low / theirs.throughput.high
    assert found.ratio.high == ours.throughput.high / theirs.throughput.low
    assert found.ratio.low <= found.ratio.value <= found.ratio.high


def test_overlapping_intervals_are_no_difference() -> None:
    wide = [*opening(a_question()), *a_search({FAST: 100.0})]
    values = {FAST: [60.0, 90.0, 105.0, 110.0, 120.0, 140.0], a_baseline("onnxruntime default"): [1.0] * 6}
    decided = [e.event for e in study(100.0) if type(e.event).__name__ == "Decided"]
    entries = recorded([*wide, *decided, *a_confirmation(values), Closed(status="ok", why="")])
    assert compare(entries, study(125.0)).verdict.startswith("no difference")


def test_less_latency_is_better() -> None:
    found = compare(study(100.0, "min latency"), study(200.0, "min latency"))
    assert found.metric == "p50"
    assert found.verdict.startswith("B is better: 2.00x")


def test_more_of_a_rate_is_better() -> None:
    goal = "max rate, p99 < 900 ms"
    found = compare(study(100.0, goal), study(150.0, goal))
    assert found.metric == "rate"
    assert found.verdict.startswith("B is better: 1.50x")
    assert comparison_text(found).startswith("Comparing rate\n")


def test_studies_that_are_best_in_another_figure_get_no_ratio() -> None:
    found = compare(study(100.0, "min latency"), study(200.0))
    assert (found.ratio, found.figures) == (None, ()) and found.verdict == "not comparable: another goal"
    limited = compare(study(100.0), study(200.0, "max throughput, p99 < 10 s"))
    assert limited.ratio is not None and limited.differences == ("goal",)


def test_simulated_and_measured_figures_get_no_ratio() -> None:
    simulated = a_study({FAST: 100.0}, baselines=LITTLE, question=a_question(simulated=True))
    for pair, words in (((simulated, study(200.0)), "A is simulated"), ((study(200.0), simulated), "B is simulated")):
        found = compare(*pair)
        assert found.ratio is None
        assert found.verdict.startswith(f"not comparable: {words}")
    assert compare(simulated, simulated).ratio is not None


def test_unconfirmed_figures_get_no_ratio() -> None:
    found = compare(unconfirmed(), study(200.0))
    assert found.ratio is None and found.verdict == "not comparable yet: A is not confirmed"
    assert comparison_json(found)["a"]["confirmed"] is None
    assert [line.split()[0] for line in comparison_text(found).splitlines() if "batch 8" in line] == ["best", "winner"]


def test_a_study_without_a_winner_gets_no_ratio() -> None:
    empty = recorded([*opening(a_question()), Closed(status="nothing_feasible", why="")])
    found = compare(study(200.0), empty)
    assert found.ratio is None and found.verdict == "not comparable: B has no winner"
    assert "none" in comparison_text(found)


def test_what_else_differs_is_named() -> None:
    other = a_question(model=replace(a_model("other"), digest="00" * 32, shapes=(("sequence_length", 64),)))
    found = compare(study(100.0), a_study({FAST: 200.0}, baselines=LITTLE, question=other))
    assert found.differences == ("model", "shapes")
    assert found.ratio is None and found.verdict == "not comparable: another model and another shape"
    assert "not the same in both" not in comparison_text(found)  # the verdict says it
    inputs = replace(a_question(), feed=Feed(seed=1))
    assert "not the same in both: inputs" in comparison_text(
        compare(study(100.0), a_study({FAST: 200.0}, question=inputs))
    )
    assert compare(study(100.0), study(200.0)).differences == ()


def test_text(golden: Callable[[str, str], None]) -> None:
    golden("compare.txt", comparison_text(compare(study(100.0), study(150.0))))


def test_what_makes_two_studies_incomparable_is_said_once() -> None:
    told = comparison_text(
        compare(a_study({a_point(): 100.0}), a_study({a_point(): 100.0}, question=a_question("min p99")))
    )
    assert told.count("goal") == 1 and "not comparable: another goal" in told
