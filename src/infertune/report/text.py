"""The report for a terminal: plain text, no colour, the same whatever the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from textwrap import wrap

from infertune.core import choice, words
from infertune.core.records import Entry, Named
from infertune.report.characters import search_curve, trade_off
from infertune.report.document import TIME, Document, Grid, Section, all_trials, report
from infertune.report.inert import one_line
from infertune.report.page.basis import Basis, basis
from infertune.report.rows import table

SHOWN_TRIALS = 10
_GLUE = "\N{NO-BREAK SPACE}"
WIDTH = 118
"""Where nobody says otherwise sentences are broken here, so that a terminal of 120 columns does not break them again.
Tables are not."""


def plain_text(entries: Sequence[Entry], files: Mapping[str, str] | None = None, *, width: int = WIDTH) -> str:
    """The whole report, sentences broken at ``width``. ``files`` (name -> path) are listed at its end."""
    document = report(entries, files or {}, most_trials=SHOWN_TRIALS)
    return laid_out(replace(document, sections=tuple(_with_charts(document.sections, basis(entries)))), width=width)


def _with_charts(sections: Sequence[Section], seen: Basis) -> Iterator[Section]:
    """Charts of the search before where its time went: they are for terminals alone."""
    drawn = {"Throughput against latency": trade_off(seen), "Best so far": search_curve(seen)}
    for section in sections:
        if section.title == TIME:
            yield from (Section(title=title, chart=lines) for title, lines in drawn.items() if lines)
        yield section


def rows_text(entries: Sequence[Entry], *, width: int = WIDTH) -> str:
    """Points that were measured without a search: their rows, and no verdict."""
    reading = choice.read(entries)
    found = table(entries)
    points = words.counted(len(found.rows), "point")
    heading = (
        f"{one_line(reading.question.model.name, 200)}: {points}, {words.counted(len(reading.launches), 'launch')}"
    )
    rows = Section(title="", grid=all_trials(found))
    failed = tuple(one_line(str(cell)) for cell in dict.fromkeys(found.column("failure")) if cell)
    why = Section(title="Failures", notes=failed)
    return laid_out(Document(title=heading, sections=(rows, why) if failed else (rows,)), width=width)


def laid_out(document: Document, *, width: int = WIDTH) -> str:
    """Facts as aligned labels, grids as aligned columns, notes as a list."""
    lines = [document.title]
    for section in document.sections:
        lines += ["", *_section(section, width)]
    return "\n".join(lines) + "\n"


def _section(section: Section, width: int) -> Iterator[str]:
    indent = "  " if section.title else ""
    if section.title:
        yield section.title
    for line in (*section.chart, *_facts(section.facts, width), *(_grid(section.grid) if section.grid else ())):
        yield indent + line
    for note in section.notes:
        yield from _hanging(f"{indent}- ", note, width)


def _facts(facts: Named, width: int) -> Iterator[str]:
    longest = max((len(label) for label, _ in facts), default=0)
    for label, text in facts:
        yield from (line.rstrip() for line in _hanging(f"{label:<{longest}}  ", text, width))


def _hanging(label: str, text: str, width: int) -> list[str]:
    """The text beside its label, broken between words at ``width``; the lines that follow stand below the text."""
    glued = text.replace(" %", f"{_GLUE}%")
    wrapped = wrap(glued, max(20, width - len(label)), break_long_words=False, break_on_hyphens=False) or [""]
    lines = [line.replace(_GLUE, " ") for line in wrapped]
    return [label + lines[0], *(" " * len(label) + line for line in lines[1:])]


def _grid(grid: Grid) -> Iterator[str]:
    lines = (grid.header, *grid.rows)
    widths = [max(len(line[place]) for line in lines) for place in range(len(grid.header))]
    for line in lines:
        yield "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip()
