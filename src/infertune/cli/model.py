"""`infertune model`: a reference architecture with seeded random weights, without any download."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from infertune.cli.options import Json
from infertune.core.errors import UsageError


def command(
    name: Annotated[str | None, typer.Argument(help="Which one; see --list.", show_default=False)] = None,
    output: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="The ONNX file to write; an older one is replaced."),
    ] = None,
    seed: Annotated[
        int, typer.Option(metavar="NUMBER", min=0, help="Seed of the weights; the same seed gives the same bytes.")
    ] = 0,
    listed: Annotated[bool, typer.Option("--list", help="List the models with their parameters.")] = False,
    json: Json = False,
) -> None:
    """Write a reference model with seeded random weights (no download)."""
    if listed:
        _list(json)
    elif name is None or output is None:
        missing = "a model" if name is None else "a file to write"
        raise UsageError(
            "usage",
            f"the command needs {missing}",
            hint="`infertune model bert-base -o m.onnx`; `infertune model --list` shows the models",
        )
    else:
        _write(name, output, seed, json)


def _list(json: bool) -> None:
    from infertune.cli.output import print_json, stdout_console, table
    from infertune.prepare.reference import REFERENCES

    if json:
        rows = [(r.name, r.title, r.sketch().parameters, r.published, r.source, r.note) for r in REFERENCES]
        names = ("name", "title", "parameters", "published", "source", "note")
        print_json([dict(zip(names, row, strict=True)) for row in rows])
        return
    shown = [(r.name, r.title, f"{r.sketch().parameters:,}", f"{r.published:,}", r.source) for r in REFERENCES]
    console = stdout_console()
    console.print(table(("model", "what it is", "parameters", "published", "counted in"), shown))
    for known in REFERENCES:
        if known.note:
            console.print(f"{known.name}: {known.note}", highlight=False)


def _write(name: str, output: Path, seed: int, json: bool) -> None:
    from infertune.cli.output import print_json
    from infertune.core import wire
    from infertune.prepare.reference import write_reference

    written = write_reference(name, output, seed=seed)
    if json:
        print_json(wire.to_plain(written))
        return
    megabytes = written.size_bytes / 1e6
    typer.echo(f"{output}: {name}, {written.parameters:,} parameters, {megabytes:,.1f} MB, seed {seed}")
