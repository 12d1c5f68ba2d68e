"""Plays a landscape to a strategy and writes down how near it came, trial by trial."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from infertune.core.goal import Goal
from infertune.core.keys import point_key
from infertune.core.records import Failed
from infertune.core.replayed import Replayed
from infertune.core.seams import Strategy
from infertune.core.space import Point
from infertune.search import Ending, untold
from infertune.search.replay.landscape import Landscape, best_score, play, regrets, seconds, steady


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How to play: at most ``trials`` per run, asked ``n`` at a time.

    ``noise``: log deviation of a launch; None plays recorded launches as they were. ``invalid``: share of points that
    are made to fail (which ones, the seed decides). ``ending``: the strategy's own.
    """

    trials: int = 40
    n: int = 1
    noise: float | None = None
    invalid: float = 0.0
    ending: Ending = untold


def judged(
    name: str,
    strategy: Strategy,
    landscape: Landscape,
    goal: Goal,
    terms: Terms,
    seeds: Iterable[int],
    *,
    simulated: bool,
    title: str = "",
) -> Iterator[Replayed]:
    """One run per seed, under ``title`` (default: the landscape's name)."""
    exact = landscape if terms.noise is None else replace(landscape, ratios=steady)
    best = None if terms.invalid else best_score(exact, goal)
    for seed in seeds:
        ours = with_failures(exact, terms.invalid, seed) if terms.invalid else exact
        trials = play(strategy, ours, goal, seed=seed, trials=terms.trials, n=terms.n, noise=terms.noise or 0.0)
        ended = len(trials) < terms.trials
        yield Replayed(
            recording=title or landscape.name,
            strategy=name,
            seed=seed,
            simulated=simulated,
            regrets=tuple(regrets(ours, goal, trials, best)),
            seconds=tuple(seconds(ours, trials)),
            why=f"ended after {len(trials)} trials" if ended else "",
            left=terms.ending(ours.spaces, trials, goal) if ended else "",
        )


def with_failures(landscape: Landscape, share: float, seed: int) -> Landscape:
    """The landscape with that share of its points failing; the seed decides which."""

    def fails(point: Point) -> Failed | None:
        drawn = np.random.default_rng([seed, int(point_key(point), 16), 1]).uniform()
        made_up = Failed(stage="measure", kind="crash", message="made to fail")
        return landscape.fails(point) or (made_up if drawn < share else None)

    return replace(landscape, fails=fails)
