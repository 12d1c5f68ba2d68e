"""What a replay found as a table and as JSON."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from infertune.core.replayed import Replayed, grouped, rank

TOLERANCES = (0.01, 0.02, 0.05)
AFTER = (5, 10, 20, 40)


def replayed_json(runs: Iterable[Replayed]) -> dict[str, Any]:
    """``runs``: one object per run; a regret before anything worked is null."""
    return {"runs": [{**asdict(run), "regrets": [_finite(regret) for regret in run.regrets]} for run in runs]}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def replayed_text(runs: Sequence[Replayed], tolerances: Sequence[float] = TOLERANCES) -> str:
    """Per recording a table: a line per strategy, then what those that ended by themselves left untried.

    ``-``: not reached by that many runs.
    """
    return "\n".join(_section(title, found, tolerances) for title, found in grouped(runs).items())


def _section(title: str, found: Mapping[str, Sequence[Replayed]], tolerances: Sequence[float]) -> str:
    some = next(iter(found.values()))
    note = " (simulated)" if some[0].simulated else ""
    head = f"{title}{note}: {len(some)} runs each; median and 90th percentile of trials and recorded seconds"
    after = [trials for trials in AFTER if trials <= max(len(run.regrets) for runs in found.values() for run in runs)]
    columns = [f"to {100 * t:g} %" for t in tolerances]
    last = f"regret after {' / '.join(map(str, after))} (median, %)"
    rows = [["strategy", *columns, last], *(row(name, runs, tolerances, after) for name, runs in found.items())]
    return "\n".join([head, *_aligned(rows), *filter(None, (_ended(name, runs) for name, runs in found.items())), ""])


def _ended(name: str, runs: Sequence[Replayed]) -> str:
    """How many runs ended by themselves, and what the first of them left; empty where that was not told."""
    ended = [run for run in runs if run.left]
    if not ended:
        return ""
    first = ended[0]
    share = f"{len(ended)} of {len(runs)} runs ended by themselves"
    return f"  {name}: {share}; with seed {first.seed}, it {first.why}: {first.left}"


def row(name: str, runs: Sequence[Replayed], tolerances: Sequence[float], after: Sequence[int]) -> list[str]:
    cells = [name]
    for tolerance in tolerances:
        trials = [run.reached(tolerance) for run in runs]
        spent = [run.reached_s(tolerance) for run in runs]
        cells.append(f"{_pair(trials)} trials, {_pair(spent)} s")
    left = [rank((run.regret(trials) for run in runs), 50.0) for trials in after]
    return [*cells, " / ".join("-" if value is None else f"{100 * value:.1f}" for value in left)]


def _pair(values: Sequence[float | None]) -> str:
    return " ".join("-" if found is None else f"{found:.0f}" for found in (rank(values, 50.0), rank(values, 90.0)))


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
