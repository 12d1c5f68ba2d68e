"""Throughput against tail latency of every trial, with the front, its knee, the goal's limits and the baselines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from markupsafe import Markup

from infertune.core import words
from infertune.core.goal import Limit, level_words
from infertune.report.page import svg
from infertune.report.page.basis import LONGEST_NAME, Basis, Shown
from infertune.report.page.front import front, knee
from infertune.report.rows import is_best

Spot = tuple[float, float]
WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 64, 744, 34, 366


def scatter(basis: Basis) -> Markup | None:
    """None when nothing was measured."""
    trials = [t for t in basis.measured if t.tail_ms]
    if not trials:
        return None
    drawn = (*basis.goal.limits, *basis.goal.levels)
    bounds = [limit.bound * 1e3 for limit in drawn if limit.metric == basis.tail]
    asked = [limit.bound for limit in drawn if limit.metric == "throughput"]
    y = svg.from_zero([*(t.throughput or 0.0 for t in trials), *asked], BOTTOM, TOP)
    x = svg.logarithmic([*(t.tail_ms or 0.0 for t in trials), *bounds], svg.left_of(y, LEFT), RIGHT)
    along = front(trials)
    parts = [
        svg.x_axis(x, TOP, BOTTOM, f"{basis.tail} latency of a request (ms, logarithmic)"),
        svg.y_axis(y, x.start, RIGHT, "throughput (samples/s)"),
        *_limits(basis, x, y),
        *_levels(basis, x, y),
        _front(along, x, y),
        svg.group([_mark(basis, trial, x, y) for trial in _drawn_order(trials)], class_="points"),
        svg.group(_labels(basis, along, x, y), class_="labels", aria_hidden="true"),
    ]
    label = (
        f"Throughput against {basis.tail} latency of {words.counted(len(trials), 'trial')}, "
        f"{len(along)} of them on the Pareto front. Arrow keys walk through the trials, Enter selects one."
    )
    return svg.picture(WIDTH, HEIGHT, label, parts, class_="chart scatter", tabindex=0, id="scatter")


def _drawn_order(trials: Sequence[Shown]) -> list[Shown]:
    """What has a role lies on top."""
    return sorted(trials, key=lambda trial: (bool(trial.role), "winner" in trial.role))


def kind_of(trial: Shown) -> str:
    """Its class in the style sheet: the winner, a baseline, a trial that may win, or one that may not."""
    if is_best(trial.role):
        return "winner"
    if trial.role and trial.role != "finalist":
        return "baseline"
    return "ok" if trial.status == "ok" else "missed"


def _mark(basis: Basis, trial: Shown, x: svg.Scale, y: svg.Scale) -> Markup:
    across, up = x.at(trial.tail_ms or 0.0), y.at(trial.throughput or 0.0)
    kind = f"mark {kind_of(trial)}{'' if trial.is_tail_known else ' unsure'}"
    return svg.dot(across, up, 7 if trial.role else 5, kind, hint(basis, trial), data_trial=trial.number)


def hint(basis: Basis, trial: Shown) -> str:
    """What a pointer over the trial shows."""
    few = "" if trial.is_tail_known else " (too few requests to be sure)"
    named = f"{trial.role}: " if trial.role else ""
    figures = f"{words.three(trial.throughput or 0.0)} samples/s, {basis.tail} {words.three(trial.tail_ms or 0.0)} ms"
    status = "" if trial.status == "ok" else f"; {trial.status.replace('_', ' ')}"
    return f"trial {trial.number}, {named}{basis.words(trial.point)}\n{figures}{few}{status}"


def _front(along: Sequence[Shown], x: svg.Scale, y: svg.Scale) -> Markup:
    points = _steps(along, x, y)
    return svg.path(points, "front") if len(points) > 1 else Markup("")


def _steps(along: Sequence[Shown], x: svg.Scale, y: svg.Scale) -> list[Spot]:
    """Between two trials of the front the better latency still costs the lower throughput."""
    points: list[Spot] = []
    for trial in along:
        across, up = x.at(trial.tail_ms or 0.0), y.at(trial.throughput or 0.0)
        points += [(across, points[-1][1])] if points else []
        points.append((across, up))
    return points


def _between(start: Spot, end: Spot) -> Iterator[Spot]:
    """Spots along a line, near enough that no label slips through."""
    count = max(1, round(max(abs(end[0] - start[0]), abs(end[1] - start[1])) / 8))
    for place in range(1, count):
        share = place / count
        yield start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1])


def _limits(basis: Basis, x: svg.Scale, y: svg.Scale) -> Iterator[Markup]:
    for limit in basis.goal.limits:
        drawn = _drawn(basis, limit, "limit", x, y)
        if limit.metric == basis.tail:
            yield svg.group([_forbidden(limit, x.at(limit.bound * 1e3), x), *drawn])
        else:
            yield from drawn


def _levels(basis: Basis, x: svg.Scale, y: svg.Scale) -> Iterator[Markup]:
    """Nothing beyond a level is forbidden: it is where the front is asked."""
    for level in basis.goal.levels:
        yield from _drawn(basis, level, "level", x, y)


def _drawn(basis: Basis, limit: Limit, kind: str, x: svg.Scale, y: svg.Scale) -> Iterator[Markup]:
    """A line at its bound, if the limit is about one of the axes."""
    if limit.metric == basis.tail:
        across = x.at(limit.bound * 1e3)
        yield svg.line(across, TOP, across, BOTTOM, kind)
    elif limit.metric == "throughput":
        up = y.at(limit.bound)
        yield svg.line(x.start, up, RIGHT, up, kind)


def _forbidden(limit: Limit, across: float, x: svg.Scale) -> Markup:
    """The side of a latency limit where nothing may win."""
    left, width = (across, RIGHT - across) if limit.below else (x.start, across - x.start)
    return svg.tag("rect", x=left, y=TOP, width=max(0.0, width), height=BOTTOM - TOP, class_="forbidden")


def undrawn(basis: Basis) -> tuple[str, ...]:
    """Limits of the goal that are about neither axis."""
    return tuple(limit.text for limit in basis.goal.limits if limit.metric not in (basis.tail, "throughput"))


def _named(basis: Basis, along: Sequence[Shown]) -> list[tuple[Shown, str, str]]:
    """Trials that carry a label: what it says, and its class."""
    best = knee(along)
    found = []
    for trial in basis.measured:
        is_knee = best is not None and trial is best
        said = ", ".join(filter(None, [trial.role if trial.role != "finalist" else "", "knee" if is_knee else ""]))
        if said:
            short = said if len(said) <= LONGEST_NAME // 2 else f"{said[: LONGEST_NAME // 2]}\u2026"
            found.append((trial, short, kind_of(trial)))
    return found


def _labels(basis: Basis, along: Sequence[Shown], x: svg.Scale, y: svg.Scale) -> Iterator[Markup]:
    """Beside their marks; what limits and levels say comes first, then the winner."""
    taken = []
    for label, kind in _said_of_lines(basis, x, y):
        taken.append(label.box)
        yield _text(label, kind)
    steps = _steps(along, x, y)
    places = {trial.number: (x.at(trial.tail_ms or 0.0), y.at(trial.throughput or 0.0)) for trial in basis.measured}
    avoided = [*places.values(), *(spot for pair in pairwise(steps) for spot in _between(*pair))]
    for trial, said, kind in sorted(_named(basis, along), key=lambda named: named[2] != "winner"):
        label = svg.beside(said, places[trial.number], (x.start, TOP, RIGHT, BOTTOM), taken, avoided)
        taken.append(label.box)
        yield _text(label, f"label {kind}")


def _text(label: svg.Label, kind: str) -> Markup:
    return svg.text(label.x, label.y, label.said, anchor=label.anchor, kind=kind)


def _said_of_lines(basis: Basis, x: svg.Scale, y: svg.Scale) -> Iterator[tuple[svg.Label, str]]:
    """What limits and levels say at their lines, at those of the latency one above the other where they would cover."""
    lines = [(limit, limit.text, "limit-text") for limit in basis.goal.limits]
    lines += [(level, level_words(level), "level-text") for level in basis.goal.levels]
    below: list[svg.Box] = []
    for limit, said, kind in lines:
        if limit.metric == basis.tail:
            label = svg.Label(said=said, x=x.at(limit.bound * 1e3) - 5, y=BOTTOM - 8.0, anchor="end")
            while any(svg.cover(label.box, box) for box in below):
                label = replace(label, y=label.y - svg.LINE)
            below.append(label.box)
            yield label, kind
        elif limit.metric == "throughput":
            yield svg.Label(said=said, x=RIGHT - 4.0, y=y.at(limit.bound) - 5, anchor="end"), kind
