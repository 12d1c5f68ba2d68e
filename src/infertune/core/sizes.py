"""Amounts of data as people write them: ``20GB``, ``512 MiB``."""

from __future__ import annotations

import re

from infertune.core.errors import UsageError, quoted

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]i?B|B)?")
_BYTES = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12} | {
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40
}  # fmt: skip


def parse_size(text: str) -> int:
    """Bytes; a bare number is bytes. Raises `UsageError` (id ``size-syntax``)."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise UsageError("size-syntax", f"`{quoted(text)}` is not a size", hint="write `500MB`, `20GB` or `1.5GiB`")
    return int(float(match[1]) * _BYTES[match[2] or ""])
