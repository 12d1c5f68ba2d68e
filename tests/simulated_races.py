"""Whole studies in virtual time over candidates whose true speed is known: SIMULATED, to judge the protocol."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from infertune.build.cache import ArtifactCache
from infertune.core.answer import answer
from infertune.core.findings import Answer
from infertune.core.goal import parse_goal
from infertune.core.records import Entry, Feed, Question
from infertune.core.space import Baseline, IntRange, Knob, Point, Space
from infertune.study.question import Setting, space_fact
from infertune.study.tuning import run
from infertune.targets import find_target
from infertune.testing.clock import FakeClock
from infertune.testing.executor import NOBODY, FakeExecutor, Neighbour
from infertune.testing.records import a_device, a_model
from infertune.testing.store import MemoryStore

TARGET = "null"
BASELINE = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a study said, beside what is true: ``truth`` of the winner and ``best`` of all, as logs of speed."""

    found: Answer
    entries: list[Entry]
    truth: float
    best: float

    @property
    def regret(self) -> float:
        """Share of the best speed that the winner lacks."""
        return 1.0 - math.exp(self.truth - self.best)

    @property
    def error(self) -> float:
        """Reported / true - 1."""
        assert self.found.figures is not None
        return math.exp(math.log(self.found.figures.throughput.value) - self.truth) - 1.0

    @property
    def covered(self) -> bool:
        assert self.found.figures is not None
        seen = self.found.figures.throughput
        return seen.low <= math.exp(self.truth) <= seen.high


class Spells:
    """Another program that works in every other spell of about ten seconds, and slows who uses all CPUs most.

    By 3.6x against 1.03x, as a program on one of two CPUs did to a perceptron on two threads and on one.
    """

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng([seed, 2])
        self._ends = np.cumsum(rng.uniform(7.0, 13.0, 1000))
        self._first = bool(rng.random() < 0.5)

    def busy(self, now_ns: int) -> bool:
        return bool(int(np.searchsorted(self._ends, now_ns / 1e9)) % 2) != self._first

    def slower(self, point: Point, now_ns: int) -> float:
        return (1.03 if point["variant"] == BASELINE else 3.6) if self.busy(now_ns) else 1.0


def candidates(count: int) -> Space:
    knob = Knob(
        name="variant",
        stage="run",
        default=BASELINE,
        values=tuple(range(count)),
        allowed=IntRange(low=BASELINE, high=count),
        doc="A candidate.",
        spelling="-",
    )
    bare = Space(target=TARGET, device="cpu", knobs=(knob,))
    default = Baseline(name="default", point=bare.point(variant=BASELINE))
    return Space(target=TARGET, device="cpu", knobs=(knob,), baselines=(default,))


def asked(space: Space, seed: int, goal: str = "max throughput") -> Setting:
    question = Question(
        model=a_model(),
        devices=(a_device(TARGET),),
        spaces=(space_fact(space),),
        goal=goal,
        strategy="grid",
        seed=seed,
        feed=Feed(seed=seed),
        host=(),
        made_at="",
        version="0",
    )
    return Setting(question=question, goal=parse_goal(goal), targets={TARGET: find_target(TARGET)}, spaces=(space,))


def a_race(
    folder: Path,
    speeds: list[float],
    *,
    seed: int,
    noise: float = 0.06,
    neighbour: Neighbour = NOBODY,
    baseline: float = 50.0,
    budget_s: float = 600.0,
    spells: Spells | None = None,
) -> Outcome:
    """A study over candidates with these true speeds (samples/s); it sees ``spells`` and can wait for their end."""

    def rate(point: Point) -> float:
        return baseline if point["variant"] == BASELINE else speeds[point.number("variant")]

    clock, store = FakeClock(), MemoryStore()
    executor = FakeExecutor(clock, rate, noise=noise, seed=seed, start_s=0.3)
    executor.neighbour = neighbour

    def glance() -> float:
        clock.advance(0.3)
        return 0.5 if spells is not None and spells.busy(clock.now_ns()) else 0.0

    if spells is not None:
        executor.hurt = lambda point: spells.slower(point, clock.now_ns())
    setting, cache = asked(candidates(len(speeds)), seed), ArtifactCache(folder)
    run(setting, store, executor, clock, cache, budget_s=budget_s, glance=glance if spells else None)
    entries = list(store.entries())
    found = answer(entries)
    assert found.winner is not None
    return Outcome(found=found, entries=entries, truth=math.log(rate(found.winner)), best=math.log(max(speeds)))


def near_equals(count: int, seed: int) -> list[float]:
    """True speeds spread as in measurement.md: log speed = -abs(N(0, 0.35)) below 100 samples/s."""
    return [100.0 * math.exp(-abs(x)) for x in np.random.default_rng([seed, 1]).normal(0.0, 0.35, count)]
