"""Every strategy there is keeps the contract; strategies are found by name."""

from __future__ import annotations

import numpy as np
import pytest

from infertune.core.errors import UsageError
from infertune.core.seams import Strategy
from infertune.search import find_strategy, names
from infertune.testing.spaces import play
from infertune.testing.strategies import (
    THROUGHPUT,
    StrategyContract,
    ask_all,
    flat,
    nothing_legal,
    one_point,
    small_space,
)


class TestEveryStrategy(StrategyContract):
    @pytest.fixture(params=names())
    def strategy(self, request: pytest.FixtureRequest) -> Strategy:
        return find_strategy(str(request.param))


def test_a_file_is_a_strategy() -> None:
    assert {"auto", "grid", "random"} <= set(names())
    assert "parts" not in names()


def test_unknown_strategy_suggests_the_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        find_strategy("randon")
    assert caught.value.id == "unknown-strategy"
    assert "did you mean `random`?" in caught.value.hint


@pytest.mark.parametrize("name", ["grid", "random"])
def test_grid_and_random_try_everything(name: str) -> None:
    spaces = (small_space(), nothing_legal(), one_point())
    every = [point for space in spaces for point in space.points()]
    tried = ask_all(find_strategy(name), flat(*spaces), n=4)
    assert sorted(map(str, tried)) == sorted(map(str, every))


def test_grid_keeps_the_order_of_the_spaces() -> None:
    spaces = (small_space(), one_point())
    assert ask_all(find_strategy("grid"), flat(*spaces)) == [point for space in spaces for point in space.points()]


def test_random_order_depends_on_the_seed_alone() -> None:
    strategy, landscape = find_strategy("random"), flat(small_space())
    by_one = ask_all(strategy, landscape, n=1, seed=5)
    assert by_one == ask_all(strategy, landscape, n=7, seed=5)
    assert by_one != ask_all(strategy, landscape, n=1, seed=6)


def test_random_is_even() -> None:
    """Every point comes first about equally often: 15 points, 900 seeds, 60 expected, far within six sigma."""
    strategy, space = find_strategy("random"), small_space()
    firsts = [play(strategy, flat(space), THROUGHPUT, seed=seed, trials=1)[0].point for seed in range(900)]
    counts = [firsts.count(point) for point in space.points()]
    assert max(abs(count - 60) for count in counts) < 6 * np.sqrt(60)
