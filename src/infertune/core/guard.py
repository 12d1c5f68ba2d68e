"""The fidelity guard: what a search is told once the outputs of an arithmetic are known to be wrong.

An arithmetic (`verdict.arithmetic`) is checked at one of its points and judged for all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache

from infertune.core import verdict, words
from infertune.core.records import Failed, Launch, Measurement, Trial
from infertune.core.space import Point, Rule, Space, Value
from infertune.core.verdict import Terms

Parts = tuple[tuple[str, Value], ...]


def wrong_points(terms: Terms) -> list[Point]:
    """Checked points whose outputs are too far from the reference, in the order of their checks."""
    return [point for point in terms.fidelities if not verdict.faithful(terms, point)]


def narrowed(spaces: Sequence[Space], terms: Terms) -> tuple[Space, ...]:
    """The spaces without the points that share an arithmetic, or a precision given up, with wrong outputs."""
    wrong, hopeless = wrong_points(terms), tuple(verdict.hopeless(terms))
    return tuple(_without(space, wrong, hopeless) for space in spaces) if wrong else tuple(spaces)


def _without(space: Space, wrong: Iterable[Point], hopeless: Iterable[verdict.Kind]) -> Space:
    here = (space.target, space.device)
    ours = [_parts(space, p) for p in wrong if (p.target, p.device) == here]
    ours += [(("precision", precision),) for *where, precision in hopeless if tuple(where) == here]
    rules = tuple(map(_excluding, dict.fromkeys(ours)))
    return replace(space, rules=(*space.rules, *rules)) if rules else space


def _parts(space: Space, point: Point) -> Parts:
    """The values of the knobs that decide what a point computes."""
    names = {knob.name for knob in space.knobs if knob.stage == "build"} | {"precision", "execution_mode"}
    return tuple(sorted((name, value) for name, value in point.settings if name in names))


@lru_cache(maxsize=1024)
def _excluding(parts: Parts) -> Rule:
    """The same rule every time: who remembers a space by its rules would else not know it again."""
    spelled = " ".join(f"{name}={value}" for name, value in parts)
    return Rule(
        reason=f"{spelled} gives wrong outputs",
        holds=lambda values: any(values.get(name, "") != value for name, value in parts),
    )


def judged(trials: Iterable[Trial], terms: Terms) -> tuple[Trial, ...]:
    """Trials in which launches of points with wrong outputs count as failed: how fast they were is no figure."""
    return tuple(trial if verdict.faithful(terms, trial.point) else _condemned(trial, terms) for trial in trials)


def _condemned(trial: Trial, terms: Terms) -> Trial:
    failed = wrong_output(trial.point, terms)
    launches = tuple(_failed(launch, failed) for launch in trial.launches)
    return replace(trial, launches=launches)


def _failed(launch: Launch, failed: Failed) -> Launch:
    return replace(launch, outcome=failed, flags=()) if isinstance(launch.outcome, Measurement) else launch


def wrong_output(point: Point, terms: Terms) -> Failed:
    """The failure of a point whose outputs are too far from the reference."""
    found = verdict.check_of(terms, point)
    reason = found.reason if found and not found.reason.startswith(verdict.SAME_ARITHMETIC) else ""
    floor = terms.goal.fidelity_floor
    value = f"fidelity {words.beside(found.value if found else 0.0, floor)}; the limit is {floor:g}"
    return Failed(stage="verify", kind="output", message=reason or value)
