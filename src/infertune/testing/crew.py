"""Several things side by side in virtual time, by one thread: a simulation of discrete events."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")


class VirtualClock:
    """`seams.Clock` that moves only by `sleep`. Inside `aside`, time passes for that work alone and then turns back."""

    def __init__(self) -> None:
        self._now_ns = 0

    def now_ns(self) -> int:
        return self._now_ns

    def sleep(self, seconds: float) -> None:
        self._now_ns += round(seconds * 1e9)

    def reach(self, at_ns: int) -> None:
        """Let time pass until ``at_ns``, if that is ahead."""
        self._now_ns = max(self._now_ns, at_ns)

    @contextmanager
    def aside(self, at_ns: int) -> Iterator[None]:
        """Work that begins at ``at_ns``; what the clock shows at the end of the block is when it ended."""
        now, self._now_ns = self._now_ns, at_ns
        try:
            yield
        finally:
            self._now_ns = now


@dataclass(slots=True)
class _Work:
    end_ns: int
    future: Future[Any]
    settle: Callable[[], None]


@dataclass(slots=True)
class VirtualCrew:
    """`seams.Crew` in virtual time. Work is done when submitted, and known to be done when its time has come.

    ``slower(n)`` stretches work that begins while ``n`` others are under way; ``busy_s`` adds up what hands worked.
    """

    clock: VirtualClock
    hands: int
    slower: Callable[[int], float] = lambda others: 1.0
    busy_s: float = 0.0
    _under_way: list[_Work] = field(default_factory=list)

    def submit(self, work: Callable[[], T]) -> Future[T]:
        begin_ns = self._free_ns()
        future: Future[T] = Future()
        with self.clock.aside(begin_ns):
            settle = _done(work, future)
            took_ns = self.clock.now_ns() - begin_ns
        took_ns = round(took_ns * self.slower(sum(w.end_ns > begin_ns for w in self._under_way)))
        self.busy_s += took_ns / 1e9
        self._under_way.append(_Work(begin_ns + took_ns, future, settle))
        return future

    def _free_ns(self) -> int:
        """When a hand is free: now, or when enough of those at work are done."""
        ends = sorted(w.end_ns for w in self._under_way)
        return max(self.clock.now_ns(), ends[-self.hands]) if len(ends) >= self.hands else self.clock.now_ns()

    def wait(self, pending: Collection[Future[Any]]) -> None:
        self._settle()
        if not any(future.done() for future in pending):
            ends = [w.end_ns for w in self._under_way if w.future in pending]
            self.clock.reach(min(ends))
            self._settle()

    def _settle(self) -> None:
        due = sorted((w for w in self._under_way if w.end_ns <= self.clock.now_ns()), key=lambda w: w.end_ns)
        self._under_way = [w for w in self._under_way if w.end_ns > self.clock.now_ns()]
        for work in due:
            work.settle()

    def close(self) -> None:
        self._under_way.clear()


def _done(work: Callable[[], T], future: Future[T]) -> Callable[[], None]:
    """Do the work now; what tells its future the result."""
    try:
        result = work()
    except Exception as error:  # noqa: BLE001  handed to whoever asks for the result
        failure = error
        return lambda: future.set_exception(failure)
    return lambda: future.set_result(result)
