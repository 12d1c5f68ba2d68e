"""`auto` with one of its ideas switched off at a time: `python bench/ablation.py [--seeds 5] [--trials 30]`.

Per idea: the geometric mean, over all data sets, of the trials and of the recorded seconds until within 2 % of the best
(a run that never came there counts as one and a half times its own), and the mean regret after 20 trials. More of any
than `auto` as it is: the idea brings something. Seconds are told for the data sets whose builds or launches differ in
what they cost (`priced`). Each variant runs in its own process, in which one attribute of one part is replaced.
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

from infertune.core.replayed import Replayed
from infertune.search import auto
from infertune.search.parts import features, figures, known, outlook, seconds, surrogate, turns
from infertune.search.replay.judge import Terms, judged
from infertune.search.replay.recording import Recording


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


def no_own() -> None:
    surrogate.OWN = 0.0


def no_failures() -> None:
    vars(auto)["hopeless"] = lambda everything, evidence: np.zeros(len(everything), dtype=bool)
    vars(known)["chance"] = lambda tried, success, inputs: np.ones(len(inputs))


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
    "without what a point has of its own": no_own,
    "without learning from failures": no_failures,
}


def priced(case: Recording) -> bool:
    """Whether its points differ in what they cost: recorded costs, or knobs that need a build."""
    some = case.landscape
    builds = any(knob.stage == "build" for space in some.spaces for knob in space.knobs)
    return builds or len({some.launch_cost_s(point) for point in some.points()}) > 1


def tried(idea: str, seeds: int, terms: Terms) -> tuple[float, float, float]:
    """(geometric means of trials and of seconds to 2 %, mean regret in % after 20)."""
    IDEAS[idea]()
    needed, took, left = [], [], []
    for title, found in cases([], seeds):
        for seed, case in enumerate(found):
            run = played(title, case, terms, seed)
            needed.append(math.log(run.reached(0.02) or 1.5 * terms.trials))
            left.append(100 * run.regret(20))
            if priced(case):
                took.append(math.log(run.reached_s(0.02) or 1.5 * run.seconds[-1]))
    return math.exp(statistics.mean(needed)), math.exp(statistics.mean(took)), statistics.mean(left)


def played(title: str, case: Recording, terms: Terms, seed: int) -> Replayed:
    found = judged(
        "auto", auto.propose, case.landscape, case.goal, terms, [seed], simulated=case.simulated, title=title
    )
    return next(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--noise", type=float, default=0.03)
    parser.add_argument("--invalid", type=float, default=0.0, help="share of points that are made to fail")
    parser.add_argument("--processes", type=int, default=2)
    asked = parser.parse_args()
    print(
        f"{asked.seeds} seeds, {asked.trials} trials at most, {100 * asked.noise:g} % noise, "
        f"{100 * asked.invalid:g} % of the points fail"
    )
    print(f"  {'':52} trials to 2 %   seconds   regret after 20")
    run = partial(tried, seeds=asked.seeds, terms=Terms(trials=asked.trials, noise=asked.noise, invalid=asked.invalid))
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(asked.processes, mp_context=spawn, max_tasks_per_child=1) as pool:
        for idea, (needed, took, left) in zip(IDEAS, pool.map(run, IDEAS), strict=True):
            print(f"  {idea:52} {needed:10.2f} {took:12.0f} {left:14.2f} %", flush=True)


if __name__ == "__main__":
    main()
