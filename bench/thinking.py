"""What `auto` needs to think: `python bench/thinking.py`. Eight points, in a space of 105,000, after many trials.

The bar: under 200 ms after 200 trials, under 2 s after 2,000. The first call also reads the space, which is told apart.
"""

from __future__ import annotations

import time

import numpy as np

from infertune.core.goal import parse_goal
from infertune.core.space import Space
from infertune.search import auto
from infertune.search.parts.catalogue import catalogue
from infertune.search.parts.features import encoded
from infertune.search.replay.landscape import Landscape
from infertune.testing.spaces import a_knob

GOALS = tuple(map(parse_goal, ("max throughput", "max throughput, p99 < 100 ms")))
REPEATS = 3


def wide() -> Landscape:
    knobs = (
        a_knob("cores", tuple(range(1, 16)), "build"),
        a_knob("instances", tuple(range(1, 11))),
        a_knob("batch", tuple(2**k for k in range(7)), "build"),
        a_knob("set_size", tuple(range(1, 11))),
        a_knob("mode", ("a", "b", "c", "d", "e"), "build"),
        a_knob("split", (1, 2)),
    )
    space = Space(target="wide", device="cpu", knobs=knobs)
    return Landscape(
        name="wide",
        spaces=(space,),
        throughput=lambda p: 100.0 * p.number("cores") ** 0.8 * p.number("batch") ** 0.3 / (1 + p.number("split") / 9),
    )


def main() -> None:
    landscape = wide()
    began = time.perf_counter()
    everything = catalogue(landscape.spaces)
    encoded(everything)
    print(f"{len(everything):,} points, read once in {time.perf_counter() - began:.1f} s")
    order = np.random.default_rng(0).permutation(len(everything))
    trials = [landscape.trial(everything.point(place), noise=0.03, seed=0) for place in order[:2000]]
    for goal in GOALS:
        print(goal)
        for count in (20, 60, 200, 2000):
            took = []
            for _ in range(REPEATS):
                began = time.perf_counter()
                auto.propose(landscape.spaces, tuple(trials[:count]), goal, 8, 0)
                took.append(time.perf_counter() - began)
            print(f"  after {count:5,} trials: the next 8 points in {1e3 * min(took):.0f} ms (best of {REPEATS})")


if __name__ == "__main__":
    main()
