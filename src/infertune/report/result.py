"""The JSON contract: the document of `infertune tune --json` and ``result.json``; see docs/json.md.

Keys are only ever added within one ``format``. Figures that were not confirmed stay out: ``confirmed`` is null then.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from infertune.core import choice
from infertune.core.answer import answer
from infertune.core.findings import Answer, AtLevel, Figures, Rival, Searched
from infertune.core.goal import told_in
from infertune.core.noise import Noise
from infertune.core.records import Device, Entry, Interval, Model
from infertune.core.relaxed import LimitCost, Relaxed
from infertune.core.space import Point
from infertune.core.standing import AtLimit
from infertune.report import brought
from infertune.report.rows import table

FORMAT = "infertune-result/1"
ROWS_FORMAT = "infertune-rows/1"
Json = dict[str, Any]


def result(entries: Sequence[Entry], files: Mapping[str, str] | None = None) -> Json:
    """The contract's document as plain data."""
    found = answer(entries)
    winner = found.winner
    confirmed = [r for r in found.rivals if found.confirmed and r.figures.evidence == "confirm"]
    return {
        "format": FORMAT,
        "status": found.status,
        "goal": found.question.goal,
        "model": _model(found.model),
        "device": _device(found.device) if found.device else None,
        "winner": {"target": winner.target, "point": _point(winner), "why": found.why} if winner else None,
        "confirmed": figures_json(found.figures) if found.confirmed and found.figures else None,
        "baselines": [_rival(rival) for rival in confirmed],
        "speedup": _speedups(found),
        "limits": [_at_limit(at) for at in found.limits] if found.confirmed else [],
        "levels": [_at_level(at) for at in found.levels],
        "fidelity": _fidelity(found),
        "ablation": brought.as_json(found.ablation),
        "search": _search(found.searched) if found.searched else None,
        "trials": found.counts.trials,
        "launches": found.counts.launches,
        "failed": found.counts.failed,
        "spent_s": {
            "search": round(found.spent.search, 3),
            "build": round(found.spent.build, 3),
            "measure": round(found.spent.measure, 3),
            "confirm": round(found.spent.confirm, 3),
            "waiting": round(found.spent.waiting, 3),
            "other": round(found.spent.other, 3),
        },
        "simulated": found.simulated,
        "files": dict(files or {}),
    }


def full_result(entries: Sequence[Entry], files: Mapping[str, str] | None = None) -> Json:
    """`result` and, beside its keys, everything else a report shows: caveats, failures, the nearest point, rows."""
    found = answer(entries)
    closest = found.nearest
    return {
        **result(entries, files),
        "caveats": list(found.caveats),
        "flags": dict(found.flags),
        "noise": _noise(found.noise),
        "nearest": None
        if closest is None
        else {
            "target": closest.point.target,
            "point": _point(closest.point),
            "limit": closest.limit,
            "measured": closest.measured,
            "relaxed": _relaxed(closest.relaxed) if closest.relaxed else None,
        },
        "limit_cost": _limit_cost(found.limit_cost) if found.limit_cost else None,
        "failures": [
            {"stage": g.stage, "kind": g.kind, "message": g.message, "count": g.count, "example": _point(g.example)}
            for g in found.failures
        ],
        "rows": table(entries).dicts(),
    }


def _at_level(at: AtLevel) -> Json:
    winner = at.winner
    return {
        "limit": at.limit.text,
        "goal": str(at.goal),
        "winner": {"target": winner.target, "point": _point(winner), "why": at.why} if winner else None,
        "confirmed": figures_json(at.figures) if at.confirmed and at.figures else None,
        "best_baseline": at.rival,
        "speedup": interval_json(at.speedup) if at.speedup else None,
        "limits": [_at_limit(limit) for limit in at.limits] if at.confirmed else [],
        "fidelity": at.fidelity.value if at.fidelity else None,
    }


def _at_limit(at: AtLimit) -> Json:
    unit, scale = told_in(at.limit.metric)
    figures = {"bound": at.limit.bound, "value": at.value, "low": at.low, "high": at.high}
    return {
        "limit": at.limit.text,
        "holds": {"within": True, "unsure": None, "beyond": False}[at.standing.state],
        "unit": unit,
        **{name: None if figure is None else round(figure / scale, 6) for name, figure in figures.items()},
        "requests": at.standing.requests or None,
    }


def _fidelity(found: Answer) -> Json:
    checked = found.fidelity
    return {
        "value": checked.value if checked else None,
        "measure": checked.named(found.question.metric) if checked else None,
        "limit": found.fidelity_floor,
    }


def _search(found: Searched) -> Json:
    return {"tried": found.tried, "points": found.points, "ended": found.ended or None}


def _relaxed(found: Relaxed) -> Json:
    return {
        "limits": [{"limit": limit, "to": to} for limit, to in found.limits],
        "target": found.point.target,
        "point": _point(found.point),
        "figure": found.figure,
    }


def _limit_cost(found: LimitCost) -> Json:
    return {
        "limit": found.limit,
        "target": found.point.target,
        "point": _point(found.point),
        "figure": found.figure,
        "ratio": found.ratio,
    }


def rows(entries: Sequence[Entry]) -> Json:
    """The trials alone, for points that were measured without a search."""
    reading = choice.read(entries)
    found = answer(entries)
    return {
        "format": ROWS_FORMAT,
        "model": _model(reading.question.model),
        "simulated": found.simulated,
        "rows": table(entries).dicts(),
    }


def result_text(entries: Sequence[Entry], files: Mapping[str, str] | None = None) -> str:
    return written(result(entries, files))


def json_text(entries: Sequence[Entry], files: Mapping[str, str] | None = None) -> str:
    return written(full_result(entries, files))


def json_rows(entries: Sequence[Entry]) -> str:
    return written(rows(entries))


def written(document: Json) -> str:
    """ASCII only, so that no text in it can reorder or hide what a terminal shows. Raises ValueError for NaN."""
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def _model(model: Model) -> Json:
    return {"path": model.path, "digest": model.digest, "name": model.name}


def _device(device: Device) -> Json:
    return {
        "name": device.name,
        "title": device.title,
        "target": device.target,
        "units": device.units,
        "memory_bytes": device.memory_bytes,
        "precisions": list(device.precisions),
        "versions": dict(device.versions),
        "health": device.health,
        "facts": dict(device.facts),
    }


def _point(point: Point) -> Json:
    return dict(point.settings)


def interval_json(found: Interval) -> Json:
    return {"value": found.value, "low": found.low, "high": found.high}


def figures_json(found: Figures) -> Json:
    return {
        "throughput_per_s": interval_json(found.throughput),
        "rate_per_s": _rate(found),
        "p50_ms": found.p50_ms,
        "p90_ms": found.p90_ms,
        "p90_at_most_ms": found.p90_at_most_ms,
        "p99_ms": found.p99_ms,
        "p99_at_most_ms": found.p99_at_most_ms,
        "in_flight": found.in_flight,
        "launches": found.launches,
    }


def _rate(found: Figures) -> Json | None:
    return None if found.arrivals == "closed" else interval_json(found.value)


def _rival(rival: Rival) -> Json:
    return {
        "name": rival.name,
        "target": rival.figures.point.target,
        "point": _point(rival.figures.point),
        "throughput_per_s": interval_json(rival.figures.throughput),
        "rate_per_s": _rate(rival.figures),
        "p50_ms": rival.figures.p50_ms,
    }


def _noise(found: Noise | None) -> Json | None:
    if found is None:
        return None
    return {
        "state": found.state,
        "spread": found.spread,
        "foreign_cpu": found.foreign_cpu,
        "told_apart": found.told_apart(),
    }


def _speedups(found: Answer) -> Json:
    """``over_onnxruntime_default`` for the baseline ``onnxruntime default``; null where there is no such ratio."""
    best = found.rival(found.best_rival)
    ratios = {"over_best_baseline": best.speedup if best else None, "over_onnxruntime_default": None}
    ratios |= {f"over_{re.sub(r'[^a-z0-9]+', '_', rival.name.lower())}": rival.speedup for rival in found.rivals}
    return {name: interval_json(ratio) if ratio else None for name, ratio in ratios.items()}
