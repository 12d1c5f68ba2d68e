"""Searching on devices that leave the host's CPU alone: builds run ahead, and every card measures at the same time.

A round holds the points that the strategy wants while others are still under way, so the order of the rounds depends on
how long builds take: two runs of one study need not try the same points. Cards that are twins (see `study.twins`) share
the points of one space; times of all but the first are multiplied by a factor measured beforehand. Race and
confirmation, and so every figure that is reported, use the first card alone, or the twin that stands in for it once it
is lost.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

from infertune.build.pool import crowded_out
from infertune.core import history
from infertune.core.errors import DeviceLost
from infertune.core.records import Artifact, Built, Checked, Failed, Launch, Purpose, Round
from infertune.core.seams import Crew
from infertune.core.space import Point
from infertune.edge.crew import ThreadCrew
from infertune.edge.host import read_host
from infertune.study import screening
from infertune.study.cards import Card, leave_alone, rescaled
from infertune.study.checking import doubtful_leader
from infertune.study.loop import NOTHING_LEFT, Loop
from infertune.study.lost import GIVE_UP, device_lost
from infertune.study.twins import calibrate, cards

BLIND = 1 / 3
"""Where trials are counted, the most of those still to be measured that may be chosen before the others are known: with
eighteen of forty under way, the better half of a search would be chosen by what the worse half taught."""


LONG = 1 / 2
"""A build that took this part of the study so far and came to no end has failed, even if searching ends with it."""


@dataclass(frozen=True, slots=True)
class Step:
    """A point and what a card is to do with it: one launch, or a check of its outputs."""

    point: Point
    purpose: Purpose | Literal["check"] = "screen"

    def fits(self, card: Card) -> bool:
        """The first card of a kind stands for all when speeds drift or outputs are checked."""
        return card.runs(self.point) and (card.first or self.purpose == "screen")


@dataclass(frozen=True, slots=True)
class Build:
    """A step whose artifact is being built, since which second of the study."""

    step: Step
    began_s: float


@dataclass(slots=True)
class Lane:
    """One card: what it measures now, and launches that it refused since it last worked."""

    card: Card
    now: Step | None = None
    refused: list[Launch] = field(default_factory=list)

    @property
    def failures(self) -> list[Failed]:
        return [launch.outcome for launch in self.refused if isinstance(launch.outcome, Failed)]

    @property
    def lost(self) -> bool:
        return len(self.refused) >= GIVE_UP


@dataclass(slots=True, kw_only=True)
class Pipeline:
    """``builders`` builds at a time. ``queue``: steps that are not under way, the next one first.

    ``crowded``: those of them whose build failed as it may for want of memory beside others; each is built again alone.
    """

    loop: Loop
    crew: Crew
    builders: int
    lanes: list[Lane] = field(default_factory=list)
    queue: list[Step] = field(default_factory=list)
    crowded: list[Step] = field(default_factory=list)
    building: dict[Future[Built], Build] = field(default_factory=dict)
    measuring: dict[Future[Launch | Checked], Lane] = field(default_factory=dict)

    def search(self) -> str:
        """Screen points until the strategy is done, the trials are used up or only the reserve is left; says why.

        Raises `BusyError` (``device-lost``) when the first card of a kind does not work any more and no twin is left.
        """
        return self.loop.closing(self._searched())

    def _searched(self) -> str:
        found = [card for space in self.loop.setting.spaces for card in cards(self.loop, space)]
        self.lanes = [Lane(card) for card in self._placed(calibrate(self.loop, self.crew, found))]
        self.loop.bench.reserve.spare = [lane.card for lane in self.lanes if not lane.card.first]
        self.queue = self._unfinished()
        while True:
            self._take_in()
            self._look_again()
            why = self._ended()
            if not why and not self._ask():
                why = "" if self._waiting() else NOTHING_LEFT
            waited = len(self.queue)
            if not why:
                self._start()
            if not self._under_way() and len(self.queue) < waited:
                continue  # what waited had failed to build, and others may be asked for
            if not self._under_way() or (why and not self.measuring):
                self._cut()
                self._settle_refusals()
                return why or NOTHING_LEFT
            self.crew.wait([*self.measuring] if why else self._under_way())

    def _placed(self, found: Sequence[Card]) -> Iterator[Card]:
        """Those that work: without the ones that others stand in for."""
        for card in found:
            there = self.loop.bench.reserve.instead.get((card.space.target, card.space.device))
            if there is None:
                yield card
            elif not card.first:
                yield replace(card, first=card.device == there.device)

    # ------------------------------------------------------------ asking

    def _unfinished(self) -> list[Step]:
        """What an interrupted command asked for and never measured."""
        settled = {launch.point for launch in self.loop.launches("screen")}
        settled |= {trial.point for trial in self.loop.trials() if isinstance(trial.build, Failed)}
        asked = (p for e in self.loop.journal.entries if isinstance(e.event, Round) for p in e.event.points)
        return [Step(point) for point in dict.fromkeys(asked) if point not in settled]

    def _look_again(self) -> None:
        """What the study owes to known points comes before new ones: `Loop.due_again`, and the leader's check.

        A check takes the card for two runs or more and every program of a card has its own, so the others wait for the
        race, which checks everybody near the lead. Two at a time would compute one reference twice, into one file.
        """
        if not self.loop.launches("screen"):
            return
        pending, known = self._pending(), self.loop.bench.builds.known
        is_checking = any(step.purpose == "check" for step in pending)
        doubtful = None if is_checking else doubtful_leader(self.loop)
        owed = [Step(doubtful, "check")] if doubtful else []
        owed += [Step(point, purpose) for point, purpose in self.loop.due_again()]
        self.queue[:0] = [s for s in owed if s not in pending and not isinstance(known(s.point), Failed)]

    def _ended(self) -> str:
        """Why no further point is begun; empty while there is no reason."""
        loop = self.loop
        if loop.stop():
            return "interrupted"
        if loop.is_over():
            return history.TIME_SPENT
        most = loop.max_trials
        spent = most is not None and len(loop.asked()) >= most
        return history.trials_spent(most) if most is not None and spent and not self._waiting() else ""

    def _waiting(self) -> bool:
        return bool(self.queue or self._under_way())

    def _under_way(self) -> list[Future[Built] | Future[Launch | Checked]]:
        return [*self.building, *self.measuring]

    def _pending(self) -> list[Step]:
        building = [build.step for build in self.building.values()]
        return [*self.queue, *building, *(lane.now for lane in self.measuring.values() if lane.now)]

    def _ask(self) -> bool:
        """Have the next likely points in the queue; False when the strategy offers none."""
        loop, pending = self.loop, list(dict.fromkeys(step.point for step in self._pending()))
        room = self._room(len(pending))
        if room <= 0:
            return True
        began = loop.clock.now_ns()
        offered = loop.proposed(room, pending)
        fresh = [point for point in loop.legal_and_new(offered) if point not in pending]
        if fresh:
            loop.journal.append(Round(points=tuple(fresh), think_s=(loop.clock.now_ns() - began) / 1e9))
            self.queue += map(Step, fresh)
        return bool(fresh)

    def _room(self, pending: int) -> int:
        """How many points to ask for beside ``pending``: enough for every builder and card, within `BLIND`."""
        most, trials = self.builders + 2 * len(self._working()), self.loop.max_trials
        if trials is None:
            return most - pending
        left = trials - len(self.loop.asked())
        return min(left, min(most, math.ceil(BLIND * (left + pending))) - pending)

    # ------------------------------------------------------------ starting

    def _working(self) -> list[Lane]:
        return [lane for lane in self.lanes if not lane.lost]

    def _start(self) -> None:
        for lane in self._working():
            if lane.now is None:
                self._measure_next(lane)
        for step in self.crowded[:1] or list(self.queue):
            if not self._may_build(step):
                return
            if self.loop.bench.builds.known(step.point) is None and not self._being_built(step.point):
                self._build(step)

    def _may_build(self, step: Step) -> bool:
        """Whether a build may begin beside those under way: there is a hand, room on the disk, and nobody crowded."""
        beside = len(self.building)
        if not beside:
            return True
        return not self.crowded and beside < self.builders and self.loop.bench.builds.has_space(step.point, beside)

    def _being_built(self, point: Point) -> bool:
        return any(self.loop.bench.builds.same_build(point, other.step.point) for other in self.building.values())

    def _build(self, step: Step) -> None:
        self.loop.on_phase("build", self.loop.named(step.point))
        build = partial(self.loop.bench.builds.build_alone, step.point, self.loop.most_build_s())
        self.building[self.crew.submit(build)] = Build(step, self.loop.journal.elapsed_s)
        self.queue.remove(step)

    def _measure_next(self, lane: Lane) -> None:
        """The first step in the queue whose artifact is there; points whose build failed are recorded and passed."""
        builds = self.loop.bench.builds
        for step in [s for s in self.queue if s.fits(lane.card)]:
            artifact = builds.known(step.point)
            if isinstance(artifact, Failed):
                builds.record_failed(step.point, artifact)
                self.queue.remove(step)
            elif artifact is not None:
                self._begin(lane, step, artifact)
                return

    def _begin(self, lane: Lane, step: Step, artifact: Artifact) -> None:
        self.queue.remove(step)
        lane.now = step
        self.measuring[self.crew.submit(self._work(lane.card, step, artifact))] = lane

    def _work(self, card: Card, step: Step, artifact: Artifact) -> Callable[[], Launch | Checked]:
        bench = self.loop.bench
        if step.purpose == "check":
            self.loop.on_phase("verify", self.loop.named(step.point))
            return partial(bench.checks.compared, step.point)
        self.loop.on_phase("search", self.loop.named(step.point))
        there = replace(step.point, device=card.device)
        plan, most_s = self.loop.plans.screen, self.loop.most_screen_s()
        return partial(bench.measure, there, artifact, step.purpose, 0, plan, most_s=most_s)

    # ------------------------------------------------------------ taking in

    def _take_in(self) -> None:
        for built in [future for future in self.building if future.done()]:
            self._built(self.building.pop(built).step, built.result())
        for measured in [future for future in self.measuring if future.done()]:
            self._taken(self.measuring.pop(measured), measured)

    def _taken(self, lane: Lane, measured: Future[Launch | Checked]) -> None:
        """A check raises where its card is lost."""
        try:
            found = measured.result()
        except DeviceLost as lost:
            step, lane.now = lane.now, None
            if step is None:
                raise
            self._replace(lane, step.point, lost)
            self.queue.insert(0, step)
        else:
            self._measured(lane, found)

    def _built(self, step: Step, built: Built) -> None:
        if step in self.crowded:
            self.crowded.remove(step)
        elif crowded_out(built, self.builders):
            self.crowded.append(step)
            self.queue.insert(0, step)
            return
        if not self._cut_short(built):
            self.loop.bench.builds.keep(built)
        if not isinstance(built.outcome, Failed):
            self.queue.insert(0, step)

    def _cut_short(self, built: Built) -> bool:
        """Whether the end of searching cut a build that had little time, which says nothing about the point."""
        if not isinstance(built.outcome, Failed) or built.outcome.kind != "timeout":
            return False
        return self.loop.searching_s() <= 0.0 and built.wall_s < LONG * self.loop.journal.elapsed_s

    def _cut(self) -> None:
        """The time for searching is over: nobody waits for what is still being built."""
        for build in [] if self.loop.stop() else self.building.values():
            wall_s = self.loop.journal.elapsed_s - build.began_s
            failed = Failed(stage="build", kind="timeout", message=f"no result within {wall_s:.0f} s")
            self._built(build.step, Built(point=build.step.point, outcome=failed, wall_s=wall_s))

    def _measured(self, lane: Lane, found: Launch | Checked) -> None:
        step, lane.now = lane.now, None
        assert step is not None
        if isinstance(found, Checked):
            self.loop.journal.append(found)
            return
        launch = rescaled(found, step.point, lane.card)
        if isinstance(launch.outcome, Failed) and launch.outcome.is_refusal:
            lane.refused.append(launch)
            if lane.lost:
                self._leave(lane)
            return
        for held in (*lane.refused, launch):
            self.loop.journal.append(held)
        lane.refused.clear()

    def _leave(self, lane: Lane) -> None:
        """The card refuses everything: its points go back, as it says nothing about them."""
        if lane.card.first:
            self._replace(lane, lane.refused[-1].point, device_lost(lane.card.device, lane.failures))
        else:
            self.lanes.remove(lane)
            self.loop.bench.reserve.drop(lane.card.device)
            why = f"it refused {GIVE_UP} launches: {lane.failures[-1].message}"
            leave_alone(self.loop.journal, lane.card.device, why)
        self.queue[:0] = [Step(launch.point, launch.purpose) for launch in lane.refused]

    def _replace(self, lane: Lane, point: Point, lost: DeviceLost) -> None:
        """A twin takes the place of the first card of its kind. Raises ``lost`` where there is none."""
        twin = self.loop.bench.replace(point, lost.said)
        if twin is None:
            raise lost
        self.lanes.remove(lane)
        for other in self.lanes:
            if other.card == twin:
                other.card = replace(twin, first=True)

    def _settle_refusals(self) -> None:
        """What a card refused before it worked again, or before the end, is a fact about those points.

        Raises `BusyError` (``device-lost``) when the first card refused and nothing was measured at all.
        """
        for lane in self._working():
            if lane.card.first and lane.refused and not self.loop.scores():
                raise device_lost(lane.card.device, lane.failures)
        for launch in self._refusals():
            self.loop.journal.append(launch)

    def _refusals(self) -> Iterator[Launch]:
        for lane in self._working():
            yield from lane.refused
            lane.refused = []


def default_builders() -> int:
    """The vendor's tool compiles 8 to 16 at a time on hosts of 48 to 128 CPUs."""
    return max(2, min(16, len(read_host().online) // 8))


@dataclass(frozen=True, slots=True, kw_only=True)
class Staff:
    """Who works on a study: ``crew`` makes a crew of so many hands; ``builders`` of them build."""

    crew: Callable[[int], Crew] = ThreadCrew
    builders: int = field(default_factory=default_builders)


def search(loop: Loop, staff: Staff) -> str:
    """The study's search, overlapped where its devices allow that. Why it ended."""
    if loop.setting.on_host:
        return screening.search(loop)
    crew = staff.crew(staff.builders + len(loop.setting.question.devices))
    try:
        return Pipeline(loop=loop, crew=crew, builders=staff.builders).search()
    finally:
        crew.close()
