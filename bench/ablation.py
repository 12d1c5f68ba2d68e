"""`auto` with one of its ideas switched off at a time: `python bench/ablation.py [--seeds 5] [--trials 30]`.

Per idea: the geometric mean, over all data sets, of the trials until within 2 % of the best (a run that never came
there counts as one and a half times its trials), and the mean regret after 20 trials. More of either than `auto` as it
is: the idea brings something. Each variant runs in its own process, in which one attribute of one part is replaced.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import statistics
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial

import numpy as np
from search import cases

from infertune.search import auto
from infertune.search.parts import features, figures, known, outlook, seconds, surrogate, turns
from infertune.search.replay.judge import Terms, judged


def nothing() -> None:
    pass


def no_trend() -> None:
    known_nothing = figures.ANYTHING
    figures.THROUGHPUT = known_nothing
    figures.figures.__globals__["THROUGHPUT"] = known_nothing


def no_main_effects() -> None:
    surrogate.MAIN = 1e-6


def no_ceiling() -> None:
    outlook.CEILING = 1e6


def no_prices() -> None:
    seconds.Price.total = lambda self: np.ones(len(self.launch))  # type: ignore[method-assign]


def no_mixes() -> None:
    vars(features)["_mixes"] = lambda knobs: []


def no_turns() -> None:
    turns.STARTS = 0


def no_littles_law() -> None:
    found = figures.figures
    known.figures = lambda goal: tuple(replace(figure, lean=0.0) for figure in found(goal))  # type: ignore[attr-defined]


def no_doubt() -> None:
    surrogate.NOISE = 1e-3


IDEAS: Mapping[str, Callable[[], None]] = {
    "auto as it is": nothing,
    "without the prior trend of throughput": no_trend,
    "without main effects (one kernel over all knobs)": no_main_effects,
    "without the ceiling on what a trial may promise": no_ceiling,
    "without prices (gain per trial, not per second)": no_prices,
    "without batch per core and batch x instances": no_mixes,
    "without a first try for every space": no_turns,
    "without Little's law between latency and rate": no_littles_law,
    "without expecting noise": no_doubt,
}


def tried(idea: str, seeds: int, trials: int, noise: float) -> tuple[float, float]:
    """(geometric mean of trials to 2 %, mean regret in % after 20)."""
    IDEAS[idea]()
    needed, left = [], []
    for title, found in cases([], seeds):
        for seed, case in enumerate(found):
            run = next(
                judged(
                    "auto", auto.propose, case.landscape, case.goal, Terms(trials=trials, noise=noise), [seed],
                    simulated=case.simulated, title=title,
                )
            )  # fmt: skip
            needed.append(math.log(run.reached(0.02) or 1.5 * trials))
            left.append(100 * run.regret(20))
    return math.exp(statistics.mean(needed)), statistics.mean(left)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--noise", type=float, default=0.03)
    asked = parser.parse_args()
    print(f"{asked.seeds} seeds, {asked.trials} trials at most, {100 * asked.noise:g} % noise")
    print(f"  {'':52} trials to 2 %   regret after 20")
    run = partial(tried, seeds=asked.seeds, trials=asked.trials, noise=asked.noise)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=spawn, max_tasks_per_child=1) as pool:
        for idea, (needed, left) in zip(IDEAS, pool.map(run, IDEAS), strict=True):
            print(f"  {idea:52} {needed:8.2f} {left:16.2f} %", flush=True)


if __name__ == "__main__":
    main()
