"""`measure`: what its record says, also where it is stopped or the folder holds a record already."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from commands import argv, environment
from infertune.core import history
from infertune.core.errors import DataError, NotFoundError, UsageError
from infertune.core.load import Load
from infertune.core.records import Closed, Entry, Launch, Plan
from infertune.edge.scratch import is_scratch
from infertune.study.measure import measure
from infertune.study.study import Study
from infertune.study.tuning import tune
from small_models import write_classifier

QUICK = Plan(warmup_s=0.01, min_time_s=0.01, min_count=5, cap_s=1.0)


def measured(model: Path, out: Path, plan: Plan = QUICK) -> Study:
    return measure(model, out=out, settings={"batch": [1]}, targets=["null"], launches=1, plan=plan)


@pytest.mark.parametrize("other", ["model", "load"])
def test_launches_of_another_question_are_kept_out_of_the_record(tmp_path: Path, other: str) -> None:
    model = write_classifier(tmp_path / "m.onnx")
    wide = write_classifier(tmp_path / "wide.onnx", width=48)
    measured(model, tmp_path / "run")
    assert len(history.launches(measured(model, tmp_path / "run").entries)) == 2
    plan = Plan(load=Load(arrivals="constant", rate_per_s=50.0)) if other == "load" else QUICK
    with pytest.raises(UsageError, match=f"differs in {other}"):
        measured(wide if other == "model" else model, tmp_path / "run", plan)
    assert len(history.launches(Study.open(tmp_path / "run").entries)) == 2


def test_launches_that_are_added_are_blocks_of_their_own(tmp_path: Path) -> None:
    """What an earlier command launched stood beside nothing of this one, and had other arrivals."""
    model = write_classifier(tmp_path / "m.onnx")
    measured(model, tmp_path / "run")
    study = measured(model, tmp_path / "run")
    assert [launch.block for launch in history.launches(study.entries)] == [0, 1]


def test_what_is_stopped_does_not_say_that_every_point_was_measured(tmp_path: Path) -> None:
    model, launched = write_classifier(tmp_path / "m.onnx"), list[Entry]()

    def listen(entry: Entry) -> None:
        launched.extend([entry] if isinstance(entry.event, Launch) else [])

    study = measure(
        model,
        out=tmp_path / "run",
        settings={"batch": [1, 2]},
        targets=["null"],
        plan=QUICK,
        listeners=[listen],
        stop=lambda: len(launched) > 0,
    )
    assert history.closed(study.entries) == Closed(status="interrupted", why="interrupted")
    assert "interrupted" in study.answer.caveats


@pytest.mark.parametrize("name", ["nowhere.onnx", "text.onnx", "empty.onnx", "."])
def test_what_is_no_model_gets_no_run_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "text.onnx").write_text("hello")
    (tmp_path / "empty.onnx").touch()
    for work in (measured, lambda model, out: tune(model, out=out, targets=["null"])):
        with pytest.raises((DataError, NotFoundError)):
            work(tmp_path / name, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "asked",
    [("measure", "--set", "batch=1", "--launches", "9999"), ("serve-rate", "--limit", "p99 < 1 s", "--window", "60")],
)
def test_a_killed_command_leaves_only_folders_that_a_later_one_removes(tmp_path: Path, asked: tuple[str, ...]) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    model = write_classifier(tmp_path / "m.onnx")
    words = argv(asked[0], str(model), "--target", "null", *asked[1:])
    running = subprocess.Popen(
        words,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(tmp_path, TMPDIR=str(temporary)),
    )
    assert running.stderr is not None
    assert running.stderr.readline().startswith("asked")
    running.kill()
    running.communicate()
    left = [path.name for path in temporary.iterdir()]
    assert left
    assert all(map(is_scratch, left))
