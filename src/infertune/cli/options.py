"""Arguments and options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

BatchSymbol = Annotated[
    str | None, typer.Option(metavar="SYMBOL", help="Which symbol is the batch, if it cannot be told.")
]
Inputs = Annotated[Path | None, typer.Option(metavar="FILE", help="Real inputs: an .npz with one array per input.")]
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]
ModelFile = Annotated[Path, typer.Argument(help="An ONNX file.")]
Shapes = Annotated[
    list[str] | None, typer.Option(metavar="SYMBOL=NUMBER", help="Bind a symbol: sequence_length=128. Repeatable.")
]
