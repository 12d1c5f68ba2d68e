"""`infertune report`: what a run folder says, in several formats."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Format(StrEnum):
    text = "text"
    markdown = "markdown"
    csv = "csv"
    json = "json"


def command(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    format: Annotated[Format, typer.Option(help="csv lists the trials alone.")] = Format.text,  # noqa: A002
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write to this file instead of stdout.")] = None,
    json: Annotated[bool, typer.Option("--json", help="The same as --format json (see docs/json.md).")] = False,
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
    }
    text = writers[Format.json if json else format]()
    if out is None:
        typer.echo(text, nl=False)
    else:
        _write(out, text)


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
