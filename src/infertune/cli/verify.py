"""`infertune verify`: does a bundle still keep its promise here?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from infertune.cli.options import Json


def command(
    folder: Annotated[Path, typer.Argument(help="A folder that `infertune export` wrote.")],
    tolerance: Annotated[
        float, typer.Option(help="How much slower is still kept, in per cent.", min=0, max=100)
    ] = 10.0,
    launches: Annotated[int, typer.Option(help="Fresh processes.", min=1)] = 5,
    json: Json = False,
) -> None:
    """Measure a bundle again; exit 1 when it is slower than promised."""
    from infertune.cli.output import print_json
    from infertune.core import wire, words
    from infertune.core.errors import DriftError
    from infertune.study.hand_over import verify

    found = verify(folder, tolerance=tolerance / 100, launches=launches)
    if json:
        print_json(wire.to_plain(found))
    elif found.measured is not None:
        promised = words.interval(found.promised.throughput)
        typer.echo(f"measured {words.interval(found.measured)} samples/s, promised {promised}: {found.ratio:.2f}x")
    if not found.kept:
        told = "; ".join((*found.changes, *(f"flag {flag}" for flag in found.flags))) or "nothing else changed"
        raise DriftError(
            "promise-not-kept",
            f"the bundle reaches {found.ratio:.2f}x of what it promises (tolerance {tolerance:g} %)",
            hint=told,
        )
