"""How much of a front a search finds: `python bench/fronts.py [NAME ...] [--seeds 8] [--noise 0.03] [--trials 40]`.

Searches for `pareto throughput, p99`. Told is what the points tried are worth to somebody who asks afterwards for
`max throughput, p99 < L`: the share of the best throughput inside the limit that the best of them reaches, for five L
spread over the true front (those of limits.py). Recorded launches are played at their mean. With `--asked` the second
and the fourth of them are levels that the front is asked at: `pareto throughput, p99 at L2 and L4`.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from limits import bounds_ms
from search import cases as recordings

from infertune.core.goal import parse_goal
from infertune.search import auto
from infertune.search.parts.arrays import Floats
from infertune.search.replay.landscape import Landscape, best_score, play, regrets, steady

FRONT = "pareto throughput, p99"
ASKED = (1, 3)
"""Places of the limits that the front is asked at."""


def cases(wanted: Sequence[str], seeds: int) -> Iterator[tuple[str, list[Landscape]]]:
    """Per data set: the landscape of each seed."""
    for name, found in recordings(list(wanted), seeds):
        if not name.endswith("latency"):
            yield name, [replace(case.landscape, ratios=steady) for case in found]


def reached(landscape: Landscape, seed: int, trials: int, noise: float, *, levels: bool) -> list[float]:
    """Per limit: the best throughput inside among the points tried, divided by the best there is; 0 without one."""
    bounds = [f"{bound:.4f} ms" for bound in bounds_ms(landscape)]
    front = f"{FRONT} at {' and '.join(bounds[place] for place in ASKED)}" if levels else FRONT
    played = play(auto.propose, landscape, parse_goal(front), seed=seed, trials=trials, noise=noise)
    goals = [parse_goal(f"max throughput, p99 < {bound}") for bound in bounds]
    return [math.exp(-regrets(landscape, goal, played, best_score(landscape, goal))[-1]) for goal in goals]


def told(shares: Floats) -> str:
    """(runs, limits) -> per limit the mean share, then the mean of all, the share of near ones, and the worst."""
    each = " ".join(f"{share:5.3f}" for share in np.mean(shares, axis=0))
    error = float(np.std(np.mean(shares, axis=1), ddof=1) / np.sqrt(len(shares))) if len(shares) > 1 else math.nan
    near = f"over 0.97 in {100 * np.mean(shares > 0.97):3.0f} %"
    return f"{each}   mean {np.mean(shares):5.3f} +- {error:5.3f}, {near}, least {np.min(shares):5.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--noise", type=float, default=0.0)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--asked", action="store_true")
    asked = parser.parse_args()
    print(f"{asked.seeds} seeds, {asked.trials} trials, {100 * asked.noise:g} % noise; per limit, tightest first")
    everything: list[list[float]] = []
    for name, found in cases(asked.names, asked.seeds):
        runs = [reached(case, seed, asked.trials, asked.noise, levels=asked.asked) for seed, case in enumerate(found)]
        print(f"  {name:34} {told(np.asarray(runs))}", flush=True)
        everything += runs
    print(f"  {'all':34} {told(np.asarray(everything))}")


if __name__ == "__main__":
    main()
