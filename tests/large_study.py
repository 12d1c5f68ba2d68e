"""A made-up study of any size with a known truth: what each knob is worth is in its formula."""

from __future__ import annotations

import itertools
import math

import numpy as np

from infertune.core.records import Entry, Failed
from infertune.core.space import Point
from infertune.testing.records import a_point, a_question, a_study

WORTH = {"precision": {"f32": 1.0, "bf16": 2.0}, "cores": {1: 1.0, 2: 1.5}, "set_size": {1: 1.0, 2: 1.0}}


def speed(point: Point) -> float:
    """Samples per second: precision is worth 2x, two cores 1.5x, the set size nothing, batch saturates."""
    factor = math.prod(values[point[knob]] for knob, values in WORTH.items())  # type: ignore[index]
    batch = point.number("batch")
    return 40.0 * factor * batch / (batch + 2.0)


def a_large_study(trials: int, *, goal: str = "max throughput, p99 < 400 ms", noise: float = 0.01) -> list[Entry]:
    """``trials`` searched points (every 40th fails) with seeded noise, then a confirmation."""
    combos = itertools.product(("f32", "bf16"), (1, 2), (1, 2), (1, 2), range(1, 1 + -(-trials // 16)))
    random = np.random.default_rng(0)
    speeds: dict[Point, float | Failed] = {}
    for precision, cores, set_size, instances, batch in itertools.islice(combos, trials):
        point = a_point(precision=precision, cores=cores, set_size=set_size, instances=instances, batch=batch)
        failed = Failed(stage="build", kind="compiler", message=f"no kernel for node {batch}")
        is_bad = len(speeds) % 40 == 39
        speeds[point] = failed if is_bad else speed(point) * float(np.exp(noise * random.standard_normal()))
    return a_study(speeds, baselines={"openvino default": 30.0, "onnxruntime default": 25.0}, question=a_question(goal))
