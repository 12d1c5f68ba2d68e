"""What every store must keep. Subclass in a test module and supply the fixture ``store``; pytest does the rest.

class TestMyStore(StoreContract):
    @pytest.fixture
    def store(self) -> Store:
        return MyStore()
"""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from infertune.core.records import Checked, Closed, Entry, Event, Failed, Opened
from infertune.core.seams import Store
from infertune.testing.records import a_build, a_check, a_launch, a_point, a_study


def every_event() -> list[Event]:
    """Events of every kind, with failures, text that needs escaping, and numbers at the edges."""
    hostile = "quote \" slash \\ null \0 newline \n </script> \u202e \U0001f600 ' OR 1=1"
    failed = Failed(stage="build", kind="compiler", message=hostile, log="x" * 100_000)
    point = a_point(batch=2**31)
    return [
        *(entry.event for entry in a_study({a_point(batch=8): 200.0})),
        a_build(point, failed),
        a_launch(point, replace(failed, stage="measure", kind="timeout")),
        Opened(budget_s=1e-9, max_trials=2**62, at=hostile),
        Closed(status="interrupted", why=hostile),
    ]


class StoreContract:
    """Append-only, in order, nothing lost or changed on the way."""

    def test_starts_empty(self, store: Store) -> None:
        assert list(store.entries()) == []

    def test_gives_back_what_was_appended(self, store: Store) -> None:
        events = every_event()
        for i, event in enumerate(events):
            store.append(event, i / 3)
        assert [entry.event for entry in store.entries()] == events
        assert [entry.at_s for entry in store.entries()] == [i / 3 for i in range(len(events))]

    def test_numbers_entries_from_one(self, store: Store) -> None:
        given = [store.append(event, 0.0).seq for event in every_event()]
        assert given == list(range(1, len(given) + 1))
        assert [entry.seq for entry in store.entries()] == given

    def test_append_returns_the_entry(self, store: Store) -> None:
        event = every_event()[0]
        assert store.append(event, 1.5) == Entry(seq=1, at_s=1.5, event=event)

    def test_entries_are_those_of_the_moment(self, store: Store) -> None:
        store.append(Closed(status="ok", why=""), 0.0)
        before = store.entries()
        store.append(Closed(status="ok", why="later"), 1.0)
        assert len(list(before)) == 1
        assert len(list(store.entries())) == 2

    def test_reading_does_not_change_anything(self, store: Store) -> None:
        store.append(Closed(status="ok", why=""), 0.0)
        assert list(store.entries()) == list(store.entries())

    def test_refuses_what_is_not_a_number_before_writing_anything(self, store: Store) -> None:
        check = a_check(a_point())
        with pytest.raises(ValueError, match="JSON compliant"):
            store.append(Checked(fidelity=replace(check.fidelity, cosine=math.nan), wall_s=0.0), 0.0)
        assert list(store.entries()) == []
        assert store.append(check, 0.0).seq == 1
