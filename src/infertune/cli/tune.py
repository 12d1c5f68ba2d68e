"""`infertune tune`: the main job."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from infertune.cli.options import BatchSymbol, Inputs, ModelFile, Shapes


def command(
    model: ModelFile,
    goal: Annotated[
        str, typer.Option(metavar="GOAL", help="What is best, with limits: 'max throughput, p99 < 20 ms'.")
    ] = "max throughput",
    budget: Annotated[
        str,
        typer.Option(
            metavar="TIME",
            help="Time for search and confirmation: 90s, 5m, 1h; a check of outputs that has begun is finished.",
        ),
    ] = "5m",
    shape: Shapes = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FOLDER", help="Run folder; default runs/<model>.")
    ] = None,
    target: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only these targets; default: every CPU runtime here.")
    ] = None,
    knob: Annotated[
        list[str] | None, typer.Option(metavar="KNOB=VALUES", help="Search other values: batch=1,3,5 or batch=1..8.")
    ] = None,
    trials: Annotated[int | None, typer.Option(metavar="NUMBER", help="Try at most this many points.", min=1)] = None,
    strategy: Annotated[
        str, typer.Option(metavar="NAME", help="How points are chosen: auto, grid, random, ...")
    ] = "auto",
    warm_start: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Try the best point of an earlier study first.")
    ] = None,
    inputs: Inputs = None,
    batch_symbol: BatchSymbol = None,
    metric: Annotated[
        str | None,
        typer.Option(metavar="MODULE:FUNCTION", help="Judge outputs by this function in place of the cosine."),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="NUMBER", help="Seed of inputs, strategy and block order.")] = 0,
    accept_noise: Annotated[
        bool, typer.Option("--accept-noise", help="Let launches that other programs disturbed decide and confirm.")
    ] = False,
    ablate: Annotated[
        bool, typer.Option("--ablate", help="Measure afterwards what each knob of the winner brings.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout (see docs/json.md).")] = False,
) -> None:
    """Find the settings that meet the goal best here; run it again to resume or extend."""
    from infertune.cli.live import Progress, shown
    from infertune.cli.outcome import finish
    from infertune.cli.output import stderr_console
    from infertune.core.assignments import parse_assignments
    from infertune.core.goal import parse_goal
    from infertune.edge.signals import stop_on_signals
    from infertune.prepare.shapes import parse_shapes
    from infertune.study import tune
    from infertune.study.metric import parse_metric

    console = stderr_console()
    progress = Progress(goal=parse_goal(goal))
    folder = out or Path("runs") / model.stem

    with (
        stop_on_signals(lambda: console.print("ending after the current launch; again to end now")) as stop,
        shown(progress, console),
    ):
        study = tune(
            model,
            goal=goal,
            shapes=parse_shapes(shape or []),
            budget=budget,
            out=folder,
            targets=target,
            knobs=parse_assignments(knob or []),
            strategy=strategy,
            trials=trials,
            warm_start=warm_start,
            inputs=inputs,
            batch_symbol=batch_symbol,
            seed=seed,
            metric=parse_metric(metric),
            noise="accept" if accept_noise else "refuse",
            ablate=ablate,
            listeners=(lambda entry: progress.tell(entry, console),),
            on_phase=progress.on_phase,
            stop=stop,
        )
    raise typer.Exit(finish(study, as_json=json, interrupted=stop.exit_code if stop() else 0))
