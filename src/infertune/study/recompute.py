"""`verify --recompute`: every reported number once more from the raw samples in the record, beside what files say."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from infertune import __version__
from infertune.core import audit, history
from infertune.core.errors import DataError, NotFoundError
from infertune.core.records import Entry, Measurement, Plan
from infertune.edge.files import shown
from infertune.report.csv_file import csv_text
from infertune.report.result import result
from infertune.report.rows import table
from infertune.store.sqlite import read_entries

RESULT, TRIALS = "result.json", "trials.csv"
NOTHING = "nothing"
_ANY = Plan(min_count=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One field that a file, or a launch's flags, tells otherwise than the raw samples do."""

    where: str
    told: str
    recomputed: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recomputed:
    """``numbers`` were computed anew from ``launches``. ``version`` wrote the record; ``ours`` computed it again."""

    numbers: int
    launches: int
    differences: tuple[Difference, ...]
    version: str
    ours: str = __version__


def recompute(folder: str | Path) -> Recomputed:
    """Compute what the files beside a record say once more, and compare: bit by bit, paths aside.

    Flags are audited anew; those of `audit.OF_THE_PLAN` only where the record tells the launch's plan. Raises what
    `read_entries` raises, `NotFoundError` for a missing file, `DataError` for one that cannot be read.
    """
    folder = Path(folder)
    entries = read_entries(folder)
    document = result(entries)
    found = (
        *_in_result(_document(folder / RESULT), document),
        *_in_trials(_text(folder / TRIALS), csv_text(entries)),
        *_in_flags(entries),
    )
    return Recomputed(
        numbers=_numbers(document, entries),
        launches=len(history.launches(entries)),
        differences=found,
        version=history.question(entries).version,
    )


def _numbers(document: dict[str, Any], entries: Sequence[Entry]) -> int:
    """How many numbers both files hold."""
    leaves = [value for _, value in _leaves(_told(document))]
    return sum(_is_number(value) for row in (leaves, *table(entries).rows) for value in row)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


# ---------------------------------------------------------------- files


def _text(path: Path) -> str:
    """The file as it is: line ends are not translated, because inside a cell they would count."""
    try:
        return path.read_bytes().decode()
    except FileNotFoundError:
        raise NotFoundError(
            "no-report-files",
            f"there is no {path.name} in `{shown(path.parent)}`",
            hint="`infertune tune` writes it when it ends: run the same command again",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from error


def _document(path: Path) -> object:
    try:
        return json.loads(_text(path))
    except (ValueError, RecursionError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> DataError:
    why = error.strerror if isinstance(error, OSError) and error.strerror else error
    return DataError(
        "report-file-damaged",
        f"`{shown(path)}` cannot be read: {why}",
        hint="`infertune report RUN` says what the record says",
    )


# ---------------------------------------------------------------- comparisons


def _in_result(told: object, recomputed: dict[str, Any]) -> Iterator[Difference]:
    """Field by field; a number counts as the same only when its text is."""
    before, now = dict(_leaves(_told(told))), dict(_leaves(_told(recomputed)))
    for where in dict.fromkeys((*now, *before)):
        yield from _unequal(f"{RESULT} {where}".rstrip(), _spelled(before, where), _spelled(now, where))


def _told(document: object) -> object:
    """Without the paths, which differ when a run folder is copied."""
    return {k: v for k, v in document.items() if k != "files"} if isinstance(document, dict) else document


def _spelled(leaves: dict[str, object], where: str) -> str:
    return json.dumps(leaves[where]) if where in leaves else NOTHING


def _leaves(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """``confirmed.throughput_per_s.value`` and ``baselines[0].name``, each with what is there."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and value:
        for place, inner in enumerate(value):
            yield from _leaves(inner, f"{path}[{place}]")
    else:
        yield path, value


def _in_trials(told: str, recomputed: str) -> Iterator[Difference]:
    """Cell by cell, each named by its line and column."""
    if told == recomputed:
        return
    before, now = _cells(told), _cells(recomputed)
    for line, (old, new) in enumerate(zip_longest(before, now, fillvalue=()), start=1):
        for name, was, found in zip_longest(now[0], old, new, fillvalue=NOTHING):
            yield from _unequal(f"{TRIALS} line {line}, {name}", was, found)


def _cells(text: str) -> list[list[str]]:
    try:
        return list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise _unreadable(Path(TRIALS), error) from error


def _in_flags(entries: Sequence[Entry]) -> Iterator[Difference]:
    for number, launch in enumerate(history.launches(entries), start=1):
        if isinstance(launch.outcome, Measurement):
            found = audit.flags(launch.outcome, launch.plan or _ANY)
            unknown = frozenset[str]() if launch.plan else audit.OF_THE_PLAN
            yield from _unequal(f"flags of launch {number}", *(_but(unknown, of) for of in (launch.flags, found)))


def _but(unknown: frozenset[str], flags: Sequence[str]) -> str:
    return ", ".join(flag for flag in flags if flag not in unknown) or "none"


def _unequal(where: str, told: str, recomputed: str) -> Iterator[Difference]:
    if told != recomputed:
        yield Difference(where=where, told=told, recomputed=recomputed)
