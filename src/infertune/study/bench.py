"""Points on the bench: their artifacts built or found, launches measured, outputs checked; all of it recorded."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from infertune.build.cache import ArtifactCache
from infertune.build.pool import BuildTask, build_all
from infertune.core import audit, keys
from infertune.core.records import (
    Artifact,
    Built,
    Checked,
    Failed,
    Fidelity,
    InferJob,
    Launch,
    MeasureJob,
    Measurement,
    Plan,
    Purpose,
)
from infertune.core.seams import Clock, Executor
from infertune.core.space import Point
from infertune.prepare.calibration import CHECKED
from infertune.study.journal import Journal
from infertune.study.question import Setting
from infertune.verify.outputs import compare_outputs

BUILD_TIMEOUT_S = 900.0
LAUNCH_TIMEOUT_S = 120.0  # beyond the plan's own cap: starting, loading, compiling, the first request
MOST_BUILDERS = 4  # side by side: more would only fight for memory


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

    def artifact(self, point: Point) -> Artifact | Failed:
        """The point's artifact: known in this run, found in the cache, or built now."""
        key = self._key(point)
        if key not in self._artifacts:
            self.build([point])
        return self._artifacts[key]

    def knows(self, points: Sequence[Point]) -> bool:
        """Whether nothing has to be built for the points: this run knows their artifacts, or the cache does."""
        keys_ = {self._key(p) for p in points} - self._artifacts.keys()
        return all(self._cache.find(key) is not None for key in keys_)

    def build(self, points: Sequence[Point], *, most_s: float = BUILD_TIMEOUT_S) -> None:
        """Build what the points need and this run does not know yet, several artifacts side by side.

        A build that takes longer than ``most_s`` seconds has failed.
        """
        question = self._setting.question
        tasks = [
            BuildTask(key=self._key(p), model=question.model, point=p, timeout_s=most_s, feed=question.feed)
            for p in points
            if self._key(p) not in self._artifacts
        ]
        workers = min(MOST_BUILDERS, max(device.units for device in question.devices))
        for built in build_all(tasks, self._executor, self._cache, workers=workers, clock=self._clock):
            self._artifacts[self._key(built.point)] = built.outcome
            self._journal.append(built)

    def _key(self, point: Point) -> str:
        return keys.artifact_key(self._setting.question, point)

    def launch(self, point: Point, purpose: Purpose, block: int, plan: Plan) -> Launch | None:
        """Measure a point once in a fresh worker; None when it cannot be built."""
        artifact = self.artifact(point)
        if isinstance(artifact, Failed):
            self._record_failed_build(point, artifact)
            return None
        question = self._setting.question
        job = MeasureJob(model=question.model, point=point, artifact=artifact.path, plan=plan, feed=question.feed)
        began = self._clock.now_ns()
        reply = self._executor.run(point.target, job, timeout_s=LAUNCH_TIMEOUT_S + 5 * plan.cap_s)
        outcome = reply if isinstance(reply, Measurement | Failed) else _unexpected(reply)
        launch = Launch(
            point=point,
            purpose=purpose,
            block=block,
            outcome=outcome,
            flags=audit.flags(outcome, plan) if isinstance(outcome, Measurement) else (),
            wall_s=(self._clock.now_ns() - began) / 1e9,
        )
        self._journal.append(launch)
        return launch

    def _record_failed_build(self, point: Point, failed: Failed) -> None:
        """Points that share a failed build failed too, each under its own name."""
        if not any(isinstance(e.event, Built) and e.event.point == point for e in self._journal.entries):
            self._journal.append(Built(point=point, outcome=failed, wall_s=0.0))

    def check(self, point: Point) -> Fidelity:
        """Compare a point's outputs with the fp32 reference on at least 16 samples; recorded, once per point."""
        began = self._clock.now_ns()
        fidelity = self._compare(point)
        self._journal.append(Checked(fidelity=fidelity, wall_s=(self._clock.now_ns() - began) / 1e9))
        return fidelity

    def _compare(self, point: Point) -> Fidelity:
        reference = self.reference(point)
        with tempfile.TemporaryDirectory(prefix="infertune-check-") as folder:
            ours, theirs = (os.path.join(folder, name) for name in ("ours.npz", "reference.npz"))
            for which, path in ((point, ours), (reference, theirs)):
                failed = self._infer(which, path)
                if failed is not None:
                    return _unchecked(point, f"{which.target} gave no outputs: {failed.message}")
            return compare_outputs(
                point, Path(ours), Path(theirs), inputs=self._count(point) * point.number("batch", 1)
            )

    def reference(self, point: Point) -> Point:
        """The point whose outputs are the truth: plain f32 at the same batch, from ONNX Runtime where it is here."""
        spaces = {space.target: space for space in self._setting.spaces}
        space = spaces.get("onnxruntime") or spaces[point.target]
        plain = space.seeds[0] if space.seeds else next(space.points())
        return plain.but(batch=point.number("batch", 1), precision="f32")

    def _count(self, point: Point) -> int:
        return max(2, -(-CHECKED // max(1, point.number("batch", 1))))

    def _infer(self, point: Point, into: str) -> Failed | None:
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
        )
        reply = self._executor.run(point.target, job, timeout_s=BUILD_TIMEOUT_S)
        return reply if isinstance(reply, Failed) else None


def _unexpected(reply: object) -> Failed:
    return Failed(stage="measure", kind="crash", message=f"the worker replied with a {type(reply).__name__}")


def _unchecked(point: Point, reason: str) -> Fidelity:
    return Fidelity(point=point, cosine=0.0, max_abs=0.0, max_rel=0.0, top1=None, inputs=0, reason=reason)
