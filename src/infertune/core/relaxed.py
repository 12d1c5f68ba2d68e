"""What limits cost, from what was measured: the bound that would do, and what is lost to one that binds."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from infertune.core import percentiles, stats, verdict, words
from infertune.core.goal import OF_KNOBS, RATE, Goal, Limit, latency_percent, metric_value, parse_goal, told_in
from infertune.core.history import Sample
from infertune.core.space import Point
from infertune.core.verdict import Terms

_SLACK = 1e-6
"""A figure of three digits is not always its own bound: what is read from text may be one bit lower."""

_SUFFIX = re.compile(r" at [0-9.]+ %$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Relaxed:
    """Limits and what they would have to be (``p99 < 5 ms`` to ``p99 < 8.2 ms``) so that ``point`` meets the goal.

    ``figure`` is the goal's own figure there, in words: the best of all measured points that would meet it.
    """

    limits: tuple[tuple[str, str], ...]
    point: Point
    figure: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitCost:
    """Without ``limit`` the best measured point is ``point``, ``ratio`` times as good as the winner."""

    limit: str
    point: Point
    figure: str
    ratio: float


# ---------------------------------------------------------------- the bound that would do


def relaxed(terms: Terms, samples: Iterable[Sample], nearest: Sample, binding: Limit) -> Relaxed | None:
    """The least relaxing of ``binding`` alone if a point keeps all other limits, else of all that ``nearest`` misses.

    ``binding`` may be the default limit on fidelity, which is not among the goal's. None where relaxing does not help,
    as for a point whose outputs were never compared.
    """
    measured = [s for s in samples if s.runs]
    if binding not in terms.goal.limits:
        terms = _limited(terms, (*terms.goal.limits, binding))
    alone = [s for s in measured if verdict.acceptable(_free_of(terms, binding), s)]
    found = [text for text in (_met(terms, s, binding) for s in alone) if text is not None]
    if found:
        easiest = min(found, key=lambda text: binding.excess(_limit(text).bound))
        return _best(_changed(terms, {binding: easiest}), measured, ((binding.text, easiest),))
    missed = [limit for limit in terms.goal.limits if not verdict.acceptable(_limited(terms, (limit,)), nearest)]
    texts = [(limit, text) for limit in missed for text in [_met(terms, nearest, limit)] if text is not None]
    if not missed or len(texts) < len(missed):
        return None
    return _best(_changed(terms, dict(texts)), measured, tuple((limit.text, text) for limit, text in texts))


def _best(terms: Terms, measured: Sequence[Sample], changes: tuple[tuple[str, str], ...]) -> Relaxed | None:
    fit = [s for s in measured if verdict.acceptable(terms, s)]
    best = max(fit, key=lambda s: verdict.merit(terms.goal, s), default=None)
    return Relaxed(limits=changes, point=best.point, figure=figure(terms.goal, best)) if best else None


def _limit(text: str) -> Limit:
    return parse_goal(f"max throughput, {text}").limits[0]


def _limited(terms: Terms, limits: tuple[Limit, ...]) -> Terms:
    return replace(terms, goal=replace(terms.goal, limits=limits))


def _without(terms: Terms, limit: Limit) -> Terms:
    return _limited(terms, tuple(other for other in terms.goal.limits if other != limit))


def _free_of(terms: Terms, limit: Limit) -> Terms:
    """As `_without`; for fidelity without the default limit either."""
    free = (replace(limit, bound=0.0),) if limit.metric == "fidelity" else ()
    return _limited(terms, (*_without(terms, limit).goal.limits, *free))


def _changed(terms: Terms, texts: Mapping[Limit, str]) -> Terms:
    return _limited(terms, tuple(_limit(texts[one]) if one in texts else one for one in terms.goal.limits))


def _met(terms: Terms, sample: Sample, limit: Limit) -> str | None:
    """The limit with the bound nearest to its own that the sample keeps, surely if it can be told; None without any."""
    easier = 1.0 + _SLACK if limit.below else 1.0 - _SLACK
    bounds = [b for bound in _bounds(terms, sample, limit) for b in (bound, bound * easier)]
    offered = list(dict.fromkeys(written(limit, bound) for bound in bounds))
    states = {text: _state(terms, sample, text) for text in offered}
    ordered = sorted(offered, key=lambda text: limit.excess(_limit(text).bound))
    sure = (text for text in ordered if states[text] == "within")
    return next(sure, next((text for text in ordered if states[text] == "unsure"), None))


def _state(terms: Terms, sample: Sample, text: str) -> str:
    limit = _limit(text)
    if limit.metric == "fidelity":
        return "within" if verdict.faithful(_limited(terms, (limit,)), sample.point) else "beyond"
    return verdict.stands(_limited(terms, (limit,)), sample).state


def _bounds(terms: Terms, sample: Sample, limit: Limit) -> Iterator[float]:
    """Figures of the sample that may serve as a bound."""
    if limit.metric == "fidelity":
        found = verdict.fidelity_of(terms, sample.point)
        yield from (found,) if found is not None and found > 0.0 else ()
    elif limit.metric in OF_KNOBS:
        yield float(sample.point.number(limit.metric, 1))
    else:
        percent = latency_percent(limit.metric)
        if percent is not None:
            yield from _latencies_s(sample, percent, limit.confidence)
        yield from (metric_value(limit.metric, m) for m in sample.measurements)


def _latencies_s(sample: Sample, percent: float, confidence: float) -> Iterator[float]:
    pooled = [latency for m in sample.measurements for latency in m.latencies_ns]
    yield stats.quantile_ns(pooled, percent) / 1e9
    upper = percentiles.upper_ns(pooled, percent, confidence)
    if upper is not None:
        yield upper / 1e9


def written(limit: Limit, bound: float) -> str:
    """The limit with another bound, rounded to three digits (four decimals of a fidelity) towards the easier side."""
    metric, sign = limit.text.split()[:2]
    unit, scale = told_in(metric)
    sure = _SUFFIX.search(limit.text)
    number = _rounded(bound / scale, upwards=limit.below, fixed=metric == "fidelity")
    return f"{metric} {sign} {number}{'' if unit in ('', '/s') else ' '}{unit}{sure.group() if sure else ''}"


def _rounded(number: float, *, upwards: bool, fixed: bool) -> str:
    exact = Decimal(f"{number:.12g}")
    place = Decimal("0.0001") if fixed else Decimal(1).scaleb(exact.adjusted() - 2)
    found = exact.quantize(place, rounding=ROUND_CEILING if upwards else ROUND_FLOOR)
    return format(found.normalize() + 0, "f")


# ---------------------------------------------------------------- what a limit costs


def limit_cost(terms: Terms, samples: Iterable[Sample], winner: Sample) -> LimitCost | None:
    """The limit that keeps out the best figure, and what that figure is; None where no limit costs `verdict.MARGIN`.

    A goal of ``max rate`` has its limits inside the figure: nothing was measured without them.
    """
    if terms.goal.metric == RATE or not winner.runs:
        return None
    others = [s for s in samples if s.runs and not verdict.acceptable(terms, s)]
    found = [cost for limit in terms.goal.limits for cost in _costs(_without(terms, limit), others, winner, limit)]
    dearest = max(found, key=lambda cost: cost.ratio, default=None)
    return dearest if dearest and dearest.ratio >= 1.0 + verdict.MARGIN else None


def _costs(free: Terms, others: Sequence[Sample], winner: Sample, limit: Limit) -> Iterator[LimitCost]:
    for sample in others:
        if verdict.acceptable(free, sample):
            ratio = math.exp(verdict.merit(free.goal, sample) - verdict.merit(free.goal, winner))
            yield LimitCost(limit=limit.text, point=sample.point, figure=figure(free.goal, sample), ratio=ratio)


def figure(goal: Goal, sample: Sample) -> str:
    """The median of the goal's own figure, in words."""
    return words.figure(goal, stats.median_interval([goal.value(m) for m in sample.measurements]).value)
