"""Searching under a limit: `python bench/limits.py [NAME ...] [--seeds 8] [--noise 0.03]`, `max throughput, p99 < L`.

Five bounds L, spread over the front of throughput and p99 of each data set. Told are, per bound, the share of runs that
tried a point within 3 % of the best one inside the limit in 20 trials, and how many ended with a wrong winner: with
none, or with one that truly misses the limit. The winner of a run is the best point whose own launch was inside, so a
launch without noise makes no wrong winner. With noise a point at the very edge may win here, which in a study the race
and the confirmation find out (whole_studies.py): told is how far outside such winners truly were.

Recorded launches are played at their mean. Without noise, seeds make a difference only in spaces of more points than
`auto` looks at.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from landscapes import recorded, simulated
from search import chosen

from infertune.core.goal import Goal, parse_goal
from infertune.core.records import Measurement, Trial
from infertune.core.space import Point
from infertune.search import auto
from infertune.search.replay.landscape import Landscape, best_score, play, regrets, steady

TRIALS, WITHIN = 20, 0.03


@dataclass(frozen=True, slots=True)
class Ended:
    """``outside``: by how much the winner of a run truly misses the limit (log ratio); None without a winner."""

    regret: float
    outside: float | None

    @property
    def near(self) -> bool:
        return self.regret <= -math.log1p(-WITHIN)


def bounds_ms(landscape: Landscape) -> list[float]:
    """The p99 of five points of the front, each a little loosened so that the point itself is inside."""
    rate, p99 = parse_goal("max throughput"), parse_goal("min p99")
    points = [(landscape.score(p, rate), landscape.score(p, p99)) for p in landscape.points()]
    front: list[float] = []
    top = -np.inf
    for quick, fast in sorted(((q, f) for f, q in points if f is not None and q is not None), reverse=True):
        if fast > top:
            top = fast
            front.append(1e3 * float(np.exp(-quick)))
    return [1.001 * front[place] for place in np.linspace(0, len(front) - 1, 5).round().astype(int)]


def winner(trials: tuple[Trial, ...], goal: Goal) -> Trial | None:
    inside = [
        (goal.score(outcome), trial)
        for trial in trials
        if trial.launches and isinstance(outcome := trial.launches[0].outcome, Measurement)
        if goal.excess(trial.point, outcome) == 0.0
    ]
    return max(inside, key=lambda found: found[0])[1] if inside else None


def ended(landscape: Landscape, bound_ms: float, seeds: int, noise: float) -> list[Ended]:
    goal = parse_goal(f"max throughput, p99 < {bound_ms:.4f} ms")
    best, found = best_score(landscape, goal), []
    for seed in range(seeds):
        played = play(auto.propose, landscape, goal, seed=seed, trials=TRIALS, noise=noise)
        won = winner(played, goal)
        found.append(
            Ended(
                regrets(landscape, goal, played, best)[-1],
                None if won is None else outside(landscape, won.point, bound_ms),
            )
        )
    return found


def outside(landscape: Landscape, won: Point, bound_ms: float) -> float:
    """By how much a winner truly misses the limit (log ratio); 0 if it keeps it."""
    quick = landscape.score(won, parse_goal("min p99"))
    return math.inf if quick is None else max(0.0, -quick - math.log(bound_ms / 1e3))


def told(runs: Sequence[Ended]) -> str:
    missed = [run.outside for run in runs if run.outside is not None and run.outside > 0.0]
    wrong = f"{sum(run.outside is None for run in runs)} without a winner, {len(missed)} with one outside"
    far = f" (at most {100 * math.expm1(max(missed)):.1f} % over)" if missed else ""
    return f"within 3 % in {sum(run.near for run in runs)} of {len(runs)} runs, {wrong}{far}"


def wanted(text: str | None, *, seeds: int, noise: float) -> argparse.Namespace:
    """What the command asks for, which is printed; ``text`` describes it."""
    parser = argparse.ArgumentParser(description=text)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--seeds", type=int, default=seeds)
    parser.add_argument("--noise", type=float, default=noise)
    asked = parser.parse_args()
    print(f"{asked.seeds} seeds, {TRIALS} trials, {100 * asked.noise:g} % noise")
    return asked


def questions(names: list[str]) -> Iterator[tuple[Landscape, float, str]]:
    """Data sets, each played at its mean, with every bound in ms; and both in words."""
    for name, found in (*recorded(), *simulated()):
        if not name.endswith("latency") and chosen(name, names):
            exact = replace(found.landscape, ratios=steady)
            for bound in bounds_ms(exact):
                yield exact, bound, f"  {name:34} p99 < {bound:10.2f} ms"


def main() -> None:
    asked = wanted(__doc__, seeds=8, noise=0.0)
    everything: list[Ended] = []
    for landscape, bound, named in questions(asked.names):
        runs = ended(landscape, bound, asked.seeds, asked.noise)
        print(f"{named}: {told(runs)}", flush=True)
        everything += runs
    print(f"all: {told(everything)}")


if __name__ == "__main__":
    main()
