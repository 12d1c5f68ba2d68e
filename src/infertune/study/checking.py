"""Whose outputs are right: fidelity checks that a study makes before it spends launches on a point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from infertune.core import choice, history, verdict
from infertune.core.records import Checked, Fidelity
from infertune.core.space import Point
from infertune.measure import race as racing

if TYPE_CHECKING:
    from infertune.study.loop import Loop

_EXACT = ("f32",)


def is_exact(point: Point) -> bool:
    """Whether the point computes as the reference does."""
    return point.get("precision", "f32") in _EXACT


def faithful_leaders(loop: Loop, scores: Mapping[Point, Sequence[float]]) -> list[Point]:
    """Entrants to the race whose outputs are right; an unfaithful precision is dropped with all its points.

    The search asks too, before each step: what comes near the lead is checked before more time goes to its kind.
    """
    while True:
        field = racing.entrants({p: scores[p] for p in loop.feasible(scores)}, loop.spread())
        doubtful = next((p for p in field if not trusted(loop, p)), None)
        if doubtful is None or loop.stop():
            return field
        check(loop, doubtful)


def doubtful_leader(loop: Loop) -> Point | None:
    """The best point so far, where nobody knows yet whether its outputs are right."""
    scores = loop.scores()
    order = racing.ranked({p: scores[p] for p in loop.feasible(scores)})
    return next((p for p in order[:1] if not trusted(loop, p)), None)


def trusted(loop: Loop, point: Point) -> bool:
    """Whether a point's outputs need no check: one with the same arithmetic was checked, or it is exact.

    Exact points are trusted until one of them gives wrong outputs.
    """
    terms = loop.terms()
    if verdict.check_of(terms, point) is not None:
        return True
    return is_exact(point) and all(verdict.faithful(terms, p) for p in terms.fidelities if is_exact(p))


def check(loop: Loop, point: Point) -> bool:
    """Whether a point's outputs meet the goal's fidelity; checked now unless the record knows."""
    known = history.fidelities(loop.journal.entries).get(point)
    if known is None:
        loop.on_phase("verify", loop.named(point))
    fidelity: Fidelity = known or loop.bench.check(point)
    return fidelity.value >= loop.setting.goal.fidelity_floor


def check_baseline(loop: Loop, point: Point) -> None:
    """A baseline may be recommended too; its outputs are those of any point with the same arithmetic."""
    checked = history.fidelities(loop.journal.entries)
    if not (is_exact(point) and trusted(loop, point)) and point not in checked:
        _check_or_copy(loop, point)


def check_offered(loop: Loop) -> None:
    """Compare the outputs of what the answer would offer, until it offers nothing that was not compared."""
    while not loop.stop():
        checked = history.fidelities(loop.journal.entries)
        chosen = choice.choose(choice.read(loop.journal.entries))
        offered = (one.decision.winner for one in (chosen, *chosen.levels) if one.decision is not None)
        doubtful = next((point for point in offered if point not in checked), None)
        if doubtful is None:
            return
        _check_or_copy(loop, doubtful)


def _check_or_copy(loop: Loop, point: Point) -> None:
    checked, spaces = history.fidelities(loop.journal.entries), loop.setting.question.spaces
    ours = verdict.arithmetic(point, spaces)
    twin = next((f for p, f in checked.items() if verdict.arithmetic(p, spaces) == ours), None)
    if twin is not None:
        told = replace(twin, point=point, reason=twin.reason or f"{verdict.SAME_ARITHMETIC} {twin.point}")
        loop.journal.append(Checked(fidelity=told, wall_s=0.0))
    else:
        check(loop, point)
