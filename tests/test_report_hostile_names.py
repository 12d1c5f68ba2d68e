"""Names and messages from outside are shown as text: no control codes, no markup, no formulas, no second line."""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infertune.core.records import Entry, Failed
from infertune.report import csv_text, json_text, markdown_text, plain_text, result_text, rows_text
from infertune.report.csv_file import inert_cell
from infertune.report.markdown import escaped, item
from infertune.report.text import Widths
from infertune.testing.records import a_launch, a_model, a_point, a_question, a_search, opening, recorded

HOSTILE = [
    "\x1b[2J\x1b]0;title\x07red",
    "abc\u202ecba",
    "zero\u200bwidth\u2066isolate",
    "<script>alert(1)</script>",
    "</td><img src=x onerror=alert(1)>",
    "=cmd|' /C calc'!A0",
    "+1+1",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "[click](javascript:alert(1))",
    "![x](https://example.org/x.png)",
    "https://example.org and www.example.org",
    "`code` **bold** | cell | ~~gone~~",
    "one\ntwo\r\n# three\u2028four",
    "&lt;already&gt;",
    "x" * 5000,
]
CONTROL = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def study(text: str) -> list[Entry]:
    """A study whose model, device, failure message and flag all carry ``text``."""
    asked = a_question(model=replace(a_model(), name=text, shapes=((text, 1),)))
    asked = replace(asked, devices=tuple(replace(device, title=text) for device in asked.devices))
    failed = Failed(stage="build", kind="compiler", message=text, log=text)
    point = a_point(batch=8)
    events = [*opening(asked), *a_search({point: 100.0, a_point(batch=2): failed, a_point("onnxruntime"): failed})]
    return recorded([*events, a_launch(point, 100.0, flags=(text,))])


def controls(text: str) -> set[str]:
    return {c for c in text if unicodedata.category(c) in CONTROL and c != "\n"}


@pytest.mark.parametrize("text", HOSTILE)
def test_every_format_prints_only_plain_characters(text: str) -> None:
    for render in (plain_text, markdown_text, csv_text, rows_text, result_text, json_text):
        assert controls(render(study(text))) == set()


@pytest.mark.parametrize("text", HOSTILE)
def test_a_name_adds_no_line(text: str) -> None:
    """Sentences are left whole: long ones are broken, names or not."""
    whole = Widths(sentences=1 << 30)
    for render in (partial(plain_text, widths=whole), markdown_text, csv_text, partial(rows_text, widths=whole)):
        assert render(study(text)).count("\n") == render(study("name")).count("\n")


@pytest.mark.parametrize("text", HOSTILE)
def test_markdown_holds_no_tag_link_or_extra_cell(text: str) -> None:
    page = markdown_text(study(text))
    assert not {"<", ">"} & set(page)
    assert re.search(r"(?<!\\)\]\(|://|www\.|(?<!\\)\*\*bold|(?<!\\)`code", page) is None
    widths = {line.replace("\\|", "").count("|") for line in page.splitlines() if line.startswith("| 1 |")}
    assert widths <= {line.count("|") for line in markdown_text(study("name")).splitlines() if line.startswith("| 1 |")}


@given(st.text(max_size=60))
def test_an_escaped_text_reads_as_itself(text: str) -> None:
    shown = escaped(text)
    for mark, entity in (("&#64;", "@"), ("&#58;", ":"), ("&#46;", "."), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
        shown = shown.replace(mark, entity)
    for mark in "`*_[]|~":
        shown = shown.replace(f"\\{mark}", mark)
    assert shown.replace("\\\\", "\\") == text


@pytest.mark.parametrize("text", ["# title", "- item", "1. item", "2) item", "+ item"])
def test_a_list_item_starts_no_block_of_its_own(text: str) -> None:
    assert "\\" in item(text)
    assert "\\" not in item(text.lstrip("#-+ 12.)"))


@pytest.mark.parametrize("text", HOSTILE)
def test_no_cell_of_the_csv_is_a_formula(text: str) -> None:
    rows = list(csv.reader(io.StringIO(csv_text(study(text)))))
    assert len({len(row) for row in rows}) == 1
    cells = [cell for row in rows for cell in row]
    assert [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))] == []


@given(st.text(max_size=20))
def test_a_csv_cell_never_starts_a_formula(text: str) -> None:
    cell = inert_cell(text)
    assert isinstance(cell, str)
    assert not cell.startswith(("=", "+", "-", "@"))
    assert controls(cell) == set() and "\n" not in cell


@pytest.mark.parametrize("figure", [0, -3, 1.5, -0.25])
def test_figures_stay_figures(figure: float) -> None:
    assert inert_cell(figure) == figure


@pytest.mark.parametrize("text", HOSTILE)
def test_json_keeps_the_text_exactly(text: str) -> None:
    assert json.loads(result_text(study(text)))["model"]["name"] == text
