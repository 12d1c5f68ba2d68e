"""What failed, what was flagged and what is missing, counted."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from infertune.core import guard, history, verdict
from infertune.core.choice import Reading, all_runs
from infertune.core.findings import Counts, FailureGroup, Searched
from infertune.core.records import Entry, Failed, Launch, Trial
from infertune.core.space import Point

NOT_MEASURED = "not measured"


def counts(reading: Reading) -> Counts:
    failed = sum(history.failure(trial) is not None for trial in reading.trials)
    lost = sum(isinstance(launch.outcome, Failed) for launch in reading.launches)
    return Counts(trials=len(reading.trials), launches=len(reading.launches), failed=failed, failed_launches=lost)


def searched(reading: Reading, entries: Iterable[Entry]) -> Searched | None:
    """How far the search got; None without one. What was only launched for confirmation was not tried."""
    if not reading.searched:
        return None
    points = sum(space.legal for space in reading.question.spaces)
    return Searched(tried=len(tried(reading)), points=points, ended=history.why_ended(entries))


def tried(reading: Reading) -> frozenset[Point]:
    """The points that a search launched or could not build; all that were launched, where there was none."""
    if not reading.searched:
        return frozenset(trial.point for trial in reading.trials)
    chosen = {launch.point for launch in reading.launches if launch.purpose in history.CHOSEN_FROM}
    failed = {trial.point for trial in reading.trials if isinstance(trial.build, Failed)}
    return frozenset(chosen | failed)


def failures(tried: Iterable[Trial]) -> tuple[FailureGroup, ...]:
    """Failed trials grouped by stage, kind and message with its numbers left out; most frequent first."""
    groups: dict[tuple[str, str, str], list[tuple[Point, Failed]]] = {}
    for trial in tried:
        failed = history.failure(trial)
        if failed is not None:
            groups.setdefault((failed.stage, failed.kind, _shape(failed.message)), []).append((trial.point, failed))
    found = [_group(members) for members in groups.values()]
    return tuple(sorted(found, key=lambda group: -group.count))


def _group(members: list[tuple[Point, Failed]]) -> FailureGroup:
    point, failed = members[0]
    return FailureGroup(stage=failed.stage, kind=failed.kind, message=failed.message, count=len(members), example=point)


def _shape(message: str) -> str:
    first = message.strip().splitlines()[:1]
    return re.sub(r"0x[0-9a-fA-F]+|\d+", "N", first[0] if first else "")


def flags(launched: Iterable[Launch]) -> tuple[tuple[str, int], ...]:
    """Launches by flag, without the figures that a flag may carry; most frequent first."""
    names = Counter(name for launch in launched for name in flag_names(launch))
    return tuple(sorted(names.items(), key=lambda item: (-item[1], item[0])))


def flag_names(launch: Launch) -> tuple[str, ...]:
    """``foreign_cpu`` of ``foreign_cpu 12%``, each once."""
    return tuple(dict.fromkeys(re.split(r"[^\w-]", flag, maxsplit=1)[0] for flag in launch.flags))


def absent(reading: Reading) -> tuple[tuple[str, str], ...]:
    """Baselines without a figure, each with the reason."""
    found = []
    for name, point in reading.baselines:
        trial = reading.trial(point)
        failed = history.failure(trial) or _wrong(reading, trial)
        if failed is not None:
            found.append((name, f"{failed.kind} at {failed.stage}: {failed.message}"))
        elif not all_runs(trial).runs:
            found.append((name, NOT_MEASURED))
    return tuple(found)


def _wrong(reading: Reading, trial: Trial) -> Failed | None:
    """The failure of a point that was not launched because its outputs are wrong."""
    known = not verdict.faithful(reading.terms, trial.point) and not all_runs(trial).runs
    return guard.wrong_output(trial.point, reading.terms) if known else None
