"""Searching under a limit: `python bench/limits.py [--seeds 8] [--noise 0.03]`, `max throughput, p99 < L`.

Five bounds L, spread over the front of throughput and p99 of each data set. Told are the share of runs that came
within 3 % of the best point inside the limit in 20 trials, and how many chose a point that truly misses it: the winner
of a run is the best point whose own launch was inside, so with noise a point at the very edge may win here, which in a
study the race and the confirmation find out.
"""

from __future__ import annotations

import argparse

import numpy as np
from landscapes import recorded, simulated

from infertune.core.goal import Goal, parse_goal
from infertune.core.records import Measurement, Trial
from infertune.search import auto
from infertune.search.replay.landscape import Landscape, best_score, play, regrets

TRIALS, WITHIN = 20, 0.03


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--noise", type=float, default=0.0)
    asked = parser.parse_args()
    runs = wrong = 0
    for name, found in (*recorded(), *simulated()):
        if name.endswith("latency"):
            continue
        for bound in bounds_ms(found.landscape):
            goal = parse_goal(f"max throughput, p99 < {bound:.4f} ms")
            best, near = best_score(found.landscape, goal), 0
            for seed in range(asked.seeds):
                played = play(auto.propose, found.landscape, goal, seed=seed, trials=TRIALS, noise=asked.noise)
                near += regrets(found.landscape, goal, played, best)[-1] <= -np.log1p(-WITHIN)
                chosen = winner(played, goal)
                wrong += chosen is None or found.landscape.score(chosen.point, goal) is None
                runs += 1
            print(f"  {name:34} p99 < {bound:10.2f} ms: within 3 % in {near} of {asked.seeds} runs", flush=True)
    print(f"{wrong} of {runs} runs ended with no winner, or with one outside the limit")


if __name__ == "__main__":
    main()
