"""`infertune prepare`: edits to a model, listed."""

from __future__ import annotations

import math
import shlex
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infertune.cli.options import Json, ModelFile
from infertune.core.errors import UsageError, quoted

if TYPE_CHECKING:
    from infertune.prepare.fp16 import Finding, RangeReport
    from infertune.prepare.spread import Spread


class Range(StrEnum):
    report = "report"
    clip = "clip"


class Infinite(StrEnum):
    keep = "keep"
    clip = "clip"


def command(
    model: ModelFile,
    output: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="The ONNX file to write; an older one is replaced."),
    ] = None,
    fp16_range: Annotated[
        Range | None, typer.Option(help="Constants that fp16 cannot hold: report them, or clip them to +-65504.")
    ] = None,
    infinities: Annotated[
        Infinite | None, typer.Option(help="When clipping: keep infinite constants, or clip them too.")
    ] = None,
    json: Json = False,
) -> None:
    """Edit a model and list every edit; without an output nothing is written."""
    from infertune.prepare import fp16

    if fp16_range is None:
        asked = ["infertune", "prepare", str(model), "--fp16-range", "clip", "-o", str(output or "fp16-safe.onnx")]
        raise UsageError("usage", "no edit was asked for", hint=f"`{quoted(shlex.join(asked), 400)}`")
    if output is not None and fp16_range is Range.report:
        raise UsageError("usage", "a report writes no model", hint="leave -o out, or ask for --fp16-range clip")
    if output is not None:
        found = fp16.clip(str(model), str(output), infinities.value if infinities else None)
    else:
        found = fp16.examine(str(model), (infinities or Infinite.keep).value)
    if json:
        _print_json(found, output)
    else:
        _print_text(found, output, fp16_range)


def _print_json(found: RangeReport, output: Path | None) -> None:
    from infertune.cli.output import print_json
    from infertune.core import wire

    told = {"format": 1, "written": None if output is None else str(output), **wire.to_plain(found)}
    print_json(_without_infinities(told))


def _without_infinities(value: Any) -> Any:
    """JSON has no infinities: they become the texts ``inf`` and ``-inf``."""
    if isinstance(value, dict):
        return {name: _without_infinities(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_without_infinities(inner) for inner in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _print_text(found: RangeReport, output: Path | None, mode: Range) -> None:
    from infertune.cli.output import stdout_console, table

    console = stdout_console()
    listed = [f for f in found.findings if f.changed or f.before.outside or f.before.infinite or f.before.nan]
    if listed:
        console.print(table(_COLUMNS, [_row(f, mode) for f in listed]))
        console.print()
    console.print(_total(found.constants, found.total))
    if vanishing := [f for f in found.findings if f.vanishes]:
        console.print(_vanishing(vanishing))
    changed = sum(f.changed for f in found.edits)
    if output is not None:
        console.print(f"{output}: {changed:,} values of {len(found.edits)} constants clipped")
    elif mode is Range.clip:
        console.print(f"nothing written: -o PATH writes the model with {changed:,} values clipped")


_COLUMNS = ("constant", "where", "type", "values", "beyond 65504", "infinite", "NaN", "lowest", "highest")


def _row(found: Finding, mode: Range) -> tuple[str, ...]:
    before = found.before
    ends = [(before.low, found.low_after), (before.high, found.high_after)]
    if mode is Range.report:
        ends = [(old, old) for old, _ in ends]
    counts = (before.elements, before.outside, before.infinite, before.nan)
    return (found.name, found.where, found.dtype, *map(str, counts), *(_change(*end) for end in ends))


def _vanishing(found: list[Finding]) -> str:
    named = [f"{f.name} ({f.before.low:.3g})" for f in found[:3]]
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return f"nothing but 0 remains in fp16 of {len(found)}: {', '.join(named)}{more}"


def _change(old: float | None, new: float | None) -> str:
    if old is None or new is None:
        return "-"
    return f"{old:.6g}" if old == new else f"{old:.6g} -> {new:.6g}"


def _total(constants: int, total: Spread) -> str:
    return (
        f"{constants:,} float constants, {total.elements:,} values: {total.outside:,} beyond +-65504, "
        f"{total.infinite:,} infinite, {total.nan:,} NaN; "
        f"in fp16 {total.zeroed:,} become 0 and {total.subnormal:,} subnormal"
    )
