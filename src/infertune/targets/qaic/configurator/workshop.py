"""Where the configurator's points are compiled and run: binaries kept by compile parameters, runs one by one."""

from __future__ import annotations

import os
import shutil
import statistics
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial

from infertune.core import stats
from infertune.core.errors import BusyError
from infertune.core.goal import Goal
from infertune.core.records import Artifact, Failed, Launch, Measurement, Model, Outcome, Plan, Trial
from infertune.core.seams import CandidateFailed, Crew, Shell
from infertune.core.space import Point, Space
from infertune.targets.qaic.build import compile_into
from infertune.targets.qaic.configurator.given import Feeding
from infertune.targets.qaic.configurator.wording import binary_folder, compiler_params
from infertune.targets.qaic.probe import qid_of
from infertune.targets.qaic.run import measure_point
from infertune.targets.qaic.sdk import Sdk

Compiled = Artifact | Failed

LONGEST_RUN_S = 600.0
GIVE_UP = 3
"""Runs that the card itself refused, one after another, before the search ends."""


@dataclass(slots=True, kw_only=True)
class Workshop:
    """``say`` writes a line of the log; ``threads`` compiles run at a time, by ``crew``; ``seconds`` per run.

    ``folder`` holds the binaries; a binary serves every number of instances and set size. ``requests``: per instance
    and run instead of ``seconds``; ``feeding``: the runs' inputs; ``passed``: further words for the compiler.
    ``record`` is told of all trials when one changes.
    """

    sdk: Sdk
    shell: Shell
    model: Model
    space: Space
    goal: Goal
    folder: str
    seconds: int
    threads: int
    crew: Crew
    say: Callable[[str], None]
    form_b: bool = False
    requests: int | None = None
    feeding: Feeding = field(default_factory=Feeding)
    passed: Sequence[str] = ()
    record: Callable[[Mapping[Point, Trial]], None] = lambda trials: None
    trials: dict[Point, Trial] = field(default_factory=dict)
    binaries: dict[tuple[tuple[str, object], ...], Future[Compiled]] = field(default_factory=dict)
    refused: int = 0

    # ------------------------------------------------------------ compiling

    def path(self, point: Point) -> str:
        return os.path.join(self.folder, binary_folder(point))

    def submit(self, points: Sequence[Point]) -> list[Future[Compiled]]:
        """Begin to compile what is not compiled yet; the futures of all of them, in order."""
        fresh = {self.space.build_part(p): p for p in points if self.space.build_part(p) not in self.binaries}
        if fresh:
            word = "Compiling model:" if self.form_b else "Compiling :"
            self.say(f"{word} " + ", ".join(f"compilerParams={compiler_params(p)}" for p in fresh.values()))
        for part, point in fresh.items():
            self.binaries[part] = self.crew.submit(partial(self._compile, point))
        return [self.binaries[self.space.build_part(point)] for point in points]

    def _compile(self, point: Point) -> Compiled:
        os.makedirs(self.folder, exist_ok=True)
        path = self.path(point)
        shutil.rmtree(path, ignore_errors=True)  # an earlier command's: of another model perhaps, or not whole
        try:
            seconds = compile_into(self.sdk, self.shell, self.model, point, path, f"{path}.log", self.passed)
        except CandidateFailed as error:
            return error.failed
        return Artifact(key=binary_folder(point), path=path, size_bytes=0, build_s=seconds)

    def compiled(self) -> int:
        """Binaries that are there; those still being compiled are none."""
        done = [future.result() for future in self.binaries.values() if future.done()]
        return sum(not isinstance(binary, Failed) for binary in done)

    # ------------------------------------------------------------ running

    def run(self, point: Point, built: Compiled) -> Trial:
        """Measure a point whose binary is done, and remember it. Raises `BusyError` (``card-lost``)."""
        if isinstance(built, Failed):
            self.say(f"Compilation failed for {compiler_params(point)}: {built.message}")
            return self._remember(Trial(point=point, build=built))
        part = self.space.build_part(point)
        shared = any(self.space.build_part(other) == part for other in self.trials)
        return self.run_again(point, replace(built, reused=shared))

    def run_again(self, point: Point, artifact: Artifact) -> Trial:
        """One more run of a point. Raises `BusyError` (``card-lost``)."""
        before = self.trials[point].launches if point in self.trials else ()
        outcome = self._measured(point)
        wall_s = float(self.seconds)
        if isinstance(outcome, Measurement):
            wall_s = (outcome.wall_ns + outcome.setup_ns) / 1e9
        launch = Launch(point=point, purpose="screen", block=0, outcome=outcome, flags=(), wall_s=wall_s)
        return self._remember(Trial(point=point, launches=(*before, launch), build=artifact))

    def _remember(self, trial: Trial) -> Trial:
        self.trials[trial.point] = trial
        self.record(self.trials)
        return trial

    def _measured(self, point: Point) -> Outcome:
        """What a card refuses says nothing about the point: it is run again. Raises `BusyError` (``card-lost``)."""
        runner = f"runnerParams=instances={point.number('instances', 1)}"
        runner += f", setSize={point.number('set_size', 1)}" if self.form_b else ""
        where = f"compiledModelPath={self.path(point)}"
        self.say(f"Running the following set of models on device ID {qid_of(point.device)}: {{: ({where}, {runner})}}")
        while isinstance(found := self._attempt(point), Failed):
            self.say(f"Run failed for {compiler_params(point)}, {runner}: {found.message}")
            self._count_refusal(found)
            if not found.is_refusal:
                return found
        self.refused = 0
        return found

    def _attempt(self, point: Point) -> Outcome:
        inputs = self.feeding.files(point.number("batch", 1))
        try:
            return measure_point(self.sdk, self.shell, self.path(point), point, self._plan(point), inputs)
        except CandidateFailed as error:
            return error.failed

    def _plan(self, point: Point) -> Plan:
        """So many seconds, or as many as so many requests take: told by a run of one second."""
        if self.requests is None:
            return Plan(min_time_s=self.seconds, cap_s=self.seconds)
        return Plan(min_time_s=1.0, min_count=self.requests * point.number("instances", 1), cap_s=LONGEST_RUN_S)

    def _count_refusal(self, failed: Failed) -> None:
        self.refused = self.refused + 1 if failed.is_refusal else 0
        if self.refused >= GIVE_UP:
            raise BusyError(
                "card-lost",
                f"the card refused {GIVE_UP} runs, the last one with: {failed.message}",
                hint="see `infertune devices` for its health, `qaic-util -q` for who else uses it; what was measured "
                "is in results.csv",
            )

    def evaluate(self, points: Sequence[Point]) -> None:
        """The vendor's way: compile all of them, then run one after another."""
        fresh = [point for point in points if point not in self.trials]
        futures = self.submit(fresh)
        while waiting := [future for future in futures if not future.done()]:
            self.crew.wait(waiting)
        for point, future in zip(fresh, futures, strict=True):
            self.run(point, future.result())

    # ------------------------------------------------------------ results

    def known(self) -> dict[Point, float]:
        """Scores (more is better); minus infinity for what failed."""
        return {point: self.score(trial) for point, trial in self.trials.items()}

    def score(self, trial: Trial) -> float:
        runs = runs_of(trial)
        return statistics.fmean(map(self.goal.score, runs)) if runs else float("-inf")

    def best(self) -> Point | None:
        """The best point measured so far."""
        scored = [(score, point) for point, score in self.known().items() if score > float("-inf")]
        return max(scored, key=lambda pair: pair[0])[1] if scored else None

    def objective(self, point: Point) -> float:
        """inf/s, or the median latency in microseconds; of several runs the geometric mean, as scores are logs."""
        runs = runs_of(self.trials[point])
        if not runs:
            return float("nan")
        value = statistics.geometric_mean(map(self.goal.value, runs))
        return value if self.goal.maximise else value * 1e6

    def close(self) -> None:
        self.crew.close()


def runs_of(trial: Trial) -> list[Measurement]:
    """Its runs that gave figures, oldest first."""
    return [launch.outcome for launch in trial.launches if isinstance(launch.outcome, Measurement)]


def rate_and_latency(trial: Trial) -> tuple[str, str, str]:
    """(inf/s, median latency in microseconds, what went wrong) as texts; empty where there is nothing.

    Of several runs the geometric mean, as in `Workshop.objective`.
    """
    if runs := runs_of(trial):
        rate = statistics.geometric_mean(map(stats.throughput, runs))
        latency = statistics.geometric_mean(stats.quantile_ns(run.latencies_ns, 50.0) / 1e3 for run in runs)
        return f"{rate:.3f}", f"{latency:.2f}", ""
    failed = trial.build if isinstance(trial.build, Failed) else trial.launches[-1].outcome
    assert isinstance(failed, Failed)
    return "", "", f"{failed.kind}: {failed.message}"
