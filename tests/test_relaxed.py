"""What limits cost: the bound that would do, checked by asking for it, and what is lost to a limit that binds."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infertune.cli.outcome import finish
from infertune.core import history, verdict
from infertune.core.answer import answer
from infertune.core.errors import NothingFeasible
from infertune.core.goal import parse_goal
from infertune.core.history import Sample
from infertune.core.records import Checked, Closed, Entry, Event, Failed, FailureKind, Feed, Launch, Measurement
from infertune.core.relaxed import relaxed, written
from infertune.core.space import Point
from infertune.core.verdict import Terms
from infertune.report import json_text, markdown_text, plain_text
from infertune.report.page.write import html_text
from infertune.study import Study
from infertune.testing.records import (
    a_check,
    a_launch,
    a_measurement,
    a_point,
    a_question,
    a_search,
    a_space,
    a_study,
    opening,
    recorded,
)

ONE, FOUR, EIGHT, SIXTEEN = (a_point(batch=batch) for batch in (1, 4, 8, 16))


def screened(point: Point, throughput: float, latency_ms: float, count: int = 700) -> Launch:
    batch = point.number("batch")
    return a_launch(point, a_measurement(throughput, latency_ms, count=count, batch=batch))


def infeasible(goal: str, launches: Sequence[Launch], cosines: dict[Point, float] | None = None) -> list[Entry]:
    checks = [a_check(point, cosine) for point, cosine in (cosines or {}).items()]
    closed: Event = Closed(status="nothing_feasible", why="budget spent")
    return recorded([*opening(a_question(goal)), *launches, *checks, closed])


def asked_for(entries: Sequence[Entry], goal: str) -> list[Entry]:
    """The same launches with another goal, and no verdict yet."""
    asked = replace(history.question(entries), goal=goal)
    return [replace(entries[0], event=asked), *entries[1:-1]]


LAUNCHES = [screened(ONE, 80.0, 8.0), screened(FOUR, 120.0, 20.0), screened(SIXTEEN, 150.0, 60.0)]

# ---------------------------------------------------------------- nothing meets the goal


def test_the_least_relaxing_of_the_limit_that_binds() -> None:
    found = answer(infeasible("max throughput, p99 < 5 ms", LAUNCHES)).nearest
    assert found is not None and found.relaxed is not None
    assert found.point == found.relaxed.point == ONE and found.limit == "p99 < 5 ms"
    ((limit, to),) = found.relaxed.limits
    assert limit == "p99 < 5 ms" and to == "p99 < 8.8 ms"  # latencies rise evenly to 8.8 ms
    assert found.relaxed.figure == "80.0 samples/s"


@pytest.mark.parametrize(
    "goal",
    [
        "max throughput, p99 < 5 ms",
        "max throughput, p99 < 5 ms at 99 %",
        "min latency, throughput > 1000/s",
        "max throughput, p50 < 1 ms, throughput > 10/s",
        "max throughput, memory < 2 MB",
        "max throughput, batch <= 0",
        "max throughput, cores <= 1, p99 < 30 ms",
        "max throughput, p99 < 5 ms, throughput > 1000/s",
    ],
)
def test_asking_for_what_is_offered_finds_an_answer(goal: str) -> None:
    entries, goal = infeasible(goal, LAUNCHES), str(parse_goal(goal))
    found = answer(entries).nearest
    assert found is not None and found.relaxed is not None
    for limit, to in found.relaxed.limits:
        assert limit in goal and to != limit
        goal = goal.replace(limit, to)
    again = answer(asked_for(entries, goal))
    assert again.winner == found.relaxed.point
    assert again.figures is not None and again.figures.point == found.relaxed.point


def test_a_limit_on_its_own_is_offered_before_several() -> None:
    launches = [screened(ONE, 80.0, 6.0), screened(SIXTEEN, 150.0, 60.0)]
    found = answer(infeasible("max throughput, p99 < 1 ms, throughput > 140/s", launches)).nearest
    assert found is not None and found.relaxed is not None
    assert found.point == ONE and found.limit == "p99 < 1 ms"
    assert [limit for limit, _ in found.relaxed.limits] == ["p99 < 1 ms"] and found.relaxed.point == SIXTEEN


def test_all_that_the_closest_misses_where_one_is_not_enough() -> None:
    found = answer(infeasible("max throughput, p99 < 5 ms, throughput > 1000/s", LAUNCHES)).nearest
    assert found is not None and found.relaxed is not None
    assert [limit for limit, _ in found.relaxed.limits] == ["p99 < 5 ms", "throughput > 1000 /s"]


def test_the_best_of_all_that_the_new_bound_lets_in() -> None:
    launches = [screened(ONE, 80.0, 8.0), screened(FOUR, 120.0, 7.99)]
    found = answer(infeasible("max throughput, p99 < 5 ms", launches)).nearest
    assert found is not None and found.relaxed is not None
    assert found.relaxed.point == FOUR and found.relaxed.figure == "120 samples/s"


def test_the_default_limit_on_fidelity_can_be_relaxed_by_naming_it() -> None:
    entries = infeasible("max throughput", [LAUNCHES[0]], {ONE: 0.97})
    found = answer(entries).nearest
    assert found is not None and found.relaxed is not None
    assert found.relaxed.limits == (("fidelity >= 0.99", "fidelity >= 0.97"),)
    assert answer(asked_for(entries, "max throughput, fidelity >= 0.97")).winner == ONE


def test_outputs_that_could_not_be_compared_are_no_bound() -> None:
    check = a_check(ONE, 0.0)
    unchecked = replace(check, fidelity=replace(check.fidelity, reason="no outputs", inputs=0))
    entries = recorded(
        [*opening(a_question()), LAUNCHES[0], unchecked, Closed(status="nothing_feasible", why="")],
    )
    found = answer(entries).nearest
    assert found is not None and found.relaxed is None
    assert "instead" not in plain_text(entries)


@given(
    st.lists(st.tuples(st.floats(1.0, 1e4), st.integers(3, 900)), min_size=1, max_size=7),
    st.sampled_from(["p99", "p90", "p50"]),
)
def test_a_bound_that_is_offered_is_never_broken_by_its_own_launches(
    launches: list[tuple[float, int]], metric: str
) -> None:
    runs: list[tuple[int, Measurement]] = [
        (block, a_measurement(10.0, latency, count=count)) for block, (latency, count) in enumerate(launches)
    ]
    terms = Terms(goal=parse_goal(f"max throughput, {metric} < 1 ns"), spaces=(a_space(),), fidelities={})
    sample = Sample(point=ONE, runs=tuple(runs))
    found = relaxed(terms, [sample], sample, terms.goal.limits[0])
    assert found is not None
    ((_, to),) = found.limits
    asked = replace(terms, goal=parse_goal(f"max throughput, {to}"))
    assert verdict.acceptable(asked, sample)


@pytest.mark.parametrize(
    ("limit", "bound", "text"),
    [
        ("p99 < 5 ms", 0.0082111, "p99 < 8.22 ms"),
        ("p99 <= 2 s at 99 %", 0.0, "p99 <= 0 ms at 99 %"),
        ("throughput > 100/s", 98.76, "throughput > 98.7/s"),
        ("memory < 2 GB", 2.5e9, "memory < 2500 MB"),
        ("fidelity > 0.99", 0.97119, "fidelity > 0.9711"),
        ("batch <= 4", 16.0, "batch <= 16"),
    ],
)
def test_a_bound_is_rounded_to_its_easier_side(limit: str, bound: float, text: str) -> None:
    assert written(parse_goal(f"max throughput, {limit}").limits[0], bound) == text


# ---------------------------------------------------------------- a limit that binds


def limited(goal: str) -> list[Entry]:
    """Batch 16 is the fastest point, and breaks what ``goal`` limits."""
    return a_study(
        {FOUR: 120.0, SIXTEEN: 150.0},
        finalists=(FOUR,),
        question=a_question(goal),
        baselines={"openvino default": 90.0},
    )


def test_what_the_limit_costs() -> None:
    found = answer(limited("max throughput, batch <= 4"))
    cost = found.limit_cost
    assert found.winner == FOUR and cost is not None
    assert (cost.limit, cost.point, cost.figure) == ("batch <= 4", SIXTEEN, "150 samples/s")
    assert cost.ratio == pytest.approx(1.25, rel=0.02)


@pytest.mark.parametrize("goal", ["max throughput", "max throughput, batch <= 64", "max throughput, p99 < 10 s"])
def test_a_limit_that_keeps_nothing_better_out_costs_nothing(goal: str) -> None:
    made = a_study({FOUR: 120.0, SIXTEEN: 150.0}, question=a_question(goal))
    assert answer(made).limit_cost is None


def test_the_dearest_limit_is_told_and_only_those_that_bind_alone() -> None:
    found = answer(limited("max throughput, batch <= 4, cores <= 4"))
    assert found.limit_cost is not None and found.limit_cost.limit == "batch <= 4"
    both = answer(limited("max throughput, batch <= 4, p99 < 50 ms"))
    assert both.limit_cost is None  # batch 16 breaks either: dropping one alone lets nothing in


# ---------------------------------------------------------------- said


@pytest.mark.parametrize("render", [plain_text, markdown_text, html_text])
def test_reports_say_what_relaxing_gives(render: Callable[[Sequence[Entry]], str]) -> None:
    text = html.unescape(render(infeasible("max throughput, p99 < 5 ms", LAUNCHES)))
    plain = re.sub(r"</?code>|\\\\?`", "`", text)
    assert "`p99 < 5 ms` relaxed to `p99 < 8.8 ms` gives 80.0 samples/s, by what was measured so far" in plain


@pytest.mark.parametrize("render", [plain_text, markdown_text, html_text])
def test_reports_say_what_a_limit_costs(render: Callable[[Sequence[Entry]], str]) -> None:
    text = render(limited("max throughput, batch <= 4"))
    assert "the best measured point reaches 150 samples/s, 1.25x" in text


def test_documents_hold_both() -> None:
    found = json.loads(json_text(infeasible("max throughput, p99 < 5 ms", LAUNCHES)))
    assert found["nearest"]["relaxed"]["limits"] == [{"limit": "p99 < 5 ms", "to": "p99 < 8.8 ms"}]
    assert found["nearest"]["relaxed"]["point"]["batch"] == 1 and found["limit_cost"] is None
    cost = json.loads(json_text(limited("max throughput, batch <= 4")))["limit_cost"]
    assert (cost["limit"], cost["point"]["batch"], cost["figure"]) == ("batch <= 4", 16, "150 samples/s")


def test_the_error_offers_the_bound(tmp_path: Path) -> None:
    entries = tuple(infeasible("max throughput, p99 < 5 ms", LAUNCHES))
    with pytest.raises(NothingFeasible) as caught:
        finish(Study(folder=tmp_path, entries=entries), as_json=True, interrupted=0)
    assert "with `p99 < 8.8 ms` it would give 80.0 samples/s" in caught.value.hint


@pytest.mark.parametrize(
    ("why", "advised"),
    [
        ("the time for searching is spent; 9 points were not tried", ", or give a larger --budget"),
        (f"{history.trials_spent(2)}; 9 points were not tried", ", or give more --trials"),
        ("every point that can work was tried", " (more time finds no more: every point that can work was tried)"),
        ("", ""),
    ],
)
def test_the_error_advises_by_what_ended_the_search(tmp_path: Path, why: str, advised: str) -> None:
    launch = a_launch(ONE, a_measurement(50.0))
    closed = Closed(status="nothing_feasible", why=why)
    entries = recorded([*opening(a_question("max throughput, p99 < 1 ms")), launch, closed])
    with pytest.raises(NothingFeasible) as caught:
        finish(Study(folder=tmp_path, entries=tuple(entries)), as_json=True, interrupted=0)
    assert caught.value.hint.endswith(f" samples/s{advised}")


def test_the_error_names_what_was_wrong_with_the_outputs(tmp_path: Path) -> None:
    fast = a_point(precision="bf16")
    wrong = replace(a_check(fast).fidelity, cosine=0.0, reason="logits holds NaN or infinities; clip them")
    events = [*opening(a_question()), *a_search({fast: 200.0}), Checked(fidelity=wrong, wall_s=0.1)]
    with pytest.raises(NothingFeasible) as caught:
        finish(Study(folder=tmp_path, entries=tuple(recorded(events))), as_json=True, interrupted=0)
    assert caught.value.hint.startswith("the closest gives wrong outputs: logits holds NaN or infinities; clip them")


@pytest.mark.parametrize(("kind", "inputs", "budget"), [("timeout", 0, 1), ("output", 0, 0), ("crash", 1, 0)])
def test_where_nothing_ran_only_what_may_help_is_advised(
    tmp_path: Path, kind: FailureKind, inputs: int, budget: int
) -> None:
    launch = a_launch(ONE, Failed(stage="measure", kind=kind, message="no"))
    with pytest.raises(NothingFeasible) as told:
        finish(
            Study(folder=tmp_path, entries=tuple(infeasible("max throughput", [launch]))), as_json=False, interrupted=0
        )
    assert told.value.id == "nothing-ran" and told.value.hint is not None
    assert (told.value.hint.count("--inputs"), told.value.hint.count("--budget")) == (inputs, budget)


def test_where_nothing_ran_on_given_inputs_they_are_not_asked_for_again(tmp_path: Path) -> None:
    launch = a_launch(ONE, Failed(stage="measure", kind="crash", message="no"))
    entries = infeasible("max throughput", [launch])
    asked = replace(history.question(entries), feed=Feed(seed=0, path="own.npz"))
    entries[0] = replace(entries[0], event=asked)
    with pytest.raises(NothingFeasible) as told:
        finish(Study(folder=tmp_path, entries=tuple(entries)), as_json=False, interrupted=0)
    hint = told.value.hint
    assert hint is not None
    assert hint.endswith("no; the values or sizes of these inputs may be beyond what the model takes")
