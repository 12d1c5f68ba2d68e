"""Time from the operating system."""

from __future__ import annotations

import time
from datetime import UTC, datetime


class MonotonicClock:
    """`seams.Clock` on the system's monotonic clock: never jumps, stands still while the machine is suspended."""

    def now_ns(self) -> int:
        return time.monotonic_ns()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def thread_cpu_ns() -> int:
    """CPU time that the calling thread has used so far."""
    return time.thread_time_ns()


def wall_clock() -> str:
    """The date and time in UTC, ISO 8601 to the second: for people to read, never to compute durations from."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def wall_seconds() -> float:
    """Seconds since 1970, for comparing with the times of files. May jump."""
    return time.time()
