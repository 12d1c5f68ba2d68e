"""`infertune measure`: single points, lists and ranges."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from infertune.cli.options import BatchSymbol, Inputs, ModelFile, Shapes


def command(
    model: ModelFile,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KNOB=VALUES", help="A knob's values: batch=1,2,4 or batch=1..64*2."),
    ] = None,
    target: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only these targets; default: every CPU runtime here.")
    ] = None,
    shape: Shapes = None,
    launches: Annotated[int, typer.Option(metavar="NUMBER", help="Fresh processes per point.", min=1)] = 3,
    window: Annotated[
        float, typer.Option(metavar="SECONDS", help="Seconds that each launch measures.", min=0.05, max=3600)
    ] = 2.0,
    arrivals: Annotated[
        str,
        typer.Option(
            metavar="HOW",
            help="How requests come: closed, single, offline, poisson or constant (the last two at --rate).",
        ),
    ] = "closed",
    rate: Annotated[
        float | None, typer.Option(metavar="NUMBER", help="Samples per second that arrive.", min=0.001)
    ] = None,
    inputs: Inputs = None,
    batch_symbol: BatchSymbol = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FOLDER", help="Keep the record in this run folder.")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="NUMBER", help="Seed of inputs and block order.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Rows as JSON on stdout.")] = False,
) -> None:
    """Measure every combination of settings, each in fresh processes; no search and no verdict."""
    from dataclasses import replace

    from infertune.cli.live import Progress, shown
    from infertune.cli.outcome import nothing_ran
    from infertune.cli.output import stderr_console
    from infertune.core.assignments import parse_assignments
    from infertune.core.goal import parse_goal
    from infertune.core.load import parse_load
    from infertune.edge.scratch import Scratch
    from infertune.edge.signals import stop_on_signals
    from infertune.prepare.shapes import parse_shapes
    from infertune.report import json_rows, rows_text
    from infertune.study.measure import PLAN, measure

    console = stderr_console()
    progress = Progress(goal=parse_goal("max throughput"))
    with (
        Scratch("measure") as scratch,
        stop_on_signals(lambda: console.print("ending after the current launch; again to end now")) as stop,
        shown(progress, console),
    ):
        study = measure(
            model,
            out=out or Path(scratch),
            settings=parse_assignments(set_ or []),
            shapes=parse_shapes(shape or []),
            targets=target,
            launches=launches,
            plan=replace(PLAN, min_time_s=window, cap_s=max(window, PLAN.cap_s), load=parse_load(arrivals, rate, seed)),
            inputs=inputs,
            batch_symbol=batch_symbol,
            seed=seed,
            listeners=(lambda entry: progress.tell(entry, console),),
            on_phase=progress.on_phase,
            stop=stop,
        )
    typer.echo(json_rows(study.entries) if json else rows_text(study.entries), nl=False)
    failed = nothing_ran(study)
    if failed is not None and not stop():
        raise failed
    raise typer.Exit(stop.exit_code if stop() else 0)
