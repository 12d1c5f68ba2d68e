"""The HTML report as a file: what it says, that nothing from outside becomes markup, its size and its bytes."""

from __future__ import annotations

import base64
import csv
import hashlib
import html
import io
import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from itertools import combinations
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infertune.core.records import Conditions, Entry, Phase, Purpose, RawNs
from infertune.report import csv_text, plain_text
from infertune.report.page import saying
from infertune.report.page.basis import basis
from infertune.report.page.compare import compare_html
from infertune.report.page.front import front, knee
from infertune.report.page.latencies import account
from infertune.report.page.progress import best_so_far, seen, shares, stretches
from infertune.report.page.svg import Box, LogScale, Scale, beside, cover, from_zero, left_of
from infertune.report.page.tables import all_trials, setting, spaces
from infertune.report.page.write import html_text, marked
from infertune.testing.records import (
    a_baseline,
    a_launch,
    a_measurement,
    a_point,
    a_question,
    a_study,
    opening,
    recorded,
)
from large_study import a_large_study
from test_levels import fresh, studied
from test_report_formats import STUDIES, default_as_good, infeasible, interrupted, tuned
from test_report_hostile_names import HOSTILE, controls, study

each_study = pytest.mark.parametrize("made", STUDIES, ids=lambda made: made.__name__)
ALLOWED = {"style", "script", "svg", "meta", "title"}


class Outline(HTMLParser):
    """Elements and attributes that the page's text opens."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(page)

    def shape(self) -> Counter[str]:
        """Elements by name, without cells (a column that is empty is left out) and code (words in backquotes)."""
        return Counter(name for name, _ in self.elements if name not in ("th", "td", "button", "code"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def words(page: str) -> str:
    return " ".join("".join(Outline(page).words).split())


def data(page: str) -> dict[str, dict[str, dict[str, object]]]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found.group(1))  # type: ignore[no-any-return]


@each_study
def test_every_study_has_a_page_with_the_same_bytes_each_time(made: Callable[[], list[Entry]]) -> None:
    page = html_text(made())
    assert page == html_text(made())
    assert page.startswith("<!doctype html>")
    assert controls(page) == set()


def test_the_answer_comes_first_with_its_interval() -> None:
    page = html_text(tuned())
    said = words(page)
    assert "200 samples/s (198 to 202), median of 6 fresh launches, confirmed." in said
    assert "That is 1.92x (1.89 to 1.95) of the best baseline, openvino throughput hint" in said
    assert page.index('<section id="answer"') < page.index('<section id="setting"') < page.index('<section id="all"')


def test_a_study_without_a_winner_says_what_came_closest() -> None:
    page = html_text(infeasible())
    assert "Nothing met the goal max throughput, p99 < 5 ms" in words(page)
    assert 'id="setting"' not in page


def test_simulated_figures_are_marked() -> None:
    page = html_text(interrupted())
    assert "Simulated. These figures do not come from a real device." in words(page)
    assert "<title>SIMULATED " in page and "(simulated), not confirmed yet" in words(page)


def test_the_command_repeats_the_question() -> None:
    asked = replace(a_question("max throughput, p99 < 90 ms"), wanted=(("batch", (1, 2)),))
    page = html_text(a_study({a_point(batch=8): 200.0}, question=asked))
    command = (
        "infertune tune bert-base.onnx --goal 'max throughput, p99 < 90 ms' --budget 300s --shape sequence_length=128"
    )
    assert f"{command} --target onnxruntime --target openvino --knob batch=1,2 --seed 0 -o RUN" in html.unescape(page)


def test_folders_of_the_machine_stay_out() -> None:
    model = replace(a_question().model, path="/home/somebody/secret/bert.onnx")
    page = html_text(a_study({a_point(batch=8): 200.0}, question=a_question(model=model)))
    assert "somebody" not in page and "bert.onnx" in page


# ---------------------------------------------------------------- security


@pytest.mark.parametrize(
    "text", [*HOSTILE, "'\"><svg onload=alert(1)>", "</script><script>alert(1)//", "\u2028", "x" * 1_000_000]
)
def test_hostile_names_change_no_element(text: str) -> None:
    outline = Outline(html_text(study(text)))
    assert outline.shape() == Outline(html_text(study("name"))).shape()
    attributes = {key for _, found in outline.elements for key in found}
    assert [key for key in attributes if key.startswith("on") or key in ("style", "src")] == []
    assert controls("".join(outline.words)) == set()
    links = [found["href"] for name, found in outline.elements if name == "a"]
    assert all(link is not None and link.startswith("#") for link in links)


def test_a_name_of_a_megabyte_is_cut() -> None:
    assert len(html_text(study("x" * 1_000_000))) < 200_000


def test_the_security_policy_names_exactly_what_is_inside() -> None:
    page = html_text(tuned())
    policy = next(found["content"] for name, found in Outline(page).elements if "http-equiv" in found) or ""
    assert policy.startswith("default-src 'none';") and "unsafe" not in policy
    for kind, pattern in (("style-src", "<style>(.*?)</style>"), ("script-src", "<script>(.*?)</script>")):
        inside = re.findall(pattern, page, re.DOTALL)
        assert len(inside) == 1
        digest = base64.b64encode(hashlib.sha256(inside[0].encode()).digest()).decode()
        assert f"{kind} 'sha256-{digest}'" in policy
    assert "https://" not in re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)


def test_backquoted_words_are_code_and_still_escaped() -> None:
    assert str(marked("a `<b>` c")) == "a <code>&lt;b&gt;</code> c"
    assert str(marked("one ` alone <")) == "one ` alone &lt;"


# ---------------------------------------------------------------- data and size


def test_the_csv_inside_is_the_csv_report() -> None:
    found = data(html_text(tuned()))["csv"]
    lines = [str(found["header"]), *map(str, found["lines"].values())]
    assert "\n".join(lines) + "\n" == csv_text(tuned())
    assert {len(row) for row in csv.reader(io.StringIO("\n".join(lines)))} == {len(next(csv.reader([lines[0]])))}


def test_every_trial_is_in_the_table_and_carries_its_launches() -> None:
    page = html_text(tuned())
    rows = re.findall(r'<tr data-trial="(\d+)">', page)
    trials = data(page)["trials"]
    assert sorted(rows, key=int) == sorted(trials, key=int) and len(rows) == 8
    assert len(trials["3"]["launches"]) == 7  # type: ignore[arg-type]


def test_five_hundred_trials_fit_into_five_megabytes() -> None:
    page = html_text(a_large_study(500))
    assert len(page.encode()) < 5_000_000
    assert page.count("<tr data-trial=") >= 500


# ---------------------------------------------------------------- figures


def test_the_front_holds_what_nothing_beats_in_both() -> None:
    trials = basis(a_large_study(200)).measured
    kept = front(trials)
    assert len(kept) > 3
    for trial in trials:
        if trial.status == "ok" and trial not in kept:
            assert any(k.throughput >= trial.throughput and k.tail_ms <= trial.tail_ms for k in kept)  # type: ignore[operator]
    best = knee(kept)
    assert best is not None and best not in (kept[0], kept[-1])
    assert knee(kept[:2]) is None


def test_a_knee_is_where_the_bend_is() -> None:
    speeds = {a_point(batch=b, cores=1): s for b, s in ((1, 100.0), (2, 199.0), (4, 390.0), (8, 410.0), (16, 415.0))}
    found = knee(front(basis(a_study(speeds, baselines={})).measured))
    assert found is not None and found.point["batch"] == 4


def test_time_adds_up_to_the_study() -> None:
    seen_study = basis(tuned())
    assert sum(s for _, s in shares(seen_study)) == pytest.approx(seen_study.entries[-1].at_s)
    assert dict(shares(seen_study))["confirm"] == pytest.approx(30.0)
    assert all(s.end_s >= s.start_s for s in stretches(seen_study))


@pytest.mark.parametrize("purpose", get_args(Purpose))
def test_every_purpose_of_a_launch_has_its_time(purpose: Purpose) -> None:
    events = [*opening(a_question()), a_launch(a_point(), 100.0, purpose=purpose)]
    page = html_text(recorded(events))
    assert "1.0 s" in page and sum(s for _, s in shares(basis(recorded(events)))) == pytest.approx(1.3)


def test_the_best_so_far_only_rises() -> None:
    made = basis(a_large_study(100))
    values = [value for _, value in best_so_far(made, seen(made))]
    assert values == sorted(values) and len(values) > 2


def test_waiting_is_told_from_service() -> None:
    point = a_point(instances=1, set_size=2)
    found = account(basis(a_study({point: 100.0}, baselines={})).measured[0])
    assert found is not None and found.service_ms is not None and found.queue_ms is not None
    assert found.little.holds and found.instances == 1
    assert found.service_ms == pytest.approx(10.0, rel=0.02) and found.queue_ms == pytest.approx(10.0, rel=0.05)


def test_phases_are_shown_where_the_runtime_tells() -> None:
    phases = (
        Phase(name="<b>enqueue", samples_ns=RawNs([1_000_000] * 9)),
        Phase(name="execute", samples_ns=RawNs([9_000_000] * 9)),
    )
    measured = replace(a_measurement(100.0), phases=phases, conditions=Conditions())
    page = html_text(recorded([*opening(a_question()), a_launch(a_point(), measured, purpose="measure")]))
    assert "execute 9.00 ms" in html.unescape(page) and "90.0 %" in page
    assert "<b>" not in page


def test_scales() -> None:
    assert Scale(low=0.0, high=100.0, start=0.0, end=10.0).ticks() == (0.0, 20.0, 40.0, 60.0, 80.0, 100.0)
    assert LogScale(low=1.0, high=100.0, start=0.0, end=10.0).at(10.0) == pytest.approx(5.0)
    assert LogScale(low=8.0, high=900.0, start=0.0, end=1.0).ticks() == (10, 20, 50, 100, 200, 500)


FRAME = (0.0, 0.0, 400.0, 200.0)


def test_a_label_stands_beside_its_mark_within_the_frame() -> None:
    assert beside("winner", (100.0, 50.0), FRAME, [], []).anchor == "start"
    assert beside("winner", (390.0, 50.0), FRAME, [], []).anchor == "end", "there is no room at the right"
    low = beside("winner", (100.0, 199.0), FRAME, [], [])
    assert low.box[3] <= 200.0


@given(st.lists(st.tuples(st.integers(20, 380), st.integers(20, 180)), min_size=1, max_size=4))
def test_labels_do_not_cover_each_other(marks: list[tuple[int, int]]) -> None:
    taken: list[Box] = []
    for mark in marks:
        taken.append(beside("a baseline", mark, FRAME, taken, marks).box)
    assert not any(cover(a, b) for a, b in combinations(taken, 2))


def test_a_label_leaves_marks_visible_where_it_can() -> None:
    label = beside("winner", (100.0, 50.0), FRAME, [], [(100.0, 50.0), (130.0, 50.0)])
    assert not cover(label.box, (125.0, 45.0, 135.0, 55.0))


# ---------------------------------------------------------------- counts


def test_points_that_were_only_compared_with_are_not_tried_anywhere() -> None:
    """The line of the search, the line of all there was, and the table of spaces count alike."""
    found = tuned()
    said = words(html_text(found))
    assert "4 of 240 points tried" in said
    assert "8 points (4 tried, 4 only compared with, 1 failed), 33 launches (0 failed)" in said
    assert "8 points (4 tried, 4 only compared with, 1 failed), 33 launches (0 failed)" in plain_text(found)
    cells = [(row[0], row[4], sum(map(int, row[5:]))) for row in spaces(basis(found)).rows]
    assert cells == [("onnxruntime", "1 (0.833 %)", 1), ("openvino", "3 (2.50 %)", 3)]


# ---------------------------------------------------------------- figures that are not what they seem


def test_one_launch_has_no_interval() -> None:
    assert ("throughput", "200 /s", "samples/s, 1 launch") in saying.cards(basis(interrupted()))


def test_a_front_s_ratio_is_called_a_mean() -> None:
    made = basis(a_large_study(40, goal="pareto throughput, p99"))
    assert "by the geometric mean of throughput and p99, block by block" in " ".join(saying.answer(made))
    assert saying.cards(made)[0][2].endswith(", mean of throughput and p99")
    assert "winner is, mean of throughput and p99" in plain_text(made.entries)


def test_the_knee_says_where_its_percentile_has_too_few_requests() -> None:
    assert "ms, from too few requests to state p99." in saying.trade(basis(a_large_study(40)))


def test_where_nothing_meets_the_goal_there_is_no_front() -> None:
    assert saying.trade(basis(infeasible())) == "None of 1 measured trial meets the goal, so there is no Pareto front."


def test_what_the_runtime_decides_is_called_so_in_every_table() -> None:
    rows = {row[0]: row[1:3] for row in setting(basis(tuned()), a_baseline("openvino default")).rows}
    assert rows["cores"] == ("runtime's", "2") and rows["batch"] == ("1", "same")
    page = compare_html(a_large_study(40), default_as_good())
    assert "instances1runtime'sdiffers" in words(page)


def test_columns_that_are_the_same_in_all_trials_are_not_printed() -> None:
    found = all_trials(basis(tuned()))
    same = dict(zip(found.columns, found.same, strict=True))
    assert same["device"] and not same["batch"] and not same["trial"]
    assert '<th scope="col" data-column="device" class="same">' in html_text(tuned())


def test_a_label_keeps_off_the_front() -> None:
    """To the right of its mark, where the front goes on, there is room, but not without covering the line."""
    page = html_text(studied(fresh()))
    label = re.search(r"<text[^>]*>best at p99 &lt; 70 ms</text>", page)
    assert label is not None and 'text-anchor="end"' in label.group()


@pytest.mark.parametrize(("top", "left"), [(900.0, 64.0), (150_000.0, 70.0), (1_500_000.0, 90.0)])
def test_long_numbers_have_room_beside_their_axis(top: float, left: float) -> None:
    assert left_of(from_zero([top], 366, 34), 64) >= left
    assert left_of(from_zero([900.0], 366, 34), 64) == 64
