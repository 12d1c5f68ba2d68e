"""How true it is what `auto` says when it ends, that something over 2 % better was left: `python bench/chance.py`.

After 12 and 20 trials, and where the search ended (or at 40): the chance that is told, in the mean over runs, and the
share of the runs that truly had left something over 2 % better than the trial that the model believes best. Besides:
the model's errors at points not tried, in units of what it says is their standard deviation (root mean square; 1 if it
is as sure as it says), and the same error at the best point not tried (more than 0: better than believed).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from landscapes import made_up, recorded, simulated
from search import MADE_UP, chosen

from infertune.search import auto
from infertune.search.auto import WORTHWHILE
from infertune.search.parts.catalogue import catalogue
from infertune.search.parts.evidence import read
from infertune.search.parts.features import encoded
from infertune.search.parts.known import known
from infertune.search.parts.remaining import chance_of_better
from infertune.search.replay.landscape import play
from infertune.search.replay.recording import Recording

AFTER, MOST = (12, 20), 40
END = "the end"
ASKED = 4_000
"""Points asked about in larger spaces, the best one among them."""


def cases(wanted: list[str], seeds: int) -> Iterator[tuple[Recording, int]]:
    for name, found in (*recorded(), *simulated()):
        if chosen(name, wanted):
            yield from ((found, seed) for seed in range(seeds))
    for units in MADE_UP:
        if chosen(f"made-up-{units}-cpus", wanted):
            yield from ((made_up(units, seed), seed) for seed in range(seeds))


@dataclass(frozen=True, slots=True)
class Told:
    """``after``: how many trials. ``errors`` and ``at_best``: of the model, in its standard deviations."""

    after: str
    chance: float
    better: bool
    errors: float
    at_best: float


def told(case: Recording, seed: int, noise: float) -> Iterator[Told]:
    landscape, goal = case.landscape, case.goal
    scores = {p: score for p in landscape.points() if (score := landscape.score(p, goal)) is not None}
    everything = catalogue(landscape.spaces)
    played = play(auto.propose, landscape, goal, seed=seed, trials=MOST, noise=noise)
    for count in (*(n for n in AFTER if n < len(played)), len(played)):
        trials = known(everything, read(played[:count], goal), goal)
        tried = {trial.point for trial in played[:count]}
        left = sorted((p for p in scores if p not in tried), key=lambda point: -scores[point])
        leader = trials.leader()
        if leader is None or not left:
            continue
        drawn = np.random.default_rng(seed).permutation(len(left))[:ASKED]
        some = [left[row] for row in sorted({0, *drawn.tolist()})]
        inputs = encoded(everything)[everything.places(some)]
        better = scores[left[0]] > scores[trials.evidence[leader].point] + np.log1p(WORTHWHILE)
        outlook = trials.outlook(inputs)
        believed = outlook.figures[0].told(outlook.beliefs[0].mean, inputs.depth)
        errors = (np.asarray([scores[point] for point in some]) - believed) / outlook.beliefs[0].sd
        yield Told(
            after=END if count == len(played) else f"{count} trials",
            chance=chance_of_better(trials, inputs, np.log1p(WORTHWHILE)),
            better=better,
            errors=float(np.sqrt(np.mean(errors**2))),
            at_best=float(errors[0]),
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--noise", type=float, default=0.03)
    asked = parser.parse_args()
    print(f"{asked.seeds} seeds, {100 * asked.noise:g} % noise")
    found: dict[str, list[Told]] = {}
    for case, seed in cases(asked.names, asked.seeds):
        for run in told(case, seed, asked.noise):
            found.setdefault(run.after, []).append(run)
    for when, runs in found.items():
        chance, better = np.mean([(run.chance, run.better) for run in runs], axis=0)
        print(f"{when:10} {len(runs):3} runs: told {chance:6.1%}, true in {better:6.1%}", end="")
        print(f"; errors {np.mean([run.errors for run in runs]):.2f}", end="")
        print(f", at the best point left {np.mean([run.at_best for run in runs]):+.2f} standard deviations")


if __name__ == "__main__":
    main()
