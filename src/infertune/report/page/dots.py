"""Confirmation as a picture: the winner and the baselines, every fresh launch a dot, the median and its interval."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from infertune.core import stats, words
from infertune.core.records import Interval, Launch, Measurement
from infertune.core.space import Point
from infertune.report.inert import one_line
from infertune.report.page import svg
from infertune.report.page.basis import Basis, Shown

WIDTH, ROW, TOP = 760, 40, 14
LEFT, RIGHT = 210, 740
_LONGEST = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """One point's fresh launches that gave a figure, with the figure in the axis's unit; ``kind`` is its style."""

    name: str
    kind: str
    launches: tuple[tuple[Launch, float], ...]

    @property
    def middle(self) -> Interval:
        return stats.median_interval([value for _, value in self.launches])


def lanes(basis: Basis) -> tuple[Lane, ...]:
    """The winner first, then other finalists and baselines from best to worst; points without a figure left out."""
    fresh = basis.chosen.confirmation.launches if basis.chosen.confirmation else ()
    points = dict.fromkeys(launch.point for launch in fresh)
    found = [lane for point in points if (trial := basis.of(point)) for lane in _lane(basis, trial, fresh)]
    sign = -1.0 if basis.goal.maximise else 1.0
    return tuple(sorted(found, key=lambda lane: (lane.kind != "winner", sign * lane.middle.value)))


def _lane(basis: Basis, trial: Shown, fresh: Sequence[Launch]) -> Iterator[Lane]:
    measured = figures(fresh, trial.point, lambda m: basis.scaled(basis.goal.value(m)))
    if measured:
        kind = "winner" if trial is basis.winner else "baseline"
        yield Lane(name=trial.role or f"trial {trial.number}", kind=kind, launches=measured)


def figures(
    among: Sequence[Launch], point: Point, figure: Callable[[Measurement], float]
) -> tuple[tuple[Launch, float], ...]:
    """The successful launches of a point, each with its figure."""
    mine = [(la, la.outcome) for la in among if la.point == point]
    return tuple((la, figure(m)) for la, m in mine if isinstance(m, Measurement) and len(m.latencies_ns))


def dots(basis: Basis) -> Markup | None:
    """None while nothing is confirmed."""
    return drawn(lanes(basis), f"Confirmed {basis.metric_words}", basis.metric_words)


def drawn(found: Sequence[Lane], label: str, axis: str) -> Markup | None:
    """Lanes on one axis; None without any. ``axis`` ends with the unit in brackets."""
    if not found:
        return None
    height = TOP + ROW * len(found) + 44
    bottom = TOP + ROW * len(found)
    x = svg.around([value for lane in found for _, value in lane.launches], LEFT, RIGHT)
    unit = axis.rpartition("(")[2].rstrip(")")
    rows = [_row(lane, unit, x, TOP + ROW * place + ROW / 2) for place, lane in enumerate(found)]
    said = f"{label}: {', '.join(map(_said, found))}"
    return svg.picture(WIDTH, height, said, [svg.x_axis(x, TOP, bottom, axis), *rows], class_="chart dots")


def _said(lane: Lane) -> str:
    return f"{lane.name} {words.interval(lane.middle)}"


def _row(lane: Lane, unit: str, x: svg.Scale, y: float) -> Markup:
    middle, kind = lane.middle, lane.kind
    name = lane.name if len(lane.name) <= _LONGEST else f"{lane.name[:_LONGEST]}\u2026"
    parts = [
        svg.text(LEFT - 12, y + svg.TICK, name, anchor="end", kind=f"label {kind}"),
        svg.tag(
            "rect", svg.tag("title", _said(lane)), x=x.at(middle.low), y=y - 9,
            width=max(1.0, x.at(middle.high) - x.at(middle.low)), height=18, rx=3, class_=f"span {kind}",
        ),
        svg.line(x.at(middle.value), y - 13, x.at(middle.value), y + 13, f"median {kind}"),
        *(_launch(launch, value, unit, x, y) for launch, value in lane.launches),
    ]  # fmt: skip
    return svg.group(parts)


def _launch(launch: Launch, value: float, unit: str, x: svg.Scale, y: float) -> Markup:
    flags = ", ".join(one_line(flag, 80) for flag in launch.flags)
    hint = f"block {launch.block + 1}: {words.three(value)} {unit}{f' ({flags})' if flags else ''}"
    return svg.dot(x.at(value), y, 4, "launch flagged" if launch.flags else "launch", hint)
