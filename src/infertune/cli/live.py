"""What a person sees while a study works: one live panel on a terminal, plain lines anywhere else. All on stderr."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from infertune.core import choice, verdict, words
from infertune.core.goal import Goal, latency_percent
from infertune.core.records import (
    Built,
    Checked,
    Decided,
    Entry,
    Failed,
    Fidelity,
    Launch,
    Measurement,
    Opened,
    Question,
    Trial,
    Waited,
)
from infertune.core.space import Point
from infertune.core.verdict import Terms
from infertune.edge.clock import MonotonicClock

_BARS = " ▁▂▃▄▅▆▇█"
SIMULATED = " (simulated)"
_PHASES = {
    "preflight": "waiting for a usable machine",
    "wait": "waiting for a quiet machine",
    "prepare": "reading the model, finding devices",
    "build": "building",
    "measure": "measuring",
    "calibrate": "comparing the cards with each other",
    "search": "searching",
    "race": "racing the leaders",
    "verify": "checking outputs",
    "confirm": "confirming on fresh launches",
    "ceilings": "measuring what this machine can do at most",
    "ablate": "putting the winner's knobs back, one at a time",
}


@dataclass(slots=True)
class Progress:
    """What is known so far, folded from entries as they come."""

    goal: Goal
    clock: MonotonicClock = field(default_factory=MonotonicClock)
    phase: str = "prepare"
    point: str = ""
    budget_s: float = 0.0
    at_s: float = 0.0
    seen_ns: int = 0
    launches: int = 0
    failures: int = 0
    question: Question | None = None
    best: Point | None = None
    best_figure: str = ""
    climb: list[float] = field(default_factory=list)
    launched: dict[Point, tuple[Launch, ...]] = field(default_factory=dict)
    fidelities: dict[Point, Fidelity] = field(default_factory=dict)
    seen: dict[Point, tuple[float, float]] = field(default_factory=dict)
    """Merit and median figure of every point that is not known to break a limit."""

    def on_phase(self, phase: str, detail: str) -> None:
        self.phase, self.point = phase, detail

    def tell(self, entry: Entry, console: Console) -> None:
        """Take one entry in and print its line where there is no live panel."""
        line = self.on_entry(entry)
        if line and not console.is_terminal:
            console.print(line, markup=False, highlight=False, soft_wrap=True)

    def on_entry(self, entry: Entry) -> str | None:
        """Take one entry in; a line worth printing where there is no live panel."""
        self.at_s, self.seen_ns = entry.at_s, self.clock.now_ns()
        line: str | None = None
        match entry.event:
            case Question() as question:
                self.question = question
                line = f"asked: {question.goal} for {words.counted(len(question.spaces), 'target')}"
            case Opened(budget_s=budget):
                self.budget_s = budget
            case Built(outcome=Failed() as failed, point=point):
                self.failures += 1
                line = f"build failed ({failed.kind}): {self.named(point)}: {failed.message}"
            case Launch() as launch:
                line = self._on_launch(launch)
            case Checked(fidelity=fidelity):
                self.fidelities[fidelity.point] = fidelity
                self._lead()
                metric = self.question.metric if self.question else ""
                found = fidelity.words(metric) if fidelity.made else f"not checked: {fidelity.reason}"
                line = f"outputs of {self.named(fidelity.point)}: {found}"
            case Waited(wall_s=waited):
                line = f"waited {words.seconds(waited)} for other programs to leave the CPUs"
            case Decided(finalists=finalists):
                line = f"to confirm: {'; '.join(map(self.named, finalists))}"
        return line

    def _on_launch(self, launch: Launch) -> str:
        self.launches += 1
        if isinstance(launch.outcome, Failed):
            self.failures += 1
            return f"{launch.purpose}: {self.named(launch.point)}: {launch.outcome.kind}: {launch.outcome.message}"
        figure = self.figure(launch.outcome)
        if launch.purpose not in ("confirm", "ablate"):
            self._take(launch)
            self._lead()
        flags = f"  [{', '.join(launch.flags)}]" if launch.flags else ""
        return f"{launch.purpose}: {figure}  {self.named(launch.point)}{flags}"

    def _take(self, launch: Launch) -> None:
        point = launch.point
        self.launched[point] = (*self.launched.get(point, ()), launch)
        sample = choice.all_runs(Trial(point=point, launches=self.launched[point]))
        self.seen.pop(point, None)
        if sample.runs and verdict.stands(self._terms, sample).state != "beyond":
            figure = statistics.median(map(self.goal.value, sample.measurements))
            self.seen[point] = verdict.merit(self.goal, sample), figure

    def _lead(self) -> None:
        """The best point so far as a study without confirmation tells it."""
        terms, order = self._terms, sorted(self.seen, key=lambda point: -self.seen[point][0])
        self.best = next((point for point in order if verdict.faithful(terms, point)), None)
        if self.best is not None:
            merit, figure = self.seen[self.best]
            outcomes = (launch.outcome for launch in self.launched[self.best])
            marked = any(isinstance(m, Measurement) and m.simulated for m in outcomes)
            self.best_figure = self.spoken(figure) + (SIMULATED if marked else "")
            self.climb.append(merit)

    @property
    def _terms(self) -> Terms:
        spaces = self.question.spaces if self.question else ()
        return Terms(goal=self.goal, spaces=spaces, fidelities=self.fidelities)

    def figure(self, measurement: Measurement) -> str:
        return self.spoken(self.goal.value(measurement)) + (SIMULATED if measurement.simulated else "")

    def spoken(self, value: float) -> str:
        is_time = latency_percent(self.goal.metric) is not None
        return words.seconds(value) if is_time else words.figure(self.goal, value)

    def named(self, point: Point) -> str:
        return words.point(point, self.question.spaces if self.question else ())

    @property
    def elapsed_s(self) -> float:
        running = (self.clock.now_ns() - self.seen_ns) / 1e9 if self.seen_ns else 0.0
        return self.at_s + running


def sparkline(climb: list[float], width: int = 40) -> str:
    """Best score so far, from its worst to its best, as a row of bars."""
    if not climb:
        return ""
    shown = [climb[i * len(climb) // min(width, len(climb))] for i in range(min(width, len(climb)))]
    shown[-1] = climb[-1]
    low, high = min(shown), max(shown)
    span = high - low
    return "".join(_BARS[-1] if span == 0 else _BARS[1 + int((v - low) / span * (len(_BARS) - 2))] for v in shown)


def panel(progress: Progress) -> RenderableType:
    """The live panel."""
    table = Table.grid(padding=(0, 2))
    left = max(0.0, progress.budget_s - progress.elapsed_s)
    table.add_row("phase", Text(_PHASES.get(progress.phase, progress.phase), style="bold"))
    table.add_row("now", Text(progress.point, style="dim", overflow="ellipsis", no_wrap=True))
    if progress.best is not None:
        best = f"{progress.best_figure}  {progress.named(progress.best)}"
        table.add_row("best so far", Text(best, style="green"))
        table.add_row("", Text(sparkline(progress.climb)))
    table.add_row("launches", f"{progress.launches}, {progress.failures} failed")
    if progress.budget_s:
        ends = f"{words.seconds(progress.elapsed_s)} spent, {words.seconds(left)} left (confirmation included)"
        table.add_row("time", ends)
    return Group(table, Text("Ctrl-C ends after the current launch and still prints the answer so far.", style="dim"))


class _Screen:
    """Renders afresh at every refresh, so that time moves between entries."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def __rich__(self) -> RenderableType:
        return panel(self._progress)


@contextmanager
def shown(progress: Progress, console: Console, quiet: bool = False) -> Iterator[Progress]:
    """Show ``progress`` while the block runs; refreshed once a second so that it does not disturb what is measured."""
    if console.is_terminal and not console.is_dumb_terminal and not quiet:
        with Live(_Screen(progress), console=console, refresh_per_second=1, transient=True):
            yield progress
    else:
        yield progress
