"""Is a promised throughput kept? Pure arithmetic over interleaved launches of a bundle and of its anchor.

A shared machine changes speed by more than 3 % from hour to hour, so a promise made then cannot be compared with a
number measured now. What survives the change is a ratio: the **anchor** is a baseline of the same runtime that was
confirmed beside the winner, block by block. Measured beside it again, the machine's drift cancels.

Cancelling also hides what slows both alike, such as a slower release of the runtime. Hence the ratio decides only
where device and versions are the same as then; otherwise the throughput itself does, or launches of the same bundle in
the environment of before.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from infertune.core import audit, history, stats, words
from infertune.core.records import Device, Interval, Launch, Measurement, Named
from infertune.core.space import Point
from infertune.core.verdict import ENOUGH

NOISY = 0.03
"""Half width of an interval, relative to its middle, from which 3 % cannot be told apart from noise."""

CLOCK_FACTS = ("governor", "turbo", "clock_source", "kernel", "cpu_quota", "affinity", "memory_bytes")

Basis = Literal["throughput", "anchor", "before"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """A baseline confirmed beside the winner. ``ratio``: winner / anchor throughput within blocks.

    ``folder`` of the bundle holds its artifact; empty where it runs from the winner's own.
    """

    name: str
    point: Point
    throughput: Interval
    ratio: Interval
    folder: str = ""


def anchor(winner: Point, baselines: Sequence[tuple[str, Point]], launches: Sequence[Launch]) -> Anchor | None:
    """The baseline whose ratio to the winner was steadiest over the blocks; None when none shares three blocks.

    Of those alone that stayed to the end of the confirmation: three ratios lie nearer together than six of the same
    baseline, but say less.
    """
    ours = history.sample(winner, launches).by_block(stats.throughput)
    found: list[tuple[int, Anchor]] = []
    for name, point in baselines:
        theirs = history.sample(point, launches).by_block(stats.throughput)
        shared = sorted(ours.keys() & theirs.keys())
        if point != winner and len(shared) >= ENOUGH:
            ratio = stats.ratio_interval([ours[b] for b in shared], [theirs[b] for b in shared])
            alone = stats.median_interval([theirs[b] for b in shared])
            found.append((len(shared), Anchor(name=name, point=point, throughput=alone, ratio=ratio)))
    most = max((blocks for blocks, _ in found), default=0)
    stayed = [anchor for blocks, anchor in found if 2 * blocks > most]
    return min(stayed, key=lambda a: _width(a.ratio), default=None)


def _width(found: Interval) -> float:
    """Half the interval's width relative to its middle."""
    return (found.high - found.low) / (2.0 * found.value) if found.value else 0.0


def relative(found: Interval, to: float) -> Interval:
    return Interval(value=found.value / to, low=found.low / to, high=found.high / to)


def beside(found: Interval, promised: Interval) -> Interval:
    """``found`` / ``promised``, as uncertain as both together."""
    least = promised.low or promised.value
    return Interval(value=found.value / promised.value, low=found.low / promised.high, high=found.high / least)


def settled(ratio: Interval, tolerance: float) -> bool:
    """Whether more launches would not change the verdict: the whole interval lies on one side of the tolerance."""
    return ratio.low >= 1.0 - tolerance or ratio.high < 1.0 - tolerance


def kept(ratio: Interval, tolerance: float) -> bool:
    """Whether the ratio that decides is not below the tolerance. Faster than promised is kept."""
    return ratio.value >= 1.0 - tolerance


# ---------------------------------------------------------------- what changed


def device_changes(then: Device, now: Device) -> tuple[str, ...]:
    """Device, its size and versions that differ."""
    pairs = {
        "device": (then.title, now.title),
        words.units(now): (str(then.units), str(now.units)),
        **{name: (value, dict(now.versions).get(name, "none")) for name, value in then.versions},
    }
    return _told(pairs)


def host_changes(then: Named, now: Named) -> tuple[str, ...]:
    """What may change clocks or scheduling, and differs; facts that one side lacks are left out."""
    before, after = dict(then), dict(now)
    watched = [n for n in before if n in CLOCK_FACTS or n.startswith("env ")]
    pairs = {name: (before[name], after[name]) for name in watched if name in after}
    gained = {
        name: ("not set", value) for name, value in after.items() if name.startswith("env ") and name not in before
    }
    lost = {name: (before[name], "not set") for name in before if name.startswith("env ") and name not in after}
    return _told({**pairs, **gained, **lost})


def _told(pairs: dict[str, tuple[str, str]]) -> tuple[str, ...]:
    return tuple(f"{what}: {a} then, {b} now" for what, (a, b) in pairs.items() if a != b)


def machine_changes(measured: Sequence[Measurement], ratio: Interval, speed: Interval | None) -> tuple[str, ...]:
    """Foreign load, withheld CPU time, the anchor's own speed (``speed``: now / then), and noise."""
    told = []
    foreign = statistics.median(m.conditions.foreign_cpu for m in measured) if measured else 0.0
    steal = statistics.median(m.conditions.steal for m in measured) if measured else 0.0
    if foreign > audit.FOREIGN_CPU:
        told.append(f"foreign load: other programs used {foreign:.0%} of the CPUs")
    if steal > audit.STEAL:
        told.append(f"the hypervisor withheld {steal:.0%} of the CPU time")
    if speed is not None and (speed.high < 1.0 - NOISY or speed.low > 1.0 + NOISY):
        told.append(f"the machine: the anchor runs at {speed.value:.2f}x of its speed then (clocks or load)")
    if _width(ratio) > NOISY:
        told.append(f"noise: launches spread from {ratio.low:.2f}x to {ratio.high:.2f}x")
    return tuple(told)
