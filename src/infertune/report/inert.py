"""Outside text (model names, messages of runtimes) made inert: no control codes, no hidden order, one line."""

from __future__ import annotations

from infertune.core.errors import quoted

LONGEST = 400


def one_line(text: str, limit: int = LONGEST) -> str:
    """``text`` on one line with control and bidirectional characters escaped, cut at ``limit`` characters."""
    return quoted(" ".join(text.splitlines()), limit)
