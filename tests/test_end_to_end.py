"""The whole way on real runtimes: tune, resume, extend, report, measure, export, run and verify, as commands."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from commands import argv, environment, infertune
from infertune import Study
from infertune.core import history
from infertune.core.records import Launch, Measurement
from small_models import write_classifier

SCHEMA = json.loads((Path(__file__).parent.parent / "docs" / "result.schema.json").read_text())
QUESTION = ("tune", "m.onnx", "--out", "run", "--trials", "4", "--knob", "batch=1,4", "--accept-noise")
BASELINES = {"onnxruntime default", "openvino default", "openvino throughput hint", "openvino latency hint"}


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model and a finished study of it; paths in it are relative, as people write them."""
    folder = tmp_path_factory.mktemp("work")
    write_classifier(folder / "m.onnx", width=64)
    done = infertune(folder, *QUESTION, "--budget", "40s", "--json")
    assert done.returncode == 0, done.stderr
    (folder / "stdout.json").write_text(done.stdout)
    (folder / "stderr.txt").write_text(done.stderr)
    return folder


@pytest.fixture(scope="module")
def result(work: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((work / "stdout.json").read_text())
    return found


def launches(folder: Path) -> tuple[Launch, ...]:
    return history.launches(Study.open(folder).entries)


def test_the_answer_keeps_the_published_schema(work: Path, result: dict[str, Any]) -> None:
    Draft202012Validator(SCHEMA).validate(result)
    assert result == json.loads((work / "run" / "result.json").read_text())
    assert result["status"] == "ok" and not result["simulated"]


def test_winner_and_all_four_baselines_are_confirmed(result: dict[str, Any]) -> None:
    confirmed, spent = result["confirmed"], result["spent_s"]
    assert confirmed["launches"] >= 3
    assert confirmed["throughput_per_s"]["low"] <= confirmed["throughput_per_s"]["value"]
    assert {baseline["name"] for baseline in result["baselines"]} == BASELINES
    assert result["speedup"]["over_onnxruntime_default"]["value"] > 0
    assert result["fidelity"]["value"] >= result["fidelity"]["limit"]
    assert sum(spent.values()) < 60.0
    assert all(Path(path).name in {"study.db", "result.json", "report.txt", "report.md", "trials.csv"}
               for path in result["files"].values())  # fmt: skip


def test_every_launch_of_the_confirmation_came_after_the_decision(work: Path) -> None:
    entries = Study.open(work / "run").entries
    confirmation = history.confirmations(entries)[-1]
    decided = max(e.seq for e in entries if type(e.event).__name__ == "Decided")
    assert confirmation.launches
    assert all(e.seq > decided for e in entries if isinstance(e.event, Launch) and e.event.purpose == "confirm")


def test_the_same_question_again_measures_nothing(work: Path) -> None:
    before = launches(work / "run")
    done = infertune(work, *QUESTION, "--budget", "40s", "--json")
    assert done.returncode == 0
    assert launches(work / "run") == before
    assert json.loads(done.stdout)["winner"] == json.loads((work / "run" / "result.json").read_text())["winner"]


def test_another_question_is_refused_and_loses_nothing(work: Path) -> None:
    before = launches(work / "run")
    done = infertune(work, *QUESTION, "--goal", "min latency")
    said = done.stderr.splitlines()
    assert done.returncode == 2
    assert said[0].startswith("error[another-question]: ") and "goal" in said[0]
    assert said[1].startswith("hint: ") and len(said) == 2
    assert launches(work / "run") == before


@pytest.mark.parametrize("flag", [(), ("--json",), ("--format", "markdown"), ("--format", "csv")])
def test_reports_come_from_the_run_folder_alone(work: Path, flag: tuple[str, ...]) -> None:
    done = infertune(work, "report", "run", *flag)
    assert done.returncode == 0, done.stderr
    assert "openvino" in done.stdout


def test_a_run_compared_with_itself_differs_in_nothing(work: Path) -> None:
    done = infertune(work, "compare", "run", "run")
    assert done.returncode == 0, done.stderr
    assert "1.00" in done.stdout


def test_measure_gives_a_row_per_point(work: Path) -> None:
    settings = ("--set", "batch=1,3", "--set", "cores=1", "--set", "instances=1", "--set", "set_size=1")
    done = infertune(work, "measure", "m.onnx", "--target", "openvino", *settings, "--launches", "2",
                     "--window", "0.1", "--json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert sorted((row["batch"], row["launches"]) for row in rows) == [(1, 2), (3, 2)]


@pytest.mark.parametrize("arguments", [("doctor",), ("devices",), ("space", "m.onnx"), ("inspect", "m.onnx")])
def test_looking_around(work: Path, arguments: tuple[str, ...]) -> None:
    for more in ((), ("--json",)):
        done = infertune(work, *arguments, *more)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip()
        assert not more or json.loads(done.stdout)


def test_the_bundle_runs_with_the_runtime_alone(work: Path) -> None:
    assert infertune(work, "export", "run", "-o", "bundle").returncode == 0
    program = work / "bundle" / "run.py"
    assert len(program.read_text().splitlines()) <= 75
    assert "infertune" not in [line.split()[1] for line in program.read_text().splitlines() if "import " in line]
    done = subprocess.run([sys.executable, str(program), "0.3"], capture_output=True, text=True, check=True)
    measured, expected = done.stdout.split("samples/s; expected ")
    assert float(measured) > 0 and float(expected) > 0


def test_verify_measures_the_bundle_and_tells_a_broken_promise(work: Path) -> None:
    infertune(work, "export", "run", "-o", "promised")
    kept = infertune(work, "verify", "promised", "--tolerance", "99", "--launches", "1")
    assert kept.returncode == 0, kept.stderr
    config = work / "promised" / "config.json"
    told = json.loads(config.read_text())
    told["promise"]["throughput"] = dict.fromkeys(("value", "low", "high"), 1e9)
    if told["promise"]["anchor"] is not None:  # none where the winner is a baseline itself
        told["promise"]["anchor"]["ratio"] = dict.fromkeys(("value", "low", "high"), 1e9)
    config.write_text(json.dumps(told))
    broken = infertune(work, "verify", "promised", "--launches", "1")
    assert broken.returncode == 1
    assert broken.stderr.startswith("error[promise-not-kept]: ")


def test_every_number_follows_from_the_raw_samples(work: Path) -> None:
    done = infertune(work, "verify", "--recompute", "run")
    assert done.returncode == 0, done.stderr
    assert f" of {len(launches(work / 'run'))} launches recomputed from the raw samples: all agree" in done.stdout
    first = [la.outcome for la in launches(work / "run") if la.purpose == "confirm" and la.block == 0]
    assert any(isinstance(outcome, Measurement) and outcome.repeats for outcome in first)


def test_the_study_as_a_library(work: Path) -> None:
    study = Study.open(work / "run")
    assert study.best.point == study.answer.winner
    assert len(study.frame()) == len(study.trials)
    assert study.result()["model"]["name"] == "m"
    assert (study.export(work / "from-library") / "config.json").is_file()


# ---------------------------------------------------------------- interrupted and killed


def started(folder: Path, out: str, budget: str = "10m") -> subprocess.Popen[str]:
    """A study in the middle of its search, as soon as its record holds a launch."""
    process = subprocess.Popen(
        argv("tune", "m.onnx", "--out", out, "--budget", budget, "--accept-noise"),
        cwd=folder, env=environment(folder), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("screen: "):
            break
    return process


def test_ctrl_c_ends_after_the_launch_and_still_answers(work: Path) -> None:
    process = started(work, "stopped")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "ending after the current launch" in err and "Traceback" not in err
    assert "unconfirmed" in out
    assert json.loads((work / "stopped" / "result.json").read_text())["status"] == "interrupted"


def test_kill_9_loses_nothing_recorded_and_the_study_goes_on(work: Path) -> None:
    process = started(work, "killed", budget="15s")
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    before = launches(work / "killed")
    assert any(isinstance(launch.outcome, Measurement) for launch in before)
    done = infertune(work, "tune", "m.onnx", "--out", "killed", "--budget", "15s", "--accept-noise")
    assert done.returncode == 0, done.stderr
    after = launches(work / "killed")
    assert after[: len(before)] == before and len(after) > len(before)


def test_workers_die_with_the_command(work: Path) -> None:
    process = started(work, "orphans")
    process.kill()
    process.communicate(timeout=30)
    deadline = time.monotonic() + 30
    while workers_of(process.pid) and time.monotonic() < deadline:
        os.sched_yield()
    assert workers_of(process.pid) == []


def workers_of(parent: int) -> list[int]:
    """Living worker processes that were started by ``parent``."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
        except OSError:
            continue
        if b"infertune.targets.worker" in words and words[-2:-1] == [str(parent).encode()]:
            found.append(int(entry.name))
    return found
