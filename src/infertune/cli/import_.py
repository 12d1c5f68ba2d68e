"""`infertune import`: a Hugging Face model as an ONNX file that agrees with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infertune.cli.options import Json

if TYPE_CHECKING:
    from infertune.prepare.hf import Comparison


def command(
    source: Annotated[str, typer.Argument(metavar="HF_MODEL", help="A Hugging Face id, or a folder with a model.")],
    output: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", help="The ONNX file to write; an older one is replaced.")
    ],
    task: Annotated[
        str | None,
        typer.Option(
            metavar="TASK", help="What the model is for, such as question-answering.", show_default="the model's own"
        ),
    ] = None,
    opset: Annotated[
        int | None, typer.Option(metavar="NUMBER", help="ONNX opset, 14 to 20.", show_default="the exporter's")
    ] = None,
    allow_pickle: Annotated[
        bool,
        typer.Option("--allow-pickle", help="Also read pickled weights, which can run code: only if you trust them."),
    ] = False,
    json: Json = False,
) -> None:
    """Turn a Hugging Face model into ONNX, checked against the original."""
    from infertune.cli.output import print_json, stderr_console, stdout_console
    from infertune.core import wire
    from infertune.prepare.hf import import_model

    checks: list[Comparison] = []
    progress = stderr_console()
    progress.print(f"exporting {source}; this takes a few seconds to minutes")
    try:
        done = import_model(
            source,
            output,
            task=task,
            opset=opset,
            weights="any" if allow_pickle else "safetensors",
            on_check=checks.append,
        )
    except Exception:
        if checks:
            progress.print(_table(checks))
        raise
    if done.left_out:
        steps = " and ".join(done.left_out)
        progress.print(f"warning: {steps} of modules.json are not in it: the model gives token states, not embeddings")
    if json:
        print_json(wire.to_plain(done))
        return
    console = stdout_console()
    console.print(_table(checks))
    console.print(f"{output}: {done.task}, opset {done.opset}, {done.size_bytes / 1e6:,.1f} MB, agrees with {source}")


def _table(checks: list[Comparison]) -> object:
    from infertune.cli.output import table

    rows = [
        (c.output, " x ".join(map(str, c.shape)), f"{c.max_abs:.2e}", "agrees" if c.agrees else "DIFFERS")
        for c in checks
    ]
    return table(("output", "shape", "max abs difference", "verdict"), rows)
