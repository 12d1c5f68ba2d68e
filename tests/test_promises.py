"""The promises of docs/measurement.md on SIMULATED studies with known truth, through the real study loop.

`make bench-protocol` prints the same figures over 300 races.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from infertune.core import percentiles, stats
from infertune.core.records import Launch
from infertune.testing.executor import Neighbour
from simulated_races import Outcome, Spells, a_race, near_equals

RACES = 60
NEIGHBOUR = Neighbour(share=0.20, seen=0.90)


@pytest.fixture(scope="module")
def races(tmp_path_factory: pytest.TempPathFactory) -> list[Outcome]:
    """100 candidates, 6 % noise, 20 % of the launches contaminated, 90 % of those visibly."""
    folder = tmp_path_factory.mktemp("races")
    return [a_race(folder, near_equals(100, seed), seed=seed, neighbour=NEIGHBOUR) for seed in range(RACES)]


def test_the_winner_is_near_the_best_of_100_candidates(races: list[Outcome]) -> None:
    regrets = np.array([race.regret for race in races])
    assert np.mean(regrets <= 0.05) >= 0.95
    assert np.mean(regrets <= 0.03) >= 0.85


def test_the_reported_number_is_unbiased_and_its_interval_holds(races: list[Outcome]) -> None:
    errors = np.array([race.error for race in races])
    assert abs(np.mean(errors)) <= 0.01
    assert np.quantile(np.abs(errors), 0.95) <= 0.08
    assert np.mean([race.covered for race in races]) >= 0.93
    assert all(race.found.confirmed for race in races)


def called_equal(race: Outcome) -> bool:
    """The default is as good, or is itself the best point that was tried."""
    return any(told in race.found.why for told in ("the default is as good", "is better than default"))


def test_equal_configurations_are_not_called_different(tmp_path: Path) -> None:
    """A/A: the only candidate is as fast as the default."""
    races = [a_race(tmp_path, [50.0], seed=seed, neighbour=NEIGHBOUR) for seed in range(200)]
    assert np.mean([not called_equal(race) for race in races]) <= 0.05


def test_a_difference_under_three_per_cent_is_never_called_a_win(tmp_path: Path) -> None:
    for seed in range(20):
        race = a_race(tmp_path, [51.0], seed=seed, noise=0.0)
        assert called_equal(race)


def test_the_budget_is_kept_with_many_disturbed_launches(tmp_path: Path) -> None:
    for budget_s in (60.0, 120.0, 300.0):
        race = a_race(
            tmp_path, near_equals(300, 3), seed=3, neighbour=Neighbour(share=0.5, seen=1.0), budget_s=budget_s
        )
        assert race.entries[-1].at_s <= budget_s + 10.0


def test_a_confirmation_another_day_agrees(tmp_path: Path) -> None:
    """M14, simulated: on a quiet host (2 % between launches) the figures of two days differ by at most 5 %."""
    days = [a_race(tmp_path, [100.0], seed=seed, noise=0.02, neighbour=NEIGHBOUR) for seed in range(40)]
    values = [race.found.figures.throughput.value for race in days if race.found.figures]
    agree = [abs(a / b - 1.0) <= 0.05 for a, b in zip(values[::2], values[1::2], strict=True)]
    assert np.mean(agree) >= 0.9


def test_the_same_seed_gives_the_same_order(tmp_path: Path) -> None:
    orders = [
        [e.event.point for e in race.entries if isinstance(e.event, Launch)]
        for race in (a_race(tmp_path, near_equals(20, 5), seed=5, neighbour=NEIGHBOUR) for _ in range(2))
    ]
    assert orders[0] == orders[1]


def test_where_every_launch_is_disturbed_nothing_is_confirmed(tmp_path: Path) -> None:
    race = a_race(tmp_path, [100.0, 90.0], seed=1, neighbour=Neighbour(share=1.0, seen=1.0))
    assert not race.found.confirmed
    assert any("--accept-noise" in caveat for caveat in race.found.caveats)


def test_the_faster_of_two_is_found_beside_a_neighbour_that_comes_and_goes(tmp_path: Path) -> None:
    """M5, simulated: the truly twice as fast setting suffers most, so single launches prefer the slower one."""
    races = [a_race(tmp_path, [100.0], seed=seed, budget_s=30.0, spells=Spells(seed)) for seed in range(40)]
    assert sum(race.truth == race.best for race in races) >= 38
    assert all(race.truth == race.best for race in races if race.found.confirmed)
    assert any(race.found.spent.waiting > 5.0 for race in races)
    assert all(race.entries[-1].at_s <= 40.0 for race in races)


def test_a_neighbour_that_stays_does_not_keep_anything_from_being_tried(tmp_path: Path) -> None:
    class Forever(Spells):
        def busy(self, now_ns: int) -> bool:
            return True

    race = a_race(tmp_path, near_equals(20, 5), seed=5, budget_s=120.0, spells=Forever(0))
    assert race.found.counts.trials == 21
    assert not race.found.confirmed
    assert race.entries[-1].at_s <= 130.0
    assert any("may be better could only be measured while other programs" in told for told in race.found.caveats)


def draws(kind: int, rng: np.random.Generator, count: int) -> tuple[list[int], dict[float, float]]:
    """Latencies in ns of one of three distributions, and its true percentiles."""
    uniform = rng.random(count)

    def latency(share: float | np.ndarray) -> np.ndarray:
        match kind:
            case 0:
                return np.asarray(-np.log1p(-np.asarray(share)))
            case 1:
                return np.asarray(1.0 + 9.0 * np.asarray(share) ** 8)
            case _:
                return np.where(np.asarray(share) < 0.97, 1.0 + np.asarray(share), 20.0 + np.asarray(share))

    truths = {p: float(latency(p / 100.0)) * 1e6 for p in stats.PERCENTILES}
    return [round(x) for x in latency(uniform) * 1e6], truths


def test_printed_bounds_hold_and_none_is_printed_under_its_floor() -> None:
    rng = np.random.default_rng(11)
    held, printed = 0, 0
    for i in range(1000):
        samples, truths = draws(i % 3, rng, int(rng.integers(10, 3000)))
        for percent, truth in truths.items():
            bound = percentiles.upper_ns(samples, percent)
            assert (bound is not None) == (len(samples) >= percentiles.floor(percent, percentiles.PRINTED))
            if stats.percentile_ns(samples, percent) is None:
                assert len(samples) < stats.percentile_floor(percent)
            if bound is not None:
                printed += 1
                held += bound >= truth - 1
    assert printed > 2000
    assert held / printed >= 0.98


@pytest.mark.parametrize(
    ("percent", "ninety", "ninety_five", "ninety_nine"),
    [(50.0, 4, 5, 7), (90.0, 22, 29, 44), (95.0, 45, 59, 90), (99.0, 230, 299, 459), (99.9, 2302, 2995, 4603)],
)
def test_floors_are_those_of_the_binomial(percent: float, ninety: int, ninety_five: int, ninety_nine: int) -> None:
    assert [percentiles.floor(percent, c) for c in (0.90, 0.95, 0.99)] == [ninety, ninety_five, ninety_nine]


def test_how_many_requests_would_tell() -> None:
    assert percentiles.enough(100, 0, 99.0, 0.95) == 299
    assert percentiles.enough(100, 1, 99.0, 0.95) is None  # one in a hundred is already all that p99 allows
    wanted = percentiles.enough(1000, 5, 99.0, 0.95)
    assert wanted is not None and wanted >= 1000
