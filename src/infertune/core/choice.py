"""Which point a record recommends, and which launches its figures come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from infertune.core import audit, history, verdict
from infertune.core.calibrated import CardFact
from infertune.core.goal import Goal, parse_goal
from infertune.core.history import Confirmation, Sample
from infertune.core.records import Closed, Entry, Launch, Noise, Question, Trial
from infertune.core.space import Point
from infertune.core.verdict import ENOUGH, Decision, Terms


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A record, folded once."""

    question: Question
    terms: Terms
    trials: tuple[Trial, ...]
    launches: tuple[Launch, ...]
    confirmations: tuple[Confirmation, ...]
    closed: Closed | None
    noise: Noise
    cards: tuple[CardFact, ...] = ()

    @property
    def baselines(self) -> tuple[tuple[str, Point], ...]:
        return tuple(named for space in self.question.spaces for named in space.baselines)

    @property
    def is_whole(self) -> bool:
        """False where it is read for one level of the front that was asked for."""
        return self.terms.goal == parse_goal(self.question.goal)

    @property
    def searched(self) -> bool:
        """False for points that a person chose and measured one by one."""
        return any(launch.purpose != "measure" for launch in self.launches)

    def trial(self, point: Point) -> Trial:
        """The trial of a point; one without launches where no work on it is recorded."""
        return next((t for t in self.trials if t.point == point), Trial(point=point))


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """``decision`` is None when nothing meets the goal; ``confirmation`` is None while nothing is confirmed.

    ``levels`` are the choices at each level that a front was asked at, in their order.
    """

    decision: Decision | None
    confirmation: Confirmation | None = None
    levels: tuple[Choice, ...] = ()


def read(entries: Sequence[Entry]) -> Reading:
    """Raises `DataError` for a record without a question."""
    asked = history.question(entries)
    checked, noise = history.fidelities(entries), history.noise(entries)
    return Reading(
        question=asked,
        terms=Terms(goal=parse_goal(asked.goal), spaces=asked.spaces, fidelities=checked),
        trials=history.trials(entries),
        launches=history.launches(entries),
        confirmations=tuple(history.trusted(c, noise) for c in history.confirmations(entries)),
        closed=history.closed(entries),
        noise=noise,
        cards=tuple(e.event for e in entries if isinstance(e.event, CardFact)),
    )


def asking(reading: Reading, goal: Goal) -> Reading:
    """The same record, read for another goal: that of one of a front's levels."""
    return replace(reading, terms=replace(reading.terms, goal=goal))


def choose(reading: Reading) -> Choice:
    """The decision of the newest confirmation that has enough launches, else the best point so far."""
    goals = reading.terms.goal.at_levels
    return replace(_chosen(reading), levels=tuple(_chosen(asking(reading, goal)) for goal in goals))


def _chosen(reading: Reading) -> Choice:
    if reading.closed is not None and reading.closed.status == "nothing_feasible":
        return Choice(decision=None)
    for confirmation in reversed(reading.confirmations):
        decision = _decision(reading, confirmation)
        if decision is not None:
            return Choice(decision=decision, confirmation=confirmation)
    return Choice(decision=_so_far(reading))


def _decision(reading: Reading, confirmation: Confirmation) -> Decision | None:
    finalists = [history.sample(p, confirmation.launches) for p in confirmation.finalists]
    beside = [(name, history.sample(p, confirmation.launches)) for name, p in reading.baselines]
    decision = verdict.decide(reading.terms, finalists, beside)
    if decision is None or not (confirmation.ties and reading.is_whole) or decision.winner != confirmation.finalists[0]:
        return decision
    told = verdict.race_tie_words(confirmation.ties, reading.question.spaces)
    return replace(decision, why=decision.why + told, tied=confirmation.ties)


def _so_far(reading: Reading) -> Decision | None:
    """The study's own first finalist, else the best raced point, else the best of all; or a baseline that beats it.

    Neither finalist nor race count at a level of a front: they may be about the front's other levels.
    """
    samples = {t.point: all_runs(t) for t in reading.trials}
    fit = {point: s for point, s in samples.items() if verdict.acceptable(reading.terms, s)}
    own = reading.launches if reading.is_whole else ()
    raced = {launch.point for launch in own if launch.purpose == "race"}
    finalists = reading.confirmations[-1].finalists if reading.confirmations and reading.is_whole else ()
    among = [p for p in finalists[:1] if p in fit] or [p for p in fit if p in raced] or list(fit)
    if not among:
        return None
    among += [point for _, point in reading.baselines if point in fit]
    best = max(among, key=lambda point: verdict.merit(reading.terms.goal, fit[point]))
    why = (
        "not yet measured on launches of its own"
        if reading.searched
        else "of points that were measured without a search"
    )
    return Decision(winner=best, why=f"unconfirmed: the best so far, {why}")


def all_runs(trial: Trial) -> Sample:
    """Every successful launch of a trial, whatever its purpose; undisturbed ones alone where there are any."""
    clean = history.sample(trial.point, (la for la in trial.launches if not audit.contaminated(la.flags)))
    return clean if clean.runs else history.sample(trial.point, trial.launches)


def evidence(trial: Trial, confirmation: Confirmation | None) -> tuple[str, Sample]:
    """The launches behind a trial's figures, and their purpose: confirmation alone once there are enough, else all."""
    fresh = history.sample(trial.point, confirmation.launches if confirmation else ())
    if len(fresh.runs) >= ENOUGH:
        return "confirm", fresh
    purposes = {launch.purpose for launch in trial.launches}
    return next((p for p in ("race", "measure", "screen", "anchor", "confirm") if p in purposes), ""), all_runs(trial)
