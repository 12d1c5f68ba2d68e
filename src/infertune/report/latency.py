"""Where the time of requests goes: the vendor's latency table to the printed digit, a breakdown, and two checks.

Columns are arrays of milliseconds by name, one value per request, all instances together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from infertune.core.audit import LITTLE, least_in_flight
from infertune.core.stats import percentile_floor

Floats = npt.NDArray[np.float64]
Columns = Mapping[str, Floats]

PERCENTS = (50, 75, 90, 95, 99)
HEADS = ("mean", "min", *(f"{p}%" for p in PERCENTS), "max")
_DIGITS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """``count`` values that are numbers, and their mean, minimum, percentiles (interpolated linearly) and maximum."""

    name: str
    count: int
    values: tuple[float, ...]


def summary(name: str, samples: Floats) -> Summary:
    known = samples[~np.isnan(samples)]
    if not len(known):
        return Summary(name=name, count=0, values=(float("nan"),) * len(HEADS))
    middle = np.percentile(known, PERCENTS)
    return Summary(
        name=name,
        count=len(known),
        values=(float(known.mean()), float(known.min()), *map(float, middle), float(known.max())),
    )


def table(columns: Columns) -> str:
    """The table as the vendor's script prints it (a transposed `DataFrame.describe` without count and deviation)."""
    rows = [summary(name, samples) for name, samples in columns.items()]
    width = max(len(row.name) for row in rows)
    cells = [_column([row.values[place] for row in rows]) for place in range(len(HEADS))]
    sizes = [max(len(head), *map(len, column)) for head, column in zip(HEADS, cells, strict=True)]
    lines = [" " * width + "".join(f"  {head:>{size}}" for head, size in zip(HEADS, sizes, strict=True))]
    for place, row in enumerate(rows):
        found = "".join(f"  {column[place]:>{size}}" for column, size in zip(cells, sizes, strict=True))
        lines.append(f"{row.name:<{width}}{found}")
    return "\n".join(lines) + "\n"


def _column(values: Sequence[float]) -> list[str]:
    """Six decimals, less the zeros that all of them end with; as exponents where one would vanish."""
    known = [abs(v) for v in values if not np.isnan(v)]
    if any(0 < v < 10**-_DIGITS for v in known):
        return ["NaN" if np.isnan(v) else f"{v:.{_DIGITS}e}" for v in values]
    texts = ["NaN" if np.isnan(v) else f"{v:.{_DIGITS}f}" for v in values]
    numbers = [text for text in texts if text != "NaN"]
    while numbers and all(text.endswith("0") and not text.endswith(".0") for text in numbers):
        texts = [text if text == "NaN" else text[:-1] for text in texts]
        numbers = [text for text in texts if text != "NaN"]
    return texts


def floors(count: int) -> tuple[int, ...]:
    """The percentiles of the table that ``count`` requests are too few for."""
    return tuple(percent for percent in PERCENTS if percent > 50 and count < percentile_floor(percent))


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One phase's part of the mean latency, in milliseconds and of the whole."""

    name: str
    mean_ms: float
    of_whole: float


def shares(phases: Columns) -> tuple[Share, ...]:
    """The mean of every phase that has a number; together they are the mean of the whole where all have."""
    known = {name: samples[~np.isnan(samples)] for name, samples in phases.items()}
    means = {name: float(samples.mean()) for name, samples in known.items() if len(samples)}
    whole = sum(means.values())
    return tuple(Share(name=n, mean_ms=m, of_whole=m / whole if whole else 0.0) for n, m in means.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class Little:
    """Requests in flight = requests per second x mean latency: what the load was, and what it should have been."""

    asked: int
    rate_per_s: float
    mean_ms: float

    @property
    def in_flight(self) -> float:
        return self.rate_per_s * self.mean_ms / 1e3

    @property
    def holds(self) -> bool:
        slack = LITTLE * self.asked
        return least_in_flight(self.asked, self.rate_per_s) - slack <= self.in_flight <= self.asked + slack

    @property
    def held(self) -> str:
        """In words, where it `holds`."""
        waits = self.in_flight < (1.0 - LITTLE) * self.asked
        return "as asked, but for the host's time between requests" if waits else "as asked"


def keep_middle(samples: Floats, percent: float) -> Floats:
    """The middle ``percent`` of a series in time: what is left when as much is dropped at either end."""
    drop = int(len(samples) * (100.0 - percent) / 200.0)
    return samples[drop : len(samples) - drop]
