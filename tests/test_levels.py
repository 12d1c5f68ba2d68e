"""A front that is asked at levels: an answer of its own at each, confirmed, told in every format, exported."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from infertune.core import history
from infertune.core.answer import answer
from infertune.core.errors import UsageError
from infertune.core.findings import AtLevel
from infertune.core.goal import parse_goal
from infertune.core.records import Closed, Decided, Entry, Event, Launch
from infertune.core.space import Point
from infertune.export.bundle import promise
from infertune.measure import plan as planning
from infertune.report import json_text, markdown_text, plain_text
from infertune.report.page.commands import take_levels
from infertune.report.page.write import html_text
from infertune.report.rows import table
from infertune.study.hand_over import _at_level
from infertune.study.warm import best_points
from infertune.testing.records import (
    a_baseline,
    a_build,
    a_check,
    a_launch,
    a_measurement,
    a_point,
    a_question,
    opening,
    recorded,
)
from test_study_flow import Laboratory

GOAL = "pareto throughput, p99 at 12 ms and 70 ms"
ONE, FOUR, SIXTEEN, LARGEST = (a_point(batch=batch) for batch in (1, 4, 16, 8))
SPEEDS = {ONE: (80.0, 8.0), FOUR: (120.0, 20.0), SIXTEEN: (150.0, 60.0), LARGEST: (170.0, 100.0)}
DEFAULT = a_baseline("openvino default")


def launched(point: Point, throughput: float, latency_ms: float, **how: object) -> Launch:
    measured = a_measurement(throughput, latency_ms, count=700, batch=point.number("batch"))
    return a_launch(point, measured, **how)  # type: ignore[arg-type]


def fresh(blocks: int = 6, **speeds: tuple[float, float]) -> list[Launch]:
    """Interleaved launches of the finalists and of one baseline."""
    beside = {ONE: SPEEDS[ONE], SIXTEEN: SPEEDS[SIXTEEN], DEFAULT: (50.0, 10.0)}
    named = beside | {{"one": ONE, "sixteen": SIXTEEN}[name]: speed for name, speed in speeds.items()}
    return [
        launched(point, *speed, purpose="confirm", block=block)
        for block in range(blocks)
        for point, speed in named.items()
    ]


def studied(confirmation: Sequence[Launch] = (), goal: str = GOAL) -> list[Entry]:
    search: list[Event] = [event for p, of in SPEEDS.items() for event in (a_build(p), launched(p, *of))]
    decided: list[Event] = [Decided(finalists=(ONE, SIXTEEN), why="raced"), *confirmation] if confirmation else []
    checks = [a_check(point) for point in SPEEDS]
    closed = Closed(status="ok", why="budget spent")
    return recorded([*opening(a_question(goal, targets=("openvino",))), *search, *checks, *decided, closed])


def levels(entries: Sequence[Entry]) -> tuple[AtLevel, AtLevel]:
    tight, loose = answer(entries).levels
    return tight, loose


def test_each_level_has_its_own_confirmed_answer_and_ratio() -> None:
    tight, loose = levels(studied(fresh()))
    assert (tight.winner, loose.winner) == (ONE, SIXTEEN)
    assert tight.confirmed and loose.confirmed and tight.figures and loose.figures
    assert tight.figures.throughput.value == pytest.approx(80.0, rel=0.01) and tight.figures.launches == 6
    assert loose.speedup is not None and loose.speedup.value == pytest.approx(3.0, rel=0.01)
    assert loose.rival == "openvino default" and str(loose.goal) == "max throughput, p99 < 70 ms"


def test_a_level_that_fresh_launches_break_falls_back_to_who_keeps_it() -> None:
    tight, loose = levels(studied(fresh(sixteen=(150.0, 90.0))))
    assert tight.winner == loose.winner == ONE and loose.confirmed


def test_without_a_confirmation_the_best_within_each_level_so_far() -> None:
    tight, loose = levels(studied())
    assert (tight.winner, loose.winner) == (ONE, SIXTEEN)
    assert not tight.confirmed and not loose.confirmed


def test_nothing_within_a_level_names_the_closest() -> None:
    tight, _ = levels(studied(fresh(), goal="pareto throughput, p99 at 5 ms and 70 ms"))
    assert tight.winner is None and tight.nearest is not None
    assert tight.nearest.point == ONE and tight.nearest.limit == "p99 < 5 ms"


def test_who_is_better_but_may_break_the_level_is_named() -> None:
    few = [
        a_launch(SIXTEEN, a_measurement(150.0, 60.0, count=40, batch=16), purpose="confirm", block=b) for b in range(6)
    ]
    _, loose = levels(studied([la for la in fresh() if la.point != SIXTEEN] + few))
    assert loose.winner == ONE
    assert "1.87x" in loose.why and "not enough requests to say whether `p99 < 70 ms` holds (240)" in loose.why


@pytest.mark.parametrize("render", [plain_text, markdown_text, html_text])
def test_reports_tell_every_level(render: Callable[[Sequence[Entry]], str]) -> None:
    text = render(studied(fresh()))
    assert "Best at each level" in text
    for level in ("12 ms", "70 ms"):
        assert any(f"p99 {sign} {level}" in text for sign in ("<", "&lt;", "\\<"))
    assert "best at p99" in text
    assert "Best at each level" not in render(studied(fresh(), goal="pareto throughput, p99"))


@pytest.mark.parametrize("confirmation", [(), tuple(fresh())])
def test_the_document_keeps_the_published_schema(confirmation: Sequence[Launch]) -> None:
    schema = json.loads((Path(__file__).parent.parent / "docs" / "result.schema.json").read_text())
    for goal in (GOAL, "pareto throughput, p99 at 5 ms and 70 ms"):
        document = json.loads(json_text(studied(confirmation, goal=goal)))
        assert [error.message for error in Draft202012Validator(schema).iter_errors(document)] == []
        assert len(document["levels"]) == 2


def test_the_document_holds_the_levels() -> None:
    tight, loose = json.loads(json_text(studied(fresh())))["levels"]
    assert tight["winner"]["point"]["batch"] == 1 and loose["winner"]["point"]["batch"] == 16
    assert loose["confirmed"]["throughput_per_s"]["value"] == pytest.approx(150.0, rel=0.01)
    assert loose["speedup"]["value"] == pytest.approx(3.0, rel=0.01) and loose["fidelity"] is not None
    assert json.loads(json_text(studied()))["levels"][0]["confirmed"] is None


def test_rows_name_who_is_best_where() -> None:
    found = table(studied(fresh()))
    roles = dict(zip(found.points, found.column("role"), strict=True))
    assert "best at p99 < 12 ms" in str(roles[ONE]) and "best at p99 < 70 ms" in str(roles[SIXTEEN])
    assert not roles[LARGEST]


def test_a_bundle_of_a_level_promises_what_was_confirmed_there() -> None:
    entries = studied(fresh())
    for asked in ("p99 < 70 ms", "70 ms", "p99<70ms"):
        at = _at_level(answer(entries), asked)
        assert at.winner == SIXTEEN and at.figures is not None
        promised = promise(at, at.figures, history.confirmations(entries)[-1].launches)
        assert promised.goal == "max throughput, p99 < 70 ms" and promised.confirmed
        assert promised.throughput.value == pytest.approx(150.0, rel=0.01)


def test_a_level_that_was_not_asked_is_an_error_with_those_that_were() -> None:
    with pytest.raises(UsageError) as caught:
        _at_level(answer(studied(fresh())), "p99 < 9 ms")
    assert caught.value.id == "unknown-level" and "p99 < 12 ms" in (caught.value.hint or "")


def test_words_that_fit_two_levels_name_neither() -> None:
    both = answer(studied(fresh(), goal="pareto throughput, p50 at 70 ms, p99 at 70 ms"))
    assert _at_level(both, "p50 < 70 ms").question.goal != _at_level(both, "p99 < 70 ms").question.goal
    with pytest.raises(UsageError):
        _at_level(both, "70 ms")


def test_every_level_is_exported_into_one_folder_of_its_own() -> None:
    found = answer(studied(fresh(), goal="pareto throughput at 70/s, p99 at 70 ms"))
    folders = [line.rsplit(" -o ", 1)[1] for line in take_levels(found).splitlines()]
    assert folders == ["deploy-throughput-70-s/", "deploy-p99-70-ms/"]


def test_a_warm_start_takes_over_the_best_of_every_level() -> None:
    narrow = [space for space in Laboratory(Path()).setting().spaces if space.target == "openvino"]
    goal = parse_goal("pareto throughput, p99 at 12 ms and 130 ms")
    points = [point for point in narrow[0].points() if point.get("precision", "") == "f32"][:6]
    runs = [launched(point, 100.0 + n, 10.0 + 20.0 * n) for n, point in enumerate(points)]
    found = best_points(recorded(runs), goal, narrow)
    assert points[0] in found[:3] and points[5] in found[:3]


def test_windows_are_long_enough_for_the_levels() -> None:
    plain, asked, limited = (
        planning.requests_per_launch(parse_goal(text))
        for text in (
            "pareto throughput, p50",
            "pareto throughput, p50 at 12 ms at 99.99 %",
            "min p50, p50 < 12 ms at 99.99 %",
        )
    )
    assert asked == limited > plain
    assert planning.race_share(parse_goal(GOAL)) == 2.0 * planning.race_share(parse_goal("max throughput"))


# ---------------------------------------------------------------- a whole study, in virtual time


def by_batch(point: Point) -> float:
    """Larger batches are faster, and slower to answer."""
    fast = (50.0 if point.target == "openvino" else 30.0) * math.sqrt(point.number("batch", 1))
    return 1.5 * fast if point.number("instances") == 2 else fast


@pytest.mark.parametrize("budget_s", [120.0, 300.0])
def test_a_study_confirms_a_point_for_every_level_within_its_budget(tmp_path: Path, budget_s: float) -> None:
    lab = Laboratory(tmp_path, rate=by_batch, goal="pareto throughput, p99 at 45 ms and 120 ms")
    entries = lab.run(budget_s)
    assert entries[-1].at_s <= budget_s + 10.0
    found = answer(entries)
    assert found.status == "ok" and found.confirmed
    tight, loose = found.levels
    assert tight.confirmed and loose.confirmed and tight.figures and loose.figures
    assert tight.figures.throughput.value < loose.figures.throughput.value
    decided = [event for event in lab.events(Decided) if isinstance(event, Decided)]
    assert {tight.winner, loose.winner} <= set(decided[-1].finalists)
    raced = [event.block for event in lab.events(Launch) if isinstance(event, Launch) and event.purpose == "race"]
    assert raced == sorted(raced)


def test_the_front_is_listed_with_what_stands_behind_each_figure() -> None:
    """The baseline is beaten; what the search alone saw says so, and how many requests a percentile lacks."""
    told = plain_text(studied(fresh()))
    section = told.partition("The front: ")[2].partition("\n\n")[0].splitlines()
    assert section[1].split() == ["samples/s", "p99", "evidence", "point"]
    assert [line.split()[0] for line in section[2:6]] == ["170", "150", "120", "80.0"]
    assert "1 launch" in section[2] and "confirmed" in section[3] and "1 launch" in section[4]
    assert "Points that are not confirmed" in section[6]
    few = [a_launch(ONE, a_measurement(80.0, 8.0, count=100)), a_launch(FOUR, a_measurement(120.0, 20.0, count=100))]
    asked = a_question("pareto throughput, p99", targets=("openvino",))
    searched = recorded([*opening(asked), a_build(ONE), a_build(FOUR), *few])
    assert "(100 of 662 requests)" in plain_text(searched) and "The front: " in markdown_text(searched)


def test_a_goal_of_one_figure_has_no_front() -> None:
    assert "The front" not in plain_text(studied(fresh(), goal="max throughput"))


def test_each_level_says_how_its_point_stands_to_it() -> None:
    told = " ".join(plain_text(studied(fresh())).split())
    assert "`p99 < 12 ms` holds: 8.78 ms" in told and "4200 requests; 1.60x" in told
    tight, loose = json.loads(json_text(studied(fresh())))["levels"]
    assert [(at["limit"], at["holds"], at["requests"]) for at in tight["limits"]] == [("p99 < 12 ms", True, 4200)]
    assert [at["limit"] for at in loose["limits"]] == ["p99 < 70 ms"]
    assert [at["limits"] for at in json.loads(json_text(studied()))["levels"]] == [[], []]


def test_a_level_that_too_few_requests_were_seen_for_says_so() -> None:
    asked = a_question("pareto throughput, p99 at 70 ms", targets=("openvino",))
    few = a_launch(SIXTEEN, a_measurement(150.0, 60.0, count=12, batch=16))
    told = " ".join(plain_text(recorded([*opening(asked), a_build(SIXTEEN), few])).split())
    assert "`p99 < 70 ms` not known: 12 requests, too few for p99" in told
