"""Racing and planning: who enters, who stays, and how the budget is cut."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infertune.core.goal import parse_goal
from infertune.core.space import Point
from infertune.measure import plan as planning
from infertune.measure import race

POINTS = [Point.of("t", "cpu", {"batch": i}) for i in range(1, 31)]


def test_only_near_leaders_enter() -> None:
    scores = {p: [math.log(100 / (1 + i))] for i, p in enumerate(POINTS)}
    assert race.entrants(scores) == POINTS[:1]
    close = {p: [math.log(100 - i)] for i, p in enumerate(POINTS)}
    assert race.entrants(close) == POINTS[: race.FIELD]


def test_points_that_failed_do_not_enter() -> None:
    assert race.entrants({POINTS[0]: [], POINTS[1]: [0.0]}) == [POINTS[1]]
    assert race.entrants({}) == []


def test_each_block_launches_fewer_of_the_best() -> None:
    scores = {p: [-0.01 * i] * 3 for i, p in enumerate(POINTS[:8])}
    sizes = [len(race.survivors(POINTS[:8], scores, blocks=block)) for block in range(5)]
    assert sizes == list(race.SIZES)
    assert race.survivors(POINTS[:8], scores, blocks=3) == POINTS[: race.SIZES[3]]


def test_on_a_steady_machine_who_is_behind_leaves_sooner() -> None:
    scores = {p: [-0.01 * i] * 2 for i, p in enumerate(POINTS[:12])}
    steady, noisy = (race.survivors(POINTS[:12], scores, 1, spread) for spread in (0.015, 0.06))
    assert steady == POINTS[:1]  # a standard error of 1.5 %: 1 % behind is surely not 2 % ahead
    assert noisy == POINTS[: race.SIZES[1]]
    equals = race.survivors(POINTS[:12], {p: [0.0] * 2 for p in POINTS[:12]}, 1, 0.015)
    assert equals == POINTS[: race.SIZES[1]], "equals go on"
    assert race.entrants({p: [-0.02 * i] for i, p in enumerate(POINTS[:12])}, 0.01) == POINTS[:5]


@pytest.mark.parametrize(
    ("made", "odd", "low", "high"),
    [(1, 0.0, 0.16, 0.28), (5, 0.0, 0.23, 0.37), (1, 0.05, 0.07, 0.18), (5, 0.05, 0.07, 0.18)],
)
def test_the_spread_is_an_upper_limit_as_often_as_is_said(made: int, odd: float, low: float, high: float) -> None:
    """SIMULATED races: who is launched how often is as in `race.SIZES`."""
    rng, below, many = np.random.default_rng(3), 0, 400
    for _ in range(many):
        last, blocks = dict.fromkeys(range(8), 0.0), []
        for size in (8, *race.SIZES[:made]):
            drift, now = rng.normal(0.0, 0.02), range(size)
            scores = {p: drift + rng.normal(0.0, 0.03) + 0.3 * (rng.random() < odd) for p in now}
            blocks.append([scores[p] - last[p] for p in now])
            last |= scores
        below += race.spread(blocks[1:]) < 0.03
    assert low < below / many < high


def test_the_spread_is_that_of_launches_and_not_of_drift_or_odd_ones() -> None:
    """Blocks of five points with 2 % noise, between which the machine drifts by 10 %."""
    rng = np.random.default_rng(0)
    launches = rng.normal(0.0, 0.02, (5, 40)) + rng.normal(0.0, 0.10, 40)
    changes = np.diff(launches, axis=1).T.tolist()
    assert 0.018 < race.spread(changes) < 0.024
    for block in changes[::8]:
        block[0] -= 1.0
    assert race.spread(changes) < 0.026
    assert race.spread([[0.0], [0.1]]) == race.TYPICAL_SPREAD, "too few to say"


def test_one_point_alone_shows_its_changes_as_they_are() -> None:
    rng = np.random.default_rng(0)
    changes = [[change] for change in np.diff(rng.normal(0.0, 0.02, 400))]
    assert 0.018 < race.spread(changes) < 0.024


def test_of_those_that_tie_the_simplest_wins() -> None:
    scores = {POINTS[0]: [0.0], POINTS[1]: [-0.009], POINTS[2]: [-0.2]}
    order = POINTS.index
    assert race.tied(POINTS[:3], scores) == POINTS[:2]
    assert race.finalists(POINTS[:3], scores, order) == POINTS[:1]
    assert race.finalists(POINTS[:3], scores, lambda point: -order(point)) == [POINTS[1]]
    assert race.finalists([POINTS[0], POINTS[2]], scores, lambda point: -order(point)) == POINTS[:1]


def test_a_point_that_surely_keeps_the_limits_is_confirmed_beside_one_that_may_not() -> None:
    scores = {POINTS[0]: [0.0], POINTS[1]: [-0.1], POINTS[2]: [-0.2]}
    order = POINTS.index
    assert race.finalists(POINTS[:3], scores, order, safe=POINTS[1:3]) == POINTS[:2]
    assert race.finalists(POINTS[:3], scores, order, safe=POINTS[:3]) == POINTS[:1]
    assert race.finalists(POINTS[:2], {POINTS[0]: [0.0], POINTS[1]: [-0.005]}, order, safe=[POINTS[1]]) == [POINTS[1]]


@pytest.mark.parametrize(("gap", "count"), [(0.0, 1), (0.01, 2), (0.03, 4)])
def test_the_expected_loss_is_that_of_a_simulation(gap: float, count: int) -> None:
    """Of two points seen ``gap`` apart with ``count`` launches of 2 % noise each."""
    scores = {POINTS[0]: [0.0] * count, POINTS[1]: [-gap] * count}
    drawn = np.random.default_rng(1).normal(-gap, 0.02 * np.sqrt(2.0 / count), 200_000)
    assert race.expected_loss(POINTS[:2], scores, 0.02) == pytest.approx(np.maximum(drawn, 0.0).mean(), rel=0.05)
    assert race.expected_loss(POINTS[:1], scores, 0.02) == 0.0


def test_the_expected_loss_does_not_grow_with_the_number_of_equals() -> None:
    scores = {point: [0.0, 0.0] for point in POINTS}
    assert race.expected_loss(POINTS, scores, 0.02) == race.expected_loss(POINTS[:2], scores, 0.02)


def test_a_race_ends_when_more_of_it_is_not_worth_it() -> None:
    assert race.decided(POINTS[:2], 1, loss=0.009)
    assert not race.decided(POINTS[:2], 1, loss=0.011)
    assert not race.decided(POINTS[:2], 0, loss=0.0), "nobody is chosen from single launches"
    assert not race.decided(POINTS[:2], 1, loss=0.0, settled=False)


def test_block_orders_are_fresh_and_repeatable() -> None:
    orders = [tuple(race.block_order(POINTS[:5], 3, block)) for block in range(6)]
    assert orders == [tuple(race.block_order(POINTS[:5], 3, block)) for block in range(6)]
    assert len(set(orders)) > 3
    assert all(sorted(order, key=str) == sorted(POINTS[:5], key=str) for order in orders)


@given(budget=st.floats(min_value=5, max_value=36000), overhead=st.floats(min_value=0.1, max_value=60))
def test_the_reserve_never_exceeds_its_share(budget: float, overhead: float) -> None:
    plans = planning.plans(budget)
    points = planning.to_confirm(parse_goal("max throughput"), overhead, [overhead] * 4)
    reserve = planning.confirm_reserve_s(budget, points, plans.confirm)
    assert 0 < reserve <= planning.CONFIRM_SHARE_MOST * budget + 1e-9
    plan = planning.confirm_plan(plans.confirm, reserve, [overhead] * 5, blocks=6, count=20)
    assert 0.4 <= plan.min_time_s <= 2.5


@pytest.mark.parametrize(
    ("goal", "launches"),
    [
        ("max throughput", 6 * 1 + 6 + 3 * 3),
        ("max throughput, p99 < 20 ms", 6 * 2 + 6 + 3 * 3),
        ("pareto throughput, p99", 6 * 1 + 6 + 3 * 3),
        ("pareto throughput, p99 at 5 ms", 6 * 2 + 6 * 4),
        ("pareto throughput, p99 at 5 ms and 30 ms", 6 * 3 + 6 * 4),
        ("pareto throughput, p99 at 5 ms and 10 ms and 30 ms", 6 * 4 + 6 * 4),
    ],
)
def test_the_reserve_holds_every_launch_of_a_confirmation(goal: str, launches: int) -> None:
    """Of four baselines three leave after three blocks, or none where a front has levels."""
    plan = planning.plans(300.0).confirm
    points = planning.to_confirm(parse_goal(goal), 1.0, [1.0] * 4)
    assert planning.confirm_reserve_s(10_000.0, points, plan) == pytest.approx(launches * (1.0 + plan.min_time_s))


def test_the_dearest_baseline_may_be_the_one_that_stays() -> None:
    points = planning.to_confirm(parse_goal("max throughput"), 1.0, [2.0, 9.0, 3.0])
    assert [(p.overhead_s, p.blocks) for p in points] == [(1.0, 6), (9.0, 6), (3.0, 3), (2.0, 3)]


def test_a_longer_budget_never_measures_shorter() -> None:
    windows = [planning.plans(b).race.min_time_s for b in (10, 60, 120, 300, 3600)]
    assert windows == sorted(windows)


def test_baselines_far_behind_every_finalist_leave_all_but_the_best() -> None:
    baselines = {POINTS[0]: [0.0, 0.1, 0.0], POINTS[1]: [0.05, 0.05, 0.05], POINTS[2]: [-0.1, 0.0, 0.2]}
    assert planning.clearly_behind(baselines, baselines) == set()
    assert planning.idle(baselines, [[0.5, 0.4, 0.6]]) == {POINTS[0], POINTS[2]}
    assert planning.idle(baselines, [[0.5, 0.25, 0.6]]) == set(), "one launch comes near one of theirs"
    assert planning.idle(baselines, [[0.5, 0.4, 0.6], [0.1]]) == set(), "so does one of another finalist"
    assert planning.idle(baselines, []) == planning.idle({}, [[0.5]]) == set()
    assert planning.idle({POINTS[0]: [0.0]}, [[0.5]]) == set(), "too few launches to leave"
