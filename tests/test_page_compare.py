"""Two studies as one page: verdict, figures with intervals, settings; inert, and the same bytes each time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from browser import browser, opened
from infertune.cli.app import main
from infertune.core.records import Entry
from infertune.report.differences import differences
from infertune.report.page.compare import compare_html
from infertune.store.sqlite import open_store
from test_compare import study, unconfirmed
from test_page import Outline, words
from test_page_in_browser import broken_rules
from test_report_hostile_names import HOSTILE, controls
from test_report_hostile_names import study as hostile


def a_folder(folder: Path, entries: Sequence[Entry]) -> Path:
    with open_store(folder) as store:
        for entry in entries:
            store.append(entry.event, entry.at_s)
    return folder


@pytest.mark.parametrize(
    ("b", "verdict"),
    [
        (150.0, "B is better: 1.50x (1.47 to 1.53) of A."),
        (101.0, "No difference: B is 1.01x"),
        (50.0, "A is better: B is"),
    ],
)
def test_the_verdict_comes_first(b: float, verdict: str) -> None:
    page = compare_html(study(100.0), study(b))
    assert verdict in words(page)
    assert page == compare_html(study(100.0), study(b))
    assert page.index("The verdict") < page.index("Figure by figure") < page.index("The two studies")


@pytest.mark.parametrize(
    ("goal", "axis"),
    [
        ("max rate, p99 < 900 ms", "rate (samples/s)"),
        ("min p99", "p99 latency (ms)"),
        ("pareto memory, p99", "memory (MB)"),
    ],
)
def test_the_axis_names_the_compared_figure_and_its_unit(goal: str, axis: str) -> None:
    assert f"Launches of both winners, {axis}" in compare_html(study(100.0, goal), study(150.0, goal))


def test_every_known_figure_has_a_ratio_and_a_verdict() -> None:
    found = {difference.metric: difference for difference in differences(study(100.0), study(200.0))}
    assert list(found) == ["throughput", "p50", "p90", "p99"]
    for difference in found.values():
        assert difference.ratio.value == pytest.approx(2.0, rel=0.03) and difference.said == "B is better"
        assert difference.ratio.low <= difference.ratio.value <= difference.ratio.high
    assert {d.said for d in differences(study(100.0), study(100.0))} == {"no difference"}


def test_what_is_not_fair_gets_no_ratio() -> None:
    page = compare_html(unconfirmed(), study(200.0))
    assert "Not comparable yet: A is not confirmed." in words(page) and "Figure by figure" not in page


@pytest.mark.parametrize("text", [HOSTILE[3], HOSTILE[4], "</script><script>alert(1)//", "\u202e"])
def test_hostile_names_change_no_element(text: str) -> None:
    outline = Outline(compare_html(hostile(text), hostile("name")))
    assert outline.shape() == Outline(compare_html(hostile("x"), hostile("name"))).shape()
    assert controls("".join(outline.words)) == set()


def test_the_command_takes_two_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = a_folder(tmp_path / "a", study(100.0)), a_folder(tmp_path / "b", study(150.0))
    assert main(["report", "--compare", str(a), str(b)]) == 0
    assert "verdict  B is better: 1.50x" in capsys.readouterr().out
    out = tmp_path / "compare.html"
    assert main(["report", "--compare", str(a), str(b), "--html", "-o", str(out)]) == 0
    assert out.read_text() == compare_html(study(100.0), study(150.0))
    for wrong in (
        ["report", "--compare", str(a)],
        ["report", str(a), str(b)],
        ["report", "--compare", str(a), str(b), "--format", "csv"],
    ):
        assert main(wrong) == 2
        assert "hint: " in capsys.readouterr().err


def test_it_opens_in_a_browser(tmp_path: Path) -> None:
    path = tmp_path / "compare.html"
    path.write_text(compare_html(study(100.0), study(150.0)), encoding="utf-8")
    with browser() as running:
        found = opened(running, path, scheme="dark", width=390)
        assert found.page.locator("svg.dots circle").count() == 12
        assert found.page.evaluate("document.documentElement.scrollWidth") <= 390
        assert found.said == [] and len(found.asked) == 1 and broken_rules(found) == []
