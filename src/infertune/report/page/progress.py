"""The search over time: the best so far, and beneath it what the machine was doing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from infertune.core import words
from infertune.core.records import Built, Ceilings, Checked, Launch, Measurement, Round, Waited
from infertune.report.page import svg
from infertune.report.page.basis import Basis, Shown

WIDTH, HEIGHT = 760, 380
LEFT, RIGHT, TOP, BOTTOM = 64, 744, 34, 262
STRIP, LANE = 276, 14
ACTIVITIES = ("search", "build", "screen", "anchor", "race", "confirm", "ablate", "check", "waiting", "idle")
"""What the time went into: the strategy thinking, builds, launches by purpose, checks of outputs and machine, waiting
for other programs to leave, rest."""

_OF_PURPOSE = {"measure": "screen"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """What happened from ``start_s`` to ``end_s`` of study time."""

    activity: str
    start_s: float
    end_s: float


def stretches(basis: Basis) -> tuple[Stretch, ...]:
    """Every piece of work with its time; builds side by side may overlap. Work ends when its entry is written."""
    found = []
    for entry in basis.entries:
        spent = _spent(entry.event)
        if spent is not None:
            activity, seconds = spent
            found.append(Stretch(activity=activity, start_s=max(0.0, entry.at_s - seconds), end_s=entry.at_s))
    return tuple(found)


def _spent(event: object) -> tuple[str, float] | None:
    match event:
        case Round():
            return "search", event.think_s
        case Built():
            return "build", event.wall_s
        case Checked() | Ceilings():
            return "check", event.wall_s
        case Waited():
            return "waiting", event.wall_s
        case Launch():
            return _OF_PURPOSE.get(event.purpose, event.purpose), event.wall_s
    return None


def shares(basis: Basis) -> tuple[tuple[str, float], ...]:
    """Seconds by activity, each moment counted once; ``idle`` is the time in which none of them ran.

    Where two overlap, the later of `ACTIVITIES` (the measurement) takes it.
    """
    found = stretches(basis)
    end = basis.entries[-1].at_s if basis.entries else 0.0
    cuts = sorted({0.0, end, *(s.start_s for s in found), *(s.end_s for s in found)})
    totals = dict.fromkeys(ACTIVITIES, 0.0)
    rank = {name: place for place, name in enumerate(ACTIVITIES)}
    ordered, begun, running = sorted(found, key=lambda s: s.start_s), 0, []
    for start, stop in pairwise(cuts):
        while begun < len(ordered) and ordered[begun].start_s <= start:
            running.append(ordered[begun])
            begun += 1
        running = [s for s in running if s.end_s >= stop]
        busy = max((s.activity for s in running), key=lambda name: rank[name], default="idle")
        totals[busy] += stop - start
    return tuple((name, seconds) for name, seconds in totals.items() if seconds > 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A trial's first figure: when it was known, and what it was in the axis's unit."""

    at_s: float
    trial: Shown
    value: float
    purpose: str


def seen(basis: Basis) -> tuple[Seen, ...]:
    """The first successful launch of every trial, in time."""
    by_point = {trial.point: trial for trial in basis.trials}
    found: dict[int, Seen] = {}
    for entry in basis.entries:
        event = entry.event
        if not isinstance(event, Launch) or event.purpose == "ablate":
            continue
        if isinstance(event.outcome, Measurement) and len(event.outcome.latencies_ns):
            trial = by_point[event.point]
            value = basis.scaled(basis.goal.value(event.outcome))
            found.setdefault(trial.number, Seen(at_s=entry.at_s, trial=trial, value=value, purpose=event.purpose))
    return tuple(found.values())


def best_so_far(basis: Basis, first: Sequence[Seen]) -> tuple[tuple[float, float], ...]:
    """(seconds, value) whenever a searched trial that may win was better than all before, by its first launch."""
    found: list[tuple[float, float]] = []
    for one in first:
        better = not found or (one.value > found[-1][1] if basis.goal.maximise else one.value < found[-1][1])
        if better and one.trial.status == "ok" and one.purpose != "confirm":
            found.append((one.at_s, one.value))
    return tuple(found)


def progress(basis: Basis) -> Markup | None:
    """None when nothing was measured."""
    first = seen(basis)
    if not first:
        return None
    end = basis.entries[-1].at_s
    x = svg.Scale(low=0.0, high=end or 1.0, start=LEFT, end=RIGHT)
    y = svg.from_zero([one.value for one in first], BOTTOM, TOP)
    best = best_so_far(basis, first)
    parts = [
        svg.x_axis(x, TOP, STRIP + LANE * 2 + 8, "time since the study began (s)"),
        svg.y_axis(y, LEFT, RIGHT, basis.metric_words),
        _steps(best, x, y, end),
        svg.group([_mark(basis, one, x, y) for one in first], class_="points"),
        *_strip(stretches(basis), x),
    ]
    label = f"Best {basis.metric_words} so far against time over {words.seconds(end)}: " + (
        f"it ended at {words.three(best[-1][1])}." if best else "nothing met the goal."
    )
    return svg.picture(WIDTH, HEIGHT, label, parts, class_="chart progress")


def _steps(best: Sequence[tuple[float, float]], x: svg.Scale, y: svg.Scale, end: float) -> Markup:
    points: list[tuple[float, float]] = []
    for at_s, value in best:
        points += [(x.at(at_s), points[-1][1])] if points else []
        points.append((x.at(at_s), y.at(value)))
    if points:
        points.append((x.at(end), points[-1][1]))
    return svg.path(points, "best") if points else Markup("")


def _mark(basis: Basis, one: Seen, x: svg.Scale, y: svg.Scale) -> Markup:
    kind = "baseline" if one.purpose == "confirm" else "ok" if one.trial.status == "ok" else "missed"
    said = f"trial {one.trial.number} at {words.seconds(one.at_s)}: {words.three(one.value)}"
    hint = f"{said}\n{basis.words(one.trial.point)}"
    return svg.dot(x.at(one.at_s), y.at(one.value), 3.5, f"mark {kind}", hint, data_trial=one.trial.number)


def _strip(work: Sequence[Stretch], x: svg.Scale) -> Iterator[Markup]:
    """Two lanes beneath the curve: builds and checks above, launches below; gaps are idle."""
    for name, activities, top in (
        ("build", ("build", "check", "search"), STRIP),
        ("measure", ("screen", "anchor", "race", "confirm", "ablate"), STRIP + LANE + 2),
    ):
        yield svg.text(LEFT - 6, top + LANE - 3, name, anchor="end", kind="tick")
        yield svg.tag("rect", x=LEFT, y=top, width=RIGHT - LEFT, height=LANE, class_="lane")
        yield svg.group([_box(s, x, top) for s in work if s.activity in activities])


def _box(stretch: Stretch, x: svg.Scale, top: float) -> Markup:
    wide = max(0.6, x.at(stretch.end_s) - x.at(stretch.start_s))
    hint = f"{stretch.activity}: {words.seconds(stretch.end_s - stretch.start_s)}"
    return svg.tag(
        "rect", svg.tag("title", hint), x=x.at(stretch.start_s), y=top, width=wide, height=LANE,
        class_=f"act {stretch.activity}",
    )  # fmt: skip
