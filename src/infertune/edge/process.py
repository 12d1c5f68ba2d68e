"""Process trees on Linux: dying with the parent, and being ended as a whole."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import select
import signal
import threading
import time
from collections.abc import Callable, Iterable

import psutil

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_EXIT_GRACE_S = 5.0
_thread = threading.local()


def _prctl(option: int, value: int) -> None:
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def die_with_parent(parent_pid: int) -> None:
    """Called first thing in a worker: it is killed when its parent dies, and adopts its own orphans.

    Also: no core files, and first in line for the out-of-memory killer, so that the study outlives its candidates.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
        score.write("900")
    if os.getppid() != parent_pid:  # the parent died before prctl took effect
        os._exit(1)


def ends_with(parent_pid: int) -> Callable[[], None]:
    """What a child of the process runs before its program, so that it is killed when the thread that began it ends.

    Only for a process without other Python threads: between fork and exec a lock that one of them held stays locked.
    """
    prctl = ctypes.CDLL(None).prctl

    def bind() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent_pid:
            os._exit(1)

    return bind


def descendants(pid: int) -> list[psutil.Process]:
    """Every process below ``pid``, whatever session or group it moved to."""
    try:
        return list(psutil.Process(pid).children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def kill_tree(pid: int, *, also: Iterable[psutil.Process] = ()) -> None:
    """Kill ``pid``, its process group and all its descendants. Never raises; waits at most a few seconds."""
    doomed = [p for p in (*also, *descendants(pid)) if p.pid != pid]  # waiting for `pid` itself is its owner's part
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    for process in doomed:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(doomed, timeout=_EXIT_GRACE_S)


def marked(variable: str, value: str) -> list[psutil.Process]:
    """Processes of ours that carry ``variable=value`` in their environment: strays of an earlier launch."""
    wanted = f"{variable}={value}".encode()
    found = []
    for entry in os.scandir("/proc"):
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError, psutil.Error), open(f"/proc/{entry.name}/environ", "rb") as environ:
            if wanted in environ.read().split(b"\0"):
                found.append(psutil.Process(int(entry.name)))
    return found


def give_up_on(descriptor: int) -> None:
    """From now on this thread waits for no child any longer once ``descriptor`` can be read."""
    _thread.ends = [descriptor]


def wait_for_exit(pid: int, timeout_s: float) -> bool:
    """True when the child ``pid`` ends within ``timeout_s`` (it stays a zombie for its owner to reap).

    False at once where the thread has been told to give up (`give_up_on`).
    """
    deadline = time.monotonic() + timeout_s
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    watched = select.poll()  # select itself knows no descriptors above 1023
    for either in (descriptor, *getattr(_thread, "ends", [])):
        watched.register(either, select.POLLIN)
    try:
        while (left := deadline - time.monotonic()) > 0:
            ready = [either for either, _ in watched.poll(1000.0 * left)]
            if ready:
                return descriptor in ready
        return False
    finally:
        os.close(descriptor)
