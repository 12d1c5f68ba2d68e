"""Trials as CSV that a spreadsheet cannot be tricked with."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from infertune.core.records import Entry
from infertune.report.inert import one_line
from infertune.report.rows import Cell, table

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # and their full-width twins


def csv_text(entries: Sequence[Entry]) -> str:
    """One line per trial under a line of column names; text that a spreadsheet would run gets a leading ``'``."""
    found = table(entries)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([inert_cell(column) for column in found.columns])
    writer.writerows([[inert_cell(cell) for cell in row] for row in found.rows])
    return out.getvalue()


def inert_cell(cell: Cell) -> str | int | float:
    """The cell as it is written: figures as they are, text on one line and never the start of a formula."""
    if cell is None:
        return ""
    if not isinstance(cell, str):
        return cell
    marked = f"'{cell}" if cell.startswith(_FORMULA) else cell
    return one_line(marked)
