"""Racing and planning: who enters, who stays, and how the budget is cut."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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


def test_the_worse_half_leaves_after_enough_blocks() -> None:
    scores = {p: [-0.01 * i] * 3 for i, p in enumerate(POINTS[:6])}
    assert race.survivors(POINTS[:6], scores, blocks=1) == POINTS[:6]
    assert race.survivors(POINTS[:6], scores, blocks=2) == POINTS[:3]


def test_a_clear_loser_leaves_at_once() -> None:
    scores = {POINTS[0]: [0.0], POINTS[1]: [-0.01], POINTS[2]: [-0.02], POINTS[3]: [-0.5]}
    assert POINTS[3] not in race.survivors(POINTS[:4], scores, blocks=1)


def test_finalists_are_the_winner_and_what_ties_with_it() -> None:
    scores = {POINTS[0]: [0.0], POINTS[1]: [-0.01], POINTS[2]: [-0.2]}
    assert race.finalists(POINTS[:3], scores) == POINTS[:2]
    assert race.finalists([POINTS[0], POINTS[2]], scores) == POINTS[:1]


def test_block_orders_are_fresh_and_repeatable() -> None:
    orders = [tuple(race.block_order(POINTS[:5], 3, block)) for block in range(6)]
    assert orders == [tuple(race.block_order(POINTS[:5], 3, block)) for block in range(6)]
    assert len(set(orders)) > 3
    assert all(sorted(order, key=str) == sorted(POINTS[:5], key=str) for order in orders)


def one_race(rng: np.random.Generator, noise: float) -> float:
    """Regret of a race over points whose true scores are known."""
    truth = {p: -abs(float(rng.normal(0, 0.35))) for p in POINTS}

    def draw(point: Point) -> float:
        return truth[point] + noise * float(rng.standard_normal())

    scores = {p: [draw(p)] for p in POINTS}
    field, blocks = race.entrants(scores), 0
    raced: dict[Point, list[float]] = {p: [] for p in field}
    while not race.decided(field, blocks):
        for p in field:
            raced[p].append(draw(p))
        blocks += 1
        field = race.survivors(field, raced, blocks)
    return max(truth.values()) - truth[race.finalists(field, raced)[0]]


def test_a_race_finds_a_point_near_the_best_and_beats_a_single_launch() -> None:
    rng = np.random.default_rng(7)
    regrets = [one_race(rng, noise=0.06) for _ in range(300)]
    assert float(np.mean([r <= 0.05 for r in regrets])) >= 0.93
    rng = np.random.default_rng(7)
    singles = []
    for _ in range(300):
        truth = [-abs(float(rng.normal(0, 0.35))) for _ in POINTS]
        seen = [t + 0.06 * float(rng.standard_normal()) for t in truth]
        singles.append(max(truth) - truth[int(np.argmax(seen))])
    assert np.mean(regrets) < np.mean(singles)


@given(budget=st.floats(min_value=5, max_value=36000), overhead=st.floats(min_value=0.1, max_value=60))
def test_the_reserve_never_exceeds_its_share(budget: float, overhead: float) -> None:
    plans = planning.plans(budget)
    reserve = planning.confirm_reserve_s(budget, [overhead] * 5, plans.confirm)
    assert 0 < reserve <= planning.CONFIRM_SHARE_MOST * budget + 1e-9
    plan = planning.confirm_plan(plans.confirm, reserve, [overhead] * 5)
    assert 0.4 <= plan.min_time_s <= 2.5


def test_a_longer_budget_never_measures_shorter() -> None:
    windows = [planning.plans(b).race.min_time_s for b in (10, 60, 120, 300, 3600)]
    assert windows == sorted(windows)
    assert planning.plans(300).race.min_time_s == pytest.approx(1.5)
