"""`infertune serve-rate`: how many samples per second may arrive while a latency limit holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from infertune.cli.options import BatchSymbol, Inputs, Json, Shapes

if TYPE_CHECKING:
    from infertune.core.records import Measurement
    from infertune.study.serving import Asked, Served


def command(
    model: Annotated[Path, typer.Argument(help="An ONNX file, or the run folder of a study, whose winner is taken.")],
    limit: Annotated[str, typer.Option(metavar="LIMITS", help="What must hold: 'p99 < 50 ms'; several after commas.")],
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KNOB=VALUE", help="The point's knobs: batch=4.")
    ] = None,
    target: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which runtime; default: the first that is here.")
    ] = None,
    shape: Shapes = None,
    arrivals: Annotated[str, typer.Option(metavar="HOW", help="poisson (at random) or constant (evenly).")] = "poisson",
    window: Annotated[
        float,
        typer.Option(metavar="SECONDS", help="Seconds that each rate is tried for, at least.", min=0.05, max=3600),
    ] = 3.0,
    inputs: Inputs = None,
    batch_symbol: BatchSymbol = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FOLDER", help="Keep the record in this run folder.")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="NUMBER", help="Seed of inputs and arrivals.")] = 0,
    json: Json = False,
) -> None:
    """Find the highest rate at which samples may arrive while latency limits hold, and confirm it three times."""
    from infertune.cli.live import Progress, shown
    from infertune.cli.output import print_json, stderr_console
    from infertune.core.goal import parse_goal
    from infertune.edge.scratch import Scratch
    from infertune.edge.signals import stop_on_signals
    from infertune.study.serving import asked_of, serve_rate

    console = stderr_console()
    progress = Progress(goal=parse_goal(f"max rate, {limit}"))
    with (
        Scratch("rate") as scratch,
        stop_on_signals(lambda: console.print("ending after the current launch; again to end now")) as stop,
        shown(progress, console),
    ):
        of_run = model.is_dir() and not (set_ or shape or target or inputs)
        found = serve_rate(
            asked_of(model) if of_run else _asked(model, shape, target, set_, inputs, batch_symbol),
            limit=limit,
            out=out or Path(scratch),
            arrivals=_arrivals(arrivals),
            window_s=window,
            seed=seed,
            listeners=(lambda entry: progress.tell(entry, console),),
            on_phase=progress.on_phase,
            stop=stop,
        )
    if json:
        print_json(as_document(found))
    else:
        _print(found)
    if stop():
        raise typer.Exit(stop.exit_code)
    if found.rate_per_s is None:
        raise _unconfirmed(found)


def _asked(
    model: Path,
    shape: list[str] | None,
    target: str | None,
    set_: list[str] | None,
    inputs: Path | None,
    batch_symbol: str | None,
) -> Asked:
    from infertune.core.assignments import parse_assignments
    from infertune.core.errors import UsageError
    from infertune.prepare.shapes import parse_shapes
    from infertune.study.serving import Asked

    wanted = parse_assignments(set_ or [])
    several = next((name for name, values in wanted.items() if len(values) > 1), None)
    if several is not None:
        hint = "give one value for each knob"
        raise UsageError("one-point", f"`{several}` has several values, and one point is served", hint=hint)
    return Asked(
        model=str(model),
        shapes=parse_shapes(shape or []),
        target=target,
        settings={name: values[0] for name, values in wanted.items()},
        inputs=None if inputs is None else str(inputs),
        batch_symbol=batch_symbol,
    )


def _arrivals(text: str) -> Literal["poisson", "constant"]:
    from infertune.core.errors import UsageError, quoted

    if text == "poisson":
        return "poisson"
    if text == "constant":
        return "constant"
    raise UsageError("unknown-arrivals", f"samples cannot arrive as `{quoted(text)}`", hint="poisson or constant")


def _unconfirmed(found: Served) -> Exception:
    from infertune.core.errors import NothingFeasible

    limits = ", ".join(limit.text for limit in found.goal.limits)
    return NothingFeasible(
        "rate-unconfirmed",
        f"no rate kept `{limits}` three times in a row",
        hint="the machine is too unsteady for this limit: see `infertune doctor`, or relax it",
    )


def _print(found: Served) -> None:
    from infertune.cli.output import stdout_console, table

    console = stdout_console()
    for line in told(found):
        console.print(line)
    if found.runs:
        console.print()
        console.print(table(COLUMNS, [_row(number, run.outcome) for number, run in enumerate(found.runs, 1)]))


COLUMNS = ("run", "arrived/s", "served/s", "p50 ms", "p99 ms", "p99 ms at most", "sent late p99", "generator CPU")


def told(found: Served) -> list[str]:
    """The answer, and what to make of it."""
    from infertune.core import words

    spaces = found.study.answer.question.spaces
    limits = ", ".join(limit.text for limit in found.goal.limits)
    how = "at random" if found.arrivals == "poisson" else "evenly"
    lines = [words.point(found.point, spaces)]
    if found.rate_per_s is None:
        return [*lines, f"no rate was confirmed for `{limits}`"]
    lines.append(f"sustains {words.three(found.rate_per_s)} samples/s arriving {how}, with {limits}")
    if found.standing.state == "unsure":
        lines.append(f"too few requests to be sure: {found.standing.requests} were served; give a longer --window")
    if found.tried:
        lines.append(f"not kept three times: {', '.join(words.three(rate) for rate in found.tried)} samples/s")
    if found.saturated:
        lines.append("load generator saturated: requests left late, so the model itself may sustain more")
    return lines


def _row(number: int, outcome: object) -> tuple[str, ...]:
    from infertune.core import percentiles, stats, words
    from infertune.core.records import Measurement

    if not isinstance(outcome, Measurement) or outcome.sent is None:
        return (str(number), *("-",) * (len(COLUMNS) - 1))
    latencies, lag = outcome.latencies_ns, outcome.sent.lag_ns
    most = percentiles.upper_ns(latencies, 99.0, 0.95)
    return (
        str(number),
        words.three(outcome.sent.rate_per_s),
        words.three(stats.throughput(outcome)),
        words.three(stats.quantile_ns(latencies, 50.0) / 1e6),
        _ms(stats.percentile_ns(latencies, 99.0)),
        _ms(most),
        f"{stats.quantile_ns(lag, 99.0) / 1e6:.2f} ms",
        f"{outcome.sent.cpu:.0%}",
    )


def _ms(found: int | None) -> str:
    from infertune.core import words

    return "-" if found is None else words.three(found / 1e6)


def as_document(found: Served) -> dict[str, object]:
    """What ``--json`` prints; described in docs/json.md."""
    from infertune.core.records import Measurement

    return {
        "format": "infertune.serve-rate/1",
        "point": {"target": found.point.target, **found.point.values},
        "limits": [limit.text for limit in found.goal.limits],
        "arrivals": found.arrivals,
        "rate_per_s": found.rate_per_s,
        "sure": found.standing.state == "within",
        "generator_saturated": found.saturated,
        "not_kept_per_s": list(found.tried),
        "probes": [{"rate_per_s": p.rate_per_s, "samples": p.samples, "kept": p.kept} for p in found.probes],
        "runs": [_run(run.outcome) for run in found.runs if isinstance(run.outcome, Measurement)],
    }


def _run(outcome: Measurement) -> dict[str, object]:
    from infertune.core import stats

    found = {f"p{percent:g}_ms": stats.percentile_ns(outcome.latencies_ns, percent) for percent in (50.0, 90.0, 99.0)}
    return {
        "served_per_s": stats.throughput(outcome),
        **{name: None if ns is None else ns / 1e6 for name, ns in found.items()},
        "samples": len(outcome.latencies_ns),
        "unfinished": outcome.sent.unfinished if outcome.sent else 0,
    }
