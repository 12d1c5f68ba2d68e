"""Cards that measure the points of a space, and what they measure as the card that the points name would have."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace

from infertune.core import audit
from infertune.core.calibrated import LeftAlone
from infertune.core.history import MEASURED_ON, MULTIPLIED
from infertune.core.records import Failed, Launch, Measurement, Plan, RawNs
from infertune.core.space import Point, Space
from infertune.study.journal import Journal

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Card:
    """A device that measures points of ``space``; ``first`` is the one that the points name, or stands in for it.

    ``factor``: what times measured here are multiplied by.
    """

    space: Space
    device: str
    first: bool
    factor: float = 1.0

    def runs(self, point: Point) -> bool:
        return (point.target, point.device) == (self.space.target, self.space.device)


def leave_alone(journal: Journal, device: str, why: str) -> None:
    """Record that the study does without a card."""
    _log.warning("%s is left alone: %s", device, why)
    journal.append(LeftAlone(device=device, why=why))


@dataclass(slots=True)
class Reserve:
    """Who may stand in for a card that is lost, and who does: (target, device) of points -> card.

    ``spare`` holds cards whose factor is known alone, as what they measure is compared with what the lost one did.
    """

    spare: list[Card] = field(default_factory=list)
    instead: dict[tuple[str, str], Card] = field(default_factory=dict)

    def serves(self, point: Point) -> bool:
        """Whether there is a spare card for the point's device."""
        return any(card.runs(point) for card in self.spare)

    def take(self, point: Point) -> Card | None:
        """The card that stands in for the point's device from now on; None where none is left."""
        card = next((card for card in self.spare if card.runs(point)), None)
        if card is not None:
            self.drop(card.device)
            self.instead[point.target, point.device] = card
        return card

    def drop(self, device: str) -> None:
        """A card that does not work stands in for nobody."""
        self.spare = [card for card in self.spare if card.device != device]

    def there(self, point: Point) -> Point:
        """The point where it is measured now."""
        card = self.instead.get((point.target, point.device))
        return point if card is None else replace(point, device=card.device)

    def as_named(self, launch: Launch, point: Point) -> Launch:
        """A launch of `there(point)` under the point's own name."""
        card = self.instead.get((point.target, point.device))
        return launch if card is None else rescaled(launch, point, card)


def rescaled(launch: Launch, point: Point, card: Card) -> Launch:
    """The launch under the point's own name, its times as the first card would have needed them, with their flags.

    The card and the factor are kept beside the runtime's own settings, so that what was measured can be told.
    """
    outcome = launch.outcome
    if card.device == point.device or isinstance(outcome, Failed):
        return replace(launch, point=point)
    told = _scaled(outcome, card)
    return replace(launch, point=point, outcome=told, flags=audit.flags(told, launch.plan or Plan()))


def _scaled(found: Measurement, card: Card) -> Measurement:
    told = ((MEASURED_ON, card.device), (MULTIPLIED, f"{card.factor:.5f}"))
    return replace(
        found,
        wall_ns=round(found.wall_ns * card.factor),
        latencies_ns=_times(found.latencies_ns, card.factor),
        ends_ns=_times(found.ends_ns, card.factor),
        phases=tuple(replace(p, samples_ns=_times(p.samples_ns, card.factor)) for p in found.phases),
        settings=(*found.settings, *told),
    )


def _times(values: RawNs, factor: float) -> RawNs:
    return RawNs(round(value * factor) for value in values)
