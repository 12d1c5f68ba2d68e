"""Readings of a study's record: what was tried, what it cost, and which launches may be reported."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from infertune.core import audit
from infertune.core.errors import DataError
from infertune.core.records import (
    Artifact,
    Built,
    Ceilings,
    Checked,
    Closed,
    Decided,
    Device,
    Entry,
    Failed,
    Fidelity,
    Launch,
    Measurement,
    Noise,
    Opened,
    Purpose,
    Question,
    Round,
    Trial,
    Waited,
)
from infertune.core.space import Point

MEASURED_ON = "measured_on"
"""The setting of a measurement that names the device, where it is not the point's own."""
MULTIPLIED = "times_multiplied_by"
"""The setting beside it: the factor by which the times were multiplied to be comparable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The successful launches of one point, each with its block, oldest first."""

    point: Point
    runs: tuple[tuple[int, Measurement], ...]

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        return tuple(measurement for _, measurement in self.runs)

    def by_block(self, figure: Callable[[Measurement], float]) -> dict[int, float]:
        """Block -> the median figure of its launches."""
        found: dict[int, list[float]] = {}
        for block, measurement in self.runs:
            found.setdefault(block, []).append(figure(measurement))
        return {block: statistics.median(figures) for block, figures in found.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """A decision and the launches made after it, none of which took part in choosing.

    ``disturbed`` holds those that may not confirm, because other programs disturbed them (see `trusted`).
    """

    finalists: tuple[Point, ...]
    ties: tuple[Point, ...] = ()
    launches: tuple[Launch, ...] = ()
    disturbed: tuple[Launch, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """Where the study's time went, in seconds.

    ``confirm`` includes fidelity checks; ``waiting`` was for other programs to leave the CPUs; ``other`` is the rest.
    """

    search: float
    build: float
    measure: float
    confirm: float
    waiting: float
    other: float

    @property
    def total(self) -> float:
        return self.search + self.build + self.measure + self.confirm + self.waiting + self.other


def question(entries: Sequence[Entry]) -> Question:
    """The first line of the record. Raises `DataError` (id ``record-without-question``) when there is none."""
    for entry in entries:
        if isinstance(entry.event, Question):
            return entry.event
    raise DataError(
        "record-without-question",
        "the run record holds no question, so nothing was measured",
        hint="start again with `infertune tune MODEL -o RUN`",
    )


def launches(entries: Iterable[Entry]) -> tuple[Launch, ...]:
    return tuple(e.event for e in entries if isinstance(e.event, Launch))


def next_block(launched: Iterable[Launch]) -> int:
    """The number of the block after those of the launches; 0 where there are none."""
    return max((launch.block for launch in launched), default=-1) + 1


def trials(entries: Iterable[Entry]) -> tuple[Trial, ...]:
    """Every point that was built or launched, in the order work on it began; points only asked for are left out.

    Launches of an ablation belong to no trial: they come after the answer.
    """
    found: dict[Point, list[Launch]] = {}
    builds: dict[Point, Artifact | Failed] = {}
    for entry in entries:
        event = entry.event
        if isinstance(event, Built):
            builds[event.point] = event.outcome
            found.setdefault(event.point, [])
        elif isinstance(event, Launch) and event.purpose != "ablate":
            found.setdefault(event.point, []).append(event)
    return tuple(Trial(point=p, launches=tuple(ls), build=builds.get(p)) for p, ls in found.items())


def sample(point: Point, among: Iterable[Launch]) -> Sample:
    """The launches of ``point`` that completed at least one request."""
    runs = ((launch.block, launch.outcome) for launch in among if launch.point == point)
    return Sample(point=point, runs=tuple((b, m) for b, m in runs if isinstance(m, Measurement) and has_figures(m)))


def has_figures(measurement: Measurement) -> bool:
    """Whether any request completed in the window."""
    return len(measurement.latencies_ns) > 0 and measurement.wall_ns > 0


def failure(trial: Trial) -> Failed | None:
    """Why a trial gave no figure; None when at least one launch did (or none was tried yet)."""
    if sample(trial.point, trial.launches).runs:
        return None
    if isinstance(trial.build, Failed):
        return trial.build
    failed = [launch.outcome for launch in trial.launches if isinstance(launch.outcome, Failed)]
    return failed[-1] if failed else None


def fidelities(entries: Iterable[Entry]) -> dict[Point, Fidelity]:
    """The last fidelity check of every point that had one."""
    return {e.event.fidelity.point: e.event.fidelity for e in entries if isinstance(e.event, Checked)}


def closed(entries: Sequence[Entry]) -> Closed | None:
    """How the last command ended; None when the record just stops (killed, or still running)."""
    last = entries[-1].event if entries else None
    return last if isinstance(last, Closed) else None


def ceilings(entries: Iterable[Entry]) -> Ceilings | None:
    """The last measurement of what the machine can do at most; None where none was made."""
    found = [e.event for e in entries if isinstance(e.event, Ceilings)]
    return found[-1] if found else None


def budget_s(entries: Iterable[Entry]) -> float | None:
    """The budget of the last command."""
    budgets = [e.event.budget_s for e in entries if isinstance(e.event, Opened)]
    return budgets[-1] if budgets else None


def spent(entries: Sequence[Entry]) -> Spent:
    """Builds that overlapped measuring may add up to more than the study's time; ``other`` is then 0."""
    totals = dict.fromkeys(("search", "build", "measure", "confirm", "waiting"), 0.0)
    for entry in entries:
        event = entry.event
        if isinstance(event, Round):
            totals["search"] += event.think_s
        elif isinstance(event, Built):
            totals["build"] += event.wall_s
        elif isinstance(event, Checked):
            totals["confirm"] += event.wall_s
        elif isinstance(event, Waited):
            totals["waiting"] += event.wall_s
        elif isinstance(event, Launch):
            totals["confirm" if event.purpose == "confirm" else "measure"] += event.wall_s
    at_s = entries[-1].at_s if entries else 0.0
    return Spent(**totals, other=max(0.0, round(at_s - sum(totals.values()), 9)))


def last_launch(entries: Sequence[Entry]) -> Launch | None:
    """The newest one; None before the first."""
    return next((e.event for e in reversed(entries) if isinstance(e.event, Launch)), None)


def confirmations(entries: Iterable[Entry]) -> tuple[Confirmation, ...]:
    """Decisions with their fresh launches, oldest first.

    A study that is extended decides again, and launches confirmed before have then taken part in choosing, so they
    belong to the older decision only. A decision written again with no search in between (a resumed confirmation)
    is the same one, unless it is about other finalists altogether: those of before broke a limit.
    """
    found: list[Confirmation] = []
    searched = True
    for entry in entries:
        event = entry.event
        if isinstance(event, Decided):
            resumed = found and not searched and set(event.finalists).intersection(found[-1].finalists)
            before = found.pop().launches if resumed else ()
            found.append(Confirmation(finalists=event.finalists, ties=event.ties, launches=before))
            searched = False
        elif isinstance(event, Launch) and event.purpose == "confirm" and found:
            found[-1] = replace(found[-1], launches=(*found[-1].launches, event))
        elif isinstance(event, Launch) and event.purpose in ("screen", "race"):
            searched = True
    return tuple(found)


def standing_decisions(entries: Sequence[Entry]) -> tuple[Confirmation, ...]:
    """The decisions, with their fresh launches, that no point was searched or raced after; oldest first."""
    chosen = [isinstance(e.event, Launch) and e.event.purpose in ("screen", "race") for e in entries]
    return confirmations(entries[max((at for at, one in enumerate(chosen, start=1) if one), default=0) :])


TIME_SPENT = "the time for searching is spent"
TRIALS_SPENT = "trials are spent"
"""How a search says that a larger budget, or more trials, would have let it go on."""


def trials_spent(most: int) -> str:
    """``all trials are spent (--trials 6, baselines not counted)``."""
    return f"all {TRIALS_SPENT} (--trials {most}, baselines not counted)"


def why_ended(entries: Iterable[Entry]) -> str:
    """Why the last search ended; empty while none has."""
    ended = ""
    for entry in entries:
        if isinstance(entry.event, Decided | Closed):
            ended = entry.event.why
        elif isinstance(entry.event, Round):
            ended = ""
    return ended


def why_decided(entries: Iterable[Entry]) -> str:
    """Why the search ended before the last decision."""
    return [e.event.why for e in entries if isinstance(e.event, Decided)][-1]


CHOSEN_FROM: tuple[Purpose, ...] = ("screen", "race", "anchor")
"""What launches that take part in choosing are made for; the anchor is a point like others."""

SLOWED_MOST = math.log(3.0)
"""The worst contamination seen slowed a launch by 3x: what is further behind the best than that is no candidate."""


def untold(launches: Sequence[Launch], score: Callable[[Measurement], float]) -> list[Point]:
    """Points whose launches were all disturbed, so that they may be better than they seem; first tried first.

    Not those that are further behind the best than any disturbance explains.
    """
    if not any(audit.contaminated(launch.flags) for launch in launches):
        return []
    own: dict[Point, list[Launch]] = {}
    for launch in launches:
        own.setdefault(launch.point, []).append(launch)
    never = {point: of for point, of in own.items() if _never_undisturbed(of)}
    best = max(_scores(launches, score), default=0.0) if never else 0.0
    return [point for point, of in never.items() if best - max(_scores(of, score)) <= SLOWED_MOST]


def _never_undisturbed(own: Sequence[Launch]) -> bool:
    measured = any(isinstance(launch.outcome, Measurement) for launch in own)
    return measured and all(audit.contaminated(launch.flags) for launch in own)


def _scores(launches: Sequence[Launch], score: Callable[[Measurement], float]) -> Iterator[float]:
    return (score(launch.outcome) for launch in launches if isinstance(launch.outcome, Measurement))


def trusted(confirmation: Confirmation, noise: Noise) -> Confirmation:
    """The same confirmation, without the launches that other programs disturbed unless ``noise`` is accepted."""
    if noise == "accept":
        return confirmation
    clean = tuple(launch for launch in confirmation.launches if not audit.contaminated(launch.flags))
    disturbed = tuple(launch for launch in confirmation.launches if audit.contaminated(launch.flags))
    return replace(confirmation, launches=clean, disturbed=disturbed)


def noise(entries: Iterable[Entry]) -> Noise:
    """What the last command said about disturbed launches: ``refuse`` or ``accept``."""
    said: list[Noise] = [e.event.noise for e in entries if isinstance(e.event, Opened)]
    return said[-1] if said else "refuse"


def simulated(asked: Question, among: Iterable[Launch]) -> bool:
    """Whether any figure comes from a simulated device."""
    outcomes = (launch.outcome for launch in among)
    return any(d.simulated for d in asked.devices) or any(isinstance(m, Measurement) and m.simulated for m in outcomes)


def measured_on(launch: Launch) -> str:
    """The device of a launch; a twin of the point's own says so itself."""
    told = dict(launch.outcome.settings) if isinstance(launch.outcome, Measurement) else {}
    return told.get(MEASURED_ON, launch.point.device)


def device_of(asked: Question, point: Point | None) -> Device | None:
    """The device a point ran on; the first one for None."""
    for device in asked.devices:
        if point is None or (device.target, device.name) == (point.target, point.device):
            return device
    return None
