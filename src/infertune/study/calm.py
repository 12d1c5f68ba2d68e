"""Waiting, between launches, for other programs to leave the CPUs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from infertune.core import audit, history
from infertune.core.records import Waited
from infertune.core.seams import Clock
from infertune.study.journal import Journal

Glance = Callable[[], float]
"""The share of the CPUs' time that other programs use just now."""

SEARCH_SHARE = 0.25
"""Of the budget that the search may wait in all: a neighbour that stays must not keep anything from being tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calm:
    """A launch that others disturb says little and costs as much as one that decides, and slow spells have an end.

    ``glance`` is None where nobody waits. Only after a disturbed launch is the machine looked at: on a quiet one this
    costs nothing.
    """

    glance: Glance | None
    journal: Journal
    clock: Clock
    stop: Callable[[], bool]
    on_phase: Callable[[str, str], None]

    def wait(self, until_s: float) -> None:
        """Return once no others are at work, at study time ``until_s`` at the latest; recorded where it took time."""
        last = history.last_launch(self.journal.entries)
        if self.glance is None or last is None or not audit.contaminated(last.flags):
            return
        if self.journal.elapsed_s >= until_s:
            return
        began = self.clock.now_ns()
        while self.journal.elapsed_s < until_s and not self.stop():
            share = self.glance()
            if share <= audit.FOREIGN_CPU:
                break
            self.on_phase("wait", f"other programs use {share:.0%} of the CPUs")
        self.journal.append(Waited(wall_s=(self.clock.now_ns() - began) / 1e9))

    def waited_s(self) -> float:
        return history.spent(self.journal.entries).waiting
