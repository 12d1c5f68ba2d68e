"""Threads that wait for programs side by side."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

from infertune.edge.process import give_up_on

T = TypeVar("T")
U = TypeVar("U")


class ThreadCrew:
    """`seams.Crew` of at most ``hands`` threads."""

    def __init__(self, hands: int) -> None:
        self._end = os.eventfd(0)
        self._pool = ThreadPoolExecutor(
            max_workers=max(1, hands), thread_name_prefix="crew", initializer=give_up_on, initargs=(self._end,)
        )

    def submit(self, work: Callable[[], T]) -> Future[T]:
        return self._pool.submit(work)

    def wait(self, pending: Collection[Future[Any]]) -> None:
        wait(pending, return_when=FIRST_COMPLETED)

    def close(self) -> None:
        """Programs that still run are killed, so that this takes no longer than cleaning up after them."""
        os.eventfd_write(self._end, 1)
        self._pool.shutdown(wait=True, cancel_futures=True)
        os.close(self._end)


def beside(work: Callable[[], T], look: Callable[[], U], after_s: float) -> tuple[T, U | None]:
    """Do ``work``, and ``look`` in another thread once ``after_s`` seconds have passed.

    None where the work was done by then. Programs that the look waits for when the work is done are killed.
    """
    over = threading.Event()
    crew = ThreadCrew(1)
    seen = crew.submit(lambda: None if over.wait(after_s) else look())
    try:
        done = work()
    finally:
        over.set()
        crew.close()
    return done, None if seen.cancelled() else seen.result()
