"""Which of several measured points to recommend, and in what words: pure rules over launches.

Two points differ only when the interval of their block-by-block ratio leaves out 1.00 *and* the ratio itself reaches
3 % (`MARGIN`): on a shared host smaller differences are within what neighbours cause.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from infertune.core import stats, words
from infertune.core.goal import Goal
from infertune.core.history import Sample
from infertune.core.records import Fidelity, Interval, SpaceFact
from infertune.core.space import Point
from infertune.core.standing import Standing, standing

MARGIN = 0.03
ENOUGH = 3
"""Fewest fresh launches behind a confirmed figure, and fewest shared blocks behind a ratio."""

Relation = Literal["better", "worse", "same"]
Kind = tuple[str, str, str]
"""Target, device and precision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a point must meet to be recommended."""

    goal: Goal
    spaces: tuple[SpaceFact, ...]
    fidelities: Mapping[Point, Fidelity]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """``winner`` may be a baseline; ``challenger`` is then the best point the search found, if it is another one.

    ``rival`` names the baseline that it was compared with.
    """

    winner: Point
    why: str
    challenger: Point | None = None
    tied: tuple[Point, ...] = ()
    rival: str | None = None


def merit(goal: Goal, sample: Sample) -> float:
    """Median score over launches (more is better)."""
    return statistics.median(goal.score(m) for m in sample.measurements)


def ratio(goal: Goal, ours: Sample, theirs: Sample) -> Interval | None:
    """How many times better ``ours`` is, block by block: throughput ours / theirs, latency theirs / ours.

    Several launches of one point in a block count by their median. None with fewer than `ENOUGH` shared blocks.
    """
    mine, other = (sample.by_block(goal.score) for sample in (ours, theirs))
    shared = sorted(mine.keys() & other.keys())
    if len(shared) < ENOUGH:
        return None
    return stats.ratio_interval([math.exp(mine[b]) for b in shared], [math.exp(other[b]) for b in shared])


def compared(goal: Goal, found: Interval, other: str) -> str:
    """``1.92x (1.85 to 2.01) of NAME``, ``... as fast as NAME`` for a latency; a front says that it is a mean."""
    if goal.is_front:
        return f"{words.times(found)} of {other}, by the geometric mean of {' and '.join(goal.metrics)}"
    return f"{words.times(found)} {'of' if goal.maximise else 'as fast as'} {other}"


def relation(found: Interval) -> Relation:
    """``same`` unless the interval leaves out 1.00 and the difference reaches `MARGIN`."""
    if found.low > 1.0 and found.value >= 1.0 + MARGIN:
        return "better"
    if found.high < 1.0 and found.value <= 1.0 / (1.0 + MARGIN):
        return "worse"
    return "same"


def faithful(terms: Terms, point: Point) -> bool:
    """False for a point whose outputs are known to be too far from the reference; see `fidelity_of`."""
    found = fidelity_of(terms, point)
    return found is None or found >= terms.goal.fidelity_floor


def fidelity_of(terms: Terms, point: Point) -> float | None:
    """A point's own check, else the worst one of points with the same arithmetic, else what its precision failed.

    None where none of these was checked.
    """
    found = check_of(terms, point)
    return None if found is None else found.value


SAME_ARITHMETIC = "same arithmetic as"
"""How the reason begins of a check that another point's outputs stand for."""


def check_of(terms: Terms, point: Point) -> Fidelity | None:
    """The check that counts for a point; see `fidelity_of`."""
    own = terms.fidelities.get(point)
    if own is not None:
        return own
    ours = arithmetic(point, terms.spaces)
    same = (f for p, f in terms.fidelities.items() if arithmetic(p, terms.spaces) == ours)
    return min(same, key=lambda found: found.value, default=None) or hopeless(terms).get(kind(point))


HOPELESS = 3
"""Programs of one precision that give wrong outputs, and none right ones, after which the others count as wrong: the
cause is the precision then, or the model, and every further check would cost what a measurement does."""


def hopeless(terms: Terms) -> dict[Kind, Fidelity]:
    """Kinds of programs that are given up, and one of the checks that they failed."""
    floor = terms.goal.fidelity_floor
    if sum(found.value < floor for found in terms.fidelities.values()) < HOPELESS:
        return {}
    checks: dict[Kind, dict[tuple[object, ...], Fidelity]] = {}
    for point, found in terms.fidelities.items():
        checks.setdefault(kind(point), {})[arithmetic(point, terms.spaces)] = found
    wrong = {of: [f for f in made.values() if f.inputs > 0 and f.value < floor] for of, made in checks.items()}
    return {of: found[0] for of, found in wrong.items() if len(found) == len(checks[of]) >= HOPELESS}


def kind(point: Point) -> Kind:
    """Programs that round alike."""
    return point.target, point.device, str(point.get("precision", ""))


def arithmetic(point: Point, spaces: Sequence[SpaceFact]) -> tuple[object, ...]:
    """What decides a point's outputs: the target, its precision and mode of execution, and what was built."""
    space = words.space_of(point, spaces)
    build = {knob.name for knob in space.knobs if knob.stage == "build"} if space else set()
    built = tuple((name, value) for name, value in point.settings if name in build)
    return point.target, point.device, point.get("precision", ""), point.get("execution_mode", ""), built


def acceptable(terms: Terms, sample: Sample) -> bool:
    """Measured, not known to break a limit and not known to be unfaithful."""
    return bool(sample.runs) and faithful(terms, sample.point) and stands(terms, sample).state != "beyond"


def stands(terms: Terms, sample: Sample) -> Standing:
    """How a point's launches stand to the goal's limits."""
    return standing(terms.goal, sample.point, sample.measurements)


def simplicity(point: Point, spaces: Sequence[SpaceFact]) -> tuple[int, int, int, str]:
    """Sorts simpler points first: fewer requests in flight, smaller batch, fewer knobs off their default."""
    depth = point.number("instances") * point.number("set_size")
    return depth, point.number("batch"), len(words.changed(point, spaces)), str(point)


def simpler(a: Point, b: Point, spaces: Sequence[SpaceFact]) -> Point:
    """The one to take when nothing separates two points; always the same, whatever the order."""
    return min(a, b, key=lambda point: simplicity(point, spaces))


def decide(terms: Terms, finalists: Sequence[Sample], baselines: Sequence[tuple[str, Sample]]) -> Decision | None:
    """The recommendation from confirmation launches; None when nothing confirmed is acceptable."""
    strongest = rival(terms, [sample for _, sample in baselines])
    named = next(((name, sample) for name, sample in baselines if sample is strongest), None)
    found = _decided(terms, finalists, named)
    return replace(found, rival=named[0]) if found and named else found


def rival(terms: Terms, baselines: Sequence[Sample]) -> Sample | None:
    """The baseline that finalists are compared with: the best of those that surely meet the goal, else that may."""
    fit = [sample for sample in baselines if len(sample.runs) >= ENOUGH and acceptable(terms, sample)]
    sure = [sample for sample in fit if stands(terms, sample).state == "within"]
    return _strongest(terms, sure or fit)


def _decided(terms: Terms, finalists: Sequence[Sample], rival: tuple[str, Sample] | None) -> Decision | None:
    fit = [s for s in finalists if len(s.runs) >= ENOUGH and acceptable(terms, s)]
    within = [s for s in fit if stands(terms, s).state == "within"]
    if not fit:
        return None if any(_pending(terms, s) for s in finalists) else _fallback(rival)
    if not within and rival is not None and stands(terms, rival[1]).state == "within":
        return _only_sure(terms, fit, rival)
    found = _best(terms, within or fit, rival)
    winner = next(s for s in (*fit, *([rival[1]] if rival else ())) if s.point == found.winner)
    told = unsure_words(stands(terms, winner)) or _promising_words(terms, fit, found.winner)
    return replace(found, why=found.why + told)


def _strongest(terms: Terms, rivals: Sequence[Sample]) -> Sample | None:
    """The best of those that stayed to the end of the confirmation: who left early was not, and has few launches."""
    most = max((len(sample.runs) for sample in rivals), default=0)
    stayed = [sample for sample in rivals if 2 * len(sample.runs) > most]
    return max(stayed, key=lambda sample: merit(terms.goal, sample), default=None)


def _best(terms: Terms, fit: Sequence[Sample], rival: tuple[str, Sample] | None) -> Decision:
    leader = max(fit, key=lambda sample: merit(terms.goal, sample))
    tied = [s for s in fit if s is not leader and _same(terms, leader, s)]
    champion = min([leader, *tied], key=lambda sample: simplicity(sample.point, terms.spaces))
    decided = _against_default(terms, champion, rival)
    if decided.winner != champion.point or not tied:
        return decided
    others = tuple(s.point for s in (leader, *tied) if s is not champion)
    return replace(decided, why=decided.why + _tie_words(terms, champion, [leader, *tied]), tied=others)


def _only_sure(terms: Terms, fit: Sequence[Sample], rival: tuple[str, Sample]) -> Decision:
    """No finalist is known to keep the limits, but a baseline is: ``rival``, the strongest of them."""
    name, sample = rival
    best = max(fit, key=lambda sample: merit(terms.goal, sample))
    named = words.point(best.point, terms.spaces)
    why = f"{name} is taken: it surely keeps every limit; for {named}{unsure_words(stands(terms, best))}"
    return Decision(winner=sample.point, why=why, challenger=best.point)


def _promising_words(terms: Terms, fit: Sequence[Sample], winner: Point) -> str:
    """A finalist that is better than the winner, but may not keep the limits."""
    taken = next((s for s in fit if s.point == winner), None)
    other = max(fit, key=lambda sample: merit(terms.goal, sample))
    found = ratio(terms.goal, other, taken) if taken else None
    if found is None or relation(found) != "better":
        return ""
    named = words.point(other.point, terms.spaces)
    return f"; {named} is {compared(terms.goal, found, 'it')}{unsure_words(stands(terms, other))}"


TOO_MANY_OVER = "so many exceed it that more like them would not show that it holds"
"""Of requests that neither keep nor break a limit: the share over it is as large as the percentile allows, or more."""


def unsure_words(found: Standing) -> str:
    """``; not enough requests to say whether `p99 < 20 ms` holds: about 40 s more of measuring would tell``."""
    if found.state != "unsure" or found.limit is None:
        return ""
    text = f"; not enough requests to say whether `{found.limit.text}` holds ({found.requests})"
    if found.wait_s is None:
        return f"{text}: {TOO_MANY_OVER}"
    return f"{text}: about {words.seconds(found.wait_s)} more of measuring would tell"


def _pending(terms: Terms, sample: Sample) -> bool:
    """A finalist that is only short of launches may still win: nothing is decided without it."""
    return len(sample.runs) < ENOUGH and acceptable(terms, sample)


def _fallback(rival: tuple[str, Sample] | None) -> Decision | None:
    if rival is None:
        return None
    name, sample = rival
    return Decision(winner=sample.point, why=f"{name} is taken: no finalist met the goal in confirmation")


def _same(terms: Terms, leader: Sample, other: Sample) -> bool:
    """Without enough shared blocks two points cannot be told apart, so the higher median stands."""
    found = ratio(terms.goal, leader, other)
    return found is not None and relation(found) == "same"


def _tie_words(terms: Terms, champion: Sample, equals: Sequence[Sample]) -> str:
    other = next((s for s in equals if s is not champion), None)
    found = ratio(terms.goal, champion, other) if other else None
    if other is None or found is None:
        return ""
    named = words.point(other.point, terms.spaces)
    told = compared(terms.goal, found, "it")
    return f"; a tie: nothing separates it from {named} ({told}), so the simpler one is taken"


def race_tie_words(ties: Sequence[Point], spaces: Sequence[SpaceFact]) -> str:
    """Who was as good as the winner in the race, which ended there."""
    more = f" and {len(ties) - 1} more" if len(ties) > 1 else ""
    other = words.point(ties[0], spaces)
    return f"; a tie: nothing in the race separates it from {other}{more}, so the simplest is taken"


def _against_default(terms: Terms, champion: Sample, rival: tuple[str, Sample] | None) -> Decision:
    if rival is None:
        return Decision(winner=champion.point, why="the best point found; no baseline could be compared with it")
    name, default = rival
    if default.point == champion.point:
        return Decision(winner=champion.point, why=f"no other point that was tried is better than {name}")
    found = ratio(terms.goal, champion, default)
    if found is None:
        return Decision(winner=champion.point, why=f"the best point found; too few blocks shared with {name}")
    state = relation(found)
    if state == "better":
        return Decision(winner=champion.point, why=compared(terms.goal, found, f"the best baseline, {name}"))
    verdict = "the default is as good" if state == "same" else "the default is better"
    best = f"the best point found, {words.point(champion.point, terms.spaces)}, is {compared(terms.goal, found, 'it')}"
    return Decision(winner=default.point, why=f"{verdict}: {name}; {best}", challenger=champion.point)
