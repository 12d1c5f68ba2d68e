"""Small charts as SVG text: elements, scales, axes. Colours are classes that the page's style sheet knows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from infertune.core import words

TICK = 4.0


def tag(name: str, *children: str | Markup, **attributes: object) -> Markup:
    """One element. Text and attribute values are escaped; ``class_`` is ``class``, ``_`` in a name is ``-``."""
    written = "".join(f' {_name(key)}="{_value(value)}"' for key, value in attributes.items() if value is not None)
    return Markup(f"<{name}{written}>{''.join(map(escape, children))}</{name}>")  # noqa: S704 - parts are escaped


def _name(key: str) -> str:
    return key if key == "viewBox" else key.rstrip("_").replace("_", "-")


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.1f}".removesuffix(".0")
    return str(escape(value))


def group(children: Iterable[Markup], **attributes: object) -> Markup:
    return tag("g", *children, **attributes)


def text(x: float, y: float, said: str, *, anchor: str = "start", kind: str = "") -> Markup:
    """``anchor``: start, middle or end."""
    return tag("text", said, x=x, y=y, text_anchor=None if anchor == "start" else anchor, class_=kind or None)


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=kind)


def dot(x: float, y: float, radius: float, kind: str, hint: str, **data: object) -> Markup:
    """A circle with its words as a tool tip."""
    return tag("circle", tag("title", hint), cx=x, cy=y, r=radius, class_=kind, **data)


def path(points: Sequence[tuple[float, float]], kind: str) -> Markup:
    """A polyline through points of the picture."""
    drawn = " ".join(f"{'M' if place == 0 else 'L'}{x:.1f} {y:.1f}" for place, (x, y) in enumerate(points))
    return tag("path", d=drawn, class_=kind)


def picture(width: int, height: int, label: str, children: Iterable[Markup], **attributes: object) -> Markup:
    """The whole chart; ``label`` says in words what it shows, for those who do not see it."""
    return tag(
        "svg", *children, viewBox=f"0 0 {width} {height}", width=width, height=height, role="img", aria_label=label,
        **attributes,
    )  # fmt: skip


# ---------------------------------------------------------------- scales


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Maps ``low``..``high`` to ``start``..``end`` of the picture."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        span = self.high - self.low
        return self.start + (self.end - self.start) * ((value - self.low) / span if span else 0.5)

    def ticks(self) -> tuple[float, ...]:
        """About five round values inside."""
        span = self.high - self.low
        if span <= 0:
            return (self.low,)
        step = _round_step(span / 5)
        first = math.ceil(self.low / step - 1e-9)
        return tuple(step * i for i in range(first, math.floor(self.high / step + 1e-9) + 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class LogScale(Scale):
    """The same for positive values, by their logarithm."""

    def at(self, value: float) -> float:
        span = math.log(self.high / self.low)
        share = math.log(max(value, 1e-300) / self.low) / span if span else 0.5
        return self.start + (self.end - self.start) * share

    def ticks(self) -> tuple[float, ...]:
        """1, 2 and 5 times powers of ten inside; round values as on a plain scale where those are fewer than three."""
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        found = [m * 10.0**power for power in powers for m in (1, 2, 5) if self.low <= m * 10.0**power <= self.high]
        whole = [value for value in found if f"{value:e}"[0] == "1"]
        if len(found) > 8 and len(whole) >= 3:
            return tuple(whole)
        plain = Scale(low=self.low, high=self.high, start=self.start, end=self.end).ticks()
        return tuple(found) if len(found) >= 3 else plain


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)


def from_zero(values: Iterable[float], start: float, end: float) -> Scale:
    """A plain scale from 0 to a little above the largest value."""
    return Scale(
        low=0.0, high=max((v for v in values if math.isfinite(v)), default=1.0) * 1.06 or 1.0, start=start, end=end
    )


def around(values: Iterable[float], start: float, end: float, *, least: float = 0.02) -> Scale:
    """A plain scale that holds all values with some air, spanning at least the share ``least`` of them."""
    known = [v for v in values if math.isfinite(v)] or [1.0]
    low, high = min(known), max(known)
    air = max(0.06 * (high - low), least / 2 * abs(high), 1e-12)
    return Scale(low=max(0.0, low - air) if low >= 0 else low - air, high=high + air, start=start, end=end)


def logarithmic(values: Iterable[float], start: float, end: float) -> LogScale:
    """A logarithmic scale over the positive values with some air."""
    known = [v for v in values if v > 0 and math.isfinite(v)] or [1.0]
    air = max(1.06, (max(known) / min(known)) ** 0.05)
    return LogScale(low=min(known) / air, high=max(known) * air, start=start, end=end)


# ---------------------------------------------------------------- axes


def shown(value: float) -> str:
    """A tick's number: three digits, thousands apart."""
    digits = words.three(value)
    if "." in digits:
        return digits.rstrip("0").rstrip(".")
    return f"{int(digits):,}".replace(",", "\u202f") if abs(value) >= 10_000 else digits


def x_axis(scale: Scale, top: float, bottom: float, title: str) -> Markup:
    """Ticks below, faint lines up to ``top``, and the title under them."""
    parts = []
    for value in scale.ticks():
        x = scale.at(value)
        parts += [line(x, top, x, bottom, "grid"), text(x, bottom + 16, shown(value), anchor="middle", kind="tick")]
    middle = (scale.start + scale.end) / 2
    parts.append(text(middle, bottom + 34, title, anchor="middle", kind="axis"))
    return group(parts, aria_hidden="true")


def left_of(scale: Scale, least: float) -> float:
    """Where a vertical axis stands so that its numbers fit, also in the larger letters of narrow screens."""
    return max(least, 8.0 + NARROW_DIGIT * max(len(shown(value)) for value in scale.ticks()))


def y_axis(scale: Scale, left: float, right: float, title: str) -> Markup:
    """Ticks at the left, faint lines to ``right``, and the title above them."""
    parts = []
    for value in scale.ticks():
        y = scale.at(value)
        parts += [line(left, y, right, y, "grid"), text(left - 6, y + TICK, shown(value), anchor="end", kind="tick")]
    parts.append(text(4, min(scale.start, scale.end) - 10, title, kind="axis"))
    return group(parts, aria_hidden="true")


# ---------------------------------------------------------------- labels

Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""

NARROW_DIGIT = 9.5
"""About how wide a digit of a tick is where the screen is narrow."""

LETTER, LINE = 7.0, 14.0
"""About how wide a letter of a label is, and how far apart lines are."""

_ROWS = (0, -1, 1, -2, 2, -3, 3, -4, 4)
_PER_ROW = 0.6  # a label further off is worth a mark that stays visible, no more


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """Text in a picture: ``x`` is its start, or its end where ``anchor`` says so; ``y`` is its base line."""

    said: str
    x: float
    y: float
    anchor: str = "start"

    @property
    def box(self) -> Box:
        left = self.x - LETTER * len(self.said) if self.anchor == "end" else self.x
        return left, self.y - 10, left + LETTER * len(self.said), self.y + 3


def cover(a: Box, b: Box) -> bool:
    """Whether two boxes have room in common."""
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def beside(
    said: str, mark: tuple[float, float], frame: Box, taken: Sequence[Box], marks: Iterable[tuple[float, float]]
) -> Label:
    """A label beside its mark, where it stays in ``frame`` and covers no other text and as few marks as can be."""
    around = [(x - 5, y - 5, x + 5, y + 5) for x, y in marks]

    def harm(label: Label) -> float:
        left, top, right, bottom = label.box
        outside = left < frame[0] or top < frame[1] or right > frame[2] or bottom > frame[3]
        texts, dots = (sum(cover(label.box, box) for box in boxes) for boxes in (taken, around))
        return 1e6 * outside + 1e3 * texts + dots + _PER_ROW * abs(label.y - mark[1] - TICK) / LINE

    offered = [
        Label(said=said, x=mark[0] + away, y=mark[1] + TICK + LINE * row, anchor=anchor)
        for row in _ROWS
        for away, anchor in ((11.0, "start"), (-11.0, "end"))
    ]
    return min(offered, key=harm)
