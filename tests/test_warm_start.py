"""A study that starts from an earlier one: its best points come first, and count only once they are measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from infertune.core.errors import InfertuneError
from infertune.core.goal import parse_goal
from infertune.core.records import Launch, Trial
from infertune.core.space import Point, Space
from infertune.search import grid
from infertune.study.warm import best_points, warm_points, warmed
from infertune.testing.records import a_launch, a_measurement, recorded
from infertune.testing.spaces import a_knob

GOAL = parse_goal("max throughput")
SPACE = Space(target="t", device="d", knobs=(a_knob("batch", (1, 2, 4, 8, 16, 32)),))
POINTS = list(SPACE.points())


def launched(point: Point, rate: float) -> Launch:
    return a_launch(point, outcome=a_measurement(throughput=rate))


def test_the_best_legal_points_come_over() -> None:
    foreign = Point.of("other", "d", {"batch": 1})
    events = [launched(point, 100.0 + i) for i, point in enumerate(POINTS)] + [launched(foreign, 900.0)]
    assert best_points(recorded(events), GOAL, (SPACE,)) == (POINTS[-1],)
    assert best_points(recorded(events), GOAL, (SPACE,), most=4) == tuple(reversed(POINTS))[:4]


def test_points_within_the_limits_come_first() -> None:
    goal = parse_goal("max throughput, throughput < 103/s")
    events = [launched(point, 100.0 + i) for i, point in enumerate(POINTS)]
    found = best_points(recorded(events), goal, (SPACE,), most=4)
    assert found[:3] == (POINTS[2], POINTS[1], POINTS[0])


def test_they_are_measured_like_any_other_and_then_the_strategy_goes_on() -> None:
    strategy = warmed(grid.propose, (POINTS[4], POINTS[1]))
    assert strategy((SPACE,), (), GOAL, 1, 0) == [POINTS[4]]
    assert strategy((SPACE,), (), GOAL, 5, 0) == [POINTS[4], POINTS[1]]
    history = (Trial(point=POINTS[4]), Trial(point=POINTS[1]))
    assert strategy((SPACE,), history, GOAL, 2, 0) == (POINTS[0], POINTS[2])


def test_a_point_that_is_no_longer_offered_is_skipped() -> None:
    narrow = SPACE.narrowed({"batch": (1, 2)})
    barred = Space(target="t", device="d", knobs=(a_knob("batch", (1, 2)),))
    assert warmed(grid.propose, (POINTS[5],))((barred,), (), GOAL, 1, 0) == tuple(narrow.points())[:1]


def test_no_run_no_points_and_a_missing_one_is_told(tmp_path: Path) -> None:
    assert warm_points(None, GOAL, (SPACE,)) == ()
    with pytest.raises(InfertuneError):
        warm_points(tmp_path / "nowhere", GOAL, (SPACE,))
