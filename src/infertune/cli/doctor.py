"""`infertune doctor`: what works on this machine, and why not."""

from __future__ import annotations

from infertune.cli.options import Json


def command(
    json: Json = False,
) -> None:
    """Show what works here, and what to do about the rest."""
    from infertune.cli.output import print_json, stdout_console, table
    from infertune.core import wire
    from infertune.study.doctor import examine

    found = examine()
    if json:
        print_json([wire.to_plain(finding) for finding in found])
        return
    rows = [(f.area, f.name, f.state, f.detail) for f in found]
    stdout_console().print(table(("area", "what", "state", "detail"), rows))
