"""`infertune report` and `infertune compare` read run folders and nothing else."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from infertune.cli.app import main
from infertune.cli.outcome import finish
from infertune.core.records import Entry
from infertune.report import csv_text, json_text, markdown_text, plain_text
from infertune.report.comparison import compare, comparison_text
from infertune.report.text import Widths
from infertune.store.sqlite import open_store
from infertune.study import Study
from infertune.testing.records import a_point, a_study

FAST = a_point(batch=8)
FILES = {"record": "study.db"}
BROKEN = Widths(sentences=118, rows=118)


def a_folder(folder: Path, entries: Sequence[Entry]) -> Path:
    with open_store(folder) as store:
        for entry in entries:
            store.append(entry.event, entry.at_s)
    return folder


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COLUMNS", "120")
    return a_folder(tmp_path / "run", a_study({FAST: 200.0}))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], plain_text(a_study({FAST: 200.0}), FILES, widths=BROKEN)),
        (["--format", "text"], plain_text(a_study({FAST: 200.0}), FILES, widths=BROKEN)),
        (["--format", "markdown"], markdown_text(a_study({FAST: 200.0}), FILES)),
        (["--format", "csv"], csv_text(a_study({FAST: 200.0}))),
        (["--format", "json"], json_text(a_study({FAST: 200.0}), FILES)),
        (["--json"], json_text(a_study({FAST: 200.0}), FILES)),
    ],
)
def test_each_format_goes_to_stdout(
    run: Path, options: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(run), *options]) == 0
    assert capsys.readouterr() == (expected, "")


def test_sentences_are_broken_at_the_width_that_columns_says(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def longest(columns: int) -> int:
        monkeypatch.setenv("COLUMNS", str(columns))
        main(["report", str(run)])
        facts = capsys.readouterr().out.partition("\n\n")[2].partition("\n\n")[0]
        return max(map(len, facts.splitlines()))

    assert longest(60) <= 58 < longest(200)


@pytest.mark.parametrize("columns", [70, 80, 100])
def test_no_line_is_wider_than_columns_says_and_no_word_is_lost(
    run: Path, columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    main(["report", str(run)])
    main(["compare", str(run), str(run)])
    told = capsys.readouterr().out
    assert max(len(line) for line in told.splitlines() if "|" not in line) <= columns
    entries = a_study({FAST: 200.0})
    whole = plain_text(entries, FILES) + comparison_text(compare(entries, entries))
    assert Counter(told.split()) == Counter(whole.split())


def test_rows_of_tables_stay_one_line_where_nobody_says_how_wide_a_terminal_is(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS")
    main(["report", str(run)])
    assert capsys.readouterr().out == plain_text(a_study({FAST: 200.0}), FILES)


def test_the_answer_of_tune_fits_the_terminal_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "70")
    study = Study(folder=tmp_path, entries=tuple(a_study({FAST: 200.0})))
    assert finish(study, as_json=False, interrupted=0) == 0
    facts = capsys.readouterr().out.partition("Baselines")[0]
    assert max(map(len, facts.splitlines())) <= 70


def test_a_copy_of_the_folder_gives_the_same_bytes(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "elsewhere" / "copied"
    shutil.copytree(run, copy)
    main(["report", str(run), "--json"])
    first = capsys.readouterr().out
    main(["report", str(copy), "--json"])
    assert capsys.readouterr().out == first


def test_a_report_can_be_written_to_a_file(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "report.md"
    assert main(["report", str(run), "--format", "markdown", "-o", str(out)]) == 0
    assert capsys.readouterr().out == ""
    assert out.read_text() == markdown_text(a_study({FAST: 200.0}), FILES)


def test_an_unwritable_file_is_an_error_with_its_exit_code(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(run), "-o", str(tmp_path / "no" / "folder" / "report.txt")]) == 73
    assert capsys.readouterr().err.startswith("error[output-unwritable]: ")


@pytest.mark.parametrize("command", [["report"], ["compare", "{run}"]])
def test_a_missing_run_folder_is_an_error(
    run: Path, command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [part.format(run=run) for part in command]
    assert main([*arguments, str(tmp_path / "nowhere")]) == 66
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("error[") and "\nhint: " in said.err


def test_an_unknown_format_is_a_usage_error(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(run), "--format", "yaml"]) == 2
    assert capsys.readouterr().err.startswith("error[usage]: ")


def test_a_record_without_a_question_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = a_folder(tmp_path / "empty", [])
    assert main(["report", str(empty)]) == 65
    assert "error[record-without-question]" in capsys.readouterr().err


def test_compare_prints_both_and_the_verdict(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = a_folder(tmp_path / "other", a_study({FAST: 300.0}))
    assert main(["compare", str(run), str(other)]) == 0
    assert "verdict  B is better: 1.50x" in capsys.readouterr().out
    assert main(["compare", str(run), str(other), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["format"] == "infertune-comparison/1"
    assert document["ratio"]["value"] == pytest.approx(1.5, rel=0.01)
