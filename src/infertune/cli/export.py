"""`infertune export`: the folder that deploys a study's winner."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from infertune.cli.options import Json
from infertune.export import formats


def command(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="The folder to write.")],
    to: Annotated[
        str,
        typer.Option(
            metavar="FORMAT",
            help=f"One of: {', '.join(formats.names())}.",
        ),
    ] = formats.DEFAULT,
    level: Annotated[
        str | None,
        typer.Option(metavar="LIMIT", help="Of a front that was asked at levels: the one whose best point to write."),
    ] = None,
    json: Json = False,
) -> None:
    """Write the winner as a folder that deploys it, by itself or in the form a server wants."""
    from infertune.cli.output import print_json
    from infertune.study import Study
    from infertune.study.hand_over import export

    folder = export(Study.open(run), out, to=to, level=level)
    files = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    if json:
        print_json({"folder": str(folder), "format": to, "files": files})
    else:
        typer.echo(f"{folder}: {', '.join(files)}")
