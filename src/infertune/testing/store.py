"""A store without a disk."""

from __future__ import annotations

from collections.abc import Iterator

from infertune.core import wire
from infertune.core.records import Entry, Event


class MemoryStore:
    """`seams.Store` in memory. Events pass through JSON, as on disk, so that what cannot be stored shows here too."""

    def __init__(self) -> None:
        self._lines: list[tuple[float, str]] = []

    def append(self, event: Event, at_s: float) -> Entry:
        self._lines.append((at_s, wire.to_json(event, Event)))
        return Entry(seq=len(self._lines), at_s=at_s, event=event)

    def entries(self) -> Iterator[Entry]:
        lines = tuple(self._lines)
        return (Entry(seq=i, at_s=at, event=wire.from_json(text, Event)) for i, (at, text) in enumerate(lines, start=1))
