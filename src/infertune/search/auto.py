"""The default: a few promising starts, then where much is gained for few seconds, by a model of all spaces at once.

It knows how inference behaves (`parts.trend`), learns the rest from few trials (`parts.surrogate`), what cannot work
(`parts.feasible`) and what a trial costs (`parts.seconds`), and stops when nothing left is worth a launch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from infertune.core.goal import Goal
from infertune.core.records import Trial
from infertune.core.space import Point, Space
from infertune.search.parts.arrays import Mask, Whole
from infertune.search.parts.candidates import allowed, candidates
from infertune.search.parts.catalogue import Catalogue, catalogue
from infertune.search.parts.evidence import Evidence, read
from infertune.search.parts.feasible import hopeless
from infertune.search.parts.features import encoded
from infertune.search.parts.fronts import shares, sides
from infertune.search.parts.known import known
from infertune.search.parts.outlook import Outlooks
from infertune.search.parts.remaining import chance_of_better
from infertune.search.parts.seconds import Price
from infertune.search.parts.turns import EVERY, FREE_STARTS, Turns, highest, turns

DRAWS = 8
"""Models with other hyperparameters that are asked beside the likeliest one where something measured is limited or less
is better, ..."""
DOUBTFUL = 64
"""... while there are at most so many trials: more of them leave little doubt, and thinking must stay cheap."""
ENOUGH = 16
"""Trials before the search may end by itself."""
THRIFT = 0.5
"""Exponent of the seconds that a gain is divided by. With 1 a search stays with what is built, where little is gained
for little, and puts off builds that all later trials would gain from; with 0 a price is no reason. In between lies
cost cooling (Lee, Perrone, Archambeau & Seeger 2020, Cost-aware Bayesian Optimization), which goes from 1 to 0."""
NEGLIGIBLE = 0.003
"""Expected gain (0.3 %) that is not worth a launch ..."""
WORTHWHILE = 0.02
"""The gain that people ask about when a search has ended."""
CAUTION = 2.0
"""... even if the model were half as sure as it is: hyperparameters learned from few trials promise too much."""


def propose(spaces: Sequence[Space], history: Sequence[Trial], goal: Goal, n: int, seed: int) -> Sequence[Point]:
    """The next points to try. Empty when every point was, or when none left is expected to gain 0.3 %.

    A front is searched from all sides in turn (`parts.fronts`), and given up once no side promises anything.
    """
    starts = FREE_STARTS if is_free(goal) else 0
    asked = sides(goal, history, np.random.default_rng([seed, len(history), 1]))
    dealt = shares(asked, len(history), n)
    found: list[Point] = []
    for side, share in dealt:
        found += _next(spaces, (*history, *(Trial(point=point) for point in found)), side, share, seed, starts)
    for side in dict.fromkeys(asked):
        if not found and side not in dict(dealt):
            found += _next(spaces, history, side, n, seed, starts)
    return tuple(found)


def is_free(goal: Goal) -> bool:
    """Whether one number is searched for and nothing that is measured is limited."""
    return not goal.is_front and not goal.measured_limits


def _next(
    spaces: Sequence[Space], history: Sequence[Trial], goal: Goal, n: int, seed: int, starts: int
) -> Sequence[Point]:
    """The next points for a goal of one number. ``starts``: named ones to try at least, in all spaces together."""
    everything = catalogue(tuple(spaces))
    evidence = _evidence(everything, history, goal)
    left = allowed(everything, goal) & ~hopeless(everything, evidence) & _untried(everything, evidence)
    if n < 1 or not left.any():
        return ()
    rng = np.random.default_rng([seed, len(history)])
    places = candidates(everything, left, _leaders(evidence), len(evidence), rng)
    return tuple(everything.point(place) for place in _picks(everything, evidence, goal, places, n, starts))


def ending(spaces: Sequence[Space], history: Sequence[Trial], goal: Goal) -> str:
    """Why there may be nothing to propose, and how likely it is that more than `WORTHWHILE` was left behind."""
    everything = catalogue(tuple(spaces))
    evidence = _evidence(everything, history, goal)
    fine, closed, untried = allowed(everything, goal), hopeless(everything, evidence), _untried(everything, evidence)
    left = fine & ~closed & untried
    if not fine.any():
        return "no point meets the goal's limits on knobs"
    if not left.any():
        return "every point that can work was tried"
    places = candidates(everything, left, _leaders(evidence), len(evidence), np.random.default_rng(0))
    chance = chance_of_better(known(everything, evidence, goal), encoded(everything)[places], np.log1p(WORTHWHILE))
    points = "1 point was" if left.sum() == 1 else f"{left.sum():,} points were"
    return (
        f"{_passed_over(untried, fine, closed)}{points} not tried; "
        f"the chance that one of them is over {100 * WORTHWHILE:.0f} % better: {_percent(chance)}"
    )


def _evidence(everything: Catalogue, history: Sequence[Trial], goal: Goal) -> tuple[Evidence, ...]:
    """What trials of these spaces' points say."""
    return tuple(trial for trial in read(history, goal) if everything.has(trial.point))


def _untried(everything: Catalogue, evidence: Sequence[Evidence]) -> Mask:
    """Per place: it was not tried."""
    untried = np.ones(len(everything), dtype=bool)
    untried[everything.places([trial.point for trial in evidence])] = False
    return untried


def _passed_over(untried: Mask, fine: Mask, closed: Mask) -> str:
    """Untried points that are no candidates, so that what is counted adds up to the whole space."""
    reasons = ((untried & ~fine, "the goal's limits on knobs"), (untried & fine & closed, "what failed before"))
    return "".join(f"{int(points.sum()):,} left out by {reason}; " for points, reason in reasons if points.any())


def _percent(chance: float) -> str:
    return "under 1 %" if chance < 0.01 else f"{100 * chance:.0f} %"


def _leaders(evidence: Sequence[Evidence]) -> list[Point]:
    measured = [(trial.feasible, trial.figures[0], trial.point) for trial in evidence if trial.figures is not None]
    return [point for *_, point in sorted(measured, key=lambda found: found[:2], reverse=True)]


def _picks(
    everything: Catalogue, evidence: tuple[Evidence, ...], goal: Goal, places: Whole, n: int, starts: int
) -> list[int]:
    """Greedy: after each pick the models are told that it came out as expected, so the next one looks elsewhere."""
    doubtful = (goal.measured_limits or not goal.maximise) and len(evidence) <= DOUBTFUL
    trials = known(everything, evidence, goal, DRAWS if doubtful else 0)
    inputs = encoded(everything)[places]
    outlook, price = trials.outlooks(inputs), trials.price(everything, places, inputs)
    owed = turns(everything, evidence, trials.inputs, places, inputs, starts)
    measured = any(trial.figures is not None for trial in evidence)
    picks: list[int] = []
    while owed.open.any():
        row = owed.next(outlook.expected(), outlook.hope())
        if row is None and not measured:
            row = owed.first(outlook.expected(), outlook.hope())
        if row is None:
            row = _most_gainful(outlook, price, owed, len(evidence) + len(picks))
        if row is not None:
            picks.append(int(places[row]))
        if row is None or len(picks) == n:
            break
        outlook, price, owed = outlook.after(row), price.after(row), owed.after(row)
    return picks


def _most_gainful(outlook: Outlooks, price: Price, owed: Turns, trials: int) -> int | None:
    """The candidate that promises most for its seconds; None when none is worth a launch.

    Where it could end, the model finds none and only doubt in it keeps the search going, what that doubt promises
    counts. Now and then, and before the end, the one of which most is expected among those with a named value never
    tried.
    """
    if outlook.best is None:
        return highest(outlook.hope(), owed.open)
    enough = trials >= ENOUGH
    done = enough and np.max(outlook.gain(CAUTION)[owed.open]) < NEGLIGIBLE
    untried = owed.untried()
    if untried.any() and (done or (trials + 1) % EVERY == 0):
        return highest(outlook.expected(), untried)
    if done:
        return None
    gain = outlook.gain()
    if enough and np.max(gain[owed.open]) < NEGLIGIBLE:
        gain = outlook.gain(CAUTION)
    return highest(gain / price.total() ** THRIFT, owed.open)
