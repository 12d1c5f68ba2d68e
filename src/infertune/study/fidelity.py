"""Fidelity checks: a point's outputs beside those of the fp32 reference, which are computed once for every batch."""

from __future__ import annotations

import os
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np

from infertune.core.records import Checked, Failed, Fidelity, InferJob, Recheck
from infertune.core.seams import Clock, Executor, needs_host
from infertune.core.seeds import natural
from infertune.core.space import Point, Value
from infertune.edge.scratch import Scratch
from infertune.prepare.calibration import CHECKED
from infertune.study.builds import BUILD_TIMEOUT_S, Builds
from infertune.study.cards import Reserve
from infertune.study.checking import is_exact
from infertune.study.lost import GIVE_UP, device_lost
from infertune.study.metric import judge
from infertune.study.question import Setting
from infertune.study.reference import plain_outputs, save_first
from infertune.verify.outputs import compare_outputs, unusable


class Checks:
    """How near points' outputs are to the reference's; recorded nowhere."""

    def __init__(self, setting: Setting, executor: Executor, clock: Clock, builds: Builds, reserve: Reserve) -> None:
        self._setting = setting
        self._executor = executor
        self._clock = clock
        self._builds = builds
        self._reserve = reserve
        scratch = Scratch("reference")
        weakref.finalize(self, scratch.close)
        self._scratch = scratch.path
        self._references: dict[int, str | Failed] = {}
        self._varying = ""  # why outputs of a model that is not deterministic cannot be checked

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
        labels = self._setting.question.model.labels
        found = compare_outputs(point, Path(ours), Path(theirs), inputs=inputs, labels=labels)
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

    def recheck(self, point: Point, block: int) -> Recheck | None:
        """One of the checked input sets, another one in each block, to be answered after timing."""
        theirs = self._outputs_of_reference(point)
        if isinstance(theirs, Failed) or self._setting.metric is not None:
            return None
        rng = np.random.default_rng([natural(self._setting.question.seed), block])
        number = int(rng.integers(self._count(point)))
        return Recheck(reference=theirs, number=number, floor=self._setting.goal.fidelity_floor)

    def _reference_outputs(self, point: Point, into: str, again: str) -> Failed | None:
        """Outputs that are the truth: plain f32 at the same batch, from ONNX Runtime.

        A study of the point's own CPU runtime without ONNX Runtime takes them from that.
        """
        reference = self._reference(point)
        if reference is not None:
            return self._infer(reference, into, again)
        batch = point.number("batch", 1)
        return plain_outputs(self._executor, self._setting.question, batch, self._count(point), into, again)

    def _reference(self, point: Point) -> Point | None:
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
        artifact = self._builds.artifact(point)
        if isinstance(artifact, Failed):
            return artifact
        question = self._setting.question
        job = InferJob(
            model=question.model,
            point=self._reserve.there(point),
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
        raise device_lost(job.point.device, refused)


def _unchecked(point: Point, reason: str) -> Fidelity:
    return Fidelity(point=point, cosine=0.0, max_abs=0.0, max_rel=0.0, top1=None, inputs=0, reason=reason)
