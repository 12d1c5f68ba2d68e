"""A goal of several figures as a round of goals of one each, and what `auto` makes of it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from infertune.core.goal import Goal, parse_goal
from infertune.core.records import Trial
from infertune.core.space import Point, Space
from infertune.search import auto
from infertune.search.parts.fronts import halfway, shares, sides
from infertune.testing.spaces import Landscape, a_knob, cpu_landscape, play

FRONT = parse_goal("pareto throughput, p99")
LANDSCAPE = cpu_landscape(units=8, seed=11)


def a_rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def tried(count: int, landscape: Landscape = LANDSCAPE, seed: int = 0) -> tuple[Trial, ...]:
    places = a_rng(seed).permutation(len(landscape.points()))[:count]
    points = landscape.points()
    return tuple(landscape.trial(points[place], noise=0.0, seed=0) for place in places)


def test_one_figure_has_one_side() -> None:
    goal = parse_goal("max throughput, p99 < 20 ms")
    assert sides(goal, tried(5), a_rng()) == (goal,)


def test_before_any_trial_a_front_has_a_middle_and_its_ends() -> None:
    assert [side.metrics for side in sides(FRONT, (), a_rng())] == [("throughput", "p99"), ("throughput",), ("p99",)]


def test_a_gap_is_cut_in_half_by_a_limit_on_the_other_figure() -> None:
    limited = replace(FRONT, limits=parse_goal("max throughput, batch <= 32").limits)
    gaps = set()
    for seed in range(8):
        *ends, gap = sides(limited, tried(30), a_rng(seed))
        assert [side.metrics for side in ends] == [FRONT.metrics, ("throughput",), ("p99",)]
        assert [limit.metric for limit in gap.limits[:-1]] == ["batch"]
        gaps.add((gap.metrics, gap.limits[-1].metric, gap.limits[-1].below))
    assert gaps == {(("p99",), "throughput", False), (("throughput",), "p99", True)}


def test_every_level_has_its_turn_before_each_side_of_the_front() -> None:
    asked = parse_goal("pareto throughput, p99 at 5 ms and 30 ms, batch <= 32")
    round_ = sides(asked, tried(30), a_rng())
    assert len(round_) == 4 * 3
    assert all(round_[place : place + 2] == asked.at_levels for place in range(0, 12, 3))
    plain = replace(asked, levels=())
    assert round_[2::3] == sides(plain, tried(30), a_rng())
    assert {str(side): share for side, share in shares(asked.at_levels, 0, 4)} == dict.fromkeys(
        map(str, asked.at_levels), 2
    )


def front(trials: tuple[Trial, ...]) -> list[tuple[float, float]]:
    """(throughput, p99) of those that no other one beats."""
    each = [(math.exp(rate), math.exp(-quick)) for rate, quick in (scores(trial) for trial in trials)]
    return sorted(a for a in each if not any(b[0] >= a[0] and b[1] <= a[1] and b != a for b in each))


def scores(trial: Trial) -> tuple[float, ...]:
    outcome = LANDSCAPE.outcome(trial.point)
    return FRONT.scores(outcome)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(8))
def test_a_gap_lies_between_two_neighbours_of_the_front(seed: int) -> None:
    trials = tried(40, seed=seed)
    gap = sides(FRONT, trials, a_rng(seed))[-1].limits[0]
    found = sorted(point[gap.below] for point in front(trials))
    middles = [math.sqrt(a * b) for a, b in itertools.pairwise(found)]
    assert len(middles) >= 3
    assert any(gap.bound == pytest.approx(middle, rel=1e-3) for middle in middles)


def test_points_outside_the_limits_are_not_of_the_front() -> None:
    trials = tried(40)
    slowest = min(p99 for _, p99 in front(trials))
    strict = replace(FRONT, limits=parse_goal(f"max throughput, p99 < {500 * slowest} ms").limits)
    assert len(sides(strict, trials, a_rng())) == 3


def test_wide_gaps_are_aimed_at_more_often() -> None:
    aimed = [halfway(np.asarray([0.0, 1.0, 4.0]), a_rng(seed)) for seed in range(200)]
    assert set(aimed) == {0.5, 2.5}
    assert 160 <= aimed.count(2.5) <= 195
    assert halfway(np.asarray([1.0, 1.0]), a_rng()) is None
    assert halfway(np.asarray([]), a_rng()) is None


def test_points_are_dealt_to_the_sides_in_turn() -> None:
    found = sides(FRONT, (), a_rng())
    middle, fast, quick = found
    assert shares(found, 0, 1) == [(middle, 1)]
    assert shares(found, 4, 1) == [(fast, 1)]
    assert shares(found, 2, 7) == [(quick, 3), (middle, 2), (fast, 2)]
    assert shares(found, 2, 0) == []


def test_several_points_at_once_are_of_several_sides_and_distinct() -> None:
    begun = play(auto.propose, LANDSCAPE, FRONT, seed=0, trials=10, noise=0.0)
    asked = auto.propose(LANDSCAPE.spaces, begun, FRONT, 7, 0)
    assert len(set(asked)) == 7
    assert not {trial.point for trial in begun} & set(asked)


def test_a_side_that_promises_nothing_does_not_end_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its turn goes to the next side that does; once none does, the search ends."""
    begun = play(auto.propose, LANDSCAPE, FRONT, seed=0, trials=10)
    whole, asked = auto._next, []

    def next_of(
        spaces: Sequence[Space], history: Sequence[Trial], goal: Goal, n: int, seed: int, starts: int
    ) -> Sequence[Point]:
        asked.append(goal)
        return whole(spaces, history, goal, n, seed, starts) if len(asked) == 3 else ()

    monkeypatch.setattr(auto, "_next", next_of)
    assert len(auto.propose(LANDSCAPE.spaces, begun, FRONT, 1, 0)) == 1
    assert len(asked) == len(set(asked)) == 3
    assert auto.propose(LANDSCAPE.spaces, begun, FRONT, 1, 0) == ()
    assert len(asked) == 3 + 4


LEVELS = 64


def sagging() -> Landscape:
    """One knob, every value of it on the front; between the ends the geometric mean of both figures is lower."""
    space = Space(target="t", device="d", knobs=(a_knob("level", tuple(range(1, LEVELS + 1))),))

    def along(point: Point) -> float:
        return point.number("level") / LEVELS

    return Landscape(
        name="sagging",
        spaces=(space,),
        throughput=lambda p: 100.0 * math.exp(2.0 * along(p)),
        latencies_s=lambda p: (0.01, 0.01 * math.exp(2.0 * math.sqrt(along(p)))),
    )


def widest(trials: Sequence[Trial]) -> float:
    """The widest gap of throughput (log) between neighbours; all of the front spans 2."""
    along = sorted(2.0 * trial.point.number("level") / LEVELS for trial in trials)
    return max(b - a for a, b in itertools.pairwise([0.0, *along, 2.0]))


def test_gaps_of_a_front_are_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    filled = widest(play(auto.propose, sagging(), FRONT, seed=0, trials=32, noise=0.01))
    monkeypatch.setattr(auto, "sides", lambda goal, history, rng: sides(goal, (), rng))
    left = widest(play(auto.propose, sagging(), FRONT, seed=0, trials=32, noise=0.01))
    assert filled < 0.5 * left


def nearest_below(trials: Sequence[Trial], level: int) -> int:
    return max((place for trial in trials if (place := int(trial.point.number("level"))) <= level), default=0)


def test_asked_levels_are_answered_sooner_than_by_the_front_alone() -> None:
    """How far the best point within each of two levels is from what could be there, in steps of the knob."""
    landscape, places = sagging(), (23, 51)
    bounds = [10.0 * math.exp(2.0 * math.sqrt(place / LEVELS)) * 1.0001 for place in places]
    asked = parse_goal(f"pareto throughput, p99 at {bounds[0]:.4f} ms and {bounds[1]:.4f} ms")

    def missed(goal: Goal, seed: int) -> int:
        tried = play(auto.propose, landscape, goal, seed=seed, trials=16, noise=0.01)
        return sum(place - nearest_below(tried, place) for place in places)

    seeds = range(4)
    assert sum(missed(asked, seed) for seed in seeds) < 0.5 * sum(missed(FRONT, seed) for seed in seeds)
