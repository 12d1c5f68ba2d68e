"""The seams: what a target, session, strategy, store, clock, shell and executor must be. Fakes: `infertune.testing`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from infertune.core.goal import Goal
from infertune.core.records import (
    BuildJob,
    Device,
    Entry,
    Event,
    ExportJob,
    Failed,
    InferJob,
    Job,
    MeasureJob,
    Measurement,
    Model,
    Phase,
    Reply,
    Saved,
    Trial,
)
from infertune.core.space import Point, Space


class Clock(Protocol):
    """Monotonic time."""

    def now_ns(self) -> int: ...

    def sleep(self, seconds: float) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A finished program: exit code (negative: killed by that signal), whether it ran out of time, output tail."""

    code: int
    timed_out: bool
    tail: str
    wall_s: float


class Shell(Protocol):
    """Runs programs. Output goes to ``log``; the whole process tree is dead when this returns."""

    def run(
        self, argv: Sequence[str], *, timeout_s: float, log: str, env: Mapping[str, str] | None, cwd: str | None
    ) -> Done: ...


class CandidateFailed(Exception):  # noqa: N818  not an error of ours: a fact about a point
    """How a target tells that a candidate failed, when it knows better than the worker that catches this."""

    def __init__(self, failed: Failed) -> None:
        super().__init__(failed.message)
        self.failed = failed


HOST_CPU = "host_cpu"
"""The CPUs of the host, as a resource that launches may need for themselves."""


class Target(Protocol):
    """A way to build and run models on one kind of device. A module satisfies it (see ``targets/``).

    ``contends`` names what its measurements need for themselves: with `HOST_CPU` no build may overlap them.
    ``automatic`` says whether `tune` uses the target without being asked.
    ``open_loop`` says whether its launches can be driven by arrivals (`Load`), not only one request after the other.
    ``requires`` names the Python packages to import and the ``pip install`` words that bring them.
    `probe`, `build`, `measure`, `infer` and `export` run inside a worker process; only `space` runs in the
    coordinating process and must import nothing heavy. A candidate that fails is told by `CandidateFailed`; any other
    exception of a runtime is classified by the worker.
    """

    name: str
    title: str
    contends: frozenset[str]
    automatic: bool
    open_loop: bool
    requires: Mapping[str, str]

    def probe(self, shell: Shell) -> tuple[Device, ...]: ...

    def space(self, model: Model, device: Device, goal: Goal) -> Space: ...

    def build(self, job: BuildJob, shell: Shell) -> Saved: ...

    def measure(self, job: MeasureJob, clock: Clock, shell: Shell) -> Measurement: ...

    def infer(self, job: InferJob, shell: Shell) -> Saved: ...

    def export(self, job: ExportJob) -> Saved: ...


def needs_host(target: Target) -> bool:
    """Whether launches of the target need the host's CPUs for themselves, so that builds and others disturb them."""
    return HOST_CPU in target.contends


class Session(Protocol):
    """A loaded model inside the worker, for `measure.drive`. Slots are 0 .. ``in_flight`` - 1."""

    in_flight: int

    def start(self, slot: int) -> None:
        """Send one request on a free slot; returns at once."""

    def wait(self, timeout_s: float | None = None) -> Sequence[tuple[int, int]]:
        """Block until at least one request is done; (slot, completion time in ns of the clock) of all that are.

        Empty when none was done within ``timeout_s``.
        """

    def phases(self) -> tuple[Phase, ...]:
        """Parts of the latencies of the requests completed since the last call, in completion order."""

    def settings(self) -> tuple[tuple[str, str], ...]:
        """What the runtime reports back about its own configuration."""

    def close(self) -> None:
        """Abandon what is outstanding and let go of the runtime."""


@runtime_checkable
class Keeping(Protocol):
    """A session that can keep its slots busy by itself, for a closed loop: to pass each request through the driving
    thread takes several times as long as a small model."""

    def keep(self) -> bool:
        """From the next `start` on, a slot's successor begins at the completion's time; False where it will not."""

    def rest(self) -> bool:
        """Stop that and wait until nothing is outstanding, forgetting what completed; False where it was not kept."""


class Answering(Session, Protocol):
    """A session that can also be asked for outputs, once nothing is outstanding any more."""

    def answer(self, inputs: Mapping[str, NDArray[np.generic]]) -> Mapping[str, NDArray[np.generic]]: ...


Strategy = Callable[[Sequence[Space], Sequence[Trial], Goal, int, int], Sequence[Point]]
"""(spaces, history, goal, how many, seed) -> points to try next. A pure function.

Trials without launches are under way. Empty means done, or, with some under way, that what is next depends on them.
"""


class Store(Protocol):
    """An append-only record. `append` returns only when the entry is on disk."""

    def append(self, event: Event, at_s: float) -> Entry: ...

    def entries(self) -> Iterable[Entry]: ...


class Executor(Protocol):
    """Runs jobs in fresh worker processes, here or elsewhere."""

    def run(self, target: str, job: Job, *, timeout_s: float) -> Reply: ...


T = TypeVar("T")


class Crew(Protocol):
    """Does several things side by side. Only the thread that made it calls these."""

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Begin ``work`` as soon as a hand is free."""

    def wait(self, pending: Collection[Future[Any]]) -> None:
        """Return when at least one of ``pending`` is done."""

    def close(self) -> None:
        """Begin nothing more; give up what was begun."""
