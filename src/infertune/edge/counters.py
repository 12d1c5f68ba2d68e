"""Running totals that the kernel keeps; two readings tell what happened to us in between (`measure.conditions`)."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from infertune.core import linux
from infertune.edge.host import ROOT, cgroup_files, read_affinity, read_load, text_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """One reading. Times in seconds count from any fixed moment; only differences mean something.

    ``busy_s`` and ``steal_s`` cover the ``cpus`` CPUs on which this process may run, ``own_s`` this process, its
    reaped children and its living descendants. ``involuntary`` are context switches that the kernel forced on any
    thread of this process or of a reaped child. ``throttled`` counts periods in which an enclosing control group was
    out of quota. ``pressure_us`` is time in which some task of the machine waited for a CPU. ``monotonic_ns`` stands
    still while the machine is suspended, ``wall_ns`` does not.
    """

    monotonic_ns: int
    wall_ns: int
    cpus: int
    busy_s: float
    steal_s: float
    own_s: float
    involuntary: int
    throttled: int
    pressure_us: int
    load_average: float
    peak_rss_bytes: int


def descendant_pids(root: Path = ROOT, pid: str = "self") -> list[str]:
    """Living descendants, found through the kernel's own lists of children; empty where it keeps none."""
    found: list[str] = []
    for task in (root / "proc" / pid / "task").glob("*/children"):
        for child in text_of(task).split():
            found += [child, *descendant_pids(root, child)]
    return found


def own_cpu_s(root: Path = ROOT) -> float:
    """CPU seconds of this process, its reaped children and its living descendants."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    living = sum(linux.process_ticks(text_of(root / "proc" / pid / "stat")) for pid in descendant_pids(root))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages) + living / linux.USER_HZ


def _involuntary() -> int:
    """Forced context switches of all threads (also ended ones) and of reaped children."""
    return sum(resource.getrusage(who).ru_nivcsw for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def _throttled(stat_files: list[Path]) -> int:
    counts = [linux.fields(text_of(path)).get("nr_throttled", "") for path in stat_files]
    return sum(int(count) for count in counts if count.isdecimal())


def counter_reader(root: Path = ROOT) -> Callable[[], Counters]:
    """A function that takes a reading in well under a millisecond.

    Affinity and control groups are looked up once, here: make the reader before the runtime pins threads.
    """
    cpus = read_affinity(root)
    stat_files = [folder / "cpu.stat" for folder in cgroup_files(root, "cpu")]

    def read() -> Counters:
        monotonic, wall = time.monotonic_ns(), time.time_ns()
        times, count = linux.cpu_times(text_of(root / "proc/stat"), cpus)
        return Counters(
            monotonic_ns=monotonic,
            wall_ns=wall,
            cpus=count or len(cpus) or os.cpu_count() or 1,
            busy_s=times.busy_s,
            steal_s=times.steal_s,
            own_s=own_cpu_s(root),
            involuntary=_involuntary(),
            throttled=_throttled(stat_files),
            pressure_us=linux.pressure_us(text_of(root / "proc/pressure/cpu")),
            load_average=read_load(root),
            peak_rss_bytes=linux.kib(linux.fields(text_of(root / "proc/self/status")).get("VmHWM", "")),
        )

    return read
