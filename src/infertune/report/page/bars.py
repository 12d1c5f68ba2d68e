"""Horizontal bars: shares of importance, and a figure against its ceilings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from infertune.report.importance import Importance
from infertune.report.inert import one_line
from infertune.report.page import svg

WIDTH, ROW, LEFT, RIGHT = 760, 28, 190, 640
_LONGEST = 26


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """``said`` stands at its end; ``kind`` is a class of the style sheet."""

    name: str
    value: float
    said: str
    kind: str = "bar"


def bars(label: str, rows: Sequence[Bar]) -> Markup:
    """All on one scale from 0 to the largest."""
    scale = svg.Scale(low=0.0, high=max(row.value for row in rows) or 1.0, start=LEFT, end=RIGHT)
    parts = [part for place, row in enumerate(rows) for part in _row(row, scale, 6 + ROW * place)]
    said = ", ".join(f"{row.name}: {row.said}" for row in rows)
    return svg.picture(WIDTH, ROW * len(rows) + 12, f"{label}: {said}", parts, class_="chart")


def _row(row: Bar, scale: svg.Scale, top: float) -> tuple[Markup, ...]:
    name = row.name if len(row.name) <= _LONGEST else f"{row.name[:_LONGEST]}\u2026"
    end = scale.at(row.value)
    return (
        svg.text(LEFT - 10, top + 16, name, anchor="end"),
        svg.tag(
            "rect", svg.tag("title", f"{row.name}: {row.said}"), x=LEFT, y=top + 3, width=max(1.0, end - LEFT),
            height=ROW - 10, rx=2, class_=row.kind,
        ),
        svg.text(end + 8, top + 16, row.said, kind="tick"),
    )  # fmt: skip


def importances(found: Importance) -> Markup | None:
    if not found.effects:
        return None
    rows = [
        Bar(
            name=one_line(effect.knob, 40),
            value=effect.share,
            said=f"{100 * effect.share:.0f} %, {effect.factor:.2f}x",
            kind="bar" if effect.matters else "bar soft",
        )
        for effect in found.effects
    ]
    return bars("Share of the explained differences", rows)
