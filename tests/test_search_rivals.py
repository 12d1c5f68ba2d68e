"""The strategies that `auto` is compared with: climb, pattern, tpe and gp. Their contract is in test_strategies."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest

from infertune.core.errors import UsageError
from infertune.core.goal import parse_goal
from infertune.core.records import Failed, Trial
from infertune.core.space import Space
from infertune.search import climb, pattern, tpe
from infertune.search.parts.catalogue import catalogue
from infertune.search.parts.evidence import read
from infertune.search.parts.optuna import _params, load_optuna, nearest, union
from infertune.search.replay.landscape import Landscape, best_score, play, regrets
from infertune.testing.spaces import a_knob
from infertune.testing.strategies import THROUGHPUT, one_point, small_space


def hill(width: int = 16) -> Landscape:
    """One peak, at the top right corner of a square."""
    knobs = (a_knob("left", tuple(range(1, width + 1))), a_knob("right", tuple(range(1, width + 1))))
    space = Space(target="hill", device="cpu", knobs=knobs)
    return Landscape(name="hill", spaces=(space,), throughput=lambda p: 100.0 + p.number("left") + p.number("right"))


def test_a_climb_reaches_the_peak_of_a_hill() -> None:
    landscape = hill()
    trials = play(climb.propose, landscape, THROUGHPUT, seed=3, trials=80)
    assert regrets(landscape, THROUGHPUT, trials)[-1] == 0.0


def grid_of_starts() -> Space:
    knobs = (a_knob("batch", (1, 2, 4, 8)), a_knob("cores", (1, 2, 3, 4)), a_knob("instances", (1, 2, 3, 4)))
    bare = Space(target="grid", device="cpu", knobs=knobs)
    return replace(bare, seeds=(bare.point(batch=2, cores=2, instances=2), bare.point(batch=4, cores=3, instances=3)))


@pytest.mark.parametrize("module", [climb, pattern])
def test_a_step_waits_for_the_outcomes_that_it_depends_on(module: ModuleType) -> None:
    """Points under way did not fail: the step is the same, however late each of its neighbours came in."""
    space = grid_of_starts()
    speed = Landscape(name="speed", spaces=(space,), throughput=lambda p: 50.0 + 10.0 * p.number("cores"))
    history: list[Trial] = []
    for _ in range(4):
        asked = module.propose((space,), history, THROUGHPUT, 100, 0)
        assert asked
        pending = [Trial(point=point) for point in asked]
        assert module.propose((space,), [*history, *pending], THROUGHPUT, 100, 0) == ()
        told = [speed.trial(point, noise=0.0, seed=0) for point in asked]
        for late in range(1, len(asked)):
            assert module.propose((space,), [*history, *told[:late], *pending[late:]], THROUGHPUT, 100, 0) == ()
        history += told


@pytest.mark.parametrize("module", [climb, pattern])
def test_a_failed_start_does_not_end_the_search(module: ModuleType) -> None:
    space = grid_of_starts()
    failed = Failed(stage="measure", kind="crash", message="no")
    land = Landscape(
        name="failing",
        spaces=(space,),
        throughput=lambda p: 50.0 + 10.0 * p.number("cores"),
        fails=lambda p: failed if p == space.seeds[0] else None,
    )
    trials = play(module.propose, land, THROUGHPUT, seed=0, trials=40)
    assert regrets(land, THROUGHPUT, trials)[-1] == 0.0


def test_steps_follow_the_added_up_gains() -> None:
    table = catalogue(hill().spaces).tables[0]
    home = table.find(hill().spaces[0].point(left=5, right=5))
    assert home is not None
    near = climb.adjacent(table, home)
    assert [tuple(table.rows[row] - table.rows[home]) for row in near] == [(1, 0), (0, 1), (-1, 0), (0, -1)]
    step = climb.direction(table, home, [(near[0], 110.0), (near[1], 105.0)], 104.5)
    assert step[0] > step[1] > 0
    assert np.linalg.norm(step) == pytest.approx(climb.RADIUS)
    assert climb.moved(table, home, np.asarray([0.0, 0.0])) is None


def test_a_climb_leads_into_the_limits() -> None:
    """The first start misses the limit by far; the climb's own steps bring it inside."""
    landscape = hill(30)
    goal = parse_goal("min latency, throughput > 155/s")
    trials = play(climb.propose, landscape, goal, seed=1, trials=60)
    assert any(evidence.feasible for evidence in read(trials, goal))


def test_tpe_learns() -> None:
    """Of a hill with one good corner, later suggestions are better than the first ten, which are random."""
    landscape = hill()
    trials = play(tpe.propose, landscape, THROUGHPUT, seed=0, trials=30)
    rates = [landscape.throughput(trial.point) for trial in trials]
    assert np.mean(rates[15:]) > np.mean(rates[:10]) + 3


def test_suggestions_are_moved_to_the_nearest_legal_point_left() -> None:
    space = small_space()
    everything = catalogue((space,))
    levels = union((space,))
    wanted = space.point(batch=4, cores=2, mode="c")  # illegal: mode c works alone
    left = np.ones(len(everything), dtype=bool)
    place = nearest(everything, left, _params(wanted, (space,), levels), levels)
    found = everything.point(place)
    assert space.why_illegal(found) is None
    assert found["batch"] == 4
    left[place] = False
    assert nearest(everything, left, _params(wanted, (space,), levels), levels) != place


def test_one_point_needs_no_suggestion() -> None:
    assert list(tpe.propose((one_point(),), (), THROUGHPUT, 3, 0)) == list(one_point().points())


def test_limits_are_told_as_constraints() -> None:
    """With a limit that only the lower left meets, most of the later suggestions are inside."""
    landscape = hill()
    goal = parse_goal("max throughput, p99 > 9 ms")  # at one in flight: throughput below 111
    trials = play(tpe.propose, landscape, goal, seed=0, trials=40)
    inside = [evidence.feasible for evidence in read(trials, goal)]
    assert sum(inside[20:]) > sum(inside[:20])
    assert best_score(landscape, goal) <= np.log(111.2)


def test_a_missing_package_is_told_with_the_pip_line() -> None:
    with pytest.raises(UsageError) as caught:
        load_optuna("optuna_that_is_not_installed")
    assert caught.value.id == "missing-package"
    assert 'pip install "infertune[optuna]"' in caught.value.hint
