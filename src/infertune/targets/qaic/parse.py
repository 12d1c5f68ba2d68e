"""What the vendor's tools print, read strictly: only complete lines count, and numbers are computed again."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from infertune.core.errors import quoted
from infertune.core.records import FailureKind, Named
from infertune.targets.qaic.profile import Garbled

AGREES = 1e-3
"""How far a printed rate may be from the one computed again from its parts."""

_STATS = re.compile(
    r"InferenceCnt (\d{1,15}) TotalDuration (\d{1,15})us BatchSize (\d{1,6}) Inf/Sec (\d+(?:\.\d+)?)\s*"
)
_CARD = re.compile(r"QID:? ?(\d{1,9})\s*")
_FIELD = re.compile(r"[ \t]+([^:]+):(.*)")
_WRITING = re.compile(r"Writing file: ?(.+)")


def complete_lines(text: str) -> list[str]:
    """Lines that end with a line end."""
    return text.split("\n")[:-1]


# ---------------------------------------------------------------- qaic-runner


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """The runner's result: ``inferences`` are requests of ``batch`` samples; the rate is computed, not copied."""

    inferences: int
    duration_us: int
    batch: int

    @property
    def samples_per_s(self) -> float:
        return self.inferences * 1e6 / self.duration_us * self.batch


def parse_stats(text: str) -> Stats:
    """The last complete result line. Raises `Garbled` where there is none or where it contradicts itself."""
    found = [match for line in complete_lines(text) if (match := _STATS.fullmatch(line.strip()))]
    if not found:
        partial = next((line for line in text.split("\n") if "InferenceCnt" in line), None)
        raise Garbled(f"the result line is not whole: `{quoted(partial)}`" if partial else "there is no result line")
    count, duration, batch = (int(found[-1][i]) for i in (1, 2, 3))
    if not (count and duration and batch):
        raise Garbled(f"the result line counts nothing: `{quoted(found[-1][0])}`")
    stats = Stats(inferences=count, duration_us=duration, batch=batch)
    printed = float(found[-1][4])
    if not math.isclose(printed, stats.samples_per_s, rel_tol=AGREES, abs_tol=1e-3):
        raise Garbled(f"the printed rate {printed} is not the {stats.samples_per_s:.3f} that its own figures give")
    return stats


def written_files(text: str) -> tuple[str, ...]:
    """Files that the runner says it wrote."""
    return tuple(match[1].strip() for line in complete_lines(text) if (match := _WRITING.fullmatch(line)))


# ---------------------------------------------------------------- failures

_FAILURES: Sequence[tuple[FailureKind, str, str]] = (
    (
        "memory",
        r"(out of|insufficient) ((device |dram )?memory|dram)|ENOMEM|bad_alloc|cannot allocate",
        "out of memory",
    ),
    ("device", r"cannot be started:", "a tool of the SDK is broken"),
    ("device", r"permission denied|EACCES", "no permission to use the card"),
    ("device", r"(?<![a-z])busy(?![a-z-])|EBUSY|device is in use", "the card is busy"),
    ("device", r"resources? (temporarily |is |are )*(unavailable|not available)", "the card is busy"),
    ("device", r"(not enough|insufficient) (free )?(NSP|resource)s?", "the card is busy"),
    (
        "device",
        r"device (not ready|error|lost|not found)|Status: ?Error|ENODEV|no such device|not in ready state|invalid QID",
        "the card is not ready",
    ),
)
_ASIDE = re.compile(r"^\W*(warn(ing)?|info|debug|note)\b.*$", re.IGNORECASE | re.MULTILINE)
"""Lines that say nothing of a failure, as the compiler's `WARNING: <tensor> contains ..`."""


_TOO_LARGE = re.compile(r"out of (device|dram) memory|insufficient (device |dram )memory", re.IGNORECASE)


def too_large(text: str) -> str | None:
    """The line in which a compiler says that the card's memory cannot hold the program."""
    match = _TOO_LARGE.search(text)
    return None if match is None else _line_of(text, match.start())


def failure(text: str, otherwise: FailureKind, what: str) -> tuple[FailureKind, str]:
    """(kind, message) of a run that failed, from what it printed. The vendor's exact words are not published, so any
    of the usual ones count, but for warnings; ``otherwise`` and ``what`` are for output that says nothing of these."""
    text = _ASIDE.sub("", text) if text else text
    for kind, pattern, meaning in _FAILURES:
        if match := re.search(pattern, text, re.IGNORECASE):
            return kind, f"{meaning}: {quoted(_line_of(text, match.start()))}"
    last = next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
    return otherwise, f"{what}: {quoted(last)}" if last else what


def _line_of(text: str, at: int) -> str:
    begin = text.rfind("\n", 0, at) + 1
    end = text.find("\n", at)
    return text[begin : end if end >= 0 else None].strip()


# ---------------------------------------------------------------- qaic-util -q

_COUNT = re.compile(r"(\d+)")
_NUMBER = re.compile(r"(-?\d+(?:\.\d+)?)")
MEBIBYTE = 1 << 20
UNKNOWN = "Unknown"
"""The tool's own word for a state that it does not know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One card as `qaic-util -q` tells it; ``fields`` in the order printed. One that is not ready tells little."""

    qid: int
    status: str
    fields: Named

    def text(self, field: str) -> str:
        return dict(self.fields).get(field, "")

    def count(self, field: str) -> int:
        """A whole number; 0 where the field is missing."""
        found = _COUNT.search(self.text(field))
        return int(found[1]) if found else 0

    def number(self, start: str) -> float | None:
        """The number of the first field whose name begins with ``start`` (units are part of the names)."""
        for name, value in self.fields:
            if name.startswith(start) and (found := _NUMBER.search(value)):
                return float(found[1])
        return None

    @property
    def ready(self) -> bool:
        return self.status == "Ready"

    @property
    def nsps(self) -> int:
        return self.count("Nsp Total")

    @property
    def memory_bytes(self) -> int:
        return self.count("Dram Total") * MEBIBYTE

    @property
    def simulated(self) -> bool:
        return bool(self.text("Simulated"))


def parse_cards(text: str) -> tuple[Card, ...]:
    """Every card; older tools print a few lines before the first.

    Raises `Garbled` for a card that is ready but does not tell its size, unless others do. One that tells no status is
    ``Unknown``, as one that does not tell its size beside others.
    """
    blocks: list[tuple[int, list[tuple[str, str]]]] = []
    for line in complete_lines(text):
        if card := _CARD.fullmatch(line):
            blocks.append((int(card[1]), []))
        elif blocks and (field := _FIELD.fullmatch(line)):
            blocks[-1][1].append((field[1].strip(), field[2].strip()))
    cards = tuple(_card(qid, fields) for qid, fields in blocks)
    strange = [card.qid for card in cards if card.ready and not card.nsps]
    if strange and not any(card.ready and card.nsps for card in cards):
        raise Garbled(f"card {strange[0]} is ready but does not tell how many NSPs it has")
    return tuple(replace(card, status=UNKNOWN) if card.qid in strange else card for card in cards)


def _card(qid: int, fields: list[tuple[str, str]]) -> Card:
    return Card(qid=qid, status=dict(fields).get("Status") or UNKNOWN, fields=tuple(fields))


def health(card: Card) -> str:
    """``ready``, or the card's state with what to do about it."""
    if card.ready:
        return "ready"
    if card.status == "Initializing":
        return "initializing: wait a minute, then look again"
    reset = f"echo 1 > /sys/bus/mhi/devices/mhi{card.qid}/soc_reset"
    return (
        f"{card.status.lower()}: check that you are in the group `qaic` (or use sudo); reset the card (`{reset}` "
        "as root, or `qaic-util -s` for all); if it stays so, ask the administrator"
    )
