"""What a shorter window would have said, from a study's record: `python bench/windows.py RUN`.

Over undisturbed launches of a closed loop with at least 16 requests: the robust standard deviation of the log ratio of
throughput by the first requests to that of the whole window, beside how much launches of one point differ.
"""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np

from infertune.core import audit, history, stats
from infertune.core.records import Launch, Measurement
from infertune.measure import race
from infertune.store.sqlite import read_entries

LEAST = 16
FIRST = (4, 8)
TO_SIGMA = 1.4826  # from the median distance of normal values


def kept(launches: tuple[Launch, ...]) -> list[tuple[Launch, Measurement]]:
    found = [(la, la.outcome) for la in launches if isinstance(la.outcome, Measurement)]
    return [(la, m) for la, m in found if not audit.contaminated(la.flags) and len(m.ends_ns) >= LEAST]


def sooner(found: Measurement, first: int) -> float:
    """Log ratio of throughput by the first whole rounds of at least ``first`` requests to the window's."""
    count = -(-first // found.in_flight) * found.in_flight
    ends = sorted(found.ends_ns)
    return float(np.log(count / ends[count - 1] / (len(ends) / found.wall_ns)))


def main(run: str) -> None:
    found = kept(history.launches(read_entries(Path(run))))
    print(f"{len(found)} undisturbed launches of at least {LEAST} requests")
    for first in FIRST:
        off = np.array(
            [sooner(m, first) for _, m in found if 2 * -(-first // m.in_flight) * m.in_flight <= len(m.ends_ns)]
        )
        sigma = TO_SIGMA * np.median(np.abs(off - np.median(off)))
        print(f"  first {first} requests: {sigma:.1%} from the whole window ({len(off)} launches)")
    scores: dict[object, list[float]] = {}
    for launch, m in found:
        scores.setdefault(launch.point, []).append(float(np.log(stats.throughput(m))))
    again = [[b - a] for of in scores.values() for a, b in pairwise(of)]
    print(f"  launches of one point differ by {race.spread(again):.1%} ({len(again)} pairs, upper limit at 90 %)")


if __name__ == "__main__":
    main(sys.argv[1])
