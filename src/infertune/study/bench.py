"""Points on the bench: launches measured and outputs checked, all of it recorded; built by `study.builds`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import takewhile

from infertune.build.cache import ArtifactCache
from infertune.core import audit
from infertune.core.errors import DeviceLost
from infertune.core.records import Artifact, Failed, Fidelity, Launch, Load, MeasureJob, Measurement, Plan, Purpose
from infertune.core.seams import Clock, Executor
from infertune.core.space import Point
from infertune.measure import repeats
from infertune.study.builds import BUILD_TIMEOUT_S, Builds
from infertune.study.cards import Card, Reserve, leave_alone
from infertune.study.fidelity import Checks
from infertune.study.journal import Journal
from infertune.study.lost import GIVE_UP, device_lost
from infertune.study.question import Setting

LAUNCH_TIMEOUT_S = 120.0  # beyond the plan's own cap: starting, loading, compiling, the first request


class Bench:
    """Where points meet the device. Every build, launch and check goes into the journal the moment it ends."""

    def __init__(
        self, setting: Setting, journal: Journal, executor: Executor, cache: ArtifactCache, clock: Clock
    ) -> None:
        self._setting = setting
        self._journal = journal
        self._executor = executor
        self._clock = clock
        self.builds = Builds(setting, journal, executor, cache, clock)
        self.reserve = Reserve()
        self.checks = Checks(setting, executor, clock, self.builds, self.reserve)

    def launch(
        self, point: Point, purpose: Purpose, block: int, plan: Plan, *, most_s: float = math.inf
    ) -> Launch | None:
        """Measure a point once in a fresh worker; None when it cannot be built.

        What takes longer than ``most_s`` seconds, or than `launch_timeout_s`, has failed. Raises `BusyError`
        (``device-lost``) when the device refused this launch and those before it: that says nothing about points.
        """
        artifact = self.builds.artifact(point, most_s=min(most_s, BUILD_TIMEOUT_S))
        if isinstance(artifact, Failed):
            self.builds.record_failed(point, artifact)
            return None
        asked = partial(self.measure, artifact=artifact, purpose=purpose, block=block, plan=plan, most_s=most_s)
        attempts = self._attempts(point, asked)
        for launch in attempts:
            self._journal.append(launch)
        refused = self._refused(point)
        if len(refused) >= GIVE_UP:
            raise device_lost(self.reserve.there(point).device, refused)
        return attempts[-1]

    def _attempts(self, point: Point, measure: Callable[[Point], Launch]) -> list[Launch]:
        """One launch. While another card could stand in, refusals are asked again until one does or the card works."""
        made: list[Launch] = []
        while True:
            made.append(self.reserve.as_named(measure(self.reserve.there(point)), point))
            outcome = made[-1].outcome
            if not (isinstance(outcome, Failed) and _is_refusal(outcome) and self.reserve.serves(point)):
                return made
            if len(made) >= GIVE_UP and self.replace(point, outcome.message) is not None:
                made = []

    def replace(self, point: Point, said: str, what: str = f"refused {GIVE_UP} times") -> Card | None:
        """The card that stands in from now on for the point's, ``what`` happened to that and what it ``said``; None
        where there is none to."""
        lost = self.reserve.there(point).device
        card = self.reserve.take(point)
        if card is not None:
            leave_alone(self._journal, lost, f"it {what} ({card.device} stands in for it): {said}")
        return card

    def _refused(self, point: Point) -> list[Failed]:
        """What the point's device said of its launches since it last worked."""
        newest = (e.event for e in reversed(self._journal.entries) if isinstance(e.event, Launch))
        own = (la.outcome for la in newest if (la.point.target, la.point.device) == (point.target, point.device))
        return [o for o in takewhile(_is_refusal, own) if isinstance(o, Failed)][::-1]

    def measure(
        self, point: Point, artifact: Artifact, purpose: Purpose, block: int, plan: Plan, *, most_s: float = math.inf
    ) -> Launch:
        """One launch, recorded nowhere. May run in any thread."""
        question = self._setting.question
        plan = replace(plan, load=own_schedule(plan.load, question.seed, block))
        job = MeasureJob(model=question.model, point=point, artifact=artifact.path, plan=plan, feed=question.feed)
        if purpose == "confirm":
            job = replace(job, recheck=self.checks.recheck(point, block), repeats=0 if block else repeats.MOST)
        began = self._clock.now_ns()
        reply = self._executor.run(point.target, job, timeout_s=min(most_s, launch_timeout_s(plan)))
        outcome = reply if isinstance(reply, Measurement | Failed) else _unexpected(reply)
        return Launch(
            point=point,
            purpose=purpose,
            block=block,
            outcome=outcome,
            flags=audit.flags(outcome, plan) if isinstance(outcome, Measurement) else (),
            wall_s=(self._clock.now_ns() - began) / 1e9,
            plan=plan,
        )

    def check(self, point: Point) -> Fidelity:
        """Compare a point's outputs with the fp32 reference on at least 16 samples; recorded, once per point."""
        while True:
            try:
                checked = self.checks.compared(point)
            except DeviceLost as lost:
                if self.replace(point, lost.said) is None:
                    raise
            else:
                self._journal.append(checked)
                return checked.fidelity


def _is_refusal(outcome: Measurement | Failed) -> bool:
    return isinstance(outcome, Failed) and outcome.is_refusal


def launch_timeout_s(plan: Plan) -> float:
    """A launch that looks for a rate measures many windows."""
    return LAUNCH_TIMEOUT_S + (50 if plan.load.searches else 5) * plan.cap_s


def own_schedule(load: Load, seed: int, block: int) -> Load:
    """Every block has arrivals of its own, the same for all points in it."""
    return replace(load, seed=1000 * seed + block) if load.is_open else load


def _unexpected(reply: object) -> Failed:
    return Failed(stage="measure", kind="crash", message=f"the worker replied with a {type(reply).__name__}")
