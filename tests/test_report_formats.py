"""Reports as people read them: golden files for each format, and what every one of them must say."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from infertune.core.answer import answer
from infertune.core.records import Checked, Closed, Entry, Event, Failed, Interval, Measurement
from infertune.core.space import Point
from infertune.report import csv_text, json_rows, json_text, markdown_text, plain_text, result_text, rows_text
from infertune.report.document import baselines
from infertune.report.frame import frame
from infertune.report.page.write import html_text
from infertune.report.result import figures_json
from infertune.report.rows import table
from infertune.testing.records import (
    a_baseline,
    a_build,
    a_check,
    a_launch,
    a_measurement,
    a_point,
    a_question,
    a_search,
    a_study,
    opening,
    recorded,
)

Golden = Callable[[str, str], None]
SCHEMA = json.loads((Path(__file__).parent.parent / "docs" / "result.schema.json").read_text())
FAST, SLOW, LATE = a_point(batch=8, precision="bf16"), a_point(batch=2), a_point("onnxruntime", batch=4)
NO_KERNEL = Failed(stage="build", kind="compiler", message="no kernel for node 12")
FILES = {"record": "study.db", "result": "result.json"}
BASELINES = {
    "onnxruntime default": 64.0,
    "openvino default": 100.0,
    "openvino throughput hint": 104.0,
    "openvino latency hint": 99.0,
}


def tuned() -> list[Entry]:
    speeds: dict[Point, float | Failed] = {SLOW: 120.0, LATE: 70.0, FAST: 200.0, a_point(batch=16): NO_KERNEL}
    return a_study(speeds, baselines=BASELINES)


def infeasible() -> list[Entry]:
    asked = a_question("max throughput, p99 < 5 ms")
    return recorded(
        [*opening(asked), *a_search({SLOW: 200.0, FAST: NO_KERNEL}), Closed(status="nothing_feasible", why="")]
    )


def interrupted() -> list[Entry]:
    closed = Closed(status="interrupted", why="stopped by Ctrl-C")
    return recorded([*opening(a_question(simulated=True)), *a_search({SLOW: 120.0, FAST: 200.0}), closed])


def for_latency() -> list[Entry]:
    return a_study(
        {SLOW: 300.0}, baselines={"openvino default": 50.0}, question=a_question("min p99, throughput > 10/s"), count=20
    )


def default_as_good() -> list[Entry]:
    return a_study({FAST: 101.0}, baselines=dict.fromkeys(BASELINES, 100.0))


def measured() -> list[Entry]:
    crash = Failed(stage="measure", kind="crash", message="signal 11")
    events: list[Event] = [*opening(a_question(), budget_s=0.0)]
    for block in range(3):
        events += [a_launch(SLOW, 120.0 + block, purpose="measure", block=block)]
        events += [a_launch(FAST, 200.0 + block, purpose="measure", block=block, flags=("foreign_cpu",))]
        events += [a_launch(a_point(batch=4), crash, purpose="measure", block=block)]
    return recorded([*events, Closed(status="ok", why="every point was measured")])


STUDIES = [tuned, infeasible, interrupted, for_latency, default_as_good, measured]
Study = Callable[[], list[Entry]]
each_study = pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.__name__)


@each_study
def test_text(study: Study, golden: Golden) -> None:
    golden(f"report-{study.__name__}.txt", plain_text(study(), FILES))


@each_study
def test_result(study: Study, golden: Golden) -> None:
    golden(f"result-{study.__name__}.json", result_text(study(), FILES))


def test_markdown(golden: Golden) -> None:
    golden("report-tuned.md", markdown_text(tuned()))


def test_csv(golden: Golden) -> None:
    golden("report-tuned.csv", csv_text(tuned()))


def test_json(golden: Golden) -> None:
    golden("report-tuned.json", json_text(tuned(), FILES))


def test_rows(golden: Golden) -> None:
    golden("rows-measured.txt", rows_text(measured()))


# ---------------------------------------------------------------- the contract

KEYS = [
    "format", "status", "goal", "model", "device", "winner", "confirmed", "baselines", "speedup", "limits", "levels",
    "fidelity", "ablation", "search", "trials", "launches", "failed", "spent_s", "simulated", "files",
]  # fmt: skip


@each_study
def test_documents_keep_the_published_schema(study: Study) -> None:
    Draft202012Validator.check_schema(SCHEMA)
    validator = Draft202012Validator(SCHEMA)
    for text in (result_text(study(), FILES), json_text(study(), FILES)):
        assert [error.message for error in validator.iter_errors(json.loads(text))] == []
    assert list(json.loads(result_text(study(), FILES))) == KEYS == SCHEMA["required"]


@each_study
def test_rows_keep_the_published_schema(study: Study) -> None:
    document = json.loads(json_rows(study()))
    row = Draft202012Validator({**SCHEMA["$defs"]["row"], "$defs": SCHEMA["$defs"]})
    assert document["format"] == "infertune-rows/1"
    assert [error.message for found in document["rows"] for error in row.iter_errors(found)] == []
    assert len(document["rows"]) == len(table(study()).rows)


def test_the_schema_notices_a_document_of_another_form() -> None:
    validator = Draft202012Validator(SCHEMA)
    good = json.loads(result_text(tuned()))
    for broken in (
        {**good, "status": "fine"},
        {**good, "extra": 1},
        {**good, "fidelity": {"value": "high", "limit": 0.99}},
        {**good, "speedup": {"over_best_baseline": None}},
        {key: value for key, value in good.items() if key != "spent_s"},
    ):
        assert not validator.is_valid(broken)


def test_unconfirmed_figures_stay_out_of_the_contract() -> None:
    document = json.loads(result_text(interrupted()))
    assert document["winner"]["why"].startswith("unconfirmed")
    assert (document["confirmed"], document["baselines"]) == (None, [])
    assert set(document["speedup"].values()) == {None}


def test_every_baseline_has_its_speed_up() -> None:
    speedup = json.loads(result_text(tuned()))["speedup"]
    assert speedup["over_best_baseline"] == speedup["over_openvino_throughput_hint"]
    assert speedup["over_onnxruntime_default"]["value"] == pytest.approx(200 / 64, rel=0.03)


@each_study
def test_the_same_record_gives_the_same_bytes(study: Study) -> None:
    for render in (plain_text, markdown_text, csv_text, json_text, result_text, rows_text):
        assert render(study()) == render(study())


# ---------------------------------------------------------------- what must be said


def test_a_missing_percentile_says_how_many_requests_it_lacks() -> None:
    assert "p99 not enough requests (120 of 662)" in plain_text(a_study({FAST: 200.0}, count=20))


@pytest.mark.parametrize("render", [plain_text, markdown_text])
def test_simulated_figures_are_marked(render: Callable[[Sequence[Entry]], str]) -> None:
    assert "SIMULATED" in render(interrupted()).splitlines()[0]
    assert [line for line in render(interrupted()).splitlines() if line.endswith("200 samples/s, 1 launch (simulated)")]
    assert "SIMULATED" not in render(tuned())


def test_simulated_points_that_a_person_chose_are_marked() -> None:
    launch = a_launch(SLOW, a_measurement(120.0, simulated=True), purpose="measure")
    entries = recorded([*opening(a_question(), budget_s=0.0), launch])
    assert rows_text(entries).startswith("SIMULATED ")
    assert "SIMULATED" not in rows_text(measured())


@pytest.mark.parametrize("render", [plain_text, markdown_text])
def test_the_default_being_as_good_is_said_in_these_words(render: Callable[[Sequence[Entry]], str]) -> None:
    assert "the default is as good: " in render(default_as_good())


def test_a_percentile_goal_is_not_answered_below_its_floor() -> None:
    text = plain_text(for_latency())
    assert "confirmed   p99 not enough requests (120 of 662)" in text
    assert "`min p99` was judged on 120 requests; p99 needs 662" in text
    enough = plain_text(a_study({SLOW: 300.0}, question=a_question("min p99"), count=200, baselines={}))
    assert "confirmed   p99 7.31 ms (7.25 to 7.39), median of 6 fresh launches" in enough


def test_the_highest_percentile_comes_with_its_upper_bound() -> None:
    def told(count: int) -> str:
        text = plain_text(a_study({SLOW: 300.0}, count=count, baselines={}))
        return next(line for line in text.splitlines() if line.startswith("latency"))

    assert (
        told(200) == "latency    p50 6.66 ms, p90 7.20 ms, p99 7.35 ms (at most 7.38); 1 request in flight, closed loop"
    )
    assert "p90 7.23 ms (at most 7.32), p99 not enough requests (120 of 662);" in told(20)
    assert "at most" not in told(10)


def test_baselines_beside_a_rate_show_theirs() -> None:
    """Not what they served, which is another figure than the confirmed one."""
    found = answer(a_study({a_point(batch=8): 200.0}, question=a_question("max rate, p99 < 5 s")))
    (first, *_) = found.rivals
    figures = replace(first.figures, value=Interval(value=77.0, low=76.0, high=78.0), arrivals="poisson")
    told = baselines(replace(found, rivals=(replace(first, figures=figures),))).grid
    assert told is not None and told.header[1] == "samples/s arriving"
    assert told.rows[0][1] == "77.0 (76.0 to 78.0)"


def test_points_that_a_person_chose_have_no_winner() -> None:
    assert {row["role"] for row in table(measured()).dicts()} == {""}
    assert "role" not in rows_text(measured())
    assert "of points that were measured without a search" in plain_text(measured())


def test_no_winner_names_the_limit_and_the_closest_point() -> None:
    text = plain_text(infeasible())
    assert "none: nothing met the goal `max throughput, p99 < 5 ms`" in text
    assert "`p99 < 5 ms`: measured 11.0 ms" in text


def test_an_empty_study_has_a_report() -> None:
    assert "none yet: nothing was measured" in plain_text(recorded(opening(a_question())))


# ---------------------------------------------------------------- rows


def test_rows_hold_every_trial_best_first() -> None:
    found = table(tuned())
    rows = found.dicts()
    assert next(row["role"] for row in rows if row["role"]) == "winner"
    assert [row["status"] for row in rows] == ["ok"] * 7 + ["failed"]
    assert rows[0]["batch"] == 8 and rows[0]["evidence"] == "confirm"
    assert found.points[0] == FAST
    assert rows[-1]["failure"] == "compiler at build: no kernel for node 12" and rows[-1]["throughput"] is None


def test_rows_tell_missed_limits_and_unfaithful_points_apart() -> None:
    study = a_study({FAST: 200.0, SLOW: 10.0}, cosines={FAST: 0.5}, question=a_question("max throughput, p99 < 90 ms"))
    status = {row["trial"]: row["status"] for row in table(study).dicts()}
    assert (status[1], status[2]) == ("unfaithful", "misses_limit")


def test_how_the_winner_stands_to_each_limit_is_in_the_document() -> None:
    def limits(count: int, blocks: int = 6) -> list[dict[str, Any]]:
        asked = a_question("max throughput, p99 < 90 ms, throughput > 10/s")
        study = a_study({FAST: 200.0}, question=asked, count=count, blocks=blocks)
        found: list[dict[str, Any]] = json.loads(result_text(study))["limits"]
        return found

    percentile, rate = limits(200)
    assert percentile["holds"] is True and rate["holds"] is True and rate["requests"] is None
    assert (percentile["unit"], percentile["bound"], percentile["requests"]) == ("ms", 90.0, 1200)
    assert percentile["low"] < percentile["value"] < percentile["high"] < 90.0
    few = limits(20)[0]
    assert (few["holds"], few["value"], few["high"], few["requests"]) == (None, None, None, 120)
    assert limits(200, blocks=1) == [], "nothing is confirmed"


def test_fidelity_is_named_by_what_was_computed() -> None:
    def concordance(entry: Entry) -> Entry:
        match entry.event:
            case Checked(fidelity=fidelity):
                return replace(entry, event=replace(entry.event, fidelity=replace(fidelity, measure="concordance")))
        return entry

    said = "concordance 0.99980"
    study = [concordance(entry) for entry in tuned()]
    assert all(said in told(study) for told in (plain_text, markdown_text, html_text))
    assert json.loads(result_text(study))["fidelity"] == {"value": 0.9998, "measure": "concordance", "limit": 0.99}


def test_a_point_without_outputs_to_check_failed_and_has_no_fidelity() -> None:
    check = a_check(FAST, 0.0)
    unmade = replace(check, fidelity=replace(check.fidelity, reason="openvino gave no outputs: no kernel", inputs=0))
    entries = recorded([*opening(a_question()), *a_search({FAST: 200.0}), unmade])
    (row,) = table(entries).dicts()
    assert (row["status"], row["fidelity"]) == ("failed", None) and row["throughput"] is not None
    assert row["failure"] == "output at verify: openvino gave no outputs: no kernel"
    assert "0.0000" not in plain_text(entries)
    nearest = answer(entries).nearest
    assert nearest is not None and nearest.measured == "not checked"


def test_a_point_that_was_built_and_never_launched_did_not_fail() -> None:
    found = table([*tuned(), *recorded([a_build(a_point(batch=64))])]).dicts()
    assert [row["status"] for row in found] == ["ok"] * 7 + ["failed", "unmeasured"] and not found[-1]["failure"]


def test_a_row_tells_whether_its_device_was_simulated() -> None:
    """Of two devices in one study, and of a measurement that says so itself."""
    asked = a_question()
    first, second = asked.devices
    asked = replace(asked, devices=(first, replace(second, simulated=True)))
    there, here = a_point(second.target), a_point(first.target)
    told = a_launch(a_point(first.target, batch=2), a_measurement(100.0, batch=2, simulated=True))
    rows = table(recorded([*opening(asked), a_launch(there), a_launch(here), told])).dicts()
    assert {row["trial"]: row["simulated"] for row in rows} == {1: "yes", 2: "no", 3: "yes"}


def test_a_knob_named_like_a_column_gets_a_prefix() -> None:
    odd = Point.of("openvino", "cpu", {"status": 1})
    found = table(recorded([*opening(a_question()), a_launch(odd)]))
    assert found.dicts()[0]["knob_status"] == 1
    assert len(set(found.columns)) == len(found.columns)


def test_trials_load_into_a_data_frame() -> None:
    found = frame(tuned())
    assert list(found.columns) == list(table(tuned()).columns)
    best = found.loc[found["throughput"].idxmax()]
    assert (best["role"], best["batch"], best["precision"]) == ("winner", 8, "bf16")
    assert found["throughput"].isna().sum() == 1


def test_the_winner_that_is_a_baseline_has_both_roles() -> None:
    roles = [row["role"] for row in table(default_as_good()).dicts()]
    winner = next(role for role in roles if str(role).startswith("winner"))
    assert winner in {f"winner, {name}" for name in BASELINES}
    assert "finalist" in roles
    assert a_baseline("openvino default") in table(default_as_good()).points


def test_the_sustained_rate_is_told_where_samples_arrived() -> None:
    figures = answer(a_study({FAST: 200.0}, baselines=BASELINES)).figures
    assert figures is not None and figures_json(figures)["rate_per_s"] is None
    rate = Interval(value=180.0, low=170.0, high=190.0)
    told = figures_json(replace(figures, arrivals="poisson", value=rate))
    assert told["rate_per_s"] == {"value": 180.0, "low": 170.0, "high": 190.0}


# ---------------------------------------------------------------- what a device told of itself


def warm(power_w: float) -> Measurement:
    told = (("power_before_w", "14"), ("power_during_w", f"{power_w}"), ("nsp_during_mhz", "1233"))
    return replace(a_measurement(100.0), settings=told, simulated=True)


def test_what_a_device_drew_while_it_worked_stands_in_rows_csv_and_pages() -> None:
    launches = [a_launch(SLOW, warm(power_w), purpose="measure") for power_w in (41.0, 44.0, 43.0)]
    events = [*opening(a_question(simulated=True)), *launches, a_launch(FAST, 200.0, purpose="measure")]
    entries = recorded([*events, Closed(status="ok", why="")])
    cells = {row["batch"]: (row["power_during_w"], row["nsp_during_mhz"]) for row in table(entries).dicts()}
    assert cells == {2: (43.0, 1233.0), 8: (None, None)}
    assert csv_text(entries).splitlines()[0].endswith("simulated,power_during_w,nsp_during_mhz")
    assert "power_during_w" in rows_text(entries) and "nsp_during_mhz" not in rows_text(entries)
    page = html_text(entries)
    assert "41 to 44 W (simulated)" in page and "NSP clock during launches" in page
    Draft202012Validator(SCHEMA).validate(json.loads(json_text(entries)))
    assert "power_during_w" not in table(measured()).columns
