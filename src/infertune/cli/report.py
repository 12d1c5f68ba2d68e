"""`infertune report`: what a run folder says, in several formats."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infertune.core.records import Entry


class Format(StrEnum):
    text = "text"
    markdown = "markdown"
    csv = "csv"
    json = "json"
    html = "html"


def command(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    format: Annotated[Format, typer.Option(help="csv lists the trials alone.")] = Format.text,  # noqa: A002
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write to this file instead of stdout.")] = None,
    json: Annotated[bool, typer.Option("--json", help="The same as --format json (see docs/json.md).")] = False,
    html: Annotated[
        bool, typer.Option("--html", help="The same as --format html: one file that needs nothing else.")
    ] = False,
) -> None:
    """Winner, confirmed figures, baselines, costs, failures and trials of a run folder."""
    from infertune import report
    from infertune.store.sqlite import NAME, read_entries

    entries = read_entries(run)
    files = {"record": NAME}  # by its name in the folder: a copy of it elsewhere gives the same bytes
    writers = {
        Format.text: lambda: report.plain_text(entries, files),
        Format.markdown: lambda: report.markdown_text(entries, files),
        Format.csv: lambda: report.csv_text(entries),
        Format.json: lambda: report.json_text(entries, files),
        Format.html: lambda: _page(entries),
    }
    text = writers[Format.json if json else Format.html if html else format]()
    if out is None:
        typer.echo(text, nl=False)
    else:
        _write(out, text)


def _page(entries: Sequence[Entry]) -> str:
    from infertune.report.page.write import html_text

    return html_text(entries)


def _write(path: Path, text: str) -> None:
    from infertune.core.errors import CreateError, quoted
    from infertune.edge.files import write_text

    try:
        write_text(path, text)
    except OSError as error:
        raise CreateError(
            "output-unwritable",
            f"`{quoted(str(path))}` cannot be written: {error.strerror or error}",
            hint="give a file in a folder that exists and in which you may write",
        ) from None
