"""Which points each block of a recorded space launches (bench/record_space.py)."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from infertune.core.records import Failed, Launch
from infertune.core.space import Point
from infertune.testing.records import a_measurement, a_point

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))
from record_space import Blocks

BLOCKS = Blocks(whole=2, again=3, near=0.06)
POINTS = [a_point(batch=batch) for batch in (1, 2, 4, 8)]


def launched(point: Point, rate: float, block: int) -> Launch:
    found = a_measurement(rate)
    return Launch(point=point, purpose="measure", block=block, outcome=found, flags=(), wall_s=1.0)


def test_the_first_blocks_launch_everything() -> None:
    assert BLOCKS.of(0, POINTS, []) == BLOCKS.of(1, POINTS, []) == POINTS


def test_further_blocks_launch_what_the_whole_ones_found_near_the_best() -> None:
    rates = {POINTS[0]: (100.0, 90.0), POINTS[1]: (100.0, 99.0), POINTS[2]: (95.0, 94.0)}
    whole = [launched(point, rate, block) for point, found in rates.items() for block, rate in enumerate(found)]
    lost = Failed(stage="measure", kind="crash", message="gone")
    failed = [replace(launched(POINTS[3], 1.0, block), outcome=lost) for block in (0, 1)]
    later = [launched(POINTS[0], 500.0, 2)]  # one lucky launch among those again changes nothing
    assert BLOCKS.of(2, POINTS, [*whole, *failed]) == [POINTS[0], POINTS[1], POINTS[2]]
    assert BLOCKS.of(3, POINTS, [*whole, *failed, *later]) == [POINTS[0], POINTS[1], POINTS[2]]
    slow = [launched(POINTS[2], 80.0, block) for block in (0, 1)]
    assert BLOCKS.of(2, POINTS, [*whole[:4], *slow]) == [POINTS[0], POINTS[1]]
