"""`infertune qaic-sim`: a simulated Cloud AI SDK to try everything without a card."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def command(
    action: Annotated[Literal["install"], typer.Argument(help="install: write a simulated SDK into a folder.")],
    folder: Annotated[Path, typer.Argument(help="A new or empty folder, or an earlier simulated SDK.")],
    card: Annotated[str, typer.Option(help="standard (14 NSPs), pro (16) or ultra (4 x 16).")] = "pro",
    cards: Annotated[int, typer.Option(help="How many cards.", min=1, max=64)] = 1,
    time_scale: Annotated[
        float, typer.Option(help="Real seconds waited per simulated second; 0 waits not at all.", min=0.0, max=10.0)
    ] = 1.0,
    seed: Annotated[int, typer.Option(help="Seed of noise and of differences between cards.", min=0)] = 0,
    sdk: Annotated[str, typer.Option(help="Generation of the SDK: 1.10 or 1.19.")] = "1.19",
    fault: Annotated[
        list[str] | None, typer.Option(help="A fault: NAME[=VALUE][@CONDITION,..]. Repeatable; `list` shows all.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
) -> None:
    """Install a simulated Cloud AI SDK: the vendor's tools for cards that are not there, every number marked so."""
    from dataclasses import asdict

    from infertune.cli.output import print_json
    from infertune.core.words import counted
    from infertune.targets.qaic.sim.install import install
    from infertune.targets.qaic.sim.programs.faults import FAULTS

    if fault == ["list"]:
        typer.echo("\n".join(f"{name:<18} {what}" for name, what in FAULTS.items()))
        return
    settings = install(
        folder, card=card, cards=cards, time_scale=time_scale, seed=seed, generation=sdk, faults=";".join(fault or [])
    )
    if json:
        print_json({"folder": str(folder.resolve()), **asdict(settings)})
        return
    typer.echo(f"export QAIC_ROOT={folder.resolve()}")
    devices = counted(len(settings.qids), "simulated device")
    typer.echo(f"{devices} with {settings.kind.nsps} NSPs; nothing measured there is real", err=True)
