"""Two studies as one HTML file: the verdict first, then figure by figure, then what else is not the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from markupsafe import Markup

from infertune.core import words
from infertune.core.findings import Answer
from infertune.core.goal import metric_value
from infertune.core.records import Entry
from infertune.report.comparison import HEADER, Comparison, compare, metric_words
from infertune.report.differences import shown_in
from infertune.report.document import latency, measured, title
from infertune.report.inert import one_line
from infertune.report.page.basis import Basis, basis
from infertune.report.page.dots import Lane, drawn, figures
from infertune.report.page.embedded import inside_script
from infertune.report.page.tables import Rows
from infertune.report.page.write import laid_out

HOW = (
    "Medians over launches with their intervals. The ratio takes both intervals at their worst, because the "
    "two studies share no blocks and no drift of the machines cancels; `no difference` means "
    "that it spans 1, or is under 3 %."
)


def compare_html(entries_a: Sequence[Entry], entries_b: Sequence[Entry]) -> str:
    """The page. Raises `DataError` for a record without a question."""
    found = compare(entries_a, entries_b)
    knobs = _knobs(found)
    sections = [("answer", "Verdict"), ("studies", "Studies"), ("caveats", "Caveats")]
    sections[1:1] = [("figures", "Figures")] if found.figures else []
    sections[-1:-1] = [("knobs", "Settings")] if knobs else []
    return laid_out(
        "compare.html",
        kind="comparison",
        title=f"A: {title(found.a)} \u2013 B: {title(found.b)}",
        version=one_line(found.b.question.version, 40),
        sections=sections,
        verdict=one_line(f"{found.verdict[:1].upper()}{found.verdict[1:]}."),
        differ=", ".join(found.differences),
        figures=_figures(found),
        picture=_picture(found, basis(entries_a), basis(entries_b)),
        how=HOW.replace("`", ""),
        studies=_studies(found),
        knobs=knobs,
        caveats=tuple((name, tuple(map(one_line, of.caveats))) for name, of in (("A", found.a), ("B", found.b))),
        data=inside_script({"trials": {}}),
    )


def _figures(found: Comparison) -> Rows | None:
    rows = tuple(figure.cells for figure in found.figures)
    return Rows(label="Table of figures", header=HEADER, rows=rows) if rows else None


def _picture(found: Comparison, a: Basis, b: Basis) -> Markup | None:
    scale, unit = shown_in(found.metric)
    axis = f"{metric_words(found.metric)} ({unit})"
    lanes = [lane for name, of in (("A", a), ("B", b)) for lane in _lane(name, of, found.metric, scale)]
    return drawn(lanes, f"Launches of both winners, {axis}", axis) if len(lanes) == 2 else None


def _lane(name: str, of: Basis, metric: str, scale: float) -> Iterator[Lane]:
    winner = of.winner
    fresh = of.chosen.confirmation.launches if of.chosen.confirmation else of.reading.launches
    if winner is not None:
        launches = figures(fresh, winner.point, lambda m: scale * metric_value(metric, m))
        if launches:
            yield Lane(name=name, kind="winner" if name == "B" else "baseline", launches=launches)


def _studies(found: Comparison) -> Rows:
    rows = tuple(
        (label, one_line(a, 300), one_line(b, 300))
        for (label, a), (_, b) in zip(_facts(found.a), _facts(found.b), strict=True)
    )
    return Rows(label="Table of the two studies", header=("fact", "A", "B"), rows=rows)


def _facts(found: Answer) -> Iterator[tuple[str, str]]:
    figures_ = found.figures
    yield "model", found.model.name
    yield "SHA-256", found.model.digest[:16]
    yield "goal", found.question.goal
    yield "device", f"{found.device.title}, {words.counted(found.device.units, 'unit')}" if found.device else "none"
    yield "versions", ", ".join(f"{name} {text}" for d in found.question.devices for name, text in d.versions)
    yield "winner", found.words(found.winner) if found.winner else "none"
    yield "evidence", "confirmed" if found.confirmed else "unconfirmed"
    yield "throughput", measured(figures_) if figures_ else "-"
    yield "latency", latency(figures_) if figures_ else "-"
    yield "fidelity", found.fidelity.words(found.question.metric) if found.fidelity else "not checked"
    yield "points tried", str(found.searched.tried if found.searched else found.counts.trials)
    yield "simulated", "yes" if found.simulated else "no"


def _knobs(found: Comparison) -> Rows | None:
    """Settings of both winners, those that differ first; None where one study has no winner."""
    a, b = found.a.winner, found.b.winner
    if a is None or b is None:
        return None
    ours, theirs = {"target": a.target, **a.values}, {"target": b.target, **b.values}
    names = sorted({**ours, **theirs}, key=lambda name: ours.get(name) == theirs.get(name))
    rows = tuple(
        (
            one_line(name, 60),
            *(one_line(words.value(name, values.get(name, "-")), 120) for values in (ours, theirs)),
            "same" if ours.get(name) == theirs.get(name) else "differs",
        )
        for name in names
    )
    return Rows(label="Settings of both winners", header=("knob", "A", "B", "compared"), rows=rows)
