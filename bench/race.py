"""The race alone, SIMULATED, under several kinds of noise: `python bench/race.py [--sizes 8,4,4,4,4] [--loss 0.01]`.

What `bench/protocol.py` tells of whole studies in minutes, this tells of the race's own rules in seconds, so that sizes
and bounds can be compared over many races. 100 candidates, log speed -abs(N(0, 0.35)); on a plateau twelve of them lie
within about 1 % of each other at the top. Every launch has the noise told; 2 % of them are 1.15x to 3x slower, unseen.
Drift wanders by the share told within some 14 launches. Per kind: launches of the race on average, and the share of
races whose winner is within 5 % and 3 % of the best.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass, field

import numpy as np

from infertune.core.space import Point
from infertune.measure import race

CANDIDATES = 100
UNSEEN = 0.02
MEMORY = 0.93  # of the drift, from one launch to the next
KINDS = (
    ("6 %", 0.06, 0.0, 0),
    ("3 %", 0.03, 0.0, 0),
    ("3 % and drift", 0.03, 0.05, 0),
    ("plateau, 3 %", 0.03, 0.0, 12),
    ("plateau, 3 % and drift", 0.03, 0.05, 12),
    ("plateau, 4 % and drift", 0.04, 0.05, 12),
)
"""Name, noise of a launch, drift, points on the plateau."""

POINTS = [Point.of("simulated", "cpu", {"batch": i + 1}) for i in range(CANDIDATES)]


@dataclass(slots=True)
class Machine:
    """Launches of candidates whose log speeds are known."""

    truth: np.ndarray[tuple[int], np.dtype[np.float64]]
    noise: float
    drift: float
    rng: np.random.Generator
    slow: float = 0.0
    scores: dict[Point, list[float]] = field(default_factory=dict)

    def launch(self, place: int) -> float:
        self.slow = MEMORY * self.slow + self.drift * math.sqrt(1 - MEMORY**2) * self.rng.normal()
        score = float(self.truth[place]) + self.slow + self.noise * self.rng.normal()
        return score - math.log(self.rng.uniform(1.15, 3.0)) if self.rng.random() < UNSEEN else score

    def change(self, point: Point) -> float:
        """Launch a candidate once more: how its score differs from its last one."""
        of = self.scores[point]
        of.append(self.launch(POINTS.index(point)))
        return of[-1] - of[-2]


def machine(seed: int, noise: float, drift: float, plateau: int) -> Machine:
    rng = np.random.default_rng(seed)
    truth = -np.abs(rng.normal(0.0, 0.35, CANDIDATES))
    truth[:plateau] = rng.normal(0.0, 0.005, plateau)
    return Machine(truth=truth, noise=noise, drift=drift, rng=rng)


def raced(made: Machine) -> tuple[float, int]:
    """(share of the best speed that the winner lacks, launches of the race); which point is simpler is drawn."""
    anchors: list[list[float]] = []
    anchor: float | None = None
    for place, point in enumerate(POINTS):
        made.scores[point] = [made.launch(place)]
        if place % 10 == 0:
            last, anchor = anchor, made.launch(0)
            anchors += [] if last is None else [[anchor - last]]
    changes, launches, blocks = anchors, 0, 0
    order = dict(zip(POINTS, made.rng.permutation(CANDIDATES).tolist(), strict=True))
    runners = race.entrants(made.scores, race.spread(changes))
    while not race.decided(runners, blocks, loss=race.expected_loss(runners, made.scores, race.spread(changes))):
        changes.append([made.change(runners[i]) for i in made.rng.permutation(len(runners))])
        launches, blocks = launches + len(runners), blocks + 1
        runners = race.survivors(runners, made.scores, blocks, race.spread(changes))
    winner = race.finalists(runners, made.scores, order.__getitem__)[0]
    return 1.0 - math.exp(made.truth[POINTS.index(winner)] - made.truth.max()), launches


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--races", type=int, default=600)
    parser.add_argument("--sizes", default=",".join(map(str, race.SIZES)))
    parser.add_argument("--loss", type=float, default=math.expm1(race.LOSS))
    asked = parser.parse_args()
    race.SIZES = tuple(map(int, asked.sizes.split(",")))
    race.FIELD, race.LOSS = race.SIZES[0], math.log1p(asked.loss)
    print(f"SIMULATED: {asked.races} races each, sizes {asked.sizes}, ends at an expected gain of {asked.loss:.1%}")
    for name, noise, drift, plateau in KINDS:
        told = np.array([raced(machine(seed, noise, drift, plateau)) for seed in range(asked.races)])
        near = [f"{np.mean(told[:, 0] <= share):.1%}" for share in (0.05, 0.03)]
        print(
            f"  {name:24} {told[:, 1].mean():5.1f} launches, within 5 % {near[0]:>6}, within 3 % {near[1]:>6}",
            flush=True,
        )


if __name__ == "__main__":
    main()
