"""`infertune replay`: search strategies against recorded spaces."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infertune.cli.options import Json

if TYPE_CHECKING:
    from infertune.core.replayed import Replayed


def command(
    data: Annotated[
        list[Path], typer.Argument(metavar="FILE", help="Recorded spaces: CSV files, a JSON document beside each.")
    ],
    strategies: Annotated[
        str, typer.Option(metavar="NAMES", help="Names, separated by commas, or all.")
    ] = "auto,random",
    seeds: Annotated[int, typer.Option(metavar="NUMBER", help="Runs of each strategy.", min=1)] = 20,
    trials: Annotated[int, typer.Option(metavar="NUMBER", help="Trials of each run at most.", min=1)] = 40,
    tolerance: Annotated[
        str, typer.Option(metavar="SHARE", help="Also count trials until within this much of the best (2%).")
    ] = "2%",
    goal: Annotated[str | None, typer.Option(metavar="GOAL", help="Instead of the one it was recorded for.")] = None,
    noise: Annotated[
        str | None, typer.Option(metavar="SHARE", help="Noise of launches (3%), instead of the recorded launches' own.")
    ] = None,
    invalid: Annotated[str, typer.Option(metavar="SHARE", help="Share of points that are made to fail.")] = "0",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Write the regret curves here (SVG).")
    ] = None,
    json: Json = False,
) -> None:
    """Play recorded spaces to search strategies: how many trials until near the best, and what is left to gain."""
    from infertune.cli.output import check_result, stderr_console, write_result
    from infertune.report.regret_curves import picture
    from infertune.report.replayed import TOLERANCES, replayed_json, replayed_text
    from infertune.report.result import written
    from infertune.study.replay import replay, share

    console = stderr_console()
    if out is not None:
        check_result(out)
    bounds = sorted({*TOLERANCES, share(tolerance)})

    def told(run: Replayed) -> None:
        if run.seed == seeds - 1:
            console.print(f"{run.recording}: {run.strategy} played {seeds} times")

    runs = replay(
        data,
        strategies=[name.strip() for name in strategies.split(",")],
        seeds=seeds,
        trials=trials,
        goal=goal,
        noise=None if noise is None else share(noise),
        invalid=share(invalid),
        on_run=told,
    )
    typer.echo(written(replayed_json(runs)) if json else replayed_text(runs, bounds), nl=False)
    if out is not None:
        write_result(out, picture(runs))
        console.print(f"regret curves: {out}")
