"""What the live panel calls the best so far."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from infertune.cli import live
from infertune.cli.live import Progress
from infertune.core.goal import parse_goal
from infertune.core.records import Event
from infertune.study import tuning
from infertune.testing.records import a_check, a_launch, a_measurement, a_point, a_question, opening, recorded

SLOW, FAST = a_point(batch=1), a_point(batch=8)


def told(goal: str, events: Iterable[Event]) -> Progress:
    progress = Progress(goal=parse_goal(goal))
    for entry in recorded([*opening(a_question(goal)), *events]):
        progress.on_entry(entry)
    return progress


def test_a_point_beyond_a_limit_is_not_the_best_so_far() -> None:
    within, beyond = a_measurement(100.0, 0.5, count=500), a_measurement(300.0, 50.0, count=500)
    found = told("max throughput, p99 < 1 ms", [a_launch(SLOW, within), a_launch(FAST, beyond)])
    assert (found.best, found.best_figure) == (SLOW, "100 samples/s")
    assert told("max throughput, p99 < 1 ms", [a_launch(FAST, beyond)]).best is None


def test_figures_of_a_simulated_device_are_marked() -> None:
    progress = Progress(goal=parse_goal("max throughput"))
    launches = [a_launch(SLOW, 100.0), a_launch(FAST, a_measurement(200.0, simulated=True))]
    lines = [progress.on_entry(entry) for entry in recorded([*opening(a_question()), *launches])]
    assert [("(simulated)" in str(line)) for line in lines[-2:]] == [False, True]
    assert progress.best_figure == "200 samples/s (simulated)"


@pytest.mark.parametrize("speeds", [(300.0, 90.0, 100.0), (90.0, 300.0, 100.0)])
def test_one_lucky_launch_makes_no_best(speeds: tuple[float, ...]) -> None:
    found = told("max throughput", [a_launch(SLOW, 200.0), *(a_launch(FAST, speed) for speed in speeds)])
    assert (found.best, found.best_figure) == (SLOW, "200 samples/s")


def test_a_point_with_wrong_outputs_is_not_the_best_so_far() -> None:
    events = [a_launch(SLOW, 100.0), a_launch(FAST, 200.0)]
    assert told("max throughput", events).best == FAST
    wrong = a_point(batch=8, precision="bf16")
    events = [a_launch(SLOW, 100.0), a_launch(wrong, 200.0)]
    assert told("max throughput", [*events, a_check(wrong, 0.5)]).best == SLOW


def test_launches_that_were_disturbed_count_only_where_there_are_no_others() -> None:
    disturbed = a_launch(FAST, 300.0, flags=("foreign_cpu",))
    assert (
        told("max throughput", [a_launch(SLOW, 100.0), disturbed, a_launch(FAST, 200.0)]).best_figure == "200 samples/s"
    )


def test_every_phase_of_a_study_is_said_in_words() -> None:
    sources = "".join(path.read_text() for path in Path(tuning.__file__).parent.glob("*.py"))
    assert set(re.findall(r'on_phase\("(\w+)"', sources)) <= set(live._PHASES)
