"""A session in virtual time, for tests of whatever drives sessions."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from infertune.core.records import Phase, RawNs
from infertune.testing.clock import FakeClock


class FakeSession:
    """`seams.Session` with ``servers`` identical servers; ``service_ns(i)`` is how long request number i takes.

    Requests queue first come, first served. Waiting moves the fake clock to the next completion, or by the timeout.
    """

    def __init__(self, clock: FakeClock, *, in_flight: int, servers: int, service_ns: Callable[[int], int]) -> None:
        self.in_flight = in_flight
        self.sent = 0
        self.closed = False
        self._clock = clock
        self._service_ns = service_ns
        self._free = [0] * servers
        self._running: list[tuple[int, int, int]] = []
        self._execute: list[int] = []

    def start(self, slot: int) -> None:
        service = self._service_ns(self.sent)
        begin = max(self._clock.now_ns(), heapq.heappop(self._free))
        heapq.heappush(self._free, begin + service)
        heapq.heappush(self._running, (begin + service, slot, service))
        self.sent += 1

    def wait(self, timeout_s: float | None = None) -> Sequence[tuple[int, int]]:
        if timeout_s is not None and self._running[0][0] > self._clock.now_ns() + round(timeout_s * 1e9):
            self._clock.advance(timeout_s)
            return ()
        end, slot, service = heapq.heappop(self._running)
        self._clock.advance(max(0, end - self._clock.now_ns()) / 1e9)
        self._execute.append(service)
        return ((slot, end),)

    def phases(self) -> tuple[Phase, ...]:
        told = (Phase(name="execute", samples_ns=RawNs(self._execute)),)
        self._execute = []
        return told

    def settings(self) -> tuple[tuple[str, str], ...]:
        return (("servers", str(len(self._free))),)

    def close(self) -> None:
        self.closed = True


class FakeAnswering(FakeSession):
    """`seams.Answering` whose answers are empty; ``answer_ns(inputs)`` is how long one takes."""

    def __init__(self, clock: FakeClock, *, answer_ns: Callable[[Mapping[str, NDArray[np.generic]]], int]) -> None:
        super().__init__(clock, in_flight=2, servers=1, service_ns=lambda number: 1_000_000)
        self._answer_ns = answer_ns

    def answer(self, inputs: Mapping[str, NDArray[np.generic]]) -> Mapping[str, NDArray[np.generic]]:
        if self._running:
            raise RuntimeError("asked for an answer while requests are outstanding")
        self._clock.advance(self._answer_ns(inputs) / 1e9)
        return {}
