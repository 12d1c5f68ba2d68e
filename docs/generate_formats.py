"""Writes docs/formats.md from the export formats: `python docs/generate_formats.py`. A test checks it."""

from __future__ import annotations

from pathlib import Path

from infertune.export.formats import discover
from infertune.targets import discover as targets

PAGE = Path(__file__).with_name("formats.md")
HEAD = """# Export formats

Made from the formats themselves by `docs/generate_formats.py`. `infertune export RUN --to FORMAT -o FOLDER` writes one
of

| format | carries winners of | what it writes |
| --- | --- | --- |
"""
TAIL = """
A format that does not fit the winner's target is refused: settings of one runtime mean nothing to another, and the
number would not be the confirmed one. `infertune verify` reads `python`, `dockerfile` and `cloud-ai`. A format of your
own is one file in `src/infertune/export/formats/`.
"""


def page() -> str:
    """The whole page."""
    every = ", ".join(f"`{name}`" for name, target in targets().items() if target.automatic)
    rows = [
        f"| `{name}` | {', '.join(f'`{t}`' for t in sorted(one.targets)) or every} | {one.title} |"
        for name, one in discover().items()
    ]
    return HEAD + "\n".join(rows) + "\n" + TAIL


if __name__ == "__main__":
    PAGE.write_text(page())
