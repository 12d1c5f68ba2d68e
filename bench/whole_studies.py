"""Whole studies under a limit: `python bench/whole_studies.py [NAME ...] [--seeds 7] [--noise 0.03]`.

The questions of limits.py (`max throughput, p99 < L`, five L per data set), answered by studies in virtual time: a
search of 20 trials, the race, and the confirmation, with noise on every launch, an hour of time, and no baselines but
those that the spaces name. Told is how many ended with a confirmed winner, how many winners truly miss the limit, and
how many confirmed ones come within 3 % of the best point that keeps the limit with 5 % to spare: of points that keep it
by less, launches with 3 % noise often cannot say so. Limits that no point keeps with so much to spare are told apart.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import numpy as np
from limits import TRIALS, WITHIN, outside, questions, wanted

from infertune.build.cache import ArtifactCache
from infertune.core.answer import answer
from infertune.core.errors import NothingFeasible
from infertune.core.findings import Answer
from infertune.core.goal import Goal, parse_goal
from infertune.core.records import Device, Failed, Found, Job, MeasureJob, Measurement, Model, ProbeJob, RawNs, Reply
from infertune.core.seams import Target
from infertune.core.space import Space
from infertune.search.replay.landscape import Landscape, best_score
from infertune.study.question import make_setting
from infertune.study.tuning import run
from infertune.testing.clock import FakeClock
from infertune.testing.executor import FakeExecutor
from infertune.testing.records import a_device, a_model
from infertune.testing.store import MemoryStore

BUDGET_S = 3600.0
"""Of virtual time: the number of trials is what ends a search here."""
SPARE = 0.05
"""How far inside its limit a point must lie for launches with 3 % noise to be able to say so."""
TIMES = 20
"""Requests of a launch for each of a played one."""


@dataclass(frozen=True, slots=True)
class Known:
    """A target whose only device has that space. Nothing is built beside its measurements: the order is repeatable."""

    known: Space
    contends: frozenset[str] = frozenset({"host_cpu"})
    automatic: bool = True
    open_loop: bool = False
    requires: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.known.target

    @property
    def title(self) -> str:
        return self.known.target

    def space(self, model: Model, device: Device, goal: Goal) -> Space:
        return self.known


class Player(FakeExecutor):
    """Launches find what the landscape knows, times log-normal noise that no counter of the host shows."""

    def __init__(self, landscape: Landscape, noise: float, seed: int) -> None:
        super().__init__(FakeClock(), landscape.throughput)
        self.clock = self._clock
        self._landscape, self._sd, self._rng = landscape, noise, np.random.default_rng([seed, 2])

    def _perform(self, target: str, job: Job) -> Reply:
        if isinstance(job, ProbeJob):
            known = next(space for space in self._landscape.spaces if space.target == target)
            return Found(devices=(replace(a_device(target), name=known.device),))
        if isinstance(job, MeasureJob):
            return self._launched(job)
        return super()._perform(target, job)

    def _launched(self, job: MeasureJob) -> Measurement | Failed:
        found = self._landscape.outcome(job.point, float(np.exp(self._sd * self._rng.normal())))
        if isinstance(found, Failed):
            return found
        window = _longer(found)
        self._clock.advance(window.wall_ns / 1e9)
        return window


def _longer(window: Measurement) -> Measurement:
    """The same window `TIMES` over: percentiles need more requests than a strategy does."""
    each = np.asarray(window.ends_ns)
    ends = (each + window.wall_ns * np.arange(TIMES)[:, None]).ravel()
    latencies = tuple(window.latencies_ns) * TIMES
    return replace(window, wall_ns=TIMES * window.wall_ns, latencies_ns=RawNs(latencies), ends_ns=RawNs(ends.tolist()))


def studied(landscape: Landscape, goal: Goal, *, trials: int, noise: float, seed: int) -> Answer:
    """The answer of a study with so many trials."""
    player, store = Player(landscape, noise, seed), MemoryStore()
    setting = make_setting(
        player, model=a_model(), goal=goal, targets={s.target: cast(Target, Known(s)) for s in landscape.spaces},
        wanted={}, strategy="auto", seed=seed, inputs=None, version="0",
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch:
        run(setting, store, player, player.clock, ArtifactCache(Path(scratch)), budget_s=BUDGET_S, max_trials=trials)
    return answer(list(store.entries()))


@dataclass(frozen=True, slots=True)
class Ended:
    """``outside``: by how much the winner truly misses the limit; None without a winner. ``behind``: how far it is
    behind the best point with `SPARE` left, NaN where no point has so much. Both are log ratios.
    """

    confirmed: bool
    outside: float | None
    behind: float


def ended(landscape: Landscape, bound_ms: float, noise: float, seed: int, best: float) -> Ended:
    """``best``: what `best_with_spare` gives."""
    goal = parse_goal(f"max throughput, p99 < {bound_ms:.4f} ms")
    found = studied(landscape, goal, trials=TRIALS, noise=noise, seed=seed)
    if found.winner is None:
        return Ended(confirmed=False, outside=None, behind=best)
    score = landscape.score(found.winner, parse_goal("max throughput"))
    assert score is not None  # it was measured
    return Ended(confirmed=found.confirmed, outside=outside(landscape, found.winner, bound_ms), behind=best - score)


def best_with_spare(landscape: Landscape, bound_ms: float) -> float:
    """Its score; NaN without one."""
    goal = parse_goal(f"max throughput, p99 < {(1.0 - SPARE) * bound_ms:.4f} ms")
    try:
        return best_score(landscape, goal)
    except NothingFeasible:
        return math.nan


def told(runs: Sequence[Ended]) -> str:
    sure = [run for run in runs if run.confirmed]
    unsure = [run for run in runs if run.outside is not None and not run.confirmed]
    missed = [sum(bool(run.outside) for run in some) for some in (sure, unsure)]
    near = [run for run in sure if run.behind <= -math.log1p(-WITHIN)]
    parts = (
        f"{len(sure)} of {len(runs)} confirmed, {missed[0]} of them outside",
        f"{len(near)} near the best with {100 * SPARE:.0f} % to spare",
        f"{len(unsure)} unconfirmed, {missed[1]} of them outside",
        f"{len(runs) - len(sure) - len(unsure)} without a winner",
    )
    return "; ".join(parts)


def main() -> None:
    asked = wanted(__doc__, seeds=7, noise=0.03)
    print("Simulated: launches are played from known spaces, in virtual time.")
    everything: list[Ended] = []
    for landscape, bound, named in questions(asked.names):
        best = best_with_spare(landscape, bound)
        runs = [ended(landscape, bound, asked.noise, seed, best) for seed in range(asked.seeds)]
        print(f"{named}: {told(runs)}", flush=True)
        everything += runs
    print(f"limits with a point that has 5 % to spare: {told([r for r in everything if not math.isnan(r.behind)])}")
    print(f"limits without: {told([r for r in everything if math.isnan(r.behind)])}")


if __name__ == "__main__":
    main()
