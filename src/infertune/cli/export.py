"""`infertune export`: the folder that deploys a study's winner."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from infertune.cli.options import Json


def command(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write.")],
    json: Json = False,
) -> None:
    """Write the winner as a folder with model, settings, run.py, expected numbers and README."""
    from infertune.cli.output import print_json
    from infertune.study import Study
    from infertune.study.hand_over import export

    folder = export(Study.open(run), out)
    files = sorted(p.name for p in folder.iterdir())
    if json:
        print_json({"folder": str(folder), "files": files})
    else:
        typer.echo(f"{folder}: {', '.join(files)}")
