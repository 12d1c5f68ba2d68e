"""Ctrl-C and its relatives: asking to end after the current launch, or ending now with everything tidied up."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequest:
    """Whether somebody asked to stop, and by which signal."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __call__(self) -> bool:
        return self.signal is not None

    @property
    def exit_code(self) -> int:
        """What a shell expects of a program ended by that signal: 128 + its number."""
        return 128 + (self.signal or 0)


@contextmanager
def stop_on_signals(said: Callable[[], None]) -> Iterator[StopRequest]:
    """Within the block the first SIGINT, SIGTERM or SIGHUP sets the request and calls ``said``; a second one raises
    KeyboardInterrupt. The handlers that were there before come back at the end."""
    request = StopRequest()

    def handle(number: int, frame: FrameType | None) -> None:
        if request():
            raise KeyboardInterrupt
        request.signal = number
        said()

    watched = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, handle) for number in watched}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Within the block SIGTERM and SIGHUP raise SystemExit with the code that a shell expects, as Ctrl-C raises
    KeyboardInterrupt: programs that were started end too."""

    def handle(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
