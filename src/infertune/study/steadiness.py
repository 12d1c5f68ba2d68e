"""How steady this machine is now: a plain product of matrices, launched three times; and waiting until it is usable."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from infertune.core import noise
from infertune.core.errors import BusyError
from infertune.core.goal import parse_goal
from infertune.core.noise import Noise
from infertune.core.records import (
    BuildJob,
    DescribeJob,
    Feed,
    MeasureJob,
    Measurement,
    Model,
    Plan,
    Saved,
)
from infertune.core.seams import Clock, Executor, Target
from infertune.edge.counters import Counters
from infertune.edge.scratch import Scratch
from infertune.measure.ceilings import product_model
from infertune.measure.conditions import between
from infertune.study.question import probe

PLAN = Plan(warmup_s=0.25, min_time_s=0.75, min_count=20, cap_s=3.0)
LAUNCHES = 3
ROWS = 64  # of the product: a few milliseconds, so that the shortest window holds many requests
TIMEOUT_S = 60.0

GLANCE_S = 0.3
"""How long the counters are watched at a time: 10 ms ticks of two CPUs make shares good to 0.02 then."""

PATIENCE_S = 60.0
"""A machine that others use for more than half all this time is given up: slow spells last about a minute."""

PATIENCE_SHARE = 0.5
"""Of the budget: a study that begins late must have the time to end with an answer."""


def examine(executor: Executor, target: Target) -> Noise | None:
    """Three launches of a product of matrices under the target's first baseline; None where it cannot run."""
    devices = probe(executor, target)
    with Scratch("steadiness") as folder:
        product, artifact = str(Path(folder) / "product.onnx"), str(Path(folder) / "artifact")
        Path(artifact).mkdir()
        product_model(product, rows=ROWS)
        model = executor.run("", DescribeJob(path=product, shapes=()), timeout_s=TIMEOUT_S)
        if not devices or not isinstance(model, Model):
            return None
        point = target.space(model, devices[0], parse_goal("max throughput")).baselines[0].point
        built = executor.run(target.name, BuildJob(model=model, point=point, into=artifact), timeout_s=TIMEOUT_S)
        if not isinstance(built, Saved):
            return None
        job = MeasureJob(model=model, point=point, artifact=artifact, plan=PLAN, feed=Feed(seed=0))
        launches = [executor.run(target.name, job, timeout_s=TIMEOUT_S) for _ in range(LAUNCHES)]
    return noise.of([found for found in launches if isinstance(found, Measurement)])


def foreign_cpu(clock: Clock, read: Callable[[], Counters]) -> float:
    """Share of our CPUs' time that others use just now."""
    before = read()
    clock.sleep(GLANCE_S)
    return between(before, read()).foreign_cpu


def wait_until_usable(
    clock: Clock,
    glance: Callable[[], float],
    on_phase: Callable[[str, str], None],
    stop: Callable[[], bool],
    *,
    most_s: float = PATIENCE_S,
) -> float:
    """Return at once on a usable machine; wait up to ``most_s`` for one that others use for more than half.

    Returns the seconds that were waited. Raises `BusyError` (``machine-busy``) when it stays so.
    """
    began = clock.now_ns()
    share, waited_s = glance(), 0.0
    while share > noise.UNUSABLE and not stop():
        if waited_s >= most_s:
            raise BusyError(
                "machine-busy",
                f"others have used {share:.0%} of the CPUs for {waited_s:.0f} s: nothing measured now would mean "
                "anything",
                hint="stop them, or measure all the same with --accept-noise",
            )
        on_phase("preflight", f"other programs use {share:.0%} of the CPUs; waiting for them up to {most_s:.0f} s")
        share = glance()
        waited_s = (clock.now_ns() - began) / 1e9
    return waited_s
