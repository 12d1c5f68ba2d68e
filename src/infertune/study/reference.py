"""Outputs of the plain model in f32 on this machine's CPU, for studies whose own devices cannot compute them."""

from __future__ import annotations

import numpy as np

from infertune.core.goal import parse_goal
from infertune.core.records import BuildJob, Failed, InferJob, Model, Question
from infertune.core.seams import Executor
from infertune.core.space import Point
from infertune.edge.scratch import Scratch
from infertune.study.question import probe
from infertune.targets import find_target, missing

TARGET = "onnxruntime"
TIMEOUT_S = 900.0


def plain_outputs(
    executor: Executor, question: Question, batch: int, count: int, into: str, again: str
) -> Failed | None:
    """Save outputs of ``count`` inputs at ``batch`` as `InferJob` says; why not, when they cannot be had."""
    point = _plain_point(executor, question.model, batch)
    if point is None:
        return Failed(stage="verify", kind="illegal", message=f"{TARGET} is not available: pip install {TARGET}")
    with Scratch("reference") as artifact:
        built = executor.run(TARGET, BuildJob(model=question.model, point=point, into=artifact), timeout_s=TIMEOUT_S)
        if isinstance(built, Failed):
            return built
        job = InferJob(
            model=question.model,
            point=point,
            artifact=artifact,
            feed=question.feed,
            count=count,
            into=into,
            again=again,
        )
        reply = executor.run(TARGET, job, timeout_s=TIMEOUT_S)
    return reply if isinstance(reply, Failed) else None


def save_first(outputs: str, into: str) -> None:
    """Save the outputs of the first input set alone into the file ``into``."""
    with np.load(outputs) as stored:
        np.savez(into, allow_pickle=False, **{name: stored[name] for name in stored.files if name.endswith(".0")})


def _plain_point(executor: Executor, model: Model, batch: int) -> Point | None:
    target = find_target(TARGET)
    devices = () if missing(target) else probe(executor, target)
    if not devices:
        return None
    space = target.space(model, devices[0], parse_goal("max throughput"))
    plain = space.seeds[0] if space.seeds else next(space.points())
    return plain.but(batch=batch, precision="f32")
