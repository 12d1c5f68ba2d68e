"""The answer of a study: a pure function of its record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from infertune.core import caveats, choice, guard, history, noise, percentiles, stats, tallies, verdict
from infertune.core.ablation import ablation
from infertune.core.choice import Choice, Reading
from infertune.core.findings import Answer, AtLevel, Figures, Rival
from infertune.core.goal import Goal, Limit
from infertune.core.history import Sample
from infertune.core.records import Closed, Entry, Fidelity, Interval
from infertune.core.relaxed import LimitCost, limit_cost
from infertune.core.shortfall import nearest
from infertune.core.space import Point
from infertune.core.standing import AtLimit, at_limits


def answer(entries: Sequence[Entry]) -> Answer:
    """What the record says so far. Raises `DataError` for a record without a question."""
    reading = choice.read(entries)
    chosen = choice.choose(reading)
    bare = _assembled(entries, reading, chosen)
    return replace(bare, caveats=caveats.caveats(bare, reading, chosen))


def _assembled(entries: Sequence[Entry], reading: Reading, chosen: Choice) -> Answer:
    decision, terms = chosen.decision, reading.terms
    winner = decision.winner if decision else None
    rivals = _rivals(reading, chosen)
    return Answer(
        status=_status(reading.closed, winner),
        question=reading.question,
        device=history.device_of(reading.question, winner),
        winner=winner,
        why=decision.why if decision else "",
        confirmed=chosen.confirmation is not None,
        figures=_figures_of(reading, chosen, winner),
        challenger=_figures_of(reading, chosen, decision.challenger if decision else None),
        rivals=rivals,
        best_rival=_best_rival(reading, chosen, rivals),
        absent=tallies.absent(reading),
        fidelity=_fidelity(reading, winner),
        fidelity_floor=terms.goal.fidelity_floor,
        nearest=None if winner else nearest(terms, map(choice.all_runs, reading.trials)),
        counts=tallies.counts(reading),
        failures=tallies.failures(guard.judged(reading.trials, terms)),
        flags=tallies.flags(reading.launches),
        spent=history.spent(entries),
        budget_s=history.budget_s(entries),
        simulated=history.simulated(reading.question, reading.launches),
        noise=noise.of_study(reading.launches, (point for _, point in reading.baselines)),
        ablation=ablation(entries, terms, winner),
        limit_cost=_limit_cost(reading, chosen, winner),
        limits=_limits(reading, chosen, winner),
        searched=tallies.searched(reading, entries),
        levels=tuple(_at_level(reading, *asked) for asked in zip(terms.goal.levels, chosen.levels, strict=True)),
    )


def _at_level(whole: Reading, level: Limit, chosen: Choice) -> AtLevel:
    reading = choice.asking(whole, whole.terms.goal.within(level))
    winner = chosen.decision.winner if chosen.decision else None
    rivals = _rivals(reading, chosen)
    best = _best_rival(reading, chosen, rivals)
    return AtLevel(
        goal=reading.terms.goal,
        limit=level,
        winner=winner,
        why=chosen.decision.why if chosen.decision else "",
        confirmed=chosen.confirmation is not None,
        figures=_figures_of(reading, chosen, winner),
        rival=best,
        speedup=next((rival.speedup for rival in rivals if rival.name == best), None),
        fidelity=_fidelity(reading, winner),
        nearest=None if winner else nearest(reading.terms, map(choice.all_runs, reading.trials)),
        limits=_limits(reading, chosen, winner),
    )


def _limit_cost(reading: Reading, chosen: Choice, winner: Point | None) -> LimitCost | None:
    if winner is None or not reading.terms.goal.limits:
        return None
    seen = {trial.point: choice.evidence(trial, chosen.confirmation)[1] for trial in reading.trials}
    return limit_cost(reading.terms, seen.values(), seen[winner]) if winner in seen else None


def _fidelity(reading: Reading, winner: Point | None) -> Fidelity | None:
    """What a check of the winner's outputs found; None where there were none to compare."""
    found = reading.terms.fidelities.get(winner) if winner else None
    return found if found and found.made else None


def _limits(reading: Reading, chosen: Choice, winner: Point | None) -> tuple[AtLimit, ...]:
    if winner is None:
        return ()
    _, sample = choice.evidence(reading.trial(winner), chosen.confirmation)
    return at_limits(reading.terms.goal, winner, sample.measurements) if sample.runs else ()


def _status(ended: Closed | None, winner: Point | None) -> str:
    if ended is None or ended.status == "interrupted":
        return "interrupted"
    return ended.status if winner else "nothing_feasible"


def figures(goal: Goal, sample: Sample, evidence: str) -> Figures:
    """Summaries of at least one launch."""
    measured = sample.measurements
    pooled = [latency for m in measured for latency in m.latencies_ns]
    return Figures(
        point=sample.point,
        evidence=evidence,
        launches=len(measured),
        requests=len(pooled),
        in_flight=measured[-1].in_flight,
        throughput=stats.median_interval([stats.throughput(m) for m in measured]),
        value=stats.median_interval([goal.value(m) for m in measured]),
        p50_ms=_percentile_ms(pooled, 50.0),
        p90_ms=_percentile_ms(pooled, 90.0),
        p99_ms=_percentile_ms(pooled, 99.0),
        arrivals=measured[-1].load.arrivals,
        p90_at_most_ms=_at_most_ms(pooled, 90.0),
        p99_at_most_ms=_at_most_ms(pooled, 99.0),
    )


def _percentile_ms(pooled: Sequence[int], percent: float) -> float | None:
    found = stats.percentile_ns(pooled, percent)
    return None if found is None else found / 1e6


def _at_most_ms(pooled: Sequence[int], percent: float) -> float | None:
    """The upper bound of a percentile, where that is reported itself."""
    found = percentiles.upper_ns(pooled, percent) if len(pooled) >= stats.percentile_floor(percent) else None
    return None if found is None else found / 1e6


def _figures_of(reading: Reading, chosen: Choice, point: Point | None) -> Figures | None:
    if point is None:
        return None
    purpose, sample = choice.evidence(reading.trial(point), chosen.confirmation)
    return figures(reading.terms.goal, sample, purpose) if sample.runs else None


def _rivals(reading: Reading, chosen: Choice) -> tuple[Rival, ...]:
    seen = ((name, point, _figures_of(reading, chosen, point)) for name, point in reading.baselines)
    return tuple(
        Rival(
            name=name,
            figures=found,
            speedup=_speedup(reading, chosen, point),
            faithful=verdict.faithful(reading.terms, point),
        )
        for name, point, found in seen
        if found is not None
    )


def _speedup(reading: Reading, chosen: Choice, baseline: Point) -> Interval | None:
    if chosen.decision is None or chosen.confirmation is None:
        return None
    fresh = chosen.confirmation.launches
    ours, theirs = history.sample(chosen.decision.winner, fresh), history.sample(baseline, fresh)
    return verdict.ratio(reading.terms.goal, ours, theirs)


def _best_rival(reading: Reading, chosen: Choice, rivals: Sequence[Rival]) -> str | None:
    """The one that the verdict compared with; without one, confirmed baselines before others, then those that surely
    meet the goal, those that may, and the best one.
    """
    if chosen.decision is not None and chosen.decision.rival is not None:
        return chosen.decision.rival

    def rank(rival: Rival) -> tuple[bool, bool, bool, float]:
        purpose, sample = choice.evidence(reading.trial(rival.figures.point), chosen.confirmation)
        fit = verdict.acceptable(reading.terms, sample)
        sure = fit and verdict.stands(reading.terms, sample).state == "within"
        return purpose == "confirm", sure, fit, verdict.merit(reading.terms.goal, sample)

    return max(rivals, key=rank).name if rivals else None
