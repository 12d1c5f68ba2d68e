"""What the page's script works with: trials, their launches and the lines of the CSV file, as JSON inside the page."""

from __future__ import annotations

import json
from typing import Any

from markupsafe import Markup

from infertune.core import stats
from infertune.core.errors import excerpt
from infertune.core.records import Artifact, Failed, Launch, Measurement
from infertune.report.csv_file import csv_text
from infertune.report.inert import one_line
from infertune.report.page.basis import Basis, Shown, failure_words
from infertune.report.rows import rounded

_ESCAPED = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def embedded(basis: Basis) -> Markup:
    """JSON that cannot end its own element, start another one, or be read as an entity."""
    header, *lines = csv_text(basis.entries).splitlines()
    numbers = basis.rows.column("trial")
    data = {
        "tail": basis.tail,
        "csv": {"header": header, "lines": {str(n): line for n, line in zip(numbers, lines, strict=True)}},
        "trials": {str(trial.number): _trial(basis, trial) for trial in basis.trials},
    }
    return inside_script(data)


def inside_script(data: Any) -> Markup:
    """Data as JSON for a ``<script type="application/json">``."""
    written = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for mark, escape in _ESCAPED.items():
        written = written.replace(mark, escape)
    return Markup(written)  # noqa: S704 - no `<`, `>` or `&` is left in it


def _trial(basis: Basis, trial: Shown) -> dict[str, Any]:
    return {
        "words": basis.words(trial.point),
        "role": trial.role,
        "status": trial.status.replace("_", " "),
        "failure": failure_words(trial.trial),
        "settings": [[one_line(name, 60), one_line(str(value), 120)] for name, value in trial.point.settings],
        "build": _build(trial),
        "launches": [_launch(launch) for launch in trial.trial.launches],
    }


def _build(trial: Shown) -> str:
    match trial.trial.build:
        case Artifact() as built:
            how = "reused" if built.reused else f"built in {built.build_s:.1f} s"
            return f"{how}, {built.size_bytes / 1e6:.1f} MB"
        case Failed():
            return "failed"
    return ""


def _launch(launch: Launch) -> list[Any]:
    """Purpose, block, samples/s, p50 and p99 in ms (null below the floor), requests, in flight, others' CPU, notes."""
    head = [launch.purpose, launch.block + 1]
    notes = ", ".join(one_line(flag, 80) for flag in launch.flags)
    if isinstance(launch.outcome, Failed):
        failed = launch.outcome
        return [*head, None, None, None, 0, 0, None, excerpt(f"{failed.kind}: {failed.message}", 200)]
    return [*head, *_figures(launch.outcome), notes]


def _figures(measured: Measurement) -> list[Any]:
    latencies = measured.latencies_ns
    percentiles = (stats.percentile_ns(latencies, percent) if len(latencies) else None for percent in (50.0, 99.0))
    return [
        rounded(stats.throughput(measured)),
        *(None if found is None else rounded(found / 1e6) for found in percentiles),
        len(latencies),
        measured.in_flight,
        rounded(measured.conditions.foreign_cpu),
    ]
