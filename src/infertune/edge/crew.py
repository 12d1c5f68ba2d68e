"""Threads that wait for programs side by side."""

from __future__ import annotations

from collections.abc import Callable, Collection
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

T = TypeVar("T")


class ThreadCrew:
    """`seams.Crew` of at most ``hands`` threads."""

    def __init__(self, hands: int) -> None:
        self._pool = ThreadPoolExecutor(max_workers=max(1, hands), thread_name_prefix="crew")

    def submit(self, work: Callable[[], T]) -> Future[T]:
        return self._pool.submit(work)

    def wait(self, pending: Collection[Future[Any]]) -> None:
        wait(pending, return_when=FIRST_COMPLETED)

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
