"""Landscapes: spaces whose every figure is known, so that strategies can be judged without a device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from infertune.core.errors import NothingFeasible, quoted
from infertune.core.goal import Goal
from infertune.core.keys import point_key
from infertune.core.records import Artifact, Conditions, Failed, Launch, Measurement, Outcome, RawNs, Trial
from infertune.core.seams import Strategy
from infertune.core.space import Point, Space

REQUESTS = 20
TAIL = 2
"""Of `REQUESTS`, those that take the time of the 99th percentile where it is known apart."""


def never_fails(point: Point) -> Failed | None:
    return None


def as_set(point: Point) -> int:
    """Requests in flight as the knobs say; 1 where they do not."""
    return max(1, point.number("instances", 1)) * max(1, point.number("set_size", 1))


def steady(point: Point) -> tuple[float, ...]:
    """The ratios of a point that every launch finds alike."""
    return (1.0,)


def unknown(point: Point) -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Landscape:
    """``throughput`` in samples per second, without noise, of every point for which ``fails`` gives None.

    ``ratios``: what each recorded launch of a point found, divided by ``throughput``. ``latencies_s`` (p50, p99) are
    those of Little's law where they are not known; ``memory_bytes`` is not measured there.
    """

    name: str
    spaces: tuple[Space, ...]
    throughput: Callable[[Point], float]
    in_flight: Callable[[Point], int] = as_set
    fails: Callable[[Point], Failed | None] = never_fails
    ratios: Callable[[Point], tuple[float, ...]] = steady
    latencies_s: Callable[[Point], tuple[float, float] | None] = unknown
    memory_bytes: Callable[[Point], int | None] = unknown
    launch_s: float = 1.5
    build_s: float = 4.0
    build_cost_s: Callable[[Point], float | None] = unknown
    launch_cost_s: Callable[[Point], float | None] = unknown

    def points(self) -> list[Point]:
        return [point for space in self.spaces for point in space.points()]

    def outcome(self, point: Point, factor: float = 1.0) -> Outcome:
        """What a launch gives, its throughput multiplied by ``factor`` (noise)."""
        failed = self.fails(point)
        if failed is not None:
            return failed
        window = a_window(point, self.throughput(point) * factor, self.in_flight(point))
        return _detailed(window, self.latencies_s(point), self.memory_bytes(point), factor)

    def score(self, point: Point, goal: Goal) -> float | None:
        """The true score; None for a point that fails or misses a limit."""
        outcome = self.outcome(point)
        if isinstance(outcome, Failed) or goal.excess(point, outcome) > 0.0:
            return None
        return goal.score(outcome)

    def trial(self, point: Point, *, noise: float, seed: int) -> Trial:
        """One build and one launch. The noise depends on the point and the seed, not on what was tried before.

        A launch finds one of the recorded ratios; ``noise`` (log deviation) comes on top.
        """
        rng = np.random.default_rng([seed, int(point_key(point), 16)])
        ratios = self.ratios(point)
        found = ratios[int(rng.integers(len(ratios)))] if len(ratios) > 1 else ratios[0]
        outcome = self.outcome(point, found * float(np.exp(noise * rng.normal())))
        if isinstance(outcome, Failed) and outcome.stage == "build":
            return Trial(point=point, build=outcome)
        cost_s = self.launch_cost_s(point)
        wall_s = self.launch_s if cost_s is None else cost_s
        launch = Launch(point=point, purpose="screen", block=0, outcome=outcome, flags=(), wall_s=wall_s)
        built = Artifact(key=self.artifact(point), path="", size_bytes=0, build_s=self.built_in_s(point))
        return Trial(point=point, launches=(launch,), build=built)

    def artifact(self, point: Point) -> str:
        """Points that agree in it share a build."""
        space = next(s for s in self.spaces if (s.target, s.device) == (point.target, point.device))
        return str((point.target, point.device, space.build_part(point)))

    def built_in_s(self, point: Point) -> float:
        known = self.build_cost_s(point)
        return self.build_s if known is None else known


def a_window(point: Point, throughput: float, in_flight: int) -> Measurement:
    """A window of `REQUESTS` equal requests at that throughput; latencies by Little's law."""
    batch = max(1, point.number("batch", 1))
    apart_ns = 1e9 * batch / throughput
    return Measurement(
        batch=batch,
        in_flight=in_flight,
        wall_ns=round(REQUESTS * apart_ns),
        latencies_ns=RawNs((round(apart_ns * in_flight),) * REQUESTS),
        ends_ns=RawNs(tuple(round(apart_ns * (i + 1)) for i in range(REQUESTS))),
        setup_ns=0,
        first_ns=round(apart_ns),
        warmup_count=3,
        simulated=True,
    )


def _detailed(
    window: Measurement, latencies_s: tuple[float, float] | None, memory: int | None, factor: float
) -> Measurement:
    """The window with the latencies and the memory that are known apart from its throughput."""
    if latencies_s is not None:
        p50, p99 = (round(1e9 * seconds / factor) for seconds in latencies_s)
        window = replace(window, latencies_ns=RawNs((p50,) * (REQUESTS - TAIL) + (p99,) * TAIL))
    return window if memory is None else replace(window, conditions=Conditions(peak_rss_bytes=memory))


def play(
    strategy: Strategy, landscape: Landscape, goal: Goal, *, seed: int, trials: int, n: int = 1, noise: float = 0.0
) -> tuple[Trial, ...]:
    """Ask and measure until there are that many trials or the strategy is done."""
    history: list[Trial] = []
    while len(history) < trials:
        asked = strategy(landscape.spaces, tuple(history), goal, min(n, trials - len(history)), seed)
        if not asked:
            break
        history += [landscape.trial(point, noise=noise, seed=seed) for point in asked]
    return tuple(history)


def best_score(landscape: Landscape, goal: Goal) -> float:
    """The highest true score there is. Raises `NothingFeasible` when no point meets the goal."""
    scores = [landscape.score(point, goal) for point in landscape.points()]
    met = [score for score in scores if score is not None]
    if not met:
        raise NothingFeasible(
            "recording-misses-goal", f"no point of `{quoted(landscape.name)}` meets `{goal}`", hint="relax its limits"
        )
    return max(met)


def regrets(landscape: Landscape, goal: Goal, trials: Sequence[Trial], best: float | None = None) -> list[float]:
    """After each trial: how far the best point so far is from the best there is (true scores, log ratio).

    ``best``: that highest score, where the caller knows it already.
    """
    scores = [landscape.score(trial.point, goal) for trial in trials]
    reached = np.maximum.accumulate([-np.inf if score is None else score for score in scores])
    top = best_score(landscape, goal) if best is None else best
    return [top - float(value) for value in reached]


def seconds(landscape: Landscape, trials: Sequence[Trial]) -> list[float]:
    """After each trial: what the trials so far cost, an artifact's build counted once."""
    spent, total, built = [], 0.0, set()
    for trial in trials:
        key = landscape.artifact(trial.point)
        if key not in built:
            total += landscape.built_in_s(trial.point)
            built.add(key)
        total += sum(launch.wall_s for launch in trial.launches)
        spent.append(total)
    return spent
