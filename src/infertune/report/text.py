"""The report for a terminal: plain text, no colour, the same whatever the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from textwrap import wrap

from infertune.core import choice, history, words
from infertune.core.records import Entry, Named
from infertune.report.characters import search_curve, trade_off
from infertune.report.document import TIME, Document, Grid, Section, all_trials, report
from infertune.report.inert import one_line
from infertune.report.page.basis import Basis, basis
from infertune.report.rows import table

SHOWN_TRIALS = 10
_GLUE = "\N{NO-BREAK SPACE}"
WIDTH = 118
"""Where nobody says otherwise sentences are broken here: a terminal of 120 columns does not break them again."""

_ROOM = 30
"""Fewer columns than this are too few to break the last cell of a row in."""
_BELOW = " " * 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Widths:
    """Where lines are broken: sentences, and rows of tables. None keeps a row on one line, for `grep` and `awk`."""

    sentences: int = WIDTH
    rows: int | None = None


USUAL = Widths()


def plain_text(entries: Sequence[Entry], files: Mapping[str, str] | None = None, *, widths: Widths = USUAL) -> str:
    """The whole report. ``files`` (name -> path) are listed at its end."""
    document = report(entries, files or {}, most_trials=SHOWN_TRIALS)
    return laid_out(replace(document, sections=tuple(_with_charts(document.sections, basis(entries)))), widths=widths)


def _with_charts(sections: Sequence[Section], seen: Basis) -> Iterator[Section]:
    """Charts of the search before where its time went: they are for terminals alone."""
    drawn = {"Throughput against latency": trade_off(seen), "Best so far": search_curve(seen)}
    for section in sections:
        if section.title == TIME:
            yield from (Section(title=title, chart=lines) for title, lines in drawn.items() if lines)
        yield section


def rows_text(entries: Sequence[Entry], *, widths: Widths = USUAL) -> str:
    """Points that were measured without a search: their rows, and no verdict."""
    reading = choice.read(entries)
    found = table(entries)
    points = words.counted(len(found.rows), "point")
    marked = "SIMULATED " if history.simulated(reading.question, reading.launches) else ""
    name = one_line(reading.question.model.name, 200)
    heading = f"{marked}{name}: {points}, {words.counted(len(reading.launches), 'launch')}"
    rows = Section(title="", grid=all_trials(found))
    failed = tuple(one_line(str(cell)) for cell in dict.fromkeys(found.column("failure")) if cell)
    why = Section(title="Failures", notes=failed)
    return laid_out(Document(title=heading, sections=(rows, why) if failed else (rows,)), widths=widths)


def laid_out(document: Document, *, widths: Widths = USUAL) -> str:
    """Facts as aligned labels, grids as aligned columns, notes as a list."""
    lines = _hanging("", document.title, widths.sentences)
    for section in document.sections:
        lines += ["", *_section(section, widths)]
    return "\n".join(lines) + "\n"


def _section(section: Section, widths: Widths) -> Iterator[str]:
    indent = "  " if section.title else ""
    if section.title:
        yield from _hanging("", section.title, widths.sentences)
    room = None if widths.rows is None else widths.rows - len(indent)
    grid = _grid(section.grid, room) if section.grid else ()
    for line in (*section.chart, *_facts(section.facts, widths.sentences), *grid):
        yield indent + line
    for note in section.notes:
        yield from _hanging(f"{indent}- ", note, widths.sentences)


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


def _grid(grid: Grid, width: int | None) -> Iterator[str]:
    """The header and every row, which are broken where they are wider than ``width``."""
    for lines in _rows((grid.header, *grid.rows), width):
        yield from lines


def _rows(rows: Sequence[Sequence[str]], width: int | None) -> list[list[str]]:
    """The lines of each row. The last cell is broken beside the others if it has room; else cells go below the row."""
    lines: list[list[str]] = [[] for _ in rows]
    left, indent = rows, ""
    while left[0]:
        widths = [max(map(len, column)) for column in zip(*left, strict=True)]
        stay = _fitting(widths, None if width is None else width - len(indent))
        for told, row in zip(lines, left, strict=True):
            told.extend(_line(indent, row[:stay], widths[:stay], width))
        left, indent = [row[stay:] for row in left], _BELOW
    return lines


def _fitting(widths: Sequence[int], width: int | None) -> int:
    """How many columns stand side by side: all that fit, the last one also where it fits broken."""
    ends = [sum(widths[: place + 1]) + 2 * place for place in range(len(widths))]
    if width is None or ends[-1] <= width or ends[-1] - widths[-1] + _ROOM <= width:
        return len(widths)
    return max(1, sum(end <= width for end in ends))


def _line(indent: str, cells: Sequence[str], widths: Sequence[int], width: int | None) -> list[str]:
    aligned = [f"{cell:<{own}}  " for cell, own in zip(cells, widths, strict=True)]
    start = indent + "".join(aligned[:-1])
    if width is None or len(start) + widths[-1] <= width:
        return [(start + cells[-1]).rstrip()]
    return [line.rstrip() for line in _hanging(start, cells[-1], width)]
