"""Trials as a pandas data frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from infertune.core.errors import UsageError
from infertune.core.records import Entry
from infertune.report.rows import table

if TYPE_CHECKING:
    import pandas


def frame(entries: Sequence[Entry]) -> pandas.DataFrame:
    """One row per trial, best point first, with the columns of `rows.table`; missing figures are NaN.

    Raises `UsageError` (id ``missing-package``) without pandas.
    """
    try:
        import pandas
    except ImportError:
        raise UsageError("missing-package", "data frames need pandas", hint='pip install "infertune[pandas]"') from None
    found = table(entries)
    return pandas.DataFrame(list(found.rows), columns=list(found.columns))
