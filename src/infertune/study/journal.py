"""The study's record in memory and on disk, with study time and listeners."""

from __future__ import annotations

from collections.abc import Callable

from infertune.core.records import Entry, Event
from infertune.core.seams import Clock, Store

Listener = Callable[[Entry], None]


class Journal:
    """Appends events and tells listeners; `elapsed_s` counts study time over all commands that worked on the study."""

    def __init__(self, store: Store, clock: Clock, listeners: tuple[Listener, ...] = ()) -> None:
        self._store = store
        self._clock = clock
        self._listeners = listeners
        self.entries: list[Entry] = list(store.entries())
        self._before_s = self.entries[-1].at_s if self.entries else 0.0
        self._opened_ns = clock.now_ns()

    @property
    def elapsed_s(self) -> float:
        return self._before_s + (self._clock.now_ns() - self._opened_ns) / 1e9

    def append(self, event: Event) -> None:
        """On disk when this returns."""
        entry = self._store.append(event, self.elapsed_s)
        self.entries.append(entry)
        self.tell(entry)

    def tell(self, entry: Entry) -> None:
        """Let listeners hear an entry."""
        for listener in self._listeners:
            listener(entry)
