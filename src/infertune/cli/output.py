"""What commands print with: consoles for the two streams, JSON, and plain aligned tables.

Figures and durations in words are in `core.words`; this module knows about streams and terminals.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, TextIO

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console
    from rich.table import Table

    from infertune.core.errors import CreateError
    from infertune.report.text import Widths

UNWRAPPED = 1000
"""Columns of an output that is no terminal: wide enough that a row of a table stays one line for `grep` and `awk`."""

_WHOLE = 12
"""Words up to this long are not cut, however narrow the terminal."""

_FIGURE = re.compile(r"[-+]?\d[\d.,]*( ?[%\w/]+)?( \(.*\))?|-?|unknown")
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def stdout_console() -> Console:
    """For data."""
    return _console(sys.stdout)


def stderr_console() -> Console:
    """For progress and logs."""
    return _console(sys.stderr)


def _console(stream: TextIO) -> Console:
    """Plain text on a stream that is no terminal, and where ``NO_COLOR`` or ``TERM=dumb`` asks for it."""
    from rich.console import Console

    plain = bool(os.environ.get("NO_COLOR")) or not stream.isatty()
    return Console(
        file=stream,
        color_system=None if plain else "auto",
        width=None if stream.isatty() or "COLUMNS" in os.environ else UNWRAPPED,
        markup=False,
        highlight=False,
        emoji=False,
    )


def widths() -> Widths:
    """Where a report on stdout is broken: two columns short of what ``COLUMNS`` or else the terminal has, at 40 at
    least. Rows of tables only on a terminal, or where ``COLUMNS`` says how wide it is.
    """
    from infertune.report.text import Widths

    columns = max(40, shutil.get_terminal_size((120, 24)).columns - 2)
    narrow = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Widths(sentences=columns, rows=columns if narrow else None)


def print_json(value: object) -> None:
    """One JSON document on stdout. Raises ValueError for NaN and infinities."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_result(path: Path, text: str) -> None:
    """A file that somebody asked for. Raises `CreateError` (``output-unwritable``)."""
    from infertune.edge.files import write_text

    try:
        write_text(path, text)
    except OSError as error:
        raise _unwritable(path, error) from None


def check_result(path: Path) -> None:
    """Raises what `write_result` would, before the work that it is to hold."""
    import tempfile

    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise _unwritable(path, error) from None


def _unwritable(path: Path, error: OSError) -> CreateError:
    from infertune.core.errors import CreateError, quoted

    return CreateError(
        "output-unwritable",
        f"`{quoted(str(path))}` cannot be written: {error.strerror or error}",
        hint="give a file in a folder that exists and in which you may write",
    )


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Columns of plain text under their names, two spaces apart; columns of figures aligned to the right."""
    from rich.text import Text

    from infertune.cli.ragged import Ragged

    made = Ragged(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for place, name in enumerate(columns):
        figures = bool(rows) and all(_FIGURE.fullmatch(row[place]) for row in rows)
        least = max((len(word) for cell in (name, *(row[place] for row in rows)) for word in cell.split()), default=1)
        justify: Literal["right", "left"] = "right" if figures else "left"
        made.add_column(name, justify=justify, overflow="fold", min_width=min(_WHOLE, least))
    for row in rows:
        made.add_row(*(Text(cell) for cell in row))
    return made


def bytes_text(count: int) -> str:
    """``410 MiB``, ``1.4 GiB``, ``12 B``: powers of 1024, two or three digits."""
    size, unit = float(count), 0
    while size >= 1000 and unit + 1 < len(_UNITS):
        size, unit = size / 1024, unit + 1
    digits = 1 if unit and size < 10 else 0
    return f"{size:.{digits}f} {_UNITS[unit]}"
