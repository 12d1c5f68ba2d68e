"""`verify --recompute`: every number of a run folder once more from its raw samples."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from infertune.cli.app import main
from infertune.cli.outcome import write_files
from infertune.core import audit
from infertune.core.records import Entry, Launch, Measurement, Plan, RawNs
from infertune.store.sqlite import NAME, open_store
from infertune.study import Study
from infertune.study.recompute import recompute
from infertune.testing.records import a_point, a_study

FAST, SLOW = a_point(batch=8), a_point(batch=2)


def record(folder: Path, entries: Sequence[Entry]) -> None:
    with open_store(folder) as store:
        for entry in entries:
            store.append(entry.event, entry.at_s)


def studied() -> list[Entry]:
    """A study whose launches carry the flags that they earn."""
    return [_audited(entry) for entry in a_study({FAST: 200.0, SLOW: 120.0})]


def _audited(entry: Entry) -> Entry:
    launch = entry.event
    if not isinstance(launch, Launch) or not isinstance(launch.outcome, Measurement):
        return entry
    plan = Plan(min_count=500)
    return replace(entry, event=replace(launch, flags=audit.flags(launch.outcome, plan), plan=plan))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    record(folder, studied())
    write_files(Study.open(folder))
    return folder


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_files_of_a_study_agree_with_its_record(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--recompute", str(run)]) == 0
    said = capsys.readouterr()
    found = recompute(run)
    assert said.err == ""
    assert said.out.startswith(f"{found.numbers} numbers of {found.launches} launches recomputed")
    assert len(said.out.splitlines()) == 1
    assert found.launches == 2 + 5 * 6 and found.numbers > 100


def test_every_number_of_the_result_counts(run: Path) -> None:
    """Whichever number is changed, that one field is named."""
    path = run / "result.json"
    whole = path.read_text()
    numbers = list(re.finditer(r"(?<=: )\d(?=[\d.]*,?$)", whole, re.MULTILINE))
    assert len(numbers) > 30
    for number in numbers:
        other = str(int(number.group()) % 9 + 1)
        path.write_text(whole[: number.start()] + other + whole[number.end() :])
        (difference,) = recompute(run).differences
        assert difference.where.startswith("result.json ")


def test_a_digit_of_the_result(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    confirmed = json.loads((run / "result.json").read_text())["confirmed"]["throughput_per_s"]["value"]
    edit(run / "result.json", f'"value": {confirmed!r}', '"value": 201.0')
    assert main(["verify", "--recompute", str(run)]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error[numbers-differ]: `run` says otherwise than its raw samples in 1 field: ")
    assert f"confirmed.throughput_per_s.value: `201.0`, recomputed `{confirmed!r}`" in said.err


def test_the_same_number_spelled_otherwise_is_a_difference(run: Path) -> None:
    edit(run / "result.json", '"launches": 6', '"launches": 6.0')
    (difference,) = recompute(run).differences
    assert (difference.told, difference.recomputed) == ("6.0", "6")


def test_a_digit_of_the_trials(run: Path) -> None:
    lines = (run / "trials.csv").read_text().splitlines()
    columns = lines[0].split(",")
    cells = lines[1].split(",")
    place = columns.index("p50_ms")
    edit(run / "trials.csv", f",{cells[place]},", ",41.5,")
    (difference,) = recompute(run).differences
    assert difference.where == "trials.csv line 2, p50_ms"
    assert (difference.told, difference.recomputed) == ("41.5", cells[place])


def test_a_trial_left_out_is_found(run: Path) -> None:
    lines = (run / "trials.csv").read_text().splitlines(keepends=True)
    (run / "trials.csv").write_text("".join(lines[:-1]))
    found = recompute(run).differences
    assert found and all(difference.told == "nothing" for difference in found)


def test_paths_are_no_numbers(run: Path, tmp_path: Path) -> None:
    edit(run / "result.json", str(run), "elsewhere")
    run.rename(tmp_path / "moved")
    assert recompute(tmp_path / "moved").differences == ()


def slower(measurement: Measurement) -> Measurement:
    """One more nanosecond on the clock."""
    return replace(measurement, wall_ns=measurement.wall_ns + 1)


def longer(measurement: Measurement) -> Measurement:
    """Every latency one microsecond longer."""
    return replace(measurement, latencies_ns=RawNs([ns + 1000 for ns in measurement.latencies_ns]))


@pytest.mark.parametrize(("change", "field"), [(slower, "throughput_per_s"), (longer, "p50_ms")])
def test_raw_samples_that_were_altered_are_found(
    run: Path, tmp_path: Path, change: Callable[[Measurement], Measurement], field: str
) -> None:
    """In a record that was written anew, so that its checksums fit."""
    altered = [_with(entry, change) for entry in studied()]
    forged = tmp_path / "forged"
    record(forged, altered)
    for name in ("result.json", "trials.csv"):
        (forged / name).write_bytes((run / name).read_bytes())
    assert any(field in difference.where for difference in recompute(forged).differences)


def _with(entry: Entry, change: Callable[[Measurement], Measurement]) -> Entry:
    launch = entry.event
    if not isinstance(launch, Launch) or launch.purpose != "confirm" or not isinstance(launch.outcome, Measurement):
        return entry
    return replace(entry, event=replace(launch, outcome=change(launch.outcome)))


def test_a_flag_that_was_taken_off_is_found(run: Path, tmp_path: Path) -> None:
    disturbed = [_with(entry, lambda m: replace(m, warmed=False, warmup_count=9)) for entry in studied()]
    forged = tmp_path / "forged"
    record(forged, disturbed)
    write_files(Study.open(forged))
    first = next(d for d in recompute(forged).differences if d.where.startswith("flags"))
    assert first.where == "flags of launch 3"
    assert (first.told, first.recomputed) == ("not_steady, few_samples", "not_warmed, not_steady, few_samples")


@pytest.mark.parametrize("told", [True, False])
def test_too_few_requests_are_judged_where_the_record_tells_the_plan(tmp_path: Path, told: bool) -> None:
    plan = Plan(min_count=0) if told else None
    entries = [replace(e, event=replace(e.event, plan=plan)) if isinstance(e.event, Launch) else e for e in studied()]
    record(tmp_path / "run", entries)
    write_files(Study.open(tmp_path / "run"))
    wrong = [d for d in recompute(tmp_path / "run").differences if "few_samples" in d.told]
    assert bool(wrong) == told


def test_a_record_altered_in_place_is_damaged(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with contextlib.closing(sqlite3.connect(run / NAME)) as db, db:
        db.execute("""UPDATE entries SET event = replace(event, '"setup_ns":50000000', '"setup_ns":50000001')""")
    assert main(["verify", "--recompute", str(run)]) == 65
    assert capsys.readouterr().err.startswith("error[study-damaged]: ")


@pytest.mark.parametrize("name", ["result.json", "trials.csv"])
def test_files_that_are_missing_or_damaged(run: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = run / name
    path.write_bytes(b"\xff")
    assert main(["verify", "--recompute", str(run)]) == 65
    assert capsys.readouterr().err.startswith("error[report-file-damaged]: ")
    path.unlink()
    assert main(["verify", "--recompute", str(run)]) == 66
    assert capsys.readouterr().err.startswith("error[no-report-files]: ")


def test_a_folder_that_is_no_run_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--recompute", str(tmp_path)]) == 66
    assert capsys.readouterr().err.startswith("error[no-study]: ")


def test_differences_as_json(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit(run / "result.json", '"trials": 6', '"trials": 7')
    assert main(["verify", "--recompute", str(run), "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert said["differences"] == [{"where": "result.json trials", "told": "7", "recomputed": "6"}]
