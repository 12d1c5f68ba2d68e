"""When nothing meets the goal: which point comes closest, and which limit it misses."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import replace

from infertune.core import words
from infertune.core.findings import Nearest
from infertune.core.goal import OF_KNOBS, Limit, latency_percent, median_excess, metric_value
from infertune.core.history import Sample
from infertune.core.relaxed import relaxed
from infertune.core.verdict import Terms, check_of, fidelity_of

UNCHECKED = "not checked"
"""What is measured of a fidelity that nobody could compute."""


def nearest(terms: Terms, samples: Iterable[Sample]) -> Nearest | None:
    """The measured point with the least sum of log excesses over all limits, fidelity included; None without any."""
    measured = [s for s in samples if s.runs]
    misses = [(sum(_excess(terms, s, limit) for limit in _limits(terms)), s) for s in measured]
    if not misses:
        return None
    total, closest = min(misses, key=lambda miss: (miss[0], str(miss[1].point)))
    binding = max(_limits(terms), key=lambda limit: _excess(terms, closest, limit))
    return Nearest(
        point=closest.point,
        limit=binding.text,
        measured=_measured(terms, closest, binding),
        excess=total,
        relaxed=relaxed(terms, measured, closest, _as_asked(terms, binding)),
    )


def _as_asked(terms: Terms, binding: Limit) -> Limit:
    """The limit as the goal has it: that on fidelity may be the default one, which no goal spells out."""
    return next((limit for limit in terms.goal.limits if limit.metric == binding.metric == "fidelity"), binding)


def _limits(terms: Terms) -> tuple[Limit, ...]:
    floor = terms.goal.fidelity_floor
    fidelity = Limit(metric="fidelity", below=False, bound=floor, text=f"fidelity >= {floor:g}")
    return (*(limit for limit in terms.goal.limits if limit.metric != "fidelity"), fidelity)


def _excess(terms: Terms, sample: Sample, limit: Limit) -> float:
    if limit.metric != "fidelity":
        return median_excess(replace(terms.goal, limits=(limit,)), sample.point, sample.measurements)
    found = fidelity_of(terms, sample.point)
    return 0.0 if found is None else limit.excess(found)


def _measured(terms: Terms, sample: Sample, limit: Limit) -> str:
    if limit.metric == "fidelity":
        found = check_of(terms, sample.point)
        return UNCHECKED if found is None or not found.made else words.beside(found.value, limit.bound)
    if limit.metric in OF_KNOBS:
        return str(sample.point.number(limit.metric, 1))
    median = statistics.median(metric_value(limit.metric, m) for m in sample.measurements)
    figure = words.with_unit(limit.metric, median)
    requests = sum(len(m.latencies_ns) for m in sample.measurements)
    few = words.too_few(latency_percent(limit.metric), requests)
    return f"{figure} ({few} requests)" if few else figure
