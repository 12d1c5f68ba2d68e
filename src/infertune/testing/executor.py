"""An executor in virtual time: points have a known speed, jobs cost known seconds, any of them can be made to fail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from infertune.core.records import (
    BuildJob,
    Conditions,
    DescribeJob,
    Failed,
    Found,
    InferJob,
    Job,
    MeasureJob,
    Measurement,
    ProbeJob,
    RawNs,
    Reply,
    Saved,
)
from infertune.core.seeds import natural
from infertune.core.space import Point
from infertune.testing.clock import FakeClock
from infertune.testing.records import a_device, a_model

Rate = Callable[[Point], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """Another program on the machine: it slows a ``share`` of launches by 1.15x to 3x; ``seen`` of those show it."""

    share: float
    seen: float


NOBODY = Neighbour(share=0.0, seen=0.0)
QUIET = Conditions()
BUSY = Conditions(foreign_cpu=0.3)


def never(job: Job) -> Failed | None:
    """No job fails."""
    return None


class FakeExecutor:
    """`seams.Executor`: throughput of a point is ``rate(point)`` samples per second times seeded log-normal noise.

    ``fails(job)`` may return a `Failed` for any job. ``error(point)`` is how far outputs are from the reference.
    ``jobs`` lists what was asked, in order. Give it a ``neighbour`` to have launches disturbed by chance, or ``hurt``,
    how many times slower others make a point just now; more than 1 is seen by the counters.
    """

    def __init__(
        self,
        clock: FakeClock,
        rate: Rate,
        *,
        noise: float = 0.0,
        seed: int = 0,
        start_s: float = 0.5,
        build_s: float = 1.0,
        fails: Callable[[Job], Failed | None] = never,
        error: Rate = lambda point: 0.0,
    ) -> None:
        self.jobs: list[Job] = []
        self._clock = clock
        self._rate = rate
        self._noise = noise
        self.neighbour = NOBODY
        self.hurt: Callable[[Point], float] = lambda point: 1.0
        self._random = np.random.default_rng(natural(seed))
        self._start_s = start_s
        self._build_s = build_s
        self._fails = fails
        self._error = error

    def run(self, target: str, job: Job, *, timeout_s: float) -> Reply:
        self.jobs.append(job)
        self._clock.advance(self._start_s)
        failed = self._fails(job)
        if failed is not None:
            return failed
        return self._perform(target, job)

    def _perform(self, target: str, job: Job) -> Reply:
        reply: Reply = Saved(files=())  # of an export
        match job:
            case DescribeJob():
                reply = a_model()
            case ProbeJob():
                reply = Found(devices=(a_device(target),))
            case BuildJob():
                reply = self._build(job)
            case MeasureJob():
                reply = self._measure(job)
            case InferJob():
                reply = self._infer(job)
        return reply

    def _build(self, job: BuildJob) -> Saved:
        self._clock.advance(self._build_s)
        Path(job.into, "model.bin").write_text(str(job.point))
        return Saved(files=("model.bin",))

    def _measure(self, job: MeasureJob) -> Measurement:
        batch = job.point.number("batch", 1)
        in_flight = max(1, job.point.number("instances") * job.point.number("set_size"))
        slower, conditions = self._disturbance(job.point)
        rate = self._rate(job.point) * float(np.exp(self._noise * self._random.standard_normal())) / slower
        gap_ns = batch / rate * 1e9
        plan = job.plan
        count = max(3, min(max(plan.min_count, int(plan.min_time_s * 1e9 / gap_ns)), int(plan.cap_s * 1e9 / gap_ns)))
        ends = [round(gap_ns * (i + 1)) for i in range(count)]
        self._clock.advance(ends[-1] / 1e9)
        return Measurement(
            batch=batch,
            in_flight=in_flight,
            wall_ns=ends[-1],
            latencies_ns=RawNs([round(gap_ns * in_flight)] * count),
            ends_ns=RawNs(ends),
            setup_ns=0,
            first_ns=round(gap_ns),
            warmup_count=3,
            conditions=conditions,
        )

    def _disturbance(self, point: Point) -> tuple[float, Conditions]:
        """How many times slower this launch is, and what the host's counters show of it."""
        slower = self.hurt(point)
        if slower > 1.0:
            return slower, BUSY
        if self._random.random() >= self.neighbour.share:
            return 1.0, QUIET
        seen = self._random.random() < self.neighbour.seen
        return float(self._random.uniform(1.15, 3.0)), BUSY if seen else QUIET

    def _infer(self, job: InferJob) -> Saved:
        rng = np.random.default_rng(natural(job.feed.seed))
        outputs = rng.standard_normal((job.count, 8))
        outputs = outputs + self._error(job.point) * rng.standard_normal(outputs.shape)
        np.savez(job.into, allow_pickle=False, **{f"logits.{i}": row for i, row in enumerate(outputs)})
        if job.again:
            np.savez(job.again, allow_pickle=False, **{"logits.0": outputs[0]})
        return Saved(files=(job.into,))
