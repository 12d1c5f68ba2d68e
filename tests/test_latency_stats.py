"""`infertune latency-stats`: the vendor's table to the printed digit, checks beside it, and clear errors."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from infertune.cli.app import main
from infertune.cli.latency_stats import script
from infertune.core.stats import percentile_floor
from infertune.report.latency import Little, floors, keep_middle, shares, summary, table
from infertune.targets.qaic.profile import NEEDED, render
from infertune.targets.qaic.sim.programs.profiles import HEADING

COLUMNS = ("Sample", "queueDepth", "numInfInQueue", *NEEDED)


def profile(rows: int, seed: int = 0, *, in_flight: int = 1, scale: float = 1.0, title: str = "one") -> str:
    """A file as the tools write one, with their identities between columns."""
    rng = np.random.default_rng(seed)
    lines = []
    for i in range(rows):
        vc, device = int(rng.integers(4, 8)), int(scale * rng.integers(2100, 2300))
        enq, pre, submit, post = rng.uniform(0.5, 6, 4)
        execution = vc + device + rng.uniform(33, 70)
        total = execution + enq + pre + submit + post + rng.uniform(20, 60)
        cells = (vc + device, enq, pre, submit, execution, vc, device, post, total)
        lines.append(f"{i}, 0, {in_flight}, " + ", ".join(f"{c}" if isinstance(c, int) else f"{c:.3f}" for c in cells))
    return render(COLUMNS, lines, [title, "two", "three", ""])


def vendor(paths: Sequence[Path]) -> str:
    """What the vendor's script does, in the pandas that it uses."""
    pandas = pytest.importorskip("pandas")
    frames = []
    for path in paths:
        frame = pandas.read_csv(path, skiprows=4, skipinitialspace=True, skip_blank_lines=False)
        frame.columns = [c.strip() for c in frame.columns]
        for name in [c for c in frame.columns if c.endswith("Us")]:
            frame[name] = frame[name] / 1000
        frames.append(frame.rename(columns=lambda c: c.removesuffix("Us")))
    whole = pandas.concat(frames).drop(columns=["Sample", "queueDepth", "numInfInQueue"])
    told = whole.describe(percentiles=[0.5, 0.75, 0.9, 0.95, 0.99]).drop(["count", "std"]).transpose()
    mean = whole["totalRoundtripTime"].mean()
    return f"All activations combined:\n{told.to_string()}\ntotalRoundtripTime: percentile(mean) = {mean:.3f} ms\n"


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"aic-profiling-program-{i}-latency.txt" for i in range(2)]
    for i, path in enumerate(paths):
        path.write_text(profile(400, seed=i))
    return paths


def test_the_table_is_the_vendor_s_to_the_printed_digit(files: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert script(["latency_stats_python3.py", *map(str, files)]) == 0
    assert capsys.readouterr().out == vendor(files)


def test_a_file_given_twice_counts_twice_as_in_the_vendor_s(
    files: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    twice = [files[0], *files]
    assert script(["latency_stats_python3.py", *map(str, twice)]) == 0
    assert capsys.readouterr().out == vendor(twice)


@pytest.mark.parametrize("share", ["101", "-5", "0", "nan"])
def test_a_share_that_is_none_is_told(files: list[Path], capsys: pytest.CaptureFixture[str], share: str) -> None:
    assert script(["x", str(files[0]), "-k", share]) == 2
    assert capsys.readouterr().err.splitlines()[0].endswith("is no share")


def test_profiles_of_simulated_and_of_real_cards_are_not_mixed(
    files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    simulated = tmp_path / "simulated-latency.txt"
    simulated.write_text(profile(400, title=HEADING[0]))
    for mixed in ([simulated, files[0]], [files[0], simulated]):
        assert main(["latency-stats", *map(str, mixed)]) == 65
        assert script(["x", *map(str, mixed)]) == 65
        told = capsys.readouterr()
        assert told.out == "" and told.err.count("error[profiles-mixed]") == 2


@pytest.mark.parametrize(("rows", "scale"), [(1, 1.0), (3, 100.0), (50, 10.0)])
def test_few_and_slow_requests_are_printed_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], rows: int, scale: float
) -> None:
    path = tmp_path / "a-latency.txt"
    path.write_text(profile(rows, scale=scale))
    assert script(["x", str(path)]) == 0
    assert capsys.readouterr().out == vendor([path])


def test_whole_milliseconds_lose_their_zeros_like_in_pandas() -> None:
    pandas = pytest.importorskip("pandas")
    columns = {"a": np.asarray([1.0, 2.0, 4.0]), "long name": np.asarray([0.5, 0.25, np.nan])}
    frame = pandas.DataFrame(columns)
    told = frame.describe(percentiles=[0.5, 0.75, 0.9, 0.95, 0.99]).drop(["count", "std"]).transpose()
    assert table(columns) == told.to_string() + "\n"


def test_the_command_adds_counts_breakdown_and_littles_law(
    files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "runner.txt"
    log.write_text(" ---- Stats ----\nInferenceCnt 860 TotalDuration 1000000us BatchSize 1 Inf/Sec 860.000\n")
    assert main(["latency-stats", *map(str, files), "--result", str(log)]) == 0
    told = capsys.readouterr().out
    assert told.startswith(vendor(files))
    assert "samples: 800 (400 + 400)" in told
    assert "application" in told
    assert "kernel driver" in told
    assert "2 asked for: as asked" in told


def test_a_load_that_is_not_what_was_asked_is_accused(
    files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "runner.txt"
    log.write_text("InferenceCnt 430 TotalDuration 1000000us BatchSize 1 Inf/Sec 430.000\n")
    assert main(["latency-stats", *map(str, files), "--result", str(log)]) == 0
    assert "NOT as asked" in capsys.readouterr().out


def test_where_nothing_is_queued_the_host_s_time_is_told_and_not_accused(
    files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = Little(asked=1, rate_per_s=9207.0, mean_ms=0.076)
    assert one.holds and one.held == "as asked, but for the host's time between requests"
    assert replace(one, asked=4, rate_per_s=4 * one.rate_per_s).held == one.held
    assert not replace(one, rate_per_s=14000.0).holds
    assert not replace(one, asked=4, mean_ms=7.6, rate_per_s=300.0).holds
    log = tmp_path / "runner.txt"
    log.write_text("InferenceCnt 300 TotalDuration 1000000us BatchSize 1 Inf/Sec 300.000\n")
    assert main(["latency-stats", str(files[0]), "--result", str(log)]) == 0
    assert "1 asked for: as asked, but for the host's time between requests\n" in capsys.readouterr().out


def test_percentiles_have_floors() -> None:
    assert floors(10) == (75, 90, 95, 99)
    assert floors(percentile_floor(95)) == (99,)
    assert floors(10_000) == ()


def test_json_holds_the_same_numbers(files: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["latency-stats", str(files[0].parent), "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert told["samples"] == [400, 400]
    means = sum(part["mean"] for part in told["phases"].values())
    assert means == pytest.approx(told["columns"]["totalRoundtripTime"]["mean"])
    assert told["columns"]["execTotal"]["count"] == 800


def test_the_picture_is_whole_and_shows_every_phase(files: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "p.svg"
    assert main(["latency-stats", *map(str, files), "--picture", str(out)]) == 0
    drawn = ET.fromstring(out.read_text())
    hints = [t.text or "" for t in drawn.iter("{http://www.w3.org/2000/svg}title")]
    assert len(hints) == 7  # four phases, and three without the device
    assert any(h.startswith("kernel driver: ") for h in hints)


def test_what_a_simulated_card_took_is_marked_wherever_it_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, drawn = tmp_path / "a-latency.txt", tmp_path / "p.svg"
    path.write_text(profile(50, title=HEADING[0]))
    assert main(["latency-stats", str(path), "--picture", str(drawn)]) == 0
    assert "simulated: no card was involved" in capsys.readouterr().out
    assert "(simulated)" in drawn.read_text()
    assert main(["latency-stats", str(path), "--json", "-k", "90"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["simulated"] is True
    assert script(["x", str(path)]) == 0
    told = capsys.readouterr()
    assert (told.out, told.err) == (vendor([path]), "simulated: no card was involved\n")


def test_what_a_real_card_took_is_not(files: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["latency-stats", *map(str, files), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["simulated"] is False


def test_keeping_everything_keeps_everything(files: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert script(["x", "-k", "100", str(files[0])]) == 0
    assert capsys.readouterr().out == vendor(files[:1])


def test_the_middle_is_what_is_left_in_the_middle() -> None:
    assert keep_middle(np.arange(10.0), 60).tolist() == [2, 3, 4, 5, 6, 7]
    assert keep_middle(np.arange(3.0), 1).tolist() == [1]


def test_missing_cells_do_not_count() -> None:
    found = summary("x", np.asarray([1.0, np.nan, 3.0]))
    assert (found.count, found.values[0]) == (2, 2.0)


def test_a_column_without_a_number_is_told_as_such(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    place = COLUMNS.index("enqTimeUs")
    lines = profile(20).splitlines()
    rows = [line.split(", ") for line in lines[5:]]
    path, drawn = tmp_path / "a-latency.txt", tmp_path / "p.svg"
    path.write_text("\n".join([*lines[:5], *(", ".join([*r[:place], "N/A", *r[place + 1 :]]) for r in rows)]) + "\n")
    assert main(["latency-stats", str(path), "--picture", str(drawn)]) == 0
    told = capfd.readouterr()
    assert "runtime        N/A" in told.out and "nan" not in told.out + drawn.read_text() and not told.err
    assert not recwarn.list
    assert main(["latency-stats", str(path), "--json"]) == 0
    assert set(json.loads(capfd.readouterr().out)[0]["phases"]) == {"device", "kernel driver"}


def test_a_request_without_a_total_leaves_little_s_law_to_the_others(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path, run = tmp_path / "a-latency.txt", tmp_path / "run.txt"
    lines = profile(20).splitlines()
    lines[7] = "2, N/A, N/A, " + ", ".join(["N/A"] * len(NEEDED))
    path.write_text("\n".join(lines) + "\n")
    run.write_text("InferenceCnt 20 TotalDuration 46000us BatchSize 1 Inf/Sec 434.783\n")
    assert main(["latency-stats", str(path), "--result", str(run), "--json"]) == 0
    (told,) = json.loads(capfd.readouterr().out)
    assert told["columns"]["totalRoundtripTime"]["count"] == 19
    assert told["little"]["asked"] == 1 and told["little"]["in_flight"] == pytest.approx(1, rel=0.1)


def test_shares_add_up() -> None:
    parts = shares({"a": np.asarray([1.0, 2.0]), "b": np.asarray([4.0, 5.0])})
    assert sum(p.of_whole for p in parts) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("content", "code", "says"),
    [
        (None, 66, "there is no file"),
        ("", 65, "empty"),
        ("hello\n", 65, "no latency profile"),
        (profile(0), 65, "no samples"),
        (profile(5).replace("totalRoundtripTimeUs", "total"), 65, "lacks totalRoundtripTimeUs"),
        (profile(5).replace(", 0, 1, ", ", 0, ", 1), 65, "columns instead of"),
    ],
)
def test_a_file_that_cannot_be_read_is_two_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, code: int, says: str
) -> None:
    path = tmp_path / "aic-profiling-program-0-latency.txt"
    if content is not None:
        path.write_text(content)
    assert main(["latency-stats", str(path)]) == code
    error, hint = capsys.readouterr().err.splitlines()
    assert error.startswith("error[")
    assert says in error
    assert hint.startswith("hint: ")
    assert script(["x", str(path)]) == code


def test_what_would_be_left_out_beside_a_run_folder_is_refused(
    files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "study.db").touch()
    for more in ([str(files[0])], ["-k", "90"], ["--result", str(files[0])]):
        assert main(["latency-stats", str(run), *more]) == 2
        assert "goes with profiles of qaic-runner alone" in capsys.readouterr().err


def test_a_result_that_is_missing_has_a_hint_of_its_own(files: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["latency-stats", str(files[0]), "--result", "nowhere.txt"]) == 66
    assert "tee" in capsys.readouterr().err.splitlines()[-1]


def test_a_line_that_was_cut_off_is_counted_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "aic-profiling-program-0-latency.txt"
    path.write_text(profile(20)[:-9])
    assert main(["latency-stats", str(path)]) == 0
    assert "left out: 1 last line cut off\n" in capsys.readouterr().out


def test_an_empty_folder_holds_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["latency-stats", str(tmp_path)]) == 66
    assert "error[no-profiles]" in capsys.readouterr().err


def test_files_of_different_programs_are_not_mixed(files: list[Path]) -> None:
    files[1].write_text(files[1].read_text().replace("queueDepth, ", "", 1).replace(", 0, 1, ", ", 1, "))
    assert main(["latency-stats", *map(str, files)]) == 65


@pytest.mark.parametrize(
    ("count", "duration_us", "mean_ms", "asked", "seen"),
    [
        (6517, 20215390, 217.049413, 70, 69.97),
        (4252, 10001975, 2.284630, 1, 0.97),
        (7000, 10001468, 2.794029, 2, 1.96),
    ],
)
def test_littles_law_holds_for_the_published_runs(
    count: int, duration_us: int, mean_ms: float, asked: int, seen: float
) -> None:
    """The notebook's three runs: batches counted, their mean latency, and activations x set size in flight."""
    little = Little(asked=asked, rate_per_s=count / (duration_us / 1e6), mean_ms=mean_ms)
    assert round(little.in_flight, 2) == seen
    assert little.holds
    assert not replace(little, asked=asked + max(1, asked // 10)).holds
