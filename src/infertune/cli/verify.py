"""`infertune verify`: does a bundle still keep its promise here, and are a run folder's numbers right?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infertune.cli.options import Inputs, Json

if TYPE_CHECKING:
    from infertune.core.errors import DriftError
    from infertune.study.recompute import Recomputed
    from infertune.study.verifying import Verdict

FORMAT = "infertune-verdict/1"
_SAID = ("foreign_cpu", "psi", "steal", "involuntary_switches")
BASIS = {
    "throughput": "as counted",
    "anchor": "beside `{name}` as then, so the machine's own drift cancels",
    "before": "against the environment of before, launch by launch",
}


def command(
    folder: Annotated[
        Path, typer.Argument(help="A folder that `infertune export` wrote; with --recompute, one that `tune` wrote.")
    ],
    tolerance: Annotated[
        float, typer.Option(metavar="PERCENT", help="How much slower is still kept, in per cent.", min=0, max=100)
    ] = 3.0,
    launches: Annotated[
        int,
        typer.Option(
            metavar="NUMBER",
            help="Blocks of fresh processes; up to three times as many while the verdict is open.",
            min=1,
        ),
    ] = 6,
    window: Annotated[
        float, typer.Option(metavar="SECONDS", help="Seconds that each launch measures.", min=0.05, max=3600)
    ] = 2.0,
    before: Annotated[
        Path | None,
        typer.Option(
            metavar="PYTHON",
            help="Python of the environment before an upgrade: compare with the bundle there.",
        ),
    ] = None,
    inputs: Inputs = None,
    recompute: Annotated[
        bool,
        typer.Option(
            "--recompute", help="Measure nothing: compute a run folder's numbers once more from its raw samples."
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Measure a bundle again; exit 1 when it is slower than promised."""
    if recompute:
        _recompute(folder, as_json=json)
        return
    from infertune.cli.output import print_json
    from infertune.core.errors import DriftError
    from infertune.study.verifying import verify

    found = verify(folder, tolerance=tolerance / 100, launches=launches, window_s=window, before=before, inputs=inputs)
    if json:
        print_json(as_json(found))
    else:
        for line in told(found):
            typer.echo(line)
    if not found.kept:
        raise DriftError(
            "promise-not-kept",
            f"the bundle reaches {found.relative.value:.2f}x of what it promises (tolerance {tolerance:g} %)",
            hint="; ".join(reasons(found)),
        )


NAMED = 5  # differences that the error names


def _recompute(folder: Path, *, as_json: bool) -> None:
    """Print what was computed anew. Raises `DriftError` where the files say something else."""
    from infertune.cli.output import print_json
    from infertune.core import wire
    from infertune.study.recompute import recompute

    found = recompute(folder)
    if as_json:
        print_json(wire.to_plain(found))
    elif not found.differences:
        typer.echo(agreement(found))
    if found.differences:
        raise _drifted(folder, found)


def agreement(found: Recomputed) -> str:
    """One line: what was computed anew."""
    from infertune.core import words

    numbers, launches = words.counted(found.numbers, "number"), words.counted(found.launches, "launch")
    return f"{numbers} of {launches} recomputed from the raw samples: all agree, and so do the launches' flags"


def _drifted(folder: Path, found: Recomputed) -> DriftError:
    from infertune.core import words
    from infertune.core.errors import DriftError
    from infertune.edge.files import shown

    fields, first = words.counted(len(found.differences), "field"), found.differences[:NAMED]
    named = "; ".join(f"{d.where}: `{d.told}`, recomputed `{d.recomputed}`" for d in first)
    more = f"; {len(found.differences) - len(first)} more" if len(found.differences) > len(first) else ""
    versions = (
        f"the record is of infertune {found.version}, this is {found.ours}; " if found.version != found.ours else ""
    )
    return DriftError(
        "numbers-differ",
        f"`{shown(folder)}` says otherwise than its raw samples in {fields}: {named}{more}",
        hint=f"{versions}the files were changed, or the study went on after they were written: "
        "`infertune report RUN` says what the record says",
    )


def as_json(found: Verdict) -> dict[str, Any]:
    """The document of ``--json``; see docs/json.md."""
    from infertune.core import wire

    return {"format": FORMAT, **wire.to_plain(found)}


def told(found: Verdict) -> list[str]:
    """The verdict for a person: what was promised, what was measured, what decided."""
    from infertune.core import words

    anchor = found.promised.anchor
    how = BASIS[found.basis].format(name=anchor.name if anchor else "")
    simulated = " (simulated)" if found.promised.device.simulated else ""
    lines = [
        f"promised  {_promised(found)} samples/s{found.promised.load_words}{simulated}",
        f"measured  {words.interval(found.measured)} samples/s, {words.counted(found.blocks, 'launch')}",
        f"ratio     {words.times(found.ratio)}",
    ]
    if found.basis != "throughput":
        lines.append(f"relative  {words.times(found.relative)}, {how}")
    lines += [f"changed   {change}" for change in found.changes]
    if found.kept:
        decides = "kept: `ratio` decides" if found.basis == "throughput" else "kept: `relative` decides"
        lines.append(decides + ("" if found.settled else ", though its interval also holds values below the tolerance"))
    return lines


def _promised(found: Verdict) -> str:
    """Without an interval where a single launch promised it."""
    from infertune.core import words

    seen = found.promised.throughput
    return words.three(seen.value) if found.promised.launches == 1 else words.interval(seen)


def reasons(found: Verdict) -> list[str]:
    """What is different, and what to do: of flags those that ``changes`` do not say in words already."""
    from infertune.core import audit

    changed = [*found.changes] or ["nothing else changed"]
    changed += [audit.FLAGS.get(flag, flag) for flag in found.flags if flag not in _SAID]
    if audit.contaminated(found.flags):
        changed.append("run it again when the machine is quieter")
    if not found.settled:
        changed.insert(0, f"not settled: the interval goes up to {found.relative.high:.2f}x")
    if found.basis == "throughput" and found.promised.anchor is not None:
        changed.append("`--before PYTHON` tells the machine from the versions")
    return changed
