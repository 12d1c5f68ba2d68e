"""What each knob of the winner brings: a pure reading of an ablation's launches.

In every block the winner is launched beside the same point with one knob put back. The ratio of the two is what the
knob brings with all others as they are. Three launches tell large effects from none and no more: a ratio that is
beyond 3 % with an interval that holds 1.00 is not told apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from infertune.core import audit, history, verdict
from infertune.core.ablated import Ablated, Variant
from infertune.core.history import Sample
from infertune.core.records import Entry, Failed, Interval, Launch, Measurement
from infertune.core.space import Point, Value
from infertune.core.verdict import ENOUGH, MARGIN, Terms

BLOCKS = ENOUGH
TOGETHER = " + "
"""Between the names of knobs that are put back at once."""

Effect = Literal["matters", "no difference", "too few"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Brought:
    """What ``knobs`` bring: the winner has ``values``, and was measured with ``others`` instead.

    ``ratio`` is how many times better the winner is, block by block; below 1 the other value is better, which can only
    be taken where ``misses`` (a limit that it breaks) is empty. ``ignored``: the runtime reports the same value of the
    knob either way. ``failed`` says why no launch gave a figure.
    """

    knobs: tuple[str, ...]
    values: tuple[Value, ...]
    others: tuple[Value, ...]
    ratio: Interval | None
    effect: Effect
    launches: int
    misses: str = ""
    ignored: bool = False
    failed: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ablation:
    """``brought`` in the order of the space; ``unreached`` knobs were not launched, ``left_out`` cannot be put back."""

    winner: Point
    brought: tuple[Brought, ...]
    unreached: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]

    @property
    def complete(self) -> bool:
        """Whether more launches would add nothing that this ablation set out to tell."""
        return not self.unreached and all(one.launches >= BLOCKS or one.failed for one in self.brought)


def begun(entries: Sequence[Entry]) -> tuple[Ablated, tuple[Launch, ...]] | None:
    """The newest ablation with all its launches so far; None where none was asked for."""
    found: Ablated | None = None
    launches: list[Launch] = []
    for entry in entries:
        if isinstance(entry.event, Ablated):
            found, launches = entry.event, []
        elif isinstance(entry.event, Launch) and entry.event.purpose == "ablate":
            launches.append(entry.event)
    return None if found is None else (found, tuple(launches))


def ablation(entries: Sequence[Entry], terms: Terms, winner: Point | None) -> Ablation | None:
    """What the record says of ``winner``'s knobs; None when no ablation of it was begun.

    Launches that other programs disturbed tell nothing, unless noise is accepted.
    """
    found = begun(entries)
    if found is None or found[0].winner != winner:
        return None
    asked, made = found
    noise = history.noise(entries)
    launches = [la for la in made if noise == "accept" or not audit.contaminated(la.flags)]
    reached = {launch.point for launch in made}
    return Ablation(
        winner=asked.winner,
        brought=tuple(_brought(terms, asked.winner, v, launches) for v in asked.variants if v.point in reached),
        unreached=tuple(TOGETHER.join(v.knobs) for v in asked.variants if v.point not in reached),
        left_out=asked.left_out,
    )


def shared(point: Point, winner: Point, launches: Sequence[Launch]) -> int:
    """Blocks in which both were measured."""
    ours, theirs = (history.sample(p, launches) for p in (winner, point))
    return len({block for block, _ in ours.runs} & {block for block, _ in theirs.runs})


def failure(point: Point, launches: Sequence[Launch]) -> str:
    """Why a variant gave no figure; empty when at least one launch did, or none was tried."""
    if history.sample(point, launches).runs:
        return ""
    failed = [la.outcome for la in launches if la.point == point and isinstance(la.outcome, Failed)]
    return failed[-1].message if failed else ""


def _brought(terms: Terms, winner: Point, variant: Variant, launches: Sequence[Launch]) -> Brought:
    ours, theirs = history.sample(winner, launches), history.sample(variant.point, launches)
    ratio = verdict.ratio(terms.goal, ours, theirs)
    return Brought(
        knobs=variant.knobs,
        values=tuple(winner[knob] for knob in variant.knobs),
        others=tuple(variant.point[knob] for knob in variant.knobs),
        ratio=ratio,
        effect=effect(ratio),
        launches=shared(variant.point, winner, launches),
        misses=_misses(terms, theirs),
        ignored=bool(variant.knobs) and all(_same_setting(knob, ours, theirs) for knob in variant.knobs),
        failed=failure(variant.point, launches),
    )


def effect(ratio: Interval | None) -> Effect:
    """``matters`` by the rule of `verdict.relation`; no difference within 3 %; anything between takes more launches."""
    if ratio is None:
        return "too few"
    if verdict.relation(ratio) != "same":
        return "matters"
    return "no difference" if abs(math.log(ratio.value)) < math.log(1.0 + MARGIN) else "too few"


def _misses(terms: Terms, sample: Sample) -> str:
    if not sample.runs:
        return ""
    if not verdict.faithful(terms, sample.point):
        return f"fidelity >= {terms.goal.fidelity_floor:g}"
    found = verdict.stands(terms, sample)
    return found.limit.text if found.state == "beyond" and found.limit else ""


def _same_setting(knob: str, ours: Sample, theirs: Sample) -> bool:
    told = [_told(knob, sample.measurements) for sample in (ours, theirs)]
    return told[0] is not None and told[0] == told[1]


def _told(knob: str, measured: Sequence[Measurement]) -> str | None:
    return dict(measured[-1].settings).get(knob) if measured else None
