"""Of points that fresh launches do not tell apart, the one with fewer requests in flight is recommended."""

from __future__ import annotations

from pathlib import Path

import pytest

from infertune.core.answer import answer
from infertune.core.space import Point
from test_study_flow import Laboratory


def a_study(folder: Path, gain: float, budget_s: float) -> Laboratory:
    """OpenVINO with two instances is ``gain`` times as fast as with one, and faster than all else."""

    def rate(point: Point) -> float:
        if point.target != "openvino" or point["preset"] != "explicit":
            return 40.0
        return 100.0 * (gain if point.number("instances") * point.number("set_size") > 1 else 1.0)

    lab = Laboratory(folder, rate=rate)
    lab.run(budget_s)
    return lab


@pytest.mark.parametrize(("gain", "shallow"), [(1.02, True), (1.06, False)])
def test_two_per_cent_are_not_worth_more_requests_in_flight(tmp_path: Path, gain: float, shallow: bool) -> None:
    found = answer(a_study(tmp_path, gain, 300.0).entries)
    assert found.confirmed and found.winner is not None and found.figures is not None
    assert (found.figures.in_flight == 1) == shallow
    assert "a tie: nothing separates it from openvino" in found.why or not shallow
    assert found.figures.launches == 6
