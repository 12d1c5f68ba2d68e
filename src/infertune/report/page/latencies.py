"""Latency of the winner: its distribution, percentiles above their floors, phases, and queueing against service."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from infertune.core import stats, words
from infertune.core.records import Measurement
from infertune.report.inert import one_line
from infertune.report.latency import Little
from infertune.report.page import svg
from infertune.report.page.basis import Shown, latencies
from infertune.report.page.tables import Rows

WIDTH, HEIGHT = 760, 300
LEFT, RIGHT, TOP, BOTTOM = 64, 744, 44, 246
MOST_BINS = 60
MARKED = (50.0, 90.0, 99.0)


def histogram(trial: Shown) -> Markup | None:
    """Requests by latency, all launches of the trial's figures together; None without any."""
    pooled = np.asarray(latencies(trial.sample), dtype=np.float64) / 1e6
    if len(pooled) < 2 or pooled.min() <= 0:
        return None
    edge = float(np.percentile(pooled, 99.9))
    inside = pooled[pooled <= edge]
    counts, edges = np.histogram(inside, bins=min(MOST_BINS, max(8, round(2 * len(inside) ** 0.5))))
    beyond = len(pooled) - len(inside)
    x = svg.Scale(low=float(edges[0]), high=float(edges[-1]), start=LEFT, end=RIGHT)
    y = svg.from_zero([float(counts.max())], BOTTOM, TOP)
    bars = [_bar(int(n), float(a), float(b), x, y) for n, a, b in zip(counts, edges, edges[1:], strict=False) if n]
    parts = [
        svg.x_axis(x, TOP, BOTTOM, "latency of a request (ms)"),
        svg.y_axis(y, LEFT, RIGHT, "requests"),
        svg.group(bars),
        *_percentile_lines(trial, x),
    ]
    rest = f"; {words.counted(beyond, 'request')} beyond, up to {words.three(float(pooled.max()))} ms" if beyond else ""
    ends = f"{words.three(float(pooled.min()))} to {words.three(edge)} ms"
    label = f"Latency of {words.counted(len(pooled), 'request')}, {ends}{rest}"
    return svg.picture(WIDTH, HEIGHT, label, parts, class_="chart histogram")


def _bar(count: int, low: float, high: float, x: svg.Scale, y: svg.Scale) -> Markup:
    hint = f"{words.three(low)} to {words.three(high)} ms: {words.counted(count, 'request')}"
    top, left, right = y.at(count), x.at(low), x.at(high)
    return svg.tag(
        "rect", svg.tag("title", hint), x=left, y=top, width=max(0.5, right - left - 0.5), height=BOTTOM - top,
        class_="bar",
    )  # fmt: skip


def _percentile_lines(trial: Shown, x: svg.Scale) -> Iterator[Markup]:
    pooled = latencies(trial.sample)
    known = [(p, found / 1e6) for p in MARKED if (found := stats.percentile_ns(pooled, p)) is not None]
    for place, (percent, value) in enumerate(known):
        across = x.at(value)
        if across <= RIGHT:
            anchor = "end" if across > RIGHT - 80 else "start"
            yield svg.line(across, TOP - 4, across, BOTTOM, "median winner")
            said = f"p{percent:g} {words.three(value)}"
            yield svg.text(
                across + (-4 if anchor == "end" else 4), TOP - 6 + 12 * place, said, anchor=anchor, kind="label"
            )


def percentile_table(trials: tuple[Shown, ...]) -> Rows:
    """A row per trial: name, requests, then each percentile of `stats.PERCENTILES` or how many requests it needs."""
    header = ("trial", "requests", *(f"p{percent:g}" for percent in stats.PERCENTILES))
    rows = tuple(
        (
            trial.role or f"trial {trial.number}",
            str(len(pooled)),
            *(_percentile(pooled, percent) for percent in stats.PERCENTILES),
        )
        for trial in trials
        for pooled in (latencies(trial.sample),)
    )
    return Rows(label="Percentiles of latency", header=header, rows=rows)


def _percentile(pooled: list[int], percent: float) -> str:
    found = stats.percentile_ns(pooled, percent)
    return f"needs {stats.percentile_floor(percent)}" if found is None else f"{words.three(found / 1e6)} ms"


# ---------------------------------------------------------------- phases


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A phase's mean, in milliseconds and as a share of all of them together."""

    name: str
    mean_ms: float
    share: float


def parts(trial: Shown) -> tuple[Part, ...]:
    """Mean of every phase that the runtime tells, over all launches."""
    samples: dict[str, list[int]] = {}
    for measurement in trial.sample.measurements:
        for phase in measurement.phases:
            samples.setdefault(phase.name, []).extend(phase.samples_ns)
    means = {name: float(np.mean(found)) / 1e6 for name, found in samples.items() if found}
    whole = sum(means.values())
    return tuple(
        Part(name=one_line(name, 40), mean_ms=mean, share=mean / whole if whole else 0.0)
        for name, mean in means.items()
    )


def parts_picture(found: tuple[Part, ...]) -> Markup | None:
    """One stacked bar."""
    if not found:
        return None
    left, boxes = 0.0, []
    for place, part in enumerate(found):
        wide = 740 * part.share
        hint = f"{part.name}: {words.three(part.mean_ms)} ms, {100 * part.share:.1f} %"
        boxes.append(
            svg.tag("rect", svg.tag("title", hint), x=left + 8, y=6, width=wide, height=28, class_=f"part p{place % 6}")
        )
        left += wide
    label = "Mean latency by phase: " + ", ".join(f"{p.name} {words.three(p.mean_ms)} ms" for p in found)
    return svg.picture(760, 40, label, boxes, class_="chart phases")


def parts_table(found: tuple[Part, ...]) -> Rows:
    rows = tuple((p.name, f"{words.three(p.mean_ms)} ms", f"{100 * p.share:.1f} %") for p in found)
    return Rows(label="Mean latency by phase", header=("phase", "mean", "share"), rows=rows)


# ---------------------------------------------------------------- Little's law


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Little's law for one launch's load; ``instances`` is None where the runtime chose them and did not tell."""

    little: Little
    instances: int | None

    @property
    def service_ms(self) -> float | None:
        """Mean time that an instance works on a request, with all instances busy: instances / rate."""
        return None if self.instances is None else 1e3 * self.instances / self.little.rate_per_s

    @property
    def queue_ms(self) -> float | None:
        return None if self.service_ms is None else max(0.0, self.little.mean_ms - self.service_ms)


def account(trial: Shown) -> Account | None:
    """Over the launches behind a trial's figures: the median rate and the mean latency."""
    measured = trial.sample.measurements
    pooled = latencies(trial.sample)
    if not measured or not pooled:
        return None
    rate = stats.median_interval([stats.throughput(m) / max(1, m.batch) for m in measured]).value
    little = Little(asked=measured[-1].in_flight, rate_per_s=rate, mean_ms=float(np.mean(pooled)) / 1e6)
    return Account(little=little, instances=_instances(trial, measured[-1])) if rate > 0 else None


def _instances(trial: Shown, measured: Measurement) -> int | None:
    planned = trial.point.number("instances")
    if planned > 0:
        return planned
    told = dict(measured.settings).get("instances", "")
    return int(told) if told.isdecimal() and int(told) > 0 else None
