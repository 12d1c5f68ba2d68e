"""The trade-off between throughput and latency: which trials nothing beats in both, and where the bargain is best."""

from __future__ import annotations

import math
from collections.abc import Sequence

from infertune.report.page.basis import Shown


def front(trials: Sequence[Shown]) -> tuple[Shown, ...]:
    """Trials that no other one matches or beats in both throughput and tail latency, by rising latency."""
    known = [t for t in trials if t.throughput and t.tail_ms and t.status == "ok"]
    kept: list[Shown] = []
    for trial in sorted(known, key=lambda t: (t.tail_ms or 0.0, -(t.throughput or 0.0))):
        if not kept or (trial.throughput or 0.0) > (kept[-1].throughput or 0.0):
            kept.append(trial)
    return tuple(kept)


def knee(along: Sequence[Shown]) -> Shown | None:
    """The trial of the front that lies farthest above the straight line between its ends, both axes logarithmic.

    A move along the line trades one per cent of latency for a fixed share of throughput; the knee is where the front
    gives most beyond that. None with fewer than three trials, or where none lies above the line by 2 %.
    """
    if len(along) < 3:
        return None
    places = [(math.log(t.tail_ms or 1.0), math.log(t.throughput or 1.0)) for t in along]
    (x0, y0), (x1, y1) = places[0], places[-1]
    above = [y - (y0 + (y1 - y0) * (x - x0) / (x1 - x0)) for x, y in places]
    best = max(range(len(along)), key=lambda i: above[i])
    return along[best] if above[best] > 0.02 else None
