"""Pattern search, step by step against the sequences that the vendor's configurator logged."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infertune.search.pattern import Grid, Place, added, climb, direction, halved, stencil, trials, wanted

NSPS = 16


def legal(place: Place) -> bool:
    """The constraint set of all 466 recorded points: cores x instances <= 16, mos <= cores."""
    cores, mos, _, _, instances = place
    return cores * instances <= NSPS and mos <= cores


GRID = Grid(low=(1, 1, 1, 0, 1), high=(14, 8, 8, 4, 14), doubles=(False, False, False, True, False), legal=legal)


def at(text: str) -> Place:
    """``2/1/3/8/7`` (cores, mos, ols, batch, instances) as a place; the batch counts doublings."""
    cores, mos, ols, batch, instances = map(int, text.split("/"))
    return cores, mos, ols, int(math.log2(batch)), instances


STENCILS = [  # centre, what was known before, what was evaluated in one round
    ("1/1/1/1/14", "", "1/1/1/1/13 1/1/2/1/14 1/1/1/2/14"),
    ("1/1/1/4/14", "1/1/1/2/14", "1/1/1/4/13 1/1/2/4/14 1/1/1/8/14"),
    ("2/1/1/1/7", "", "1/1/1/1/7 2/1/1/1/6 2/2/1/1/7 2/1/2/1/7 2/1/1/2/7 2/1/1/1/8"),
    ("2/1/3/8/7", "2/1/2/8/7", "1/1/3/8/7 2/1/3/4/7 2/1/3/8/6 2/2/3/8/7 2/1/4/8/7 2/1/3/16/7 2/1/3/8/8"),
    ("4/1/1/1/3", "", "3/1/1/1/3 4/1/1/1/2 5/1/1/1/3 4/2/1/1/3 4/1/2/1/3 4/1/1/2/3 4/1/1/1/4"),
    ("7/1/1/1/2", "", "6/1/1/1/2 7/1/1/1/1 8/1/1/1/2 7/2/1/1/2 7/1/2/1/2 7/1/1/2/2"),
    ("14/1/1/1/1", "", "13/1/1/1/1 14/2/1/1/1 14/1/2/1/1 14/1/1/2/1"),
    ("12/2/1/16/1", "", "11/2/1/16/1 12/1/1/16/1 12/2/1/8/1 13/2/1/16/1 12/3/1/16/1 12/2/2/16/1"),
    ("12/2/2/16/1", "12/2/1/16/1", "11/2/2/16/1 12/1/2/16/1 12/2/2/8/1 13/2/2/16/1 12/3/2/16/1 12/2/3/16/1"),
]


@pytest.mark.parametrize(("centre", "known", "evaluated"), STENCILS)
def test_a_round_evaluates_the_recorded_neighbours_in_their_order(centre: str, known: str, evaluated: str) -> None:
    seen = {at(text) for text in known.split()}
    expected = [at(text) for text in evaluated.split()]
    assert [place for place in stencil(at(centre), GRID) if place not in seen] == expected


@pytest.mark.parametrize(
    ("centre", "trial", "then"),
    [
        ("14/1/1/16/1", "10/4/2/16/1", ["12/2/1/16/1"]),
        ("12/2/1/16/1", "7/4/1/16/1", ["10/3/1/16/1"]),
        ("12/2/1/16/1", "5/5/1/16/1", ["9/3/1/16/1"]),
        ("12/2/1/16/1", "12/2/3/16/1", ["12/2/2/16/1"]),
        ("12/2/2/16/1", "5/5/6/16/1", ["9/3/4/16/1", "11/2/3/16/1"]),
        ("12/2/2/16/1", "12/4/2/16/1", ["12/3/2/16/1"]),
        ("12/3/2/16/1", "14/8/1/8/1", ["13/5/2/16/1"]),
        ("1/1/1/1/14", "1/1/1/16/14", ["1/1/1/4/14"]),
        ("8/1/2/16/2", "8/1/8/16/2", ["8/1/5/16/2", "8/1/3/16/2"]),
    ],
)
def test_a_trial_that_fails_is_halved_as_recorded(centre: str, trial: str, then: list[str]) -> None:
    step = tuple(b - a for a, b in zip(at(centre), at(trial), strict=True))
    found = []
    for _ in then:
        step = halved(step)
        found.append(added(at(centre), step))
    assert found == [at(text) for text in then]


def evaluated(
    start: Place, score: Callable[[Place], float], grid: Grid = GRID
) -> tuple[list[tuple[Place, ...]], Place]:
    """The rounds of fresh places that one start asks for, and where it ends."""
    known: dict[Place, float] = {}
    rounds: list[tuple[Place, ...]] = []
    for _ in range(500):
        missing, ended, _ = wanted(start, grid, known)
        if ended is not None:
            return rounds, ended
        rounds.append(missing)
        known.update({place: score(place) for place in missing})
    raise AssertionError("it does not end")


def test_success_doubles_the_way_from_the_centre_until_the_bound_as_recorded() -> None:
    """Latency over cores: 1, then 3, 5, 9 and 14, without a stencil in between."""
    walk = trials(at("1/1/1/1/1"), (2, 0, 0, 0, 0), GRID)
    known = {at(f"{c}/1/1/1/1"): float(c) for c in range(1, 15)}
    asked = [next(walk)[0][0]]
    asked += [walk.send(known)[0][0] for _ in range(4)]
    assert asked == [1, 3, 5, 9, 14]
    with pytest.raises(StopIteration) as ended:
        walk.send(known)
    assert ended.value.value == at("14/1/1/1/1")


def test_the_first_step_over_cores_is_the_recorded_one() -> None:
    values = {at("1/1/1/1/1"): 0.0, at("2/1/1/1/1"): 0.4, at("1/1/2/1/1"): -0.1, at("1/1/1/1/2"): -0.2}
    assert direction(at("1/1/1/1/1"), values, GRID) == (2, 0, 0, 0, 0)


@pytest.mark.parametrize(("batch", "trial"), [(1, 16), (2, 16), (4, 16)])
def test_the_first_step_over_batches_reaches_the_bound_as_recorded(batch: int, trial: int) -> None:
    centre, better = at(f"1/1/1/{batch}/7"), at(f"1/1/1/{2 * batch}/7")
    step = direction(centre, {centre: 0.0, better: 0.3}, GRID)
    assert GRID.clipped(added(centre, step)) == at(f"1/1/1/{trial}/7")


def test_a_recorded_latency_start_is_followed_round_by_round() -> None:
    """The published latency search from one core, batch held at 1. Of its rounds only two trials (4 and 12 cores, in
    between) come from a direction that the logs do not explain; the others are the recorded ones, in their order."""
    single = Grid(low=GRID.low, high=(14, 8, 8, 0, 14), doubles=GRID.doubles, legal=legal)

    def score(place: Place) -> float:
        cores, mos, ols, _, instances = place
        return 0.3 * cores - 0.1 * abs(ols - 2) * (cores == 14) - 0.2 * (ols - 1) * (cores < 14) - mos - instances

    rounds, ended = evaluated(at("1/1/1/1/1"), score, single)
    recorded = [
        "1/1/1/1/1",
        "2/1/1/1/1 1/1/2/1/1 1/1/1/1/2",
        "3/1/1/1/1",
        "5/1/1/1/1",
        "9/1/1/1/1",
        "14/1/1/1/1",
        "13/1/1/1/1 14/2/1/1/1 14/1/2/1/1",
        "14/1/3/1/1",
        "13/1/2/1/1 14/2/2/1/1",
    ]
    assert rounds == [tuple(at(text) for text in line.split()) for line in recorded]
    assert ended == at("14/1/2/1/1")


@settings(max_examples=60, deadline=None)
@given(
    start=st.tuples(*(st.integers(a, b) for a, b in zip(GRID.low, GRID.high, strict=True))).filter(legal),
    weights=st.tuples(*(st.floats(-1, 1) for _ in range(5))),
    best=st.tuples(*(st.integers(a, b) for a, b in zip(GRID.low, GRID.high, strict=True))),
)
def test_it_ends_at_a_place_that_no_neighbour_beats(start: Place, weights: tuple[float, ...], best: Place) -> None:
    def score(place: Place) -> float:
        bowl = sum(-0.1 * (x - b) ** 2 for x, b in zip(place, best, strict=True))
        return bowl + sum(w * x for w, x in zip(weights, place, strict=True))

    rounds, ended = evaluated(start, score)
    asked = [place for places in rounds for place in places]
    assert all(GRID.inside(place) for place in asked)
    assert len(asked) == len(set(asked))
    assert all(score(place) <= score(ended) for place in stencil(ended, GRID))
    assert score(ended) >= score(start)


def test_what_another_start_knows_is_not_asked_again() -> None:
    known = {place: -float(sum(place)) for place in _everything()}
    missing, ended, _ = wanted(at("2/1/1/1/7"), GRID, known)
    assert missing == ()
    assert ended == at("1/1/1/1/1")


def _everything() -> list[Place]:
    import itertools

    ranges = [range(a, b + 1) for a, b in zip(GRID.low, GRID.high, strict=True)]
    return [place for place in itertools.product(*ranges) if legal(place)]


def test_a_failed_place_is_never_the_answer() -> None:
    _, ended = evaluated(at("4/1/1/1/3"), lambda place: float("-inf") if place[0] > 4 else float(place[0]))
    assert ended[0] == 4
    assert next(climb(ended, GRID)) == (ended,)
