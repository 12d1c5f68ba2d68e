"""The HTML report in a real browser: drawn, silent, alone, usable by pointer and keyboard, inert, accessible."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from browser import Opened, browser, opened
from infertune.report import csv_text
from infertune.report.page.write import html_text
from infertune.testing.records import a_point, a_question, a_study
from large_study import a_large_study
from test_report_formats import infeasible, interrupted, tuned
from test_report_hostile_names import HOSTILE, study

CHARTS = ("scatter", "dots", "progress", "heat", "small", "histogram")
ATTACK = "<script>document.title='gone'</script><img src=x onerror=alert(1)>\"'>"


@pytest.fixture(scope="module")
def running() -> Iterator[Browser]:
    with browser() as found:
        yield found


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(html_text(a_large_study(120)), encoding="utf-8")
    return path


@pytest.fixture
def report(running: Browser, file: Path) -> Iterator[Opened]:
    found = opened(running, file)
    yield found
    assert found.said == [] and found.strangers == []
    found.page.close()


def test_every_chart_is_drawn_and_nothing_is_fetched(report: Opened) -> None:
    for kind in CHARTS:
        charts = report.page.locator(f"svg.{kind}")
        assert charts.count() > 0, kind
        box = charts.first.bounding_box()
        assert box is not None and box["width"] > 100 and box["height"] > 50, kind
    colour = "e => getComputedStyle(e).fill"
    assert report.page.locator("#scatter circle.winner").evaluate(colour) == "rgb(11, 122, 75)"
    assert report.page.locator("#scatter circle[data-trial]").count() > 100
    assert len(report.asked) == 1


COVERED = """svg => {
    const boxes = [...svg.querySelectorAll("text")].map(text => text.getBoundingClientRect());
    const cover = (a, b) =>
        a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 3 && b.top < a.bottom - 3;
    return boxes.flatMap((a, i) => boxes.slice(i + 1).filter(b => cover(a, b))).length;
}"""


def test_labels_of_the_trade_off_do_not_cover_each_other(running: Browser, tmp_path: Path) -> None:
    """Four baselines and a winner in one spot, and two limits side by side."""
    names = ("onnxruntime default", "openvino default", "openvino throughput hint", "openvino latency hint")
    asked = a_question("max throughput, p99 < 90 ms, p99 < 92 ms, throughput > 50/s")
    study = a_study({a_point(batch=1): 101.0}, baselines=dict.fromkeys(names, 100.0), question=asked)
    path = tmp_path / "crowded.html"
    path.write_text(html_text(study), encoding="utf-8")
    found = opened(running, path)
    assert found.page.locator("#scatter").evaluate(COVERED) == 0
    found.page.close()


def test_pointing_at_a_trial_shows_it(report: Opened) -> None:
    report.page.locator("#scatter circle.winner").hover()
    tip = report.page.locator("#tip")
    assert tip.is_visible() and "winner" in (tip.text_content() or "")


def test_a_click_selects_a_trial_and_shows_its_launches(report: Opened) -> None:
    mark = report.page.locator("#scatter circle.winner")
    number = mark.get_attribute("data-trial")
    mark.click()
    panel = report.page.locator("#trial")
    assert panel.is_visible() and f"Trial {number}:" in (panel.text_content() or "")
    assert panel.locator("tbody tr").count() == 7 and panel.locator("svg circle").count() == 7
    assert "selected" in (report.page.locator(f'#trials tr[data-trial="{number}"]').get_attribute("class") or "")


def test_the_keyboard_walks_through_the_trials(report: Opened) -> None:
    report.page.locator("#scatter").focus()
    report.page.keyboard.press("ArrowRight")
    first = report.page.locator("#said").text_content()
    report.page.keyboard.press("ArrowRight")
    assert first and report.page.locator("#said").text_content() != first
    report.page.keyboard.press("Enter")
    assert report.page.locator("#trial h3").text_content()
    report.page.locator("#trials button[data-select]").first.focus()
    report.page.keyboard.press("Enter")
    assert "selected" in (report.page.locator("#trials tbody tr").first.get_attribute("class") or "")


def test_the_table_sorts_by_any_column(report: Opened) -> None:
    column = "(all) => all.map(cell => cell.dataset.value)"
    place = report.page.locator("#trials th").evaluate_all(
        "(all) => all.findIndex(h => h.dataset.column === 'throughput')"
    )
    cells = report.page.locator(f"#trials tbody td:nth-child({place + 1})")
    head = report.page.locator('#trials th[data-column="throughput"]')
    head.get_by_role("button").click()
    rising = [float(value) for value in cells.evaluate_all(column) if value]
    assert head.get_attribute("aria-sort") == "ascending" and rising == sorted(rising) and len(rising) > 100
    head.get_by_role("button").click()
    falling = [float(value) for value in cells.evaluate_all(column) if value]
    assert falling == sorted(rising, reverse=True)
    assert cells.evaluate_all(column)[-1] == ""


def test_the_filter_takes_words_and_comparisons(report: Opened) -> None:
    visible = report.page.locator("#trials tbody tr:visible")
    whole = visible.count()
    report.page.fill("#filter", "precision=bf16 batch>4")
    few = visible.count()
    assert 0 < few < whole
    assert report.page.locator("#shown").text_content() == f"{few} of {whole} trials"
    report.page.fill("#filter", "no such thing")
    assert visible.count() == 0


def test_the_download_is_the_csv_report_of_what_is_shown(report: Opened) -> None:
    with report.page.expect_download() as whole:
        report.page.click("#download")
    assert Path(whole.value.path()).read_text() == csv_text(a_large_study(120))
    report.page.fill("#filter", "status=failed")
    with report.page.expect_download() as some:
        report.page.click("#download")
    lines = Path(some.value.path()).read_text().splitlines()
    assert len(lines) == 1 + 3 and all("no kernel" in line for line in lines[1:])


@pytest.mark.parametrize(("scheme", "width"), [("light", 1100), ("dark", 390)])
def test_it_is_accessible_and_fits(running: Browser, tmp_path: Path, scheme: str, width: int) -> None:
    path = tmp_path / "report.html"
    path.write_text(html_text(a_large_study(24)), encoding="utf-8")
    found = opened(running, path, scheme=scheme, width=width)
    found.page.locator("#scatter circle.winner").click()
    assert found.page.evaluate("document.documentElement.scrollWidth") <= width
    assert broken_rules(found) == []
    found.page.close()


def broken_rules(found: Opened) -> list[str]:
    """axe-core's verdict: the rules that are broken, each with its first element."""
    found.page.evaluate(resources.files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8"))
    result: dict[str, Any] = found.page.evaluate("axe.run()")
    return [f"{rule['id']}: {rule['nodes'][0]['html'][:200]}" for rule in result["violations"]]


def test_the_accessibility_check_finds_what_is_wrong(running: Browser, tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text("<!doctype html><title>x</title><main><input><img src='data:,'></main>")
    assert {rule.split(":")[0] for rule in broken_rules(opened(running, bad))} >= {
        "html-has-lang",
        "image-alt",
        "label",
    }


@pytest.mark.parametrize("text", [HOSTILE[4], ATTACK, "\u202e\u2066right to left\u2028", ATTACK + "x" * 1_000_000])
def test_hostile_names_do_nothing(running: Browser, tmp_path: Path, text: str) -> None:
    path = tmp_path / "hostile.html"
    path.write_text(html_text(study(text)), encoding="utf-8")
    found = opened(running, path)
    for mark in ("#scatter circle[data-trial]", "#trials button[data-select]"):
        found.page.locator(mark).first.click()
    assert found.said == [] and len(found.asked) == 1
    assert found.page.title() != "gone" and found.page.locator("img, iframe, object").count() == 0
    assert found.page.locator("script").count() == 2
    found.page.close()


def test_the_policy_stops_what_would_slip_through(running: Browser, tmp_path: Path) -> None:
    """A second line of defence: markup that got in would neither run nor fetch."""
    path = tmp_path / "broken.html"
    evil = (
        "<script>document.title='gone'</script><img src='https://example.org/x.png' onerror=\"document.title='gone'\">"
    )
    path.write_text(html_text(tuned()).replace("</main>", f"{evil}</main>"), encoding="utf-8")
    found = opened(running, path)
    assert found.page.title() != "gone" and any("Content Security Policy" in said for said in found.said)
    found.page.close()


@pytest.mark.parametrize("made", [infeasible, interrupted], ids=lambda made: made.__name__)
def test_unfinished_studies_open_too(running: Browser, tmp_path: Path, made: Any) -> None:
    path = tmp_path / "report.html"
    path.write_text(html_text(made()), encoding="utf-8")
    found = opened(running, path)
    assert found.said == [] and broken_rules(found) == []
    found.page.close()


def test_it_prints_every_trial(running: Browser, file: Path) -> None:
    found = opened(running, file)
    found.page.emulate_media(media="print")
    assert found.page.locator("#filter").is_hidden() and found.page.locator("nav").is_hidden()
    assert found.page.locator("#trials tbody tr").last.is_visible()
    assert found.page.pdf()[:5] == b"%PDF-"
    found.page.close()


def test_it_reads_without_scripts(running: Browser, file: Path) -> None:
    page = running.new_page(java_script_enabled=False)
    page.goto(file.resolve().as_uri())
    assert page.locator("#scatter circle").count() > 100 and page.locator("#filter").is_hidden()
    assert page.locator("#trials tbody tr").count() > 100
    page.close()
