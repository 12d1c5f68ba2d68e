"""`infertune space`: knobs, rules and size of the space, without measuring anything."""

from __future__ import annotations

from typing import Annotated

import typer

from infertune.cli.options import BatchSymbol, Json, ModelFile, Shapes


def command(
    model: ModelFile,
    target: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Only these targets.")] = None,
    shape: Shapes = None,
    goal: Annotated[str, typer.Option(metavar="GOAL", help="The goal the space is made for.")] = "max throughput",
    batch_symbol: BatchSymbol = None,
    json: Json = False,
) -> None:
    """Show knobs, rules and size of the space."""
    from infertune.cli.output import print_json, stdout_console, table
    from infertune.core import wire
    from infertune.core.goal import parse_goal
    from infertune.edge.shell import LocalShell
    from infertune.edge.worker import LocalExecutor
    from infertune.prepare.shapes import parse_shapes
    from infertune.study.question import chosen_targets, described, make_spaces, probe, space_fact

    executor = LocalExecutor(LocalShell())
    found = described(executor, str(model), parse_shapes(shape or []), batch_symbol)
    targets = chosen_targets(target)
    devices = [device for t in targets.values() for device in probe(executor, t)]
    facts = [space_fact(space) for space in make_spaces(found, devices, targets, parse_goal(goal), {})]
    if json:
        print_json([wire.to_plain(fact) for fact in facts])
        return
    console = stdout_console()
    for fact in facts:
        rows = [(k.name, k.stage, ", ".join(map(str, k.values)), str(k.default), k.spelling, k.doc) for k in fact.knobs]
        console.print(f"{fact.target} on {fact.device}: {fact.legal} legal points of {fact.raw} combinations")
        console.print(table(("knob", "stage", "values", "default", "spelled", "what it is"), rows))
        for rule in fact.rules:
            console.print(f"  rule: {rule}", highlight=False)
        console.print()
