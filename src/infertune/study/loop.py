"""A study's life: search, race, confirm. Reads the journal, asks for launches, decides; the only orchestrator."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from infertune.core import audit, history
from infertune.core.goal import worst_excess
from infertune.core.records import Checked, Decided, Failed, Fidelity, Launch, Measurement, Plan, Purpose, Round, Trial
from infertune.core.seams import Clock, Strategy
from infertune.core.space import Point
from infertune.measure import plan as planning
from infertune.measure import race as racing
from infertune.study.bench import Bench
from infertune.study.journal import Journal
from infertune.study.question import Setting

OnPhase = Callable[[str, str], None]
_EXACT = ("f32",)
OVERTIME_S = 8.0  # past the budget, only to complete the least number of confirmation blocks
_FIRST_GUESS_S = 2.0  # launch overhead assumed before any launch was seen


@dataclass(slots=True, kw_only=True)
class Loop:
    """Everything the phases share. ``stop()`` becomes true when a person asks to end after the current launch."""

    setting: Setting
    journal: Journal
    bench: Bench
    strategy: Strategy
    clock: Clock
    budget_s: float
    max_trials: int | None
    stop: Callable[[], bool]
    on_phase: OnPhase

    # ------------------------------------------------------------ reading the record

    @property
    def left_s(self) -> float:
        return self.budget_s - self.journal.elapsed_s

    @property
    def plans(self) -> planning.Plans:
        return planning.plans(self.budget_s)

    def trials(self) -> tuple[Trial, ...]:
        return history.trials(self.journal.entries)

    def asked(self) -> set[Point]:
        """Points that the strategy asked for; baselines and references measured on top do not count as trials spent."""
        return {p for e in self.journal.entries if isinstance(e.event, Round) for p in e.event.points}

    def baselines(self) -> list[Point]:
        return [b.point for space in self.setting.spaces for b in space.baselines]

    def scores(self, *, raced: bool = False) -> dict[Point, list[float]]:
        """Scores of every point's search launches; clean ones alone where there are any, race ones alone if asked."""
        found: dict[Point, list[tuple[bool, float]]] = {}
        for launch in history.launches(self.journal.entries):
            wanted = launch.purpose == "race" or (not raced and launch.purpose == "screen")
            if wanted and isinstance(launch.outcome, Measurement):
                clean = not audit.contaminated(launch.flags)
                found.setdefault(launch.point, []).append((clean, self.setting.goal.score(launch.outcome)))
        return {p: [s for c, s in runs if c] or [s for _, s in runs] for p, runs in found.items()}

    def overhead_s(self, point: Point) -> float:
        """What a launch of the point costs beyond its window, from its own launches or else from all."""
        launches = history.launches(self.journal.entries)
        costs = [(launch.point, _beyond(launch)) for launch in launches if isinstance(launch.outcome, Measurement)]
        own = [cost for p, cost in costs if p == point] or [cost for _, cost in costs]
        return statistics.median(own) if own else _FIRST_GUESS_S

    def feasible(self, point: Point) -> bool:
        """Within every limit on its launches so far, and not known to be unfaithful."""
        measured = [
            launch.outcome
            for launch in history.launches(self.journal.entries)
            if launch.point == point and isinstance(launch.outcome, Measurement)
        ]
        return bool(measured) and worst_excess(self.setting.goal, point, measured) == 0.0 and self.faithful(point)

    def faithful(self, point: Point) -> bool:
        checked = history.fidelities(self.journal.entries).get(point)
        return checked is None or checked.cosine >= self.setting.goal.fidelity_floor

    # ------------------------------------------------------------ search

    def reserve_s(self) -> float:
        """Kept back for race and confirmation."""
        confirmed = [self.overhead_s(p) for p in self.baselines()]
        confirmed.append(statistics.median(confirmed) if confirmed else _FIRST_GUESS_S)
        reserve = planning.confirm_reserve_s(self.budget_s, confirmed, self.plans.confirm)
        return reserve + planning.RACE_SHARE * self.budget_s

    def search(self) -> str:
        """Screen points until the strategy is done, the trials are used up or only the reserve is left; says why."""
        self._finish_round()
        while not self.stop():
            if self.max_trials is not None and len(self.asked()) >= self.max_trials:
                return f"all {self.max_trials} trials are spent"
            if self.left_s <= self.reserve_s():
                return "the time for searching is spent"
            began = self.clock.now_ns()
            points = self.strategy(self.setting.spaces, self.trials(), self.setting.goal, 1, self.setting.question.seed)
            fresh = self._legal_and_new(points)
            if not fresh:
                return "the strategy has nothing left to try"
            self.journal.append(Round(points=tuple(fresh), think_s=(self.clock.now_ns() - began) / 1e9))
            self._screen(fresh)
        return "interrupted"

    def _legal_and_new(self, points: Sequence[Point]) -> list[Point]:
        known = {trial.point for trial in self.trials()}
        return [
            p
            for p in dict.fromkeys(points)
            if p not in known and self.setting.space(p.target, p.device).why_illegal(p) is None
        ]

    def _finish_round(self) -> None:
        """A round that a crash interrupted is finished first, so that a resumed study equals an unbroken one."""
        rounds = [e.event for e in self.journal.entries if isinstance(e.event, Round)]
        if rounds:
            self._screen(self._legal_and_new(rounds[-1].points))

    def _screen(self, points: Sequence[Point]) -> None:
        self.bench.build(points)
        for point in points:
            if not self.stop():
                self.on_phase("search", str(point))
                self.bench.launch(point, "screen", 0, self.plans.screen)

    # ------------------------------------------------------------ race

    def race(self) -> list[Point]:
        """Measure near-equal leaders again in interleaved blocks; the winner first, then what ties with it."""
        scores = self.scores()
        field = self._faithful_leaders(scores)
        blocks = 0
        until = self.budget_s - self._confirm_reserve_s(field)
        while not racing.decided(field, blocks) and self._affordable(field, self.plans.race, until):
            self._block(field, "race", blocks, self.plans.race)
            blocks += 1
            if self.stop():
                break
            field = racing.survivors(field, self.scores(raced=blocks > 1), blocks)
        raced = self.scores(raced=blocks > 1)
        final = [p for p in field if self.feasible(p)] or field
        return racing.finalists(final, raced if blocks > 1 else self.scores())

    def _faithful_leaders(self, scores: dict[Point, list[float]]) -> list[Point]:
        """Entrants to the race whose outputs are right; an unfaithful precision is dropped with all its points."""
        bad: set[tuple[object, ...]] = set()
        good: set[tuple[object, ...]] = set()
        while True:
            pool = {p: s for p, s in scores.items() if self.feasible(p) and self._arithmetic(p) not in bad}
            field = racing.entrants(pool)
            doubtful = next((p for p in field if self._arithmetic(p) not in good), None)
            if doubtful is None or self.stop():
                return field
            (good if self._trusted(doubtful) else bad).add(self._arithmetic(doubtful))

    def _arithmetic(self, point: Point) -> tuple[object, ...]:
        """What decides a point's numerics: the target, its precision and what was built."""
        built = self.setting.space(point.target, point.device).build_part(point)
        return point.target, point.get("precision", "f32"), point.get("execution_mode", ""), built

    def _trusted(self, point: Point) -> bool:
        return point.get("precision", "f32") in _EXACT or self._checked(point)

    def _checked(self, point: Point) -> bool:
        known = history.fidelities(self.journal.entries).get(point)
        if known is None:
            self.on_phase("verify", str(point))
        fidelity: Fidelity = known or self.bench.check(point)
        return fidelity.cosine >= self.setting.goal.fidelity_floor

    def _check_baseline(self, point: Point) -> None:
        """A baseline may be recommended too; its outputs are those of any point with the same arithmetic."""
        checked = history.fidelities(self.journal.entries)
        if point.get("precision", "f32") in _EXACT or point in checked:
            return
        twin = next((f for p, f in checked.items() if self._arithmetic(p) == self._arithmetic(point)), None)
        if twin is None:
            self._checked(point)
        else:
            told = replace(twin, point=point, reason=f"same arithmetic as {twin.point}")
            self.journal.append(Checked(fidelity=told, wall_s=0.0))

    def _affordable(self, points: Sequence[Point], plan: Plan, until_s: float) -> bool:
        cost = sum(self.overhead_s(p) + plan.min_time_s for p in points)
        return not self.stop() and self.journal.elapsed_s + cost <= until_s

    def _block(self, points: Sequence[Point], purpose: Purpose, block: int, plan: Plan) -> None:
        for point in racing.block_order(points, self.setting.question.seed, block):
            if not self.stop():
                self.on_phase(purpose, str(point))
                self.bench.launch(point, purpose, block, plan)

    # ------------------------------------------------------------ confirm

    def _confirm_reserve_s(self, leaders: Sequence[Point]) -> float:
        points = dict.fromkeys([*leaders[:1], *self.baselines()])
        overheads = [self.overhead_s(p) for p in points]
        return planning.confirm_reserve_s(self.budget_s, overheads, self.plans.confirm)

    def confirm(self, finalists: Sequence[Point], why: str) -> None:
        """Fresh launches of finalists and baselines in interleaved blocks: six, fewer when the budget is short."""
        for finalist in finalists:
            self._checked(finalist)
        for baseline in self.baselines():
            self._check_baseline(baseline)
        faithful = [p for p in finalists if self.faithful(p)]
        self.journal.append(Decided(finalists=tuple(faithful or finalists), why=why))
        done = history.confirmations(self.journal.entries)[-1].launches
        points = list(dict.fromkeys([*faithful, *self.baselines()]))
        plan = planning.confirm_plan(self.plans.confirm, max(0.0, self.left_s), [self.overhead_s(p) for p in points])
        for block in range(_next_block(done), planning.CONFIRM_BLOCKS):
            until = self.budget_s + (OVERTIME_S if block < planning.LEAST_BLOCKS else 0.0)
            if block and not self._affordable(points, plan, until):
                return
            self._block(points, "confirm", block, plan)


def _next_block(done: Sequence[Launch]) -> int:
    return max((launch.block for launch in done), default=-1) + 1


def _beyond(launch: Launch) -> float:
    outcome = launch.outcome
    return launch.wall_s - (outcome.wall_ns / 1e9 if not isinstance(outcome, Failed) else 0.0)
