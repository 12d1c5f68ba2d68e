"""`auto` with one of its ideas switched off at a time: `python bench/ablation.py [--limited] [--failing WAY]`.

Per idea: what the runs without it needed, as a ratio to the same runs (data set, seed) of `auto` as it is: geometric
means of the trials and of the recorded seconds until within 2 % of the best (a run that never came there counts as one
and a half times its own), and what is added to the mean regret after 20 trials, each with the standard error of the
paired differences. A ratio above 1 or an added regret above 0 by more than twice that error: the idea brings something.
Seconds are told for the data sets whose builds or launches differ in what they cost (`priced`). `--limited` searches
for the most throughput within the p99 of the middle of each data set's front, in place of the data set's own goal.
`--failing` makes points fail with a pattern (failing.py), `--invalid` a share of them at random.
Each variant runs in its own process, in which one attribute of one part is replaced.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial

import numpy as np
from failing import WAYS, failing
from limits import bounds_ms
from search import cases, chosen

from infertune.core.goal import parse_goal
from infertune.core.replayed import Replayed
from infertune.search import auto
from infertune.search.parts import features, figures, known, outlook, seconds, surrogate, trend, turns
from infertune.search.parts.arrays import Floats
from infertune.search.replay.judge import Terms, judged
from infertune.search.replay.landscape import steady
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


def full_prices() -> None:
    vars(auto)["THRIFT"] = 1.0


def no_names() -> None:
    turns.Turns.untried = lambda self: np.zeros(len(self.open), dtype=bool)  # type: ignore[method-assign]


def no_mixes() -> None:
    vars(features)["_mixes"] = lambda knobs: []


def no_evenness() -> None:
    vars(trend)["_uneven"] = lambda batch, cores: np.zeros(len(batch))


def no_turns() -> None:
    turns.STARTS = 0
    vars(auto)["FREE_STARTS"] = 0


def no_littles_law() -> None:
    found = figures.figures
    known.figures = lambda goal: tuple(replace(figure, lean=0.0) for figure in found(goal))  # type: ignore[attr-defined]


def no_doubt() -> None:
    surrogate.NOISE = 1e-3


def no_draws() -> None:
    vars(auto)["DRAWS"] = 0


def no_own() -> None:
    surrogate.OWN = 0.0


def no_failures() -> None:
    vars(auto)["hopeless"] = lambda everything, evidence: np.zeros(len(everything), dtype=bool)
    vars(known)["chance"] = lambda tried, success, inputs: np.ones(len(inputs))


AS_IT_IS = "auto as it is"
IDEAS: Mapping[str, Callable[[], None]] = {
    AS_IT_IS: nothing,
    "without the prior trend of throughput": no_trend,
    "without main effects (one kernel over all knobs)": no_main_effects,
    "without the ceiling on what a trial may promise": no_ceiling,
    "without prices (gain per trial)": no_prices,
    "without the root of prices (gain per second)": full_prices,
    "without a try for every name": no_names,
    "without batch per core and batch x instances": no_mixes,
    "without cores that wait for uneven samples": no_evenness,
    "without first tries of starts": no_turns,
    "without Little's law between latency and rate": no_littles_law,
    "without expecting noise": no_doubt,
    "without doubt in its own hyperparameters": no_draws,
    "without what a point has of its own": no_own,
    "without learning from failures": no_failures,
}


def priced(case: Recording) -> bool:
    """Whether its points differ in what they cost: recorded costs, or knobs that need a build."""
    some = case.landscape
    builds = any(knob.stage == "build" for space in some.spaces for knob in space.knobs)
    return builds or len({some.launch_cost_s(point) for point in some.points()}) > 1


def limited(case: Recording) -> Recording:
    """The same space, searched within the p99 of the middle of its front."""
    exact = replace(case.landscape, ratios=steady)
    goal = parse_goal(f"max throughput, p99 < {bounds_ms(exact)[2]:.4f} ms")
    return replace(case, goal=goal)


def tried(idea: str, seeds: int, terms: Terms, *, within_limits: bool, way: str = "") -> Floats:
    """(runs, 3): logs of trials and of seconds to 2 % (NaN where none are told), and regret in % after 20 trials."""
    IDEAS[idea]()
    rows = []
    for title, found in cases([], seeds):
        if within_limits and title.endswith("latency"):
            continue
        for seed, whole in enumerate(found):
            case = failing(whole, way, seed) if way else whole
            run = played(title, limited(case) if within_limits else case, terms, seed)
            needed = run.reached(0.02) or 1.5 * terms.trials
            took = (run.reached_s(0.02) or 1.5 * run.seconds[-1]) if priced(case) else math.nan
            rows.append((math.log(needed), math.log(took), 100 * run.regret(20)))
    return np.asarray(rows)


def played(title: str, case: Recording, terms: Terms, seed: int) -> Replayed:
    found = judged(
        "auto", auto.propose, case.landscape, case.goal, terms, [seed], simulated=case.simulated, title=title
    )
    return next(found)


def told(without: Floats, whole: Floats) -> str:
    """What is different without an idea, each figure with its standard error."""
    apart = without - whole
    count = np.sum(~np.isnan(apart), axis=0)
    mean, error = np.nanmean(apart, axis=0), np.nanstd(apart, axis=0, ddof=1) / np.sqrt(count)
    ratio = np.exp(mean[:2])
    times = [f"x {value:4.2f} +- {value * off:4.2f}" for value, off in zip(ratio, error, strict=False)]
    return f"{times[0]:>18} {times[1]:>18}   {mean[2]:+6.2f} +- {error[2]:4.2f} %"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ideas", nargs="*", default=[], help="only those whose name contains one of these")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--noise", type=float, default=0.03)
    parser.add_argument("--invalid", type=float, default=0.0, help="share of points that are made to fail")
    parser.add_argument("--failing", choices=sorted(WAYS), default="", help="points that fail with a pattern")
    parser.add_argument("--limited", action="store_true", help="search within a limit on p99")
    parser.add_argument("--processes", type=int, default=2)
    asked = parser.parse_args()
    print(
        f"{asked.seeds} seeds, {asked.trials} trials at most, {100 * asked.noise:g} % noise, "
        f"{100 * asked.invalid:g} % of the points fail{', within a limit on p99' if asked.limited else ''}"
        f"{f', failing: {asked.failing}' if asked.failing else ''}"
    )
    terms = Terms(trials=asked.trials, noise=asked.noise, invalid=asked.invalid)
    run = partial(tried, seeds=asked.seeds, terms=terms, within_limits=asked.limited, way=asked.failing)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(asked.processes, mp_context=spawn, max_tasks_per_child=1) as pool:
        ideas = [name for name in IDEAS if name != AS_IT_IS and chosen(name, asked.ideas)]
        found = pool.map(run, [AS_IT_IS, *ideas])
        whole = next(found)
        trials, took, left = np.nanmean(whole, axis=0)
        start = f"{math.exp(trials):.2f} trials, {math.exp(took):.0f} s, regret {left:.2f} %"
        print(f"  {AS_IT_IS}: {start}, {len(whole)} runs")
        print(f"  {'':50} {'trials to 2 %':>18} {'seconds':>18}   regret after 20", flush=True)
        for idea, without in zip(ideas, found, strict=True):
            print(f"  {idea:50} {told(without, whole)}", flush=True)


if __name__ == "__main__":
    main()
