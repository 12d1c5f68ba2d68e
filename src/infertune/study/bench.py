"""Points on the bench: their artifacts built or found, launches measured, outputs checked; all of it recorded."""

from __future__ import annotations

import math
import os
import weakref
from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile
from pathlib import Path

import numpy as np

from infertune.build.cache import ArtifactCache
from infertune.build.pool import BuildTask, build_all, build_one, has_space
from infertune.core import audit, keys
from infertune.core.errors import BusyError
from infertune.core.records import (
    Artifact,
    Built,
    Checked,
    Failed,
    Fidelity,
    InferJob,
    Launch,
    Load,
    MeasureJob,
    Measurement,
    Plan,
    Purpose,
    Recheck,
)
from infertune.core.seams import Clock, Executor, needs_host
from infertune.core.seeds import natural
from infertune.core.space import Point, Value
from infertune.core.words import counted
from infertune.edge.scratch import Scratch
from infertune.measure import repeats
from infertune.prepare.calibration import CHECKED
from infertune.study.checking import is_exact
from infertune.study.journal import Journal
from infertune.study.metric import judge
from infertune.study.question import Setting
from infertune.study.reference import plain_outputs, save_first
from infertune.verify.outputs import compare_outputs, unusable

BUILD_TIMEOUT_S = 900.0
LAUNCH_TIMEOUT_S = 120.0  # beyond the plan's own cap: starting, loading, compiling, the first request
MOST_BUILDERS = 4  # side by side: more would only fight for memory

GIVE_UP = 3
"""Jobs that a device itself refused, one after another, before it is left alone."""


def device_lost(device: str, refused: Sequence[Failed]) -> BusyError:
    """A device that the study needs refuses to work; what was measured is kept."""
    return BusyError(
        "device-lost",
        f"{device} refused {counted(len(refused), 'time')}, the last one with: {refused[-1].message}",
        hint="see `infertune devices` for its health; then run the same command to go on (`infertune report` tells how "
        "far it came)",
    )


class Bench:
    """Where points meet the device. Every build, launch and check goes into the journal the moment it ends."""

    def __init__(
        self, setting: Setting, journal: Journal, executor: Executor, cache: ArtifactCache, clock: Clock
    ) -> None:
        self._setting = setting
        self._journal = journal
        self._executor = executor
        self._cache = cache
        self._clock = clock
        self._artifacts: dict[str, Artifact | Failed] = {}
        scratch = Scratch("reference")
        weakref.finalize(self, scratch.close)
        self._scratch = scratch.path
        self._references: dict[int, str | Failed] = {}
        self._varying = ""  # why outputs of a model that is not deterministic cannot be checked

    def artifact(self, point: Point, *, most_s: float = BUILD_TIMEOUT_S) -> Artifact | Failed:
        """The point's artifact: known in this run, found in the cache, or built now."""
        key = self._key(point)
        if key not in self._artifacts:
            self.build([point], most_s=most_s)
        return self._artifacts[key]

    def knows(self, points: Sequence[Point]) -> bool:
        """Whether nothing has to be built for the points: this run knows their artifacts, or the cache does."""
        keys_ = {self._key(p) for p in points} - self._artifacts.keys()
        return all(self._cache.find(key) is not None for key in keys_)

    def build(self, points: Sequence[Point], *, most_s: float = BUILD_TIMEOUT_S) -> None:
        """Build what the points need and this run does not know yet, several artifacts side by side.

        A build that takes longer than ``most_s`` seconds has failed.
        """
        tasks = [self._task(p, most_s) for p in points if self._key(p) not in self._artifacts]
        workers = min(MOST_BUILDERS, max(device.units for device in self._setting.question.devices))
        for built in build_all(tasks, self._executor, self._cache, workers=workers, clock=self._clock):
            self.keep(built)

    def _task(self, point: Point, timeout_s: float) -> BuildTask:
        question = self._setting.question
        return BuildTask(
            key=self._key(point), model=question.model, point=point, timeout_s=timeout_s, feed=question.feed
        )

    def build_alone(self, point: Point, timeout_s: float) -> Built:
        """Build a point, recording nothing: `keep` does. May run in any thread.

        Raises `StorageError` (``disk-full``) when the disk has no room for it.
        """
        return build_one(self._task(point, timeout_s), self._executor, self._cache, self._clock)

    def has_space(self, point: Point, beside: int) -> bool:
        """Whether the disk has room for a build of the point ``beside`` so many others."""
        return has_space(self._task(point, BUILD_TIMEOUT_S), self._cache, beside + 1)

    def keep(self, built: Built) -> None:
        """Record a build; from now on its artifact is known in this run."""
        self._artifacts[self._key(built.point)] = built.outcome
        self._journal.append(built)

    def fetch(self, point: Point, *, most_s: float = BUILD_TIMEOUT_S) -> Artifact | Failed:
        """The artifact of a point that is no candidate of the search (yet): not recorded as work on it."""
        key = self._key(point)
        if key not in self._artifacts:
            self._artifacts[key] = self.build_alone(point, most_s).outcome
        return self._artifacts[key]

    def known(self, point: Point) -> Artifact | Failed | None:
        """The point's artifact where this run knows it; builds nothing."""
        return self._artifacts.get(self._key(point))

    def same_build(self, a: Point, b: Point) -> bool:
        return self._key(a) == self._key(b)

    def _key(self, point: Point) -> str:
        return keys.artifact_key(self._setting.question, point)

    def launch(
        self, point: Point, purpose: Purpose, block: int, plan: Plan, *, most_s: float = math.inf
    ) -> Launch | None:
        """Measure a point once in a fresh worker; None when it cannot be built.

        What takes longer than ``most_s`` seconds, or than `launch_timeout_s`, has failed. Raises `BusyError`
        (``device-lost``) when the device refused this launch and those before it: that says nothing about points.
        """
        artifact = self.artifact(point, most_s=min(most_s, BUILD_TIMEOUT_S))
        if isinstance(artifact, Failed):
            self.record_failed_build(point, artifact)
            return None
        launch = self.measure(point, artifact, purpose, block, plan, most_s=most_s)
        self._journal.append(launch)
        refused = self._refused(point)
        if len(refused) >= GIVE_UP:
            raise device_lost(point.device, refused)
        return launch

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
            job = replace(job, recheck=self._recheck(point, block), repeats=0 if block else repeats.MOST)
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

    def record_failed_build(self, point: Point, failed: Failed) -> None:
        """Points that share a failed build failed too, each under its own name."""
        if not any(isinstance(e.event, Built) and e.event.point == point for e in self._journal.entries):
            self._journal.append(Built(point=point, outcome=failed, wall_s=0.0))

    def check(self, point: Point) -> Fidelity:
        """Compare a point's outputs with the fp32 reference on at least 16 samples; recorded, once per point."""
        checked = self.compared(point)
        self._journal.append(checked)
        return checked.fidelity

    def compared(self, point: Point) -> Checked:
        """A check, recorded nowhere. May run in any thread once the point's artifact is `known`, one at a time.

        Raises `BusyError` (``device-lost``) when the device refuses: that says nothing about the outputs.
        """
        began = self._clock.now_ns()
        fidelity = self._compare(point)
        return Checked(fidelity=fidelity, wall_s=(self._clock.now_ns() - began) / 1e9)

    def _compare(self, point: Point) -> Fidelity:
        theirs = self._outputs_of_reference(point)
        if self._varying and is_exact(point):
            return replace(_unchecked(point, self._varying), cosine=1.0)  # it computes what the model does
        if isinstance(theirs, Failed):
            return _unchecked(point, theirs.message)
        with Scratch("check") as folder:
            ours = os.path.join(folder, "ours.npz")
            failed = self._infer(point, ours)
            if failed is not None:
                return _unchecked(point, f"{point.target} gave no outputs: {failed.message}")
            return self._judged(point, ours, theirs, self._count(point) * point.number("batch", 1))

    def _judged(self, point: Point, ours: str, theirs: str, inputs: int) -> Fidelity:
        found = compare_outputs(point, Path(ours), Path(theirs), inputs=inputs)
        metric = self._setting.metric
        if metric is None or unusable(point, Path(ours), Path(theirs)):
            return found
        return replace(found, metric=judge(metric, ours, theirs), inputs=inputs, reason="")

    def _outputs_of_reference(self, point: Point) -> str | Failed:
        """The file of outputs that are the truth at the point's batch, computed once; why there are none."""
        batch = point.number("batch", 1)
        if batch not in self._references:
            self._references[batch] = self._new_reference(point, os.path.join(self._scratch, f"{batch}.npz"))
        return self._references[batch]

    def _new_reference(self, point: Point, into: str) -> str | Failed:
        """The first one that works is asked one input twice, which tells of all."""
        if not self._varying:
            known = any(isinstance(theirs, str) for theirs in self._references.values())
            again = "" if known else os.path.join(self._scratch, "again.npz")
            failed = self._reference_outputs(point, into, again)
            if failed is not None:
                return replace(failed, message=f"the reference gave no outputs: {failed.message}")
            if os.path.exists(again):
                self._varying = self._variation(point, into, again)
        return Failed(stage="verify", kind="output", message=self._varying) if self._varying else into

    def _variation(self, point: Point, first: str, again: str) -> str:
        """In words, that the reference's two answers to one input are not as near as outputs must be; else empty."""
        once = os.path.join(self._scratch, "once.npz")
        save_first(first, once)
        found = self._judged(point, again, once, point.number("batch", 1))
        if found.value >= self._setting.goal.fidelity_floor:
            return ""
        apart = f", with {found.words(self._setting.question.metric)}" if found.made else ""
        return f"the model is not deterministic: it answered one input in two ways{apart}; only f32 may win, unchecked"

    def _recheck(self, point: Point, block: int) -> Recheck | None:
        """One of the checked input sets, another one in each block, to be answered after timing."""
        theirs = self._outputs_of_reference(point)
        if isinstance(theirs, Failed) or self._setting.metric is not None:
            return None
        rng = np.random.default_rng([natural(self._setting.question.seed), block])
        number = int(rng.integers(self._count(point)))
        return Recheck(reference=theirs, number=number, floor=self._setting.goal.fidelity_floor)

    def _reference_outputs(self, point: Point, into: str, again: str) -> Failed | None:
        """Outputs that are the truth: plain f32 at the same batch, from ONNX Runtime, whatever the study tunes."""
        reference = self.reference(point)
        if reference is not None:
            return self._infer(reference, into, again)
        batch = point.number("batch", 1)
        return plain_outputs(self._executor, self._setting.question, batch, self._count(point), into, again)

    def reference(self, point: Point) -> Point | None:
        """The point of this study whose outputs are the truth; None where no CPU runtime is part of it."""
        here = (space for space in self._setting.spaces if needs_host(self._setting.targets[space.target]))
        spaces = {space.target: space for space in here}
        space = spaces.get("onnxruntime") or spaces.get(point.target)
        if space is None:
            return None
        plain = space.seeds[0] if space.seeds else next(space.points())
        exact: dict[str, Value] = {"precision": "f32", "quantisation": "none"}
        known = {name: value for name, value in exact.items() if name in plain.values}
        return plain.but(batch=point.number("batch", 1), **known)

    def _count(self, point: Point) -> int:
        """Input sets: together at least `CHECKED` samples."""
        return -(-CHECKED // max(1, point.number("batch", 1)))

    def _infer(self, point: Point, into: str, again: str = "") -> Failed | None:
        artifact = self.artifact(point)
        if isinstance(artifact, Failed):
            return artifact
        question = self._setting.question
        job = InferJob(
            model=question.model,
            point=point,
            artifact=artifact.path,
            feed=question.feed,
            count=self._count(point),
            into=into,
            again=again,
        )
        refused: list[Failed] = []
        while len(refused) < GIVE_UP:
            reply = self._executor.run(point.target, job, timeout_s=BUILD_TIMEOUT_S)
            if not isinstance(reply, Failed):
                return None
            if not reply.is_refusal:
                return reply
            refused.append(reply)
        raise device_lost(point.device, refused)


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


def _unchecked(point: Point, reason: str) -> Fidelity:
    return Fidelity(point=point, cosine=0.0, max_abs=0.0, max_rel=0.0, top1=None, inputs=0, reason=reason)
