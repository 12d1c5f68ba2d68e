"""Every error a person can meet, as one tree.

    InfertuneError                 base: catch this one to catch all of them
    |- UsageError        exit 2    a flag, knob, goal or shape that cannot be understood
    |- DataError         exit 65   a model, configuration, input file or record that is damaged or unsupported
    |- NotFoundError     exit 66   a file or folder that is not there
    |- NothingFeasible   exit 69   no point met the goal, or no target or device is available
    |- CreateError       exit 73   an output that cannot be written
    |- StorageError      exit 74   the disk or the run record failed while working
    |- BusyError         exit 75   somebody else holds the run folder, or a device stopped working; try again later
    |  '- DeviceLost     exit 75   the latter
    |- DriftError        exit 1    `verify` found another number than the one promised

Each carries a short stable ``id`` (the ID in ``error[ID]:``), the message, and a hint with the next step.
A candidate that fails while tuning is *not* an exception: see `records.Failed`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar


class InfertuneError(Exception):
    """Base of all errors meant for people; ``exit_code`` is what the command line ends with."""

    exit_code: ClassVar[int] = 1

    def __init__(self, id: str, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.id = id
        self.message = message
        self.hint = hint


class UsageError(InfertuneError):
    """A flag, knob, goal or shape that cannot be understood."""

    exit_code = 2


class DataError(InfertuneError):
    """A model, configuration, input file or record that is damaged or unsupported."""

    exit_code = 65


class NotFoundError(InfertuneError):
    """A file or folder that is not there."""

    exit_code = 66


class NothingFeasible(InfertuneError):
    """No point met the goal, or no target or device is available."""

    exit_code = 69


class CreateError(InfertuneError):
    """An output that cannot be written."""

    exit_code = 73


class StorageError(InfertuneError):
    """The disk or the run record failed while working."""

    exit_code = 74


class BusyError(InfertuneError):
    """Somebody else holds the run folder, or a device stopped working: the same command goes on later."""

    exit_code = 75


class DeviceLost(BusyError):
    """A device that is needed stopped working.

    ``said``: its last words; empty where it was not asked.
    """

    said = ""


class DriftError(InfertuneError):
    """`verify` measured another number than the bundle or record promises."""

    exit_code = 1


def nearest(word: str, known: Iterable[str]) -> str:
    """``"did you mean `batch`? "`` for a misspelt word, empty when nothing is close."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean `{close[0]}`? " if close else ""


def quoted(text: str, limit: int = 120) -> str:
    """Outside text made safe to print: control and bidirectional characters escaped, cut at ``limit``."""
    shown = _printable(text)
    return shown if len(shown) <= limit else shown[: limit - 3] + "..."


def excerpt(text: str, limit: int) -> str:
    """A tool's message on one line, `quoted` but cut in the middle: it begins with a place and ends with the reason."""
    shown = _printable(" ".join(text.split()))
    if len(shown) <= limit:
        return shown
    head = limit // 3
    return f"{shown[:head].rstrip()} ... {shown[head + 5 - limit :].lstrip()}"


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
