"""The neighbourhood of the winner: what one other value of a knob, or of two, makes of the figure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from infertune.core import verdict, words
from infertune.core.space import Value
from infertune.report.importance import Importance, importance
from infertune.report.inert import one_line
from infertune.report.page import svg
from infertune.report.page.basis import Basis, Shown

CELL, SIDE, HEAD = 92, 84, 46
WIDTH, HEIGHT = 360, 230
LEFT, RIGHT, TOP, BOTTOM = 56, 346, 30, 178
TARGET = "target"
HEAT_SAID = (
    "The figure and what it is of the winner's. Framed: the winner. * no trial differs from the winner in these two "
    "alone, so the best trial with them. Empty: not measured, or against a rule."
)


def weighed(basis: Basis) -> Importance:
    """Importance of every knob over all measured trials; the target counts as a knob where there are several."""
    trials = basis.measured
    several = len({trial.point.target for trial in trials}) > 1
    named: list[dict[str, Value]] = [{TARGET: trial.point.target} if several else {} for trial in trials]
    points = [target | trial.point.values for target, trial in zip(named, trials, strict=True)]
    return importance(points, [verdict.merit(basis.goal, trial.sample) for trial in trials])


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """The best trial at one value (or pair of values); ``is_exact`` when every other knob is as in the winner."""

    value: tuple[Value, ...]
    trial: Shown
    is_exact: bool


def neighbours(basis: Basis, winner: Shown, knobs: Sequence[str]) -> tuple[Neighbour, ...]:
    """Of the winner's target: by value of ``knobs`` the trial that differs in nothing else, otherwise the best one."""
    found: dict[tuple[Value, ...], list[Neighbour]] = {}
    for trial in basis.measured:
        values = trial.point.values
        if (trial.point.target, trial.point.device) != (winner.point.target, winner.point.device):
            continue
        if all(knob in values for knob in knobs):
            value = tuple(values[knob] for knob in knobs)
            exact = trial.point == winner.point.but(**dict(zip(knobs, value, strict=True)))
            found.setdefault(value, []).append(Neighbour(value=value, trial=trial, is_exact=exact))
    return tuple(
        max(same, key=lambda n: (n.is_exact, verdict.merit(basis.goal, n.trial.sample))) for same in found.values()
    )


def _shown_value(knob: str, value: Value) -> str:
    return one_line(words.value(knob, value), 16)


# ---------------------------------------------------------------- heat map


def heat_map(basis: Basis) -> Markup | None:
    """Cores x instances around the winner; None without a winner or with fewer than two cells."""
    winner = basis.winner
    if winner is None or winner.value is None:
        return None
    cells = neighbours(basis, winner, ("cores", "instances"))
    if len(cells) < 2:
        return None
    across = sorted({cell.value[1] for cell in cells}, key=str)
    down = sorted({cell.value[0] for cell in cells}, key=str)
    parts = [
        svg.text(SIDE - 10, 16, "cores \u2193  instances \u2192", anchor="start", kind="axis"),
        *(svg.text(SIDE + CELL * (i + 0.5), HEAD - 8, _shown_value("instances", v), anchor="middle", kind="tick")
          for i, v in enumerate(across)),
        *(svg.text(SIDE - 8, HEAD + 52 * (i + 0.5) + 4, _shown_value("cores", v), anchor="end", kind="tick")
          for i, v in enumerate(down)),
        *(_empty(i, j) for i in range(len(across)) for j in range(len(down))),
        *(_cell(basis, winner, cell, across.index(cell.value[1]), down.index(cell.value[0])) for cell in cells),
    ]  # fmt: skip
    said = "; ".join(
        f"{_shown_value('cores', c.value[0])} x {_shown_value('instances', c.value[1])}: "
        f"{basis.figure_words(c.trial.value or 0.0)}"
        for c in cells
    )
    label = f"{basis.metric_words} by cores x instances: {said}"
    return svg.picture(SIDE + CELL * len(across) + 4, HEAD + 52 * len(down) + 4, label, parts, class_="chart heat")


def _empty(i: int, j: int) -> Markup:
    return svg.tag("rect", x=SIDE + CELL * i, y=HEAD + 52 * j, width=CELL - 2, height=50, class_="cell none")


def _cell(basis: Basis, winner: Shown, cell: Neighbour, i: int, j: int) -> Markup:
    better = math.exp(verdict.merit(basis.goal, cell.trial.sample) - verdict.merit(basis.goal, winner.sample))
    shade = max(0, min(9, round(9 * (better - 0.1) / 0.9)))
    figure = words.three(basis.scaled(cell.trial.value or 0.0))
    mark = "" if cell.is_exact else " *"
    x, y = SIDE + CELL * i, HEAD + 52 * j
    hint = f"{basis.words(cell.trial.point)}\n{basis.figure_words(cell.trial.value or 0.0)}"
    kind = " winner" if cell.trial is winner else ""
    ink = " dark" if shade >= 6 else ""
    return svg.group(
        [
            svg.tag("rect", svg.tag("title", hint), x=x, y=y, width=CELL - 2, height=50, class_=f"cell h{shade}{kind}"),
            svg.text(x + CELL / 2 - 1, y + 24, f"{figure}{mark}", anchor="middle", kind=f"cell-text{ink}"),
            svg.text(x + CELL / 2 - 1, y + 40, f"{100 * better:.0f} %", anchor="middle", kind=f"cell-text small{ink}"),
        ],
        data_trial=cell.trial.number,
    )


# ---------------------------------------------------------------- one knob at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A knob's picture, its name and document, and whether any value but the winner's was measured all else equal."""

    knob: str
    doc: str
    drawn: Markup
    is_exact: bool


def curves(basis: Basis) -> tuple[Curve, ...]:
    """For every knob with at least two measured values on the winner's target, batch first."""
    winner = basis.winner
    if winner is None or winner.value is None:
        return ()
    space = words.space_of(winner.point, basis.reading.question.spaces)
    docs = {knob.name: knob.doc for knob in space.knobs} if space else {}
    knobs = sorted(
        winner.point.values, key=lambda name: (name != "batch", list(docs).index(name) if name in docs else 0)
    )
    return tuple(curve for knob in knobs for curve in _curve(basis, winner, knob, docs.get(knob, "")))


def _curve(basis: Basis, winner: Shown, knob: str, doc: str) -> Iterator[Curve]:
    found = sorted(neighbours(basis, winner, (knob,)), key=lambda n: (isinstance(n.value[0], str), n.value[0]))
    if len(found) < 2:
        return
    figures = [basis.scaled(n.trial.value or 0.0) for n in found]
    y = svg.from_zero(figures, BOTTOM, TOP)
    step = (RIGHT - LEFT) / len(found)
    places = [LEFT + step * (i + 0.5) for i in range(len(found))]
    exact = [(x, y.at(f)) for x, f, n in zip(places, figures, found, strict=True) if n.is_exact]
    parts = [
        svg.y_axis(y, LEFT, RIGHT, basis.metric_words),
        *(svg.text(x, BOTTOM + 16, _shown_value(knob, n.value[0]), anchor="middle", kind="tick")
          for x, n in zip(places, found, strict=True)),
        svg.text((LEFT + RIGHT) / 2, BOTTOM + 36, one_line(knob, 40), anchor="middle", kind="axis"),
        svg.path(exact, "curve") if len(exact) > 1 else Markup(""),
        *(_mark(basis, winner, n, x, y) for x, n in zip(places, found, strict=True)),
    ]  # fmt: skip
    said = ", ".join(f"{_shown_value(knob, n.value[0])}: {words.three(f)}" for n, f in zip(found, figures, strict=True))
    drawn = svg.picture(
        WIDTH, HEIGHT, f"{basis.metric_words} by {one_line(knob, 40)}: {said}", parts, class_="chart small"
    )
    yield Curve(knob=one_line(knob, 40), doc=one_line(doc), drawn=drawn, is_exact=len(exact) > 1)


def _mark(basis: Basis, winner: Shown, near: Neighbour, x: float, y: svg.Scale) -> Markup:
    figure = near.trial.value or 0.0
    kind = "winner" if near.trial is winner else "ok" if near.is_exact else "ok unsure"
    hint = f"{basis.words(near.trial.point)}\n{basis.figure_words(figure)}"
    return svg.dot(x, y.at(basis.scaled(figure)), 6, f"mark {kind}", hint, data_trial=near.trial.number)
