"""Every way in which a command ends, as an exit code and at most two lines on stderr."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Callable

import typer

from infertune.core.errors import InfertuneError, StorageError, UsageError, nearest, quoted

INTERRUPTED = 130  # 128 + SIGINT, as a shell reports it
PIPE_CLOSED = 141  # 128 + SIGPIPE
LINE_LIMIT = 2000
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def exit_code_of(work: Callable[[], None], *, show_traceback: bool) -> int:
    """Do the work; report how it ended."""
    _print_anything()
    try:
        code = _code_of(work)
        sys.stdout.flush()
    except BrokenPipeError:
        return _reader_gone()
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001  the one place that turns bugs into an exit code
        return _failed(error, show_traceback=show_traceback)
    return code


def _code_of(work: Callable[[], None]) -> int:
    try:
        work()
    except typer.Exit as done:
        return done.exit_code
    return 0


def _failed(error: BaseException, *, show_traceback: bool) -> int:
    if show_traceback:
        traceback.print_exception(error)
    shown = as_error(error)
    say(shown)
    return shown.exit_code


def as_error(error: BaseException) -> InfertuneError:
    """The error a person is shown for any exception."""
    if isinstance(error, InfertuneError):
        return error
    if isinstance(error, OSError) and error.errno in _FULL:
        named = f"`{quoted(str(error.filename))}`" if error.filename else "the output"
        what = f"{named} cannot be written: {error.strerror or error}"
        return StorageError("disk-full", what, hint="free some space and run the same command again")
    kind = type(error).__name__
    return InfertuneError(
        "internal",
        f"{kind}: {error}" if str(error) else kind,
        hint="this is a bug: please re-run with --debug and report what it prints",
    )


def misuse(error: typer.TyperException, command: str) -> UsageError:
    """A usage error of the command line parser, with the nearest option where one is close."""
    hint = f"`{command} --help` shows what it takes"
    if not hasattr(error, "possibilities"):
        message = (
            error.format_message().rstrip(".").replace("Value error, ", "").replace("Input should be", "it should be")
        )
        return UsageError("usage", message[:1].lower() + message[1:], hint=hint)
    option = getattr(error, "option_name", "")
    near = nearest(option, error.possibilities or ())
    return UsageError("usage", f"`{quoted(option)}` is not an option", hint=near + hint)


def say(error: InfertuneError) -> None:
    """``error[ID]: what happened`` and ``hint: the next step``, each on one line of stderr."""
    for label, text in ((f"error[{error.id}]", error.message), ("hint", error.hint)):
        sys.stderr.write(f"{label}: {quoted(' '.join(text.split()), LINE_LIMIT)}\n")


def _reader_gone() -> int:
    # the interpreter flushes stdout once more at exit; give it somewhere to go
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return PIPE_CLOSED


def _print_anything() -> None:
    """A terminal or file that cannot show a character gets an escape, never a crash; a closed stream is no one's."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  it lives as long as the process
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure:
            reconfigure(errors="backslashreplace")
