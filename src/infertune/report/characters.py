"""Charts in characters for the terminal: a grid of cells, marks at scaled places, axes in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from infertune.core import words
from infertune.report.page.basis import Basis, Shown
from infertune.report.page.front import front, knee
from infertune.report.page.progress import best_so_far, seen
from infertune.report.rows import is_best

WIDTH, HEIGHT, LOW_HEIGHT = 60, 12, 6
TRIAL, MISSED, FRONT, BASELINE, KNEE, WINNER = "\u00b7", "x", "+", "o", "K", "W"
"""Marks from the one that gives way to the one that stands above all others."""

_ORDER = (TRIAL, MISSED, FRONT, BASELINE, KNEE, WINNER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    x: float
    y: float
    sign: str


def plot(
    marks: Sequence[Mark],
    *,
    x_title: str,
    y_title: str,
    logarithmic: Sequence[float] | None = None,
    height: int = HEIGHT,
) -> tuple[str, ...]:
    """Lines of a chart whose vertical axis starts at 0; ``logarithmic`` gives the ends of a logarithmic x axis."""
    top = max((mark.y for mark in marks), default=0.0) or 1.0
    low, high = logarithmic or (0.0, max((mark.x for mark in marks), default=0.0) or 1.0)
    cells = [[" "] * WIDTH for _ in range(height)]
    for mark in sorted(marks, key=lambda mark: _ORDER.index(mark.sign) if mark.sign in _ORDER else -1):
        share = (
            math.log(mark.x / low) / math.log(high / low) if logarithmic and high > low else _share(mark.x, low, high)
        )
        column, row = round(share * (WIDTH - 1)), round((1.0 - mark.y / top) * (height - 1))
        cells[row][column] = mark.sign
    edge = max(len(words.three(top)), 1)
    labels = {0: words.three(top), height - 1: "0"}
    lines = [f"{labels.get(i, ''):>{edge}} |{''.join(row).rstrip()}" for i, row in enumerate(cells)]
    ends = f"{words.three(low)}{words.three(high):>{WIDTH - len(words.three(low))}}"
    return (y_title, *lines, f"{'':>{edge}} +{'-' * WIDTH}", f"{'':>{edge}}  {ends}", f"{'':>{edge}}  {x_title}")


def _share(value: float, low: float, high: float) -> float:
    return (value - low) / (high - low) if high > low else 0.5


def trade_off(basis: Basis) -> tuple[str, ...]:
    """Throughput against tail latency of every trial; empty with fewer than two measured."""
    trials = [t for t in basis.measured if t.tail_ms]
    if len(trials) < 2:
        return ()
    along = front(trials)
    best = knee(along)
    marks = [Mark(x=t.tail_ms or 0.0, y=t.throughput or 0.0, sign=_sign(t, along, best)) for t in trials]
    ends = min(mark.x for mark in marks), max(mark.x for mark in marks)
    drawn = plot(marks, x_title=f"{basis.tail} ms, logarithmic", y_title="samples/s", logarithmic=ends)
    return *drawn, _legend({mark.sign for mark in marks})


def _sign(trial: Shown, along: Sequence[Shown], best: Shown | None) -> str:
    if is_best(trial.role):
        return WINNER
    if trial.role and trial.role != "finalist":
        return BASELINE
    if trial is best:
        return KNEE
    return FRONT if trial in along else TRIAL if trial.status == "ok" else MISSED


def _legend(used: set[str]) -> str:
    said = {
        WINNER: "winner", BASELINE: "baseline", KNEE: "knee", FRONT: "Pareto front", TRIAL: "trial",
        MISSED: "misses a limit",
    }  # fmt: skip
    return ", ".join(f"{sign} {name}" for sign, name in said.items() if sign in used)


def search_curve(basis: Basis) -> tuple[str, ...]:
    """The best figure so far against study time, held until the next better one; empty with fewer than two steps."""
    steps = best_so_far(basis, seen(basis))
    end = basis.entries[-1].at_s if basis.entries else 0.0
    if len(steps) < 2 or end <= 0:
        return ()
    marks = []
    for column in range(WIDTH):
        at_s = end * column / (WIDTH - 1)
        reached = [value for when, value in steps if when <= at_s]
        if reached:
            marks.append(Mark(x=at_s, y=reached[-1], sign="\u2500"))
    return plot(marks, x_title="s of study time", y_title=basis.metric_words, height=LOW_HEIGHT)
