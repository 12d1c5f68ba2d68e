"""`infertune compare`: two run folders side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from infertune.cli.options import Json


def command(
    run_a: Annotated[Path, typer.Argument(metavar="RUN_A", help="A run folder.")],
    run_b: Annotated[Path, typer.Argument(metavar="RUN_B", help="Another run folder.")],
    json: Json = False,
) -> None:
    """Confirmed figures of two run folders, their ratio with its interval, and whether they differ at all."""
    from infertune.cli.output import widths
    from infertune.report.comparison import compare, comparison_json, comparison_text
    from infertune.report.result import written
    from infertune.store.sqlite import read_entries

    found = compare(read_entries(run_a), read_entries(run_b))
    typer.echo(written(comparison_json(found)) if json else comparison_text(found, widths=widths()), nl=False)
