"""What a study's phases share: readings of the record, what the search goes by, time, and blocks of launches.

The phases: `study.screening` or `study.pipeline` (the search), `study.racing`, `study.confirming`, `study.ablating`.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise

from infertune.core import audit, guard, history, verdict, words
from infertune.core.goal import load_for
from infertune.core.records import Checked, Launch, Measurement, Noise, Plan, Purpose, Round, Trial
from infertune.core.seams import Clock, Strategy
from infertune.core.seeds import natural
from infertune.core.space import Point
from infertune.core.standing import WITHIN, Standing, is_clear, standing
from infertune.core.verdict import Terms
from infertune.measure import again
from infertune.measure import plan as planning
from infertune.measure import race as racing
from infertune.search import Ending
from infertune.study.bench import Bench
from infertune.study.builds import BUILD_TIMEOUT_S
from infertune.study.calm import Calm
from infertune.study.journal import Journal
from infertune.study.question import Setting

OnPhase = Callable[[str, str], None]
LEAST_BUILD_S = 30.0
EACH = 0.5  # of what is left for searching, at most, for one build or one launch: others must have their turn
LEAST_LAUNCH_S = 20.0
LEAST_SHARE = 0.25  # of the budget, where that is less than the least of a build or launch
NOTHING_LEFT = "the strategy has nothing left that is worth a trial"
_FIRST_GUESS_S = 2.0  # launch overhead assumed before any launch was seen


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Seconds that launches of each point took: ``overheads`` beyond the window (``usual_s`` for a new point)."""

    overheads: Mapping[Point, float]
    windows: Mapping[Point, float]
    usual_s: float

    def overhead_s(self, point: Point) -> float:
        return self.overheads.get(point, self.usual_s)

    def launch_s(self, point: Point, plan: Plan) -> float:
        """A window is never shorter than a few requests, however slow they are."""
        return self.overhead_s(point) + max(plan.min_time_s, self.windows.get(point, 0.0))


@dataclass(slots=True, kw_only=True)
class Loop:
    """Everything the phases share. ``stop()`` becomes true when a person asks to end after the current launch."""

    setting: Setting
    journal: Journal
    bench: Bench
    strategy: Strategy
    ending: Ending
    clock: Clock
    budget_s: float
    max_trials: int | None
    stop: Callable[[], bool]
    on_phase: OnPhase
    calm: Calm
    noise: Noise = "refuse"

    # ------------------------------------------------------------ reading the record

    @property
    def left_s(self) -> float:
        return self.budget_s - self.journal.elapsed_s

    @property
    def plans(self) -> planning.Plans:
        goal = self.setting.goal
        return planning.plans(self.budget_s, load_for(goal), counted=planning.only_counted(goal))

    def trials(self) -> tuple[Trial, ...]:
        return history.trials(self.journal.entries)

    def asked(self) -> set[Point]:
        """Points that the strategy asked for; baselines and references measured on top do not count as trials spent."""
        return {p for e in self.journal.entries if isinstance(e.event, Round) for p in e.event.points}

    def tried(self) -> tuple[Trial, ...]:
        """Trials without those that were only built, as references for fidelity checks are."""
        asked = self.asked()
        return tuple(trial for trial in self.trials() if trial.launches or trial.point in asked)

    def baselines(self) -> list[Point]:
        return [b.point for space in self.setting.spaces for b in space.baselines]

    def rivals(self) -> list[Point]:
        """The baselines that may be recommended: a launch of one with wrong outputs would decide nothing."""
        return [baseline for baseline in self.baselines() if self.faithful(baseline)]

    def launches(self, *purposes: Purpose) -> list[Launch]:
        """Those of these purposes, oldest first."""
        return [la for la in history.launches(self.journal.entries) if la.purpose in purposes]

    def usable(self, launches: Sequence[Launch]) -> list[Launch]:
        """Launches that may decide: undisturbed ones, or all of them where the person accepts noise."""
        return [la for la in launches if self.noise == "accept" or not audit.contaminated(la.flags)]

    def scores(self) -> dict[Point, list[float]]:
        """Scores of every point's launches but the fresh ones; disturbed ones only where a point has no others."""
        found = self._chosen_from()
        return {p: [self.score(la) for la in self.usable(all_) or all_] for p, all_ in found.items()}

    def spread(self) -> float:
        """How much the scores of one point differ between launches so far, beyond what a block has in common."""
        together: dict[int | None, list[float]] = {}
        for launch, change in self._changes():
            together.setdefault(launch.block if launch.purpose == "race" else None, []).append(change)
        alone = together.pop(None, [])
        return racing.spread([*([change] for change in alone), *together.values()])

    def _changes(self) -> Iterator[tuple[Launch, float]]:
        """Each launch of a point that was launched before, and by how much its score differs from the one before."""
        for all_ in self._chosen_from().values():
            for before, after in pairwise(self.usable(all_)):
                yield after, self.score(after) - self.score(before)

    def _chosen_from(self) -> dict[Point, list[Launch]]:
        """What choosing goes by; the anchor is a point like others, and its launches tell how fast it is."""
        found: dict[Point, list[Launch]] = {}
        for launch in self.launches(*history.CHOSEN_FROM):
            if isinstance(launch.outcome, Measurement):
                found.setdefault(launch.point, []).append(launch)
        return found

    def untold(self) -> list[Point]:
        """Points that may be better than they seem, because other programs disturbed all their launches."""
        seen = self.launches(*history.CHOSEN_FROM)
        return history.untold(seen, self.setting.goal.score) if self.noise == "refuse" else []

    def score(self, launch: Launch) -> float:
        assert isinstance(launch.outcome, Measurement)
        return self.setting.goal.score(launch.outcome)

    def costs(self) -> Costs:
        """What launches so far say about the next ones; one reading of the record, for whoever asks about many."""
        beyond: dict[Point, list[float]] = {}
        windows: dict[Point, float] = {}
        for launch in history.launches(self.journal.entries):
            if isinstance(launch.outcome, Measurement):
                window_s = launch.outcome.wall_ns / 1e9
                beyond.setdefault(launch.point, []).append(launch.wall_s - window_s)
                windows[launch.point] = min(window_s, windows.get(launch.point, math.inf))
        usual = statistics.median(chain.from_iterable(beyond.values())) if beyond else _FIRST_GUESS_S
        overheads = {point: statistics.median(own) for point, own in beyond.items()}
        return Costs(overheads=overheads, windows=windows, usual_s=usual)

    def standing(self, point: Point) -> Standing:
        """How the point's launches so far stand to the limits; `WITHIN` for none."""
        return self._standing(point, self._chosen_from().get(point, []))

    def _standing(self, point: Point, own: Sequence[Launch]) -> Standing:
        measured = self._measured(own)
        return standing(self.setting.goal, point, measured) if measured else WITHIN

    def clear(self) -> list[Point]:
        """Points that will keep the limits on other launches, too: no limit is near those so far.

        A limit does not drift with the machine, so here what a block has in common is part of how launches differ.
        """
        goal, spread = self.setting.goal, racing.spread([change] for _, change in self._changes())
        own = {point: self._measured(launches) for point, launches in self._chosen_from().items()}
        return self.feasible(point for point in own if is_clear(goal, point, own[point], spread))

    def _measured(self, own: Sequence[Launch]) -> list[Measurement]:
        """What a point's launches found: its usable ones, or all where there are no others."""
        return [la.outcome for la in self.usable(own) or own if isinstance(la.outcome, Measurement)]

    def feasible(self, points: Iterable[Point]) -> list[Point]:
        """Those not known to break a limit, nor to be unfaithful; one reading of the record for all of them."""
        own, terms = self._chosen_from(), self.terms()
        kept = (point for point in points if self._standing(point, own.get(point, [])).state != "beyond")
        return [point for point in kept if verdict.faithful(terms, point)]

    def terms(self) -> Terms:
        """Goal and checks so far."""
        return Terms(
            goal=self.setting.goal,
            spaces=self.setting.question.spaces,
            fidelities=history.fidelities(self.journal.entries),
        )

    def faithful(self, point: Point) -> bool:
        """False once its outputs, or those of a point with the same arithmetic, are known to be wrong."""
        return verdict.faithful(self.terms(), point)

    def named(self, point: Point) -> str:
        """The point in words, for whoever watches."""
        return words.point(point, self.setting.question.spaces)

    def by_goal(self) -> list[Loop]:
        """The study looked at for its goal, then for that of each level that a front is asked at."""
        levels = self.setting.goal.at_levels
        return [self, *(replace(self, setting=replace(self.setting, goal=goal)) for goal in levels)]

    # ------------------------------------------------------------ search

    def reserve_s(self) -> float:
        """Kept back for race and confirmation."""
        return self.confirm_reserve_s(self._cheap_leader()) + planning.race_share(self.setting.goal) * self.budget_s

    def _cheap_leader(self) -> list[Point]:
        """Of the points that nothing much separates from the best, the one that is launched soonest."""
        scores = self.scores()
        best = max(map(max, scores.values()), default=0.0)
        near = [p for p in scores if best - max(scores[p]) <= math.log1p(verdict.MARGIN)]
        costs, plan = self.costs(), self.plans.confirm
        return sorted(near, key=lambda point: costs.launch_s(point, plan))[:1]

    def is_over(self) -> bool:
        """Whether only the reserve is left, or no time at all while nothing was measured that it could be for."""
        return self.left_s <= (self.reserve_s() if self.scores() else 0.0)

    def closing(self, why: str) -> str:
        """Why the search ended, and what the strategy says was left untried."""
        left = "" if self.stop() else self.ending(self.setting.spaces, self.trials(), self.setting.goal)
        return f"{why}; {left}" if left else why

    def proposed(self, count: int = 1, under_way: Sequence[Point] = ()) -> Sequence[Point]:
        """What the strategy wants next; points with wrong outputs are failures to it and not offered again.

        Points ``under_way`` are trials without launches to it.
        """
        terms = self.terms()
        spaces, seen = guard.narrowed(self.setting.spaces, terms), guard.judged(self.tried(), terms)
        known = {trial.point for trial in seen}
        history = (*seen, *(Trial(point=point) for point in under_way if point not in known))
        return self.strategy(spaces, history, self.setting.goal, count, natural(self.setting.question.seed))

    def due_again(self) -> Iterator[tuple[Point, Purpose]]:
        """The anchor when it is due, and one launch that other programs disturbed some time ago."""
        launches = self.launches("screen", "anchor")
        if again.anchor_due(launches):
            yield from ((anchor, "anchor") for anchor in self.baselines()[:1])
        point = again.due([la for la in launches if la.purpose == "screen"], self.setting.goal.score)
        if point is not None and self.noise == "refuse":
            yield point, "screen"

    def legal_and_new(self, points: Sequence[Point]) -> list[Point]:
        """Those of ``points`` that may be tried and were not."""
        known = {trial.point for trial in self.tried()}
        return [
            p
            for p in dict.fromkeys(points)
            if p not in known and self.setting.space(p.target, p.device).why_illegal(p) is None
        ]

    def most_launch_s(self) -> float:
        """A point that hangs must not take the study far beyond its budget."""
        return max(LEAST_LAUNCH_S, self.left_s + planning.OVERTIME_S)

    def most_build_s(self, share: float = 1.0) -> float:
        """A build that hangs must leave the time for confirmation; ``share`` of what searching has left."""
        return min(BUILD_TIMEOUT_S, max(self._least_s(LEAST_BUILD_S), share * self.searching_s()))

    def most_screen_s(self) -> float:
        """A launch that hangs must leave the time for others."""
        return max(self._least_s(LEAST_LAUNCH_S), EACH * self.searching_s())

    def _least_s(self, usual_s: float) -> float:
        return min(usual_s, LEAST_SHARE * self.budget_s)

    def searching_s(self) -> float:
        """What is left of the time for searching."""
        return self.left_s - self.reserve_s()

    # ------------------------------------------------------------ blocks

    def affordable(self, points: Sequence[Point], plan: Plan, until_s: float, times: int = 1) -> bool:
        """Whether ``times`` launches of each point end before ``until_s`` of study time."""
        costs = self.costs()
        cost = times * sum(costs.launch_s(p, plan) for p in points)
        return not self.stop() and self.journal.elapsed_s + cost <= until_s

    def affordable_part(self, points: Sequence[Point], plan: Plan, until_s: float) -> list[Point]:
        """Those of ``points``, taken in their order, of which one launch each ends before ``until_s``."""
        part: list[Point] = []
        for point in points:
            if self.affordable([*part, point], plan, until_s):
                part.append(point)
        return part

    def block(self, points: Sequence[Point], purpose: Purpose, block: int, plan: Plan, calm_by: float) -> None:
        """Launch each point once, in this block's own random order."""
        for point in racing.block_order(points, self.setting.question.seed, block):
            self.calm.wait(calm_by)
            if not self.stop():
                self.on_phase(purpose, self.named(point))
                self.bench.launch(point, purpose, block, plan, most_s=self.most_launch_s())

    def repeated_block(
        self, points: Sequence[Point], purpose: Purpose, block: int, plan: Plan, until_s: float, *, owed: int = 1
    ) -> None:
        """Everybody once, then, up to twice, those that were disturbed: nobody loses by a neighbour's noise.

        So many blocks are ``owed`` before ``until_s`` that waiting for a quiet machine must leave the time for them.
        """
        waiting, costs = list(points), self.costs()
        calm_by = until_s - owed * sum(costs.launch_s(point, plan) for point in points)
        for attempt in range(1 + again.RETRIES):
            if not waiting or (attempt and not self.affordable(waiting, plan, until_s)):
                return
            before = len(self.launches(purpose))
            self.block(waiting, purpose, block, plan, calm_by)
            waiting = [la.point for la in self.launches(purpose)[before:] if not self.usable([la])]

    def confirm_reserve_s(self, leaders: Sequence[Point]) -> float:
        """Kept back for confirming the first of ``leaders`` (a baseline stands for it where there is none).

        Beside it its rivals, and whom `planning.to_confirm` adds.
        """
        points = dict.fromkeys([*leaders[:1], *self.rivals()])
        plan, costs = self.plans.confirm, self.costs()
        leader_s, *baselines_s = [costs.launch_s(p, plan) - plan.min_time_s for p in points] or [_FIRST_GUESS_S]
        asked = planning.to_confirm(self.setting.goal, leader_s, baselines_s)
        return planning.confirm_reserve_s(self.budget_s, asked, plan) + self.check_s()

    def confirmable(self, points: Sequence[Point]) -> bool:
        """Whether these can be launched often enough beside their rivals before the budget ends."""
        beside = [*points, *(b for b in self.rivals() if b not in points)]
        until = self.budget_s + planning.OVERTIME_S - self.check_s()
        return self.affordable(beside, self.plans.confirm, until, times=planning.LEAST_BLOCKS)

    def check_s(self) -> float:
        """What the finalists' fidelity checks may take: as long as the longest so far, for two."""
        walls = [e.event.wall_s for e in self.journal.entries if isinstance(e.event, Checked)]
        return min(planning.CHECK_SHARE * self.budget_s, 2 * max(walls, default=0.0))
