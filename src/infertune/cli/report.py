"""`infertune report`: what a run folder says, in several formats."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infertune.core.records import Entry
    from infertune.report.text import Widths


class Format(StrEnum):
    text = "text"
    markdown = "markdown"
    csv = "csv"
    json = "json"
    html = "html"


def command(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="A run folder; two of them with --compare.")],
    format: Annotated[Format, typer.Option(help="csv lists the trials alone.")] = Format.text,  # noqa: A002
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Write to this file instead of stdout.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="The same as --format json (see docs/json.md).")] = False,
    html: Annotated[
        bool, typer.Option("--html", help="The same as --format html: one file that needs nothing else.")
    ] = False,
    compare: Annotated[bool, typer.Option("--compare", help="Compare two run folders: RUN_A RUN_B.")] = False,
) -> None:
    """Winner, confirmed figures, baselines, costs, failures and trials of a run folder; or two of them compared."""
    from infertune.cli.output import widths, write_result
    from infertune.report.text import USUAL
    from infertune.store.sqlite import read_entries

    wanted = Format.json if json else Format.html if html else format
    _check_count(runs, 2 if compare else 1)
    records = [read_entries(run) for run in runs]
    where = widths() if out is None else USUAL
    text = _compared(records[0], records[1], wanted, where) if compare else _written(records[0], wanted, where)
    if out is None:
        typer.echo(text, nl=False)
    else:
        write_result(out, text)


def _check_count(runs: list[Path], wanted: int) -> None:
    from infertune.core.errors import UsageError

    if len(runs) != wanted:
        hint = "`infertune report RUN`, or `infertune report --compare RUN_A RUN_B`"
        raise UsageError("usage", f"{len(runs)} run folders were given, {wanted} wanted", hint=hint)


def _written(entries: Sequence[Entry], wanted: Format, widths: Widths) -> str:
    from infertune import report
    from infertune.store.sqlite import NAME

    files = {"record": NAME}  # by its name in the folder: a copy of it elsewhere gives the same bytes
    match wanted:
        case Format.text:
            return report.plain_text(entries, files, widths=widths)
        case Format.markdown:
            return report.markdown_text(entries, files)
        case Format.csv:
            return report.csv_text(entries)
        case Format.json:
            return report.json_text(entries, files)
        case Format.html:
            return _page(entries)


def _compared(a: Sequence[Entry], b: Sequence[Entry], wanted: Format, widths: Widths) -> str:
    from infertune.core.errors import UsageError
    from infertune.report.comparison import compare, comparison_json, comparison_text
    from infertune.report.result import written

    match wanted:
        case Format.html:
            from infertune.report.page.compare import compare_html

            return compare_html(a, b)
        case Format.text:
            return comparison_text(compare(a, b), widths=widths)
        case Format.json:
            return written(comparison_json(compare(a, b)))
    raise UsageError("usage", f"a comparison has no form in {wanted.value}", hint="take text, json or html")


def _page(entries: Sequence[Entry]) -> str:
    from infertune.report.page.write import html_text

    return html_text(entries)
