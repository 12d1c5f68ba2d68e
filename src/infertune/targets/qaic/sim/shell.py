"""The simulated tools without processes: a shell that runs them in this one, for tests and studies of strategies."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from infertune.core.records import (
    BuildJob,
    DescribeJob,
    Found,
    InferJob,
    Job,
    MeasureJob,
    ProbeJob,
    Reply,
)
from infertune.core.seams import CandidateFailed, Clock, Done, Shell
from infertune.edge.clock import MonotonicClock
from infertune.edge.environment import variable
from infertune.edge.worker import accepted
from infertune.prepare.load import describe
from infertune.targets.qaic.sim.programs import compiler, query, runner
from infertune.targets.qaic.sim.programs.faults import VARIABLE, parse_faults
from infertune.targets.qaic.sim.programs.tree import Tree
from infertune.targets.qaic.sim.programs.world import Main, Stop, World, ended
from infertune.targets.worker import perform

ABORTED = -6
_MAINS: Mapping[str, Main] = {
    "qaic-exec": compiler.main,
    "qaic-compile": compiler.main,
    "qaic-runner": runner.main,
    "qaic-util": query.main,
}
_TAIL = 16_384


class _Hung(Exception):  # noqa: N818  how a program that never ends is ended here
    pass


class _Inside(World):
    """A world in which a crash ends the program and not this process."""

    __slots__ = ()

    def hang(self) -> None:
        raise _Hung

    def crash(self) -> None:
        raise Stop("", code=ABORTED)


class SimulatedShell:
    """`seams.Shell` for the programs of simulated SDKs alone; ``cwd`` is ignored, so paths must be absolute."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or MonotonicClock()

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        log: str,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
    ) -> Done:
        began = self._clock.now_ns()
        told: list[str] = []
        code = self._code(argv, told.append)
        Path(log).write_text("".join(told))
        wall_s = (self._clock.now_ns() - began) / 1e9
        return Done(code=code or 0, timed_out=code is None, tail="".join(told)[-_TAIL:].strip(), wall_s=wall_s)

    def _code(self, argv: Sequence[str], tell: Callable[[str], None]) -> int | None:
        """The exit code; None for a program that never ends."""
        tree = Tree(Path(argv[0]).resolve().parents[1])
        settings = tree.settings()
        faults = parse_faults(f"{settings.faults};{variable(VARIABLE)}")
        world = _Inside(tree, settings, self._clock, faults, tell, lambda line: tell(line + "\n"))
        try:
            return ended(_MAINS[os.path.basename(argv[0])], world, list(argv[1:]))
        except _Hung:
            return None


class SimulatedExecutor:
    """`seams.Executor` without processes: `qaic` on the SDK under ``$QAIC_ROOT``, other targets as they are."""

    def __init__(self, clock: Clock, shell: Shell | None = None) -> None:
        self._clock = clock
        self._shell = shell or SimulatedShell(clock)

    def run(self, target: str, job: Job, *, timeout_s: float) -> Reply:
        try:
            return self._perform(job) if target in ("", "qaic") else accepted(perform(target, job))
        except CandidateFailed as error:
            return error.failed

    def _perform(self, job: Job) -> Reply:
        from infertune.targets.qaic import target as qaic

        match job:
            case DescribeJob():
                return describe(job.path, shapes=dict(job.shapes), batch_symbol=job.batch_symbol)
            case ProbeJob():
                return Found(devices=qaic.probe(self._shell))
            case BuildJob():
                return qaic.build(job, self._shell)
            case MeasureJob():
                return qaic.measure(job, self._clock, self._shell)
            case InferJob():
                return qaic.infer(job, self._shell)
            case _:
                return accepted(perform(qaic.name, job))
