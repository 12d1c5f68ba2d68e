"""Ways for points to fail, as the ablation of the search uses them (bench/failing.py)."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import pytest

from infertune.core.goal import parse_goal
from infertune.core.records import Failed
from infertune.search.replay.recording import Recording
from infertune.testing.spaces import cpu_landscape

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))

from failing import failing

CASE = Recording(landscape=cpu_landscape(units=8, seed=0), goal=parse_goal("max throughput"), simulated=True)


def test_a_quarter_runs_out_of_memory_and_nothing_larger_works() -> None:
    found = failing(CASE, "memory", 0).landscape
    held = {p: max(1, p.number("batch")) * max(1, p.number("instances")) for p in found.points()}
    dead = [p for p in found.points() if isinstance(failed := found.fails(p), Failed) and failed.kind == "memory"]
    assert 0.1 < len(dead) / len(held) <= 0.25
    assert min(held[p] for p in dead) > max(size for p, size in held.items() if p not in set(dead))


@pytest.mark.parametrize("seed", range(5))
def test_a_corner_of_two_knobs_crashes(seed: int) -> None:
    """What crashes is told by two knobs: any other point with the same values of both crashes, too."""
    found = failing(CASE, "corner", seed).landscape
    for space in found.spaces:
        points = list(space.points())
        dead = {p for p in points if found.fails(p)}
        pairs = itertools.combinations([knob.name for knob in space.knobs], 2)
        apart = [
            {(p[a], p[b]) for p in dead}.isdisjoint((p[a], p[b]) for p in points if p not in dead) for a, b in pairs
        ]
        assert len(dead) < 0.6 * len(points)
        assert any(apart)


def test_the_seed_draws_the_corner() -> None:
    drawn = [failing(CASE, "corner", seed).landscape for seed in range(6)]
    assert len({tuple(found.fails(p) is None for p in found.points()) for found in drawn}) > 1


def test_what_failed_anyway_still_does() -> None:
    once = failing(CASE, "memory", 0)
    twice = failing(once, "corner", 1).landscape
    assert all(twice.fails(p) == failed for p in twice.points() if (failed := once.landscape.fails(p)))
