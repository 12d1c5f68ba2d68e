"""What this machine can do at most, in the winner's own arithmetic: measured once, when the winner is known.

The product is measured like any point: a model of nothing but matrix products, built and run by the winner's target
with one instance over all CPUs, so it is what that runtime reaches and not what a data sheet says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from infertune.core import history, stats
from infertune.core.answer import answer
from infertune.core.errors import InfertuneError
from infertune.core.findings import Answer
from infertune.core.goal import Goal
from infertune.core.records import (
    BuildJob,
    Ceilings,
    DescribeJob,
    Device,
    Entry,
    Examined,
    ExamineJob,
    Failed,
    Feed,
    MeasureJob,
    Measurement,
    Model,
    Plan,
)
from infertune.core.seams import Clock, Executor, Target, needs_host
from infertune.core.space import Point
from infertune.edge.scratch import Scratch
from infertune.study.question import Setting

Examine = Callable[[Setting, Sequence[Entry], Executor, Clock], Ceilings]

PLAN = Plan(warmup_s=0.2, warmup_count=2, min_time_s=0.5, min_count=5, cap_s=3.0)
CLOSING_S = 6.0
SHORTEST_BUDGET_S = 45.0
TIMEOUT_S = 60.0


def closing_s(budget_s: float) -> float:
    """Seconds of the budget kept back for it; 0 where the budget is too short to spare them."""
    return CLOSING_S if budget_s >= SHORTEST_BUDGET_S else 0.0


def examine(setting: Setting, entries: Sequence[Entry], executor: Executor, clock: Clock) -> Ceilings:
    """The ceilings for the record's winner. What cannot be measured is said in ``why_not``, never guessed."""
    began = clock.now_ns()
    try:
        made = _measured(setting, answer(entries), _precision(entries), executor)
    except InfertuneError as error:
        made = _none(error.message)
    return replace(made, wall_s=(clock.now_ns() - began) / 1e9)


def _none(why_not: str) -> Ceilings:
    return Ceilings(
        target="", precision="", macs=None, macs_per_s=None, copy_bytes_per_s=None, cache_bytes=0, why_not=why_not,
        wall_s=0.0,
    )  # fmt: skip


def _measured(setting: Setting, found: Answer, precision: str, executor: Executor) -> Ceilings:
    winner, device = found.winner, found.device
    if winner is None or device is None:
        return _none("there is no winner")
    target = setting.targets[winner.target]
    if found.simulated or not needs_host(target):
        return _none("ceilings are measured on the CPUs of this machine, and the winner does not run on them")
    with Scratch("ceilings") as folder:
        product = str(Path(folder) / "product.onnx")
        job = ExamineJob(model=found.model, threads=device.units, product=product)
        reply = executor.run("", job, timeout_s=TIMEOUT_S)
        if not isinstance(reply, Examined):
            return _none(reply.message if isinstance(reply, Failed) else "the worker gave no answer")
        rate = _product_rate(_Rig(executor, target, device, setting.goal, folder), product, precision, reply)
    return Ceilings(
        target=winner.target,
        precision=precision,
        macs=reply.macs,
        macs_per_s=None if isinstance(rate, str) else rate,
        copy_bytes_per_s=reply.copy_bytes_per_s,
        cache_bytes=reply.cache_bytes,
        why_not=rate if isinstance(rate, str) else "",
        wall_s=0.0,
    )


def _precision(entries: Sequence[Entry]) -> str:
    """What the runtime said it computed the winner in, else what the point asked for; f32 where nobody says."""
    winner = answer(entries).winner
    launches = [launch for launch in history.launches(entries) if launch.point == winner]
    outcomes = [launch.outcome for launch in launches if isinstance(launch.outcome, Measurement)]
    told = dict(outcomes[-1].settings).get("precision", "") if outcomes else ""
    asked = str(winner.get("precision", "f32")) if winner else "f32"
    return told or ("f32" if asked == "runtime" else asked)


@dataclass(frozen=True, slots=True)
class _Rig:
    """What a product is measured with."""

    executor: Executor
    target: Target
    device: Device
    goal: Goal
    folder: str


def _product_rate(rig: _Rig, product: str, precision: str, examined: Examined) -> float | str:
    """Multiply-accumulates per second, or why there are none."""
    model = rig.executor.run("", DescribeJob(path=product, shapes=()), timeout_s=TIMEOUT_S)
    if not isinstance(model, Model):
        return "the product model could not be read"
    point = _widest(rig, model, precision)
    if point is None:
        return f"{rig.target.name} cannot run a plain product in {precision}"
    into = str(Path(rig.folder) / "artifact")
    Path(into).mkdir()
    built = rig.executor.run(rig.target.name, BuildJob(model=model, point=point, into=into), timeout_s=TIMEOUT_S)
    if isinstance(built, Failed):
        return f"the product in {precision} could not be built: {built.message}"
    job = MeasureJob(model=model, point=point, artifact=into, plan=PLAN, feed=Feed(seed=0))
    measured = rig.executor.run(rig.target.name, job, timeout_s=TIMEOUT_S)
    if not isinstance(measured, Measurement) or not len(measured.latencies_ns):
        return f"the product in {precision} could not be measured"
    return stats.throughput(measured) * examined.product_macs


def _widest(rig: _Rig, model: Model, precision: str) -> Point | None:
    """One instance over all CPUs in the wanted precision; None where that is no legal point."""
    space = rig.target.space(model, rig.device, rig.goal)
    wide = [seed.but(precision=precision) for seed in space.seeds if seed.number("instances") == 1]
    return next((point for point in wide if space.why_illegal(point) is None), None)
