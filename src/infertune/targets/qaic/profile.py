"""Latency profiles of qaic-runner: one file per activation, one line per request. Times in microseconds.

Four lines of heading, then comma-separated columns (`Sample, queueDepth, numInfInQueue, hostRoundTripUs, ...`); which
columns there are depends on how the program was compiled. What the columns mean, and the identities between them, is
in `PHASES` below.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from infertune.core.errors import quoted

FIRST_COLUMN = "Sample"
NOT_TIMES = ("Sample", "queueDepth", "numInfInQueue")
NEEDED = (
    "hostRoundTripUs", "enqTimeUs", "preProcTimeUs", "submitTimeUs", "execTotalUs",
    "exectoVcUs", "execToCompleteUs", "postProcUs", "totalRoundtripTimeUs",
)  # fmt: skip
TOTAL = "totalRoundtripTimeUs"
HEADING_LINES = 20  # at most; the tools write four
LONGEST = 10_000_000
MOST_US = 1e12  # eleven days: more is no time of a request
SIMULATED = "(simulated card)"
"""In the heading of what a simulated card's runner writes; nothing of the vendor's holds it."""

Floats = npt.NDArray[np.float64]

PHASES = {
    "application": "from the caller's hand to the runtime's and back: the total less everything below",
    "runtime": "enqTime + preProcTime + postProc: the runtime's queue and its transforms on the host",
    "kernel driver": "submitTime + exectoVc + (execTotal - hostRoundTrip): submission, placing on the virtual channel, "
    "and the way between kernel and user space",
    "device": "execToComplete: from the virtual channel to the completion interrupt, waiting on the card included",
}
"""The vendor's four parts of a request's latency. They add up to totalRoundtripTime exactly."""


class Garbled(ValueError):  # noqa: N818  what it is, not that it is an error of ours
    """Output of a tool that is not what the tool writes; the message says where."""


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """``values`` is (samples, columns); N/A cells are NaN. ``dropped``: last lines left out as they were cut off.

    ``simulated``: the heading says that no card was involved.
    """

    columns: tuple[str, ...]
    values: Floats
    dropped: int = 0
    simulated: bool = False

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, column: str) -> Floats:
        return self.values[:, self.columns.index(column)]

    @property
    def timed(self) -> Profile:
        """Without the requests whose total is N/A."""
        return replace(self, values=self.values[~np.isnan(self[TOTAL])])

    @property
    def times(self) -> tuple[str, ...]:
        """The columns that say how requests fared, in the order of the file."""
        return tuple(name for name in self.columns if name not in NOT_TIMES)


def parse_profile(text: str) -> Profile:
    """Read one file. A last line without its line end does not count, as it may be cut anywhere.

    Raises `Garbled` for a file without a heading, without samples, or with a line that is neither.
    """
    if not text.strip():
        raise Garbled("the file is empty")
    lines = text.split("\n")
    cut = bool(lines.pop().strip())
    at, columns = _heading(lines)
    rows = [(number, line) for number, line in enumerate(lines[at + 1 :], start=at + 2) if line.strip()]
    if not rows:
        raise Garbled("there are no samples" + (", only part of one line" if cut else " below the heading"))
    if len(rows) > LONGEST:
        raise Garbled(f"there are more than {LONGEST} samples")
    values = _fast(rows, len(columns))
    if values is None:
        values = np.asarray([_row(line, number, len(columns)) for number, line in rows])
    return Profile(columns, values, int(cut), any(SIMULATED in line for line in lines[:at]))


def _fast(rows: Sequence[tuple[int, str]], width: int) -> Floats | None:
    """All numbers at once; None where a line needs a closer look."""
    if any(line.count(",") != width - 1 for _, line in rows):
        return None
    cells = ",".join(line for _, line in rows).split(",")
    try:
        values = np.asarray(cells, dtype=np.float64).reshape(-1, width)
    except ValueError:
        return None
    return values if bool(np.all((values >= 0) & (values <= MOST_US))) else None


def _heading(lines: Sequence[str]) -> tuple[int, tuple[str, ...]]:
    for at, line in enumerate(lines[:HEADING_LINES]):
        columns = tuple(cell.strip() for cell in line.split(","))
        if columns[0] == FIRST_COLUMN:
            return at, _known(columns)
    first = quoted(lines[0] if lines else "", 60)
    raise Garbled(f"it is no latency profile: no line begins with `{FIRST_COLUMN},`; the first line is `{first}`")


def _known(columns: tuple[str, ...]) -> tuple[str, ...]:
    missing = [name for name in NEEDED if name not in columns]
    if missing:
        raise Garbled(f"the heading lacks {', '.join(missing)}")
    if len(set(columns)) < len(columns):
        raise Garbled("the heading names a column twice")
    return columns


def _row(line: str, number: int, width: int) -> list[float]:
    cells = [cell.strip() for cell in line.split(",")]
    if len(cells) != width:
        raise Garbled(f"line {number} has {len(cells)} columns instead of {width}")
    return [_cell(cell, number) for cell in cells]


def _cell(text: str, number: int) -> float:
    if text == "N/A":
        return math.nan
    try:
        value = float(text)
    except ValueError:
        raise Garbled(f"line {number} holds `{quoted(text, 40)}` instead of a number") from None
    if not 0 <= value <= MOST_US:
        raise Garbled(f"line {number} holds {text}, which is no time")
    return value


def combined(profiles: Sequence[Profile]) -> Profile:
    """All activations in one. Raises `Garbled` when their columns differ."""
    if any(p.columns != profiles[0].columns for p in profiles):
        raise Garbled("the files have different columns: they come from different programs")
    values = np.concatenate([p.values for p in profiles])
    simulated = any(p.simulated for p in profiles)
    return Profile(profiles[0].columns, values, sum(p.dropped for p in profiles), simulated)


def breakdown(profile: Profile) -> dict[str, Floats]:
    """Microseconds of every request by phase (see `PHASES`)."""
    runtime = profile["enqTimeUs"] + profile["preProcTimeUs"] + profile["postProcUs"]
    switch = profile["execTotalUs"] - profile["hostRoundTripUs"]
    driver = profile["submitTimeUs"] + profile["exectoVcUs"] + switch
    device = profile["execToCompleteUs"]
    return {
        "application": profile[TOTAL] - runtime - driver - device,
        "runtime": runtime,
        "kernel driver": driver,
        "device": device,
    }


def render(columns: Sequence[str], rows: Iterable[str], heading: Sequence[str]) -> str:
    """A profile as the tools write one; ``rows`` are the lines below the column names."""
    return "".join(line + "\n" for line in (*heading, ", ".join(columns), *rows))
