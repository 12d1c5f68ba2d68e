"""The contract that every strategy keeps. Subclass it in a test module and supply the fixture ``strategy``.

class TestMine(StrategyContract):
    @pytest.fixture
    def strategy(self) -> Strategy:
        return propose
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from infertune.core.goal import Goal, parse_goal
from infertune.core.records import Failed, Trial
from infertune.core.seams import Strategy
from infertune.core.space import Point, Rule, Space
from infertune.testing.spaces import Landscape, a_knob, cpu_landscape, play

THROUGHPUT = parse_goal("max throughput")
GOALS = (THROUGHPUT, parse_goal("min p99"), parse_goal("max throughput, p99 < 20 ms, batch < 9"))


def small_space(target: str = "small") -> Space:
    """15 legal points of 18."""
    knobs = (a_knob("batch", (1, 2, 4)), a_knob("cores", (1, 2)), a_knob("mode", ("a", "b", "c"), "build"))
    rule = Rule(reason="mode c works alone", holds=lambda v: v["mode"] != "c" or v["cores"] == 1)
    return with_start(Space(target=target, device="cpu", knobs=knobs, rules=(rule,)))


def one_point() -> Space:
    return with_start(Space(target="single", device="cpu", knobs=(a_knob("batch", (1,)),)))


def no_knobs() -> Space:
    return with_start(Space(target="bare", device="cpu", knobs=()))


def with_start(space: Space) -> Space:
    """The space with the point of all defaults as its seed."""
    return replace(space, seeds=(space.point(),))


def nothing_legal() -> Space:
    never = Rule(reason="nothing is allowed", holds=lambda v: False)
    return Space(target="never", device="cpu", knobs=(a_knob("batch", (1, 2)),), rules=(never,))


def flat(*spaces: Space) -> Landscape:
    """A landscape without slopes: every point is as good as any other."""
    return Landscape(name="flat", spaces=spaces, throughput=lambda point: 100.0)


def broken(failed: Failed, *spaces: Space) -> Landscape:
    """A landscape in which every point fails."""
    return Landscape(name="broken", spaces=spaces, throughput=lambda point: 0.0, fails=lambda point: failed)


def ask_all(strategy: Strategy, landscape: Landscape, *, n: int = 4, seed: int = 0) -> list[Point]:
    """The points of a whole run, until the strategy is done."""
    return [trial.point for trial in play(strategy, landscape, THROUGHPUT, seed=seed, trials=10_000, n=n, noise=0.03)]


def assert_fair(spaces: Sequence[Space], points: Sequence[Point]) -> None:
    """Only legal points, none twice."""
    homes = {(space.target, space.device): space for space in spaces}
    assert len(set(points)) == len(points)
    assert [homes[p.target, p.device].why_illegal(p) for p in points] == [None] * len(points)


class StrategyContract:
    """Legal points only, none twice, the same for the same seed, and an end that is reached."""

    @pytest.mark.parametrize("goal", GOALS, ids=str)
    @pytest.mark.parametrize("n", [1, 3, 8])
    def test_legal_points_none_twice(self, strategy: Strategy, goal: Goal, n: int) -> None:
        landscape = cpu_landscape(units=4, seed=1)
        trials = play(strategy, landscape, goal, seed=2, trials=12, n=n, noise=0.05)
        assert_fair(landscape.spaces, [trial.point for trial in trials])
        assert trials

    def test_asks_no_more_than_wanted(self, strategy: Strategy) -> None:
        for n in (0, 1, 5, 100):
            assert len(strategy((small_space(),), (), THROUGHPUT, n, 0)) <= n

    def test_same_arguments_same_points(self, strategy: Strategy) -> None:
        landscape = cpu_landscape(units=4, seed=3)
        runs = [play(strategy, landscape, THROUGHPUT, seed=7, trials=12, n=3, noise=0.05) for _ in range(2)]
        assert runs[0] == runs[1]

    def test_resumed_run_equals_unbroken_one(self, strategy: Strategy) -> None:
        landscape = cpu_landscape(units=4, seed=4)
        trials = play(strategy, landscape, THROUGHPUT, seed=1, trials=10, noise=0.05)
        for cut in (1, 4, 9):
            asked = strategy(landscape.spaces, trials[:cut], THROUGHPUT, 1, 1)
            assert tuple(asked) == (trials[cut].point,)

    @pytest.mark.parametrize("n", [1, 4, 100])
    def test_ends(self, strategy: Strategy, n: int) -> None:
        space = small_space()
        points = ask_all(strategy, flat(space), n=n)
        assert_fair([space], points)
        assert points

    def test_tries_the_only_point(self, strategy: Strategy) -> None:
        for space in (one_point(), no_knobs()):
            assert ask_all(strategy, flat(space)) == list(space.points())

    def test_empty_spaces_are_done_at_once(self, strategy: Strategy) -> None:
        assert list(strategy((), (), THROUGHPUT, 3, 0)) == []
        assert list(strategy((nothing_legal(),), (), THROUGHPUT, 3, 0)) == []

    def test_an_empty_space_beside_another_does_no_harm(self, strategy: Strategy) -> None:
        spaces = (nothing_legal(), one_point())
        assert ask_all(strategy, flat(*spaces)) == list(one_point().points())

    @pytest.mark.parametrize("stage", ["build", "measure"])
    def test_all_failing_space_ends(self, strategy: Strategy, stage: str) -> None:
        failed = Failed(stage="build" if stage == "build" else "measure", kind="crash", message="no")
        spaces = (small_space("a"), small_space("b"))
        points = ask_all(strategy, broken(failed, *spaces))
        assert_fair(spaces, points)
        assert points

    def test_sees_every_space(self, strategy: Strategy) -> None:
        spaces = (small_space("a"), one_point(), small_space("b"))
        points = ask_all(strategy, flat(*spaces))
        assert_fair(spaces, points)
        assert {point.target for point in points} == {"a", "single", "b"}

    def test_trials_under_way_are_not_asked_for_again(self, strategy: Strategy) -> None:
        space = small_space()
        pending = [Trial(point=point) for point in list(space.points())[:9]]
        points = strategy((space,), pending, THROUGHPUT, 6, 0)
        assert_fair([space], [*points, *(trial.point for trial in pending)])

    def test_trials_outside_the_spaces_are_ignored(self, strategy: Strategy) -> None:
        foreign = Trial(point=Point.of("elsewhere", "cpu", {"batch": 1}))
        assert strategy((small_space(),), (foreign,), THROUGHPUT, 2, 0)
