"""What `make tune` asks for: the question survives the shell, and each question has a run folder of its own."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def asked(**variables: str) -> list[str]:
    """The arguments of `infertune tune`, one per line; the default model counts as written already."""
    env = {**os.environ, "DRY_RUN": "1", **variables}
    done = subprocess.run([ROOT / "scripts" / "tune"], capture_output=True, text=True, check=True, env=env)
    return done.stdout.splitlines()


def test_a_limit_reaches_the_command_in_one_piece() -> None:
    words = asked(MODEL="m.onnx", GOAL="min latency, throughput > 10/s", SHAPE="a=1 b=2", BUDGET="2m")
    assert words[:5] == ["m.onnx", "--goal", "min latency, throughput > 10/s", "--budget", "2m"]
    assert words[-4:] == ["--shape", "a=1", "--shape", "b=2"]


def test_another_budget_is_the_same_question_and_another_goal_is_not() -> None:
    def folder(**more: str) -> str:
        words = asked(MODEL="x/m.onnx", **more)
        return words[words.index("--out") + 1]

    assert folder() == folder(BUDGET="9m") == "runs/m"
    assert len({folder(), folder(GOAL="min latency"), folder(GOAL="max throughput, p99 < 5 ms"),
                folder(GOAL="max throughput, p99 > 5 ms"), folder(SHAPE="n=7")}) == 5  # fmt: skip


@pytest.mark.parametrize("model", ["a model.onnx", "$HOME.onnx", "a;b.onnx"])
def test_odd_file_names(model: str) -> None:
    assert asked(MODEL=model)[0] == model


def test_whatever_else_tune_takes_comes_last() -> None:
    words = asked(MODEL="m.onnx", OPTIONS="--accept-noise --knob batch=[1-4]*")
    assert words[-3:] == ["--accept-noise", "--knob", "batch=[1-4]*"]


def test_make_passes_every_variable_on() -> None:
    written = (ROOT / "scripts" / "tune").read_text()
    exported = (ROOT / "Makefile").read_text().partition("export ")[2].splitlines()[0].split()
    assert set(re.findall(r"\$\{([A-Z]+):-", written)) <= set(exported)
