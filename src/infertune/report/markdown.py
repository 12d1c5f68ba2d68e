"""The report as GitHub-flavoured Markdown in which nothing from outside is markup."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from infertune.core.records import Entry
from infertune.report.document import Document, Grid, Section, report

SHOWN_TRIALS = 200
_MARKUP = re.compile(r"([\\`*_\[\]|~])")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "&#64;", "://": "&#58;//", "www.": "www&#46;"}
_LEADING = re.compile(r"^(\d*)([#+.)-])(?=\s|#)")


def markdown_text(entries: Sequence[Entry], files: Mapping[str, str] | None = None) -> str:
    """The whole report. ``files`` (name -> path) are listed at its end."""
    return laid_out(report(entries, files or {}, most_trials=SHOWN_TRIALS))


def laid_out(document: Document) -> str:
    blocks = [f"# {escaped(document.title)}"]
    for section in document.sections:
        blocks += _section(section)
    return "\n\n".join(blocks) + "\n"


def escaped(text: str) -> str:
    """``text`` shown as it is inside a line: no tags, emphasis, links, mentions or table cells come of it."""
    for mark, entity in _ENTITIES.items():
        text = text.replace(mark, entity)
    return _MARKUP.sub(r"\\\1", text)


def item(text: str) -> str:
    """`escaped` text as a list item that starts no heading, quote or list of its own."""
    return "- " + _LEADING.sub(r"\1\\\2", escaped(text))


def _section(section: Section) -> Iterator[str]:
    if section.title:
        yield f"## {escaped(section.title)}"
    if section.facts:
        yield "\n".join(f"- **{escaped(label)}**: {escaped(text)}" for label, text in section.facts)
    if section.grid:
        yield _grid(section.grid)
    if section.notes:
        yield "\n".join(map(item, section.notes))


def _grid(grid: Grid) -> str:
    lines = [grid.header, ("---",) * len(grid.header), *grid.rows]
    escaped_lines = [line if i == 1 else tuple(map(escaped, line)) for i, line in enumerate(lines)]
    return "\n".join(f"| {' | '.join(line)} |" for line in escaped_lines)
