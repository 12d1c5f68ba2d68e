"""Figures of the simulated card that may not get worse: loosely below what `make sim-fidelity` printed at first."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TABLE = ROOT.parent / "shared" / "data" / "cloud-ai-100" / "published_nlp.csv"
needs_table = pytest.mark.skipif(
    not TABLE.is_file(), reason="the published encoder table is not part of the repository"
)


@cache
def printed() -> tuple[str, ...]:
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    script = ROOT / "bench" / "sim" / "fidelity.py"
    done = subprocess.run(
        [sys.executable, str(script), "--quick"], capture_output=True, text=True, env=env, check=True, timeout=240
    )
    return tuple(done.stdout.splitlines())


def test_nothing_is_missed() -> None:
    assert [line for line in printed() if "NOT REACHED" in line] == []
    assert sum("reached" in line for line in printed()) >= 8


def test_resnet_50_stays_within_a_quarter() -> None:
    worst = [int(re.search(r"(\d+) %, \d", line)[1]) for line in printed() if line.startswith("ResNet-50")]  # type: ignore[index]
    assert len(worst) == 4
    assert max(worst) <= 25
    assert sorted(worst)[-2] <= 15


@needs_table
@pytest.mark.parametrize("start", ["encoders: the third of the models", "encoders: the two thirds"])
def test_encoders_stay_near_what_was_measured(start: str) -> None:
    (line,) = (line for line in printed() if line.startswith(start))
    middle, high = (float(found) for found in re.findall(r"([\d.]+) %", line))
    assert middle <= 5
    assert high <= 13
