"""Confirmation as a picture: the winner and the baselines, every fresh launch a dot, the median and its interval."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from infertune.core import stats, words
from infertune.core.records import Failed, Interval, Launch, Measurement
from infertune.report.inert import one_line
from infertune.report.page import svg
from infertune.report.page.basis import Basis, Shown

WIDTH, ROW, TOP = 760, 40, 14
LEFT, RIGHT = 210, 740
_LONGEST = 27


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """One point's fresh launches that gave a figure, with the figure in the axis's unit."""

    name: str
    trial: Shown
    launches: tuple[tuple[Launch, float], ...]
    failed: int

    @property
    def middle(self) -> Interval:
        return stats.median_interval([value for _, value in self.launches])


def lanes(basis: Basis) -> tuple[Lane, ...]:
    """The winner first, then other finalists and baselines from best to worst; points without a figure left out."""
    fresh = basis.chosen.confirmation.launches if basis.chosen.confirmation else ()
    points = dict.fromkeys(launch.point for launch in fresh)
    found = [lane for point in points if (trial := basis.of(point)) for lane in _lane(basis, trial, fresh)]
    sign = -1.0 if basis.goal.maximise else 1.0
    return tuple(sorted(found, key=lambda lane: (lane.trial is not basis.winner, sign * lane.middle.value)))


def _lane(basis: Basis, trial: Shown, fresh: Sequence[Launch]) -> Iterator[Lane]:
    mine = [launch for launch in fresh if launch.point == trial.point]
    measured = [(la, la.outcome) for la in mine if isinstance(la.outcome, Measurement) and len(la.outcome.latencies_ns)]
    if measured:
        yield Lane(
            name=trial.role or f"trial {trial.number}",
            trial=trial,
            launches=tuple((la, basis.scaled(basis.goal.value(m))) for la, m in measured),
            failed=sum(isinstance(la.outcome, Failed) for la in mine),
        )


def dots(basis: Basis) -> Markup | None:
    """None while nothing is confirmed."""
    found = lanes(basis)
    if not found:
        return None
    height = TOP + ROW * len(found) + 44
    bottom = TOP + ROW * len(found)
    x = svg.around([value for lane in found for _, value in lane.launches], LEFT, RIGHT)
    rows = [_row(basis, lane, x, TOP + ROW * place + ROW / 2) for place, lane in enumerate(found)]
    label = f"Confirmed {basis.metric_words} of {', '.join(_said(basis, lane) for lane in found)}"
    return svg.picture(
        WIDTH, height, label, [svg.x_axis(x, TOP, bottom, basis.metric_words), *rows], class_="chart dots"
    )


def _said(basis: Basis, lane: Lane) -> str:
    return f"{lane.name}: {words.interval(lane.middle)}"


def _row(basis: Basis, lane: Lane, x: svg.Scale, y: float) -> Markup:
    middle = lane.middle
    name = lane.name if len(lane.name) <= _LONGEST else f"{lane.name[:_LONGEST]}\u2026"
    kind = "winner" if lane.trial is basis.winner else "baseline"
    parts = [
        svg.text(LEFT - 12, y + svg.TICK, name, anchor="end", kind=f"label {kind}"),
        svg.tag(
            "rect", svg.tag("title", _said(basis, lane)), x=x.at(middle.low), y=y - 9,
            width=max(1.0, x.at(middle.high) - x.at(middle.low)), height=18, rx=3, class_=f"span {kind}",
        ),
        svg.line(x.at(middle.value), y - 13, x.at(middle.value), y + 13, f"median {kind}"),
        *(_launch(basis, launch, value, x, y) for launch, value in lane.launches),
    ]  # fmt: skip
    return svg.group(parts)


def _launch(basis: Basis, launch: Launch, value: float, x: svg.Scale, y: float) -> Markup:
    flags = ", ".join(one_line(flag, 80) for flag in launch.flags)
    unit = "samples/s" if basis.goal.maximise else "ms"
    hint = f"block {launch.block + 1}: {words.three(value)} {unit}{f' ({flags})' if flags else ''}"
    return svg.dot(x.at(value), y, 4, "launch flagged" if launch.flags else "launch", hint)
