"""A target that answers at once: what it measures is infertune itself (see `bench/harness.py`). Never used unasked."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from pathlib import Path

from infertune.core.goal import Goal
from infertune.core.records import (
    BuildJob,
    Device,
    ExportJob,
    InferJob,
    MeasureJob,
    Measurement,
    Model,
    Phase,
    Saved,
    facts,
)
from infertune.core.seams import Clock, Shell
from infertune.core.space import IntRange, Knob, Space

name = "null"
title = "nothing at all (measures infertune itself)"
contends = frozenset({"host_cpu"})
automatic = False
open_loop = True
requires: dict[str, str] = {}


class NullSession:
    """`seams.Session` whose requests are done the moment they are sent."""

    def __init__(self, in_flight: int, clock: Clock) -> None:
        self.in_flight = in_flight
        self._now_ns = clock.now_ns
        self._sent: deque[int] = deque()

    def start(self, slot: int) -> None:
        self._sent.append(slot)

    def wait(self, timeout_s: float | None = None) -> Sequence[tuple[int, int]]:
        return ((self._sent.popleft(), self._now_ns()),)

    def phases(self) -> tuple[Phase, ...]:
        return ()

    def settings(self) -> tuple[tuple[str, str], ...]:
        return (("in_flight", str(self.in_flight)),)

    def close(self) -> None:
        self._sent.clear()


def probe(shell: Shell) -> tuple[Device, ...]:
    nothing = Device(
        name="null", target=name, title=title, units=1, memory_bytes=0, precisions=("f32",), versions=facts(null=1)
    )
    return (nothing,)


def space(model: Model, device: Device, goal: Goal) -> Space:
    knobs = tuple(
        Knob(
            name=knob,
            stage="run",
            default=1,
            values=(1, 2, 4),
            allowed=IntRange(low=1, high=1024),
            doc=doc,
            spelling="-",
        )
        for knob, doc in (("batch", "Samples in one request."), ("set_size", "Requests outstanding."))
    )
    return Space(target=name, device=device.name, knobs=knobs)


def build(job: BuildJob, shell: Shell) -> Saved:
    Path(job.into, "nothing").write_text("nothing\n")
    return Saved(files=("nothing",))


def measure(job: MeasureJob, clock: Clock, shell: Shell) -> Measurement:
    from infertune.measure.conditions import watch_host
    from infertune.measure.drive import drive

    session = NullSession(job.point.number("set_size", 1), clock)
    batch = job.point.number("batch", 1)
    return drive(session, batch=batch, plan=job.plan, clock=clock, setup_ns=0, watch=watch_host)


def infer(job: InferJob, shell: Shell) -> Saved:
    raise RuntimeError("the null target computes nothing")


def export(job: ExportJob) -> Saved:
    raise RuntimeError("the null target has nothing to deploy")
