"""A clock that moves only when told to."""

from __future__ import annotations


class FakeClock:
    """`seams.Clock` without real time: `sleep` and `advance` move it, nothing else does.

    ``naps`` lists what was slept, in seconds, in order.
    """

    def __init__(self, start_ns: int = 0) -> None:
        self._now_ns = start_ns
        self.naps: list[float] = []

    def now_ns(self) -> int:
        return self._now_ns

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass. Raises ValueError for a negative time."""
        if seconds < 0:
            raise ValueError(f"time cannot go back by {-seconds} s")
        self._now_ns += round(seconds * 1e9)
