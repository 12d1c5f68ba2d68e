"""Cards of one kind that stand in for each other while searching, and how their speeds compare."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import partial

from infertune.core import stats
from infertune.core.calibrated import Calibrated
from infertune.core.records import Artifact, Failed, Launch, Measurement
from infertune.core.seams import Crew
from infertune.core.space import Point, Space
from infertune.study.cards import Card, leave_alone
from infertune.study.loop import Loop
from infertune.study.lost import device_unready
from infertune.study.question import alike

LAUNCHES = 3
"""Of the same point on every card, one after another on each and side by side on all, ..."""
SHARE = 0.1
"""... and fewer where they would take more than this part of the budget: they are there to save time."""


def cards(loop: Loop, space: Space) -> list[Card]:
    """The device of the space, and its twins that are ready."""
    first = loop.setting.device(space.target, space.device)
    spoken_for = {(s.target, s.device) for s in loop.setting.spaces}
    twins = [
        d
        for d in loop.setting.question.devices
        if d.health == "ready" and (d.target, d.name) not in spoken_for and alike(d, first)
    ]
    return [Card(space, first.name, first=True), *(Card(space, twin.name, first=False) for twin in twins)]


def stand_in(loop: Loop) -> None:
    """Have the twins that the record knows at hand, and one of them in the place of each device that is not ready.

    Raises `BusyError` (``device-lost``) where there is none to.
    """
    told, reserve = _told(loop), loop.bench.reserve
    for space in loop.setting.spaces:
        known = [card for card in cards(loop, space) if not card.first and card.device in told]
        reserve.spare += [replace(card, factor=told[card.device]) for card in known]
        health = loop.setting.device(space.target, space.device).health
        if health != "ready" and loop.bench.replace(_common_point(space), health, "is not ready") is None:
            raise device_unready(space.device, health)


def calibrate(loop: Loop, crew: Crew, found: Sequence[Card]) -> list[Card]:
    """The cards that may measure: first ones, and twins whose factor the record tells or that get one now."""
    told = _told(loop)
    for first in (card for card in found if card.first):
        group = [c for c in found if c.space is first.space and (c.first or c.device not in told)]
        if len(group) > 1 and not loop.bench.reserve.instead.get((first.space.target, first.space.device)):
            _compare(loop, crew, first, group)
    told = _told(loop)
    return [replace(card, factor=told.get(card.device, 1.0)) for card in found if card.first or card.device in told]


def _told(loop: Loop) -> dict[str, float]:
    return {e.event.device: e.event.factor for e in loop.journal.entries if isinstance(e.event, Calibrated)}


def _common_point(space: Space) -> Point:
    named = [*(b.point for b in space.baselines), *space.seeds]
    return named[0] if named else next(iter(space.points()))


def _compare(loop: Loop, crew: Crew, first: Card, group: Sequence[Card]) -> None:
    """Measure one point on all cards of a group side by side, and record how they compare with the first."""
    point, twins = _common_point(first.space), [card for card in group if not card.first]
    artifact = loop.bench.builds.fetch(point, most_s=loop.most_build_s())
    if isinstance(artifact, Failed):
        for card in twins:
            leave_alone(loop.journal, card.device, f"the point to compare it with {first.device} cannot be built")
        return
    rates: dict[str, list[float]] = {card.device: [] for card in group}
    began, made = loop.journal.elapsed_s, 0
    while made < LAUNCHES and _worth_another(loop, began, made, rates[first.device]):
        loop.on_phase("calibrate", loop.named(point))
        made += 1
        for device, rate in _rates(loop, crew, point, artifact, group).items():
            rates[device].append(rate)
    for card in twins:
        if rates[card.device] and rates[first.device]:
            _keep(loop, point, first, card, rates)
        else:
            leave_alone(loop.journal, card.device, f"it could not be compared with {first.device}")


def _worth_another(loop: Loop, began_s: float, made: int, rates: Sequence[float]) -> bool:
    """Whether one launch more on every card is within `SHARE`; none where the first card gave no figure."""
    if not made:
        return True
    took_s = loop.journal.elapsed_s - began_s
    return bool(rates) and took_s * (made + 1) / made <= SHARE * loop.budget_s


def _rates(loop: Loop, crew: Crew, point: Point, artifact: Artifact, group: Sequence[Card]) -> dict[str, float]:
    """One launch on each card; samples/s of those that worked."""
    plan, most_s = loop.plans.race, loop.most_screen_s()
    begun: dict[str, Future[Launch]] = {}
    for card in group:
        there = replace(point, device=card.device)
        begun[card.device] = crew.submit(partial(loop.bench.measure, there, artifact, "screen", 0, plan, most_s=most_s))
    while waiting := [future for future in begun.values() if not future.done()]:
        crew.wait(waiting)
    outcomes = {device: future.result().outcome for device, future in begun.items()}
    return {device: stats.throughput(found) for device, found in outcomes.items() if isinstance(found, Measurement)}


def _keep(loop: Loop, point: Point, first: Card, card: Card, rates: dict[str, list[float]]) -> None:
    loop.journal.append(
        Calibrated(
            device=card.device,
            like=first.device,
            point=point,
            rates=tuple(rates[card.device]),
            like_rates=tuple(rates[first.device]),
            factor=statistics.median(rates[card.device]) / statistics.median(rates[first.device]),
        )
    )
