"""What came closest to a goal that nothing met, in words."""

from __future__ import annotations

from infertune.core.findings import Nearest
from infertune.core.shortfall import UNCHECKED
from infertune.report.inert import one_line


def missed(closest: Nearest) -> str:
    """```p99 < 5 ms`: measured 8.2 ms``."""
    told = "its outputs could not be checked" if closest.measured == UNCHECKED else f"measured {closest.measured}"
    return f"`{one_line(closest.limit)}`: {told}"
