"""Build: the vendor's compiler, and a program that is really there afterwards."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from infertune.core.errors import DataError, NotFoundError, quoted
from infertune.core.records import BuildJob, Failed, FailureKind, Model, Saved, facts
from infertune.core.seams import CandidateFailed, Shell
from infertune.core.space import Point
from infertune.edge.files import file_digest
from infertune.targets.qaic import parse, tools
from infertune.targets.qaic.knobs import NONE, PROGRAM_FILE
from infertune.targets.qaic.probe import output_of
from infertune.targets.qaic.sdk import Sdk, find_sdk
from infertune.targets.qaic.start import start

TIMEOUT_S = 840.0
KILLED = (-9, 128 + 9)
"""How a program that the system killed ended, itself or below a script."""
LOG = "compile.log"
PROGRAM_FOLDER = "program"
DIGEST_DIGITS = 12


def compile_program(job: BuildJob, shell: Shell) -> Saved:
    """Compile into ``job.into``/program; the compiler's output is kept beside it. Raises as `compile_into`."""
    sdk = find_sdk()
    into = os.path.join(job.into, PROGRAM_FOLDER)
    compile_into(sdk, shell, job.model, job.point, into, os.path.join(job.into, LOG))
    files = sorted(f"{PROGRAM_FOLDER}/{path.name}" for path in Path(into).iterdir() if path.is_file())
    return Saved(files=(*files, LOG), facts=facts(compiler=os.path.basename(sdk.compiler), sdk=sdk.version))


def compile_into(
    sdk: Sdk, shell: Shell, model: Model, point: Point, into: str, log: str, more: Sequence[str] = ()
) -> float:
    """Compile into the folder ``into``, which must not be there yet; the seconds that it took.

    ``more``: words for the compiler beside the point's.

    Raises `CandidateFailed`: kind ``compiler``, ``memory`` (of the host), ``device-memory``, ``timeout`` or ``output``
    (no program).
    """
    check_files(point)
    argv = [*tools.compile_argv(sdk, model, point, into), *more]
    done = start(shell, argv, timeout_s=TIMEOUT_S, log=log, folder=os.path.dirname(log))
    text = output_of(log, done)
    if done.timed_out:
        raise _failed("timeout", f"not compiled within {TIMEOUT_S:.0f} s", done.tail)
    if done.code in KILLED:
        raise _failed("memory", "the system killed the compiler, most likely as the host ran out of memory", done.tail)
    if done.code != 0 and (line := parse.too_large(text)) is not None:
        raise _failed("device-memory", f"the program does not fit into the card's memory: {quoted(line)}", done.tail)
    if done.code != 0:
        kind, message = parse.failure(text, "compiler", f"the compiler ended with exit code {done.code}")
        raise _failed(kind, message, done.tail)
    if not os.path.isfile(os.path.join(into, PROGRAM_FILE)):
        raise _failed("output", f"the compiler ended well but wrote no {PROGRAM_FILE}", done.tail)
    return done.wall_s


def _failed(kind: FailureKind, message: str, log: str) -> CandidateFailed:
    return CandidateFailed(Failed(stage="build", kind=kind, message=message, log=log))


def check_files(point: Point) -> None:
    """The files that a point names hold what its digests say; else an artifact would be found under a wrong name."""
    for knob in tools.FILES:
        value = str(point.get(knob, NONE))
        if value == NONE:
            continue
        path, digest = tools.named_file(value)
        if not os.path.isfile(path):
            raise NotFoundError(
                "option-file-missing", f"{knob} names `{quoted(path)}`, which is not there", hint="check the path"
            )
        actual = file_digest(Path(path))[:DIGEST_DIGITS]
        if actual != digest:
            raise DataError(
                "option-file-changed",
                f"`{quoted(path)}` is not the file that {knob} names: its digest is {actual}, not {digest}",
                hint=f"write {knob}={quoted(path)}@{actual} to use it as it is now",
            )


def program_of(artifact: str) -> str:
    """The folder that the runner takes as ``--test-data``."""
    return os.path.join(artifact, PROGRAM_FOLDER)
