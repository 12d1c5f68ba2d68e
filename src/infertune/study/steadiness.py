"""How steady this machine is now: a plain product of matrices, launched three times; and waiting until it is usable."""

from __future__ import annotations

import tempfile
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
from infertune.edge.counters import Counters, counter_reader
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


def examine(executor: Executor, target: Target) -> Noise | None:
    """Three launches of a product of matrices under the target's first baseline; None where it cannot run."""
    devices = probe(executor, target)
    with tempfile.TemporaryDirectory(prefix="infertune-steadiness-") as folder:
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
    on_phase: Callable[[str, str], None],
    stop: Callable[[], bool],
    read: Callable[[], Counters] | None = None,
) -> None:
    """Return at once on a usable machine; wait up to a minute for one that others use for more than half.

    Raises `BusyError` (``machine-busy``) when it stays so.
    """
    reader = read or counter_reader()
    began = clock.now_ns()
    while (share := foreign_cpu(clock, reader)) > noise.UNUSABLE and not stop():
        if (clock.now_ns() - began) / 1e9 > PATIENCE_S:
            raise BusyError(
                "machine-busy",
                f"others have used {share:.0%} of the CPUs for a minute: nothing measured now would mean anything",
                hint="stop them, or measure all the same with --accept-noise",
            )
        on_phase("preflight", f"other programs use {share:.0%} of the CPUs; waiting for them for up to a minute")
