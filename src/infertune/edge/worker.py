"""Jobs in fresh worker processes, and the frame in which a worker hands over its reply.

A frame is ``IFT1``, the payload's length (8 bytes, little-endian) and CRC-32 (4 bytes), then the payload. A reply
counts only when its frame is whole, so a worker that dies while writing has not replied.
"""

from __future__ import annotations

import os
import signal
import struct
import sys
import zlib
from pathlib import Path

from infertune.core import errors, wire
from infertune.core.records import (
    Broken,
    BuildJob,
    Failed,
    FailureStage,
    InferJob,
    Job,
    MeasureJob,
    Refused,
    Reply,
    WorkerReply,
)
from infertune.core.seams import Done, Shell
from infertune.edge.quiet import QUIET_ENVIRONMENT
from infertune.edge.scratch import Scratch

_HEAD = struct.Struct("<4sQI")
_MAGIC = b"IFT1"
WORKER_MODULE = "infertune.targets.worker"


def write_frame(path: str, payload: bytes) -> None:
    """Write one frame to ``path``."""
    with open(path, "wb") as file:
        file.write(_HEAD.pack(_MAGIC, len(payload), zlib.crc32(payload)))
        file.write(payload)


def read_frame(path: str) -> bytes | None:
    """The payload, or None when the frame is missing, cut short or damaged."""
    try:
        data = Path(path).read_bytes()
    except OSError:
        return None
    if len(data) < _HEAD.size:
        return None
    magic, length, crc = _HEAD.unpack_from(data)
    payload = data[_HEAD.size :]
    return payload if magic == _MAGIC and len(payload) == length and zlib.crc32(payload) == crc else None


def stage_of(job: Job) -> FailureStage:
    match job:
        case BuildJob():
            return "build"
        case MeasureJob():
            return "measure"
        case InferJob():
            return "verify"
    return "load"


def death(done: Done, stage: FailureStage, timeout_s: float) -> Failed:
    """What the end of a worker that gave no reply means."""
    if done.timed_out:
        return Failed(stage=stage, kind="timeout", message=f"no result within {timeout_s:.0f} s", log=done.tail)
    if done.code == -signal.SIGKILL:
        message = "killed by the system, most likely out of memory"
        return Failed(stage=stage, kind="memory", message=message, log=done.tail)
    if done.code < 0:
        return Failed(stage=stage, kind="crash", message=f"the worker died of {_named(-done.code)}", log=done.tail)
    message = f"the worker ended with exit code {done.code} and no result"
    return Failed(stage=stage, kind="crash", message=message, log=done.tail)


def _named(number: int) -> str:
    """``SIGSEGV``; a number where it has no name, as most real-time signals have none."""
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"


def accepted(reply: WorkerReply) -> Reply:
    """The reply; a worker's error meant for people, or a bug it met, is raised here in the coordinating process."""
    if isinstance(reply, Refused):
        kind = getattr(errors, reply.family, errors.DataError)
        raise kind(reply.id, reply.message, hint=reply.hint)
    if isinstance(reply, Broken):
        raise RuntimeError(f"bug in a worker: {reply.message}\n{reply.traceback}")
    return reply


class LocalExecutor:
    """`seams.Executor` on this machine: one fresh Python process per job, working in its own scratch folder.

    What a worker leaves behind in the folder for temporary files is removed with it.

    ``python`` is the interpreter of another environment, whose own packages are used; by default this one's.
    """

    def __init__(self, shell: Shell, *, python: str | None = None) -> None:
        self._shell = shell
        self._python = python or sys.executable
        self._path = os.pathsep.join(filter(None, sys.path)) if python is None else ""

    def run(self, target: str, job: Job, *, timeout_s: float) -> Reply:
        with Scratch("worker") as folder:
            return self._run_in(folder, target, job, timeout_s)

    def _run_in(self, scratch: str, target: str, job: Job, timeout_s: float) -> Reply:
        question, answer = os.path.join(scratch, "job.json"), os.path.join(scratch, "reply.bin")
        Path(question).write_text(wire.to_json(job, Job))
        argv = [self._python, "-m", WORKER_MODULE, target, question, answer, str(os.getpid())]
        env = {**QUIET_ENVIRONMENT, "PYTHONPATH": self._path, "TMPDIR": scratch}
        done = self._shell.run(argv, timeout_s=timeout_s, log=os.path.join(scratch, "log.txt"), env=env, cwd=scratch)
        payload = read_frame(answer)
        if payload is None:
            return death(done, stage_of(job), timeout_s)
        return accepted(wire.from_json(payload, WorkerReply))
