"""What the Linux kernel says about CPUs, control groups and load, parsed: pure functions of file contents."""

from __future__ import annotations

import math
import posixpath
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

USER_HZ = 100  # ticks per second in /proc; fixed in the kernel's interface on every architecture Python runs on here

_STAT = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
_BUSY = ("user", "nice", "system", "irq", "softirq")
_UNLIMITED_BYTES = 1 << 60  # cgroup v1 writes "no limit" as the largest multiple of a page


# ---------------------------------------------------------------- CPU lists


def cpu_list(text: str) -> frozenset[int]:
    """``"0-3,8"`` as numbers; empty text is no CPU. Raises ValueError for anything else."""
    found: set[int] = set()
    for part in filter(None, text.strip().split(",")):
        low, _, high = part.partition("-")
        found.update(range(int(low), int(high or low) + 1))
    return frozenset(found)


def cpu_text(cpus: Iterable[int]) -> str:
    """The shortest ``"0-3,8"`` for some CPUs."""
    runs: list[tuple[int, int]] = []
    for cpu in sorted(cpus):
        if runs and runs[-1][1] == cpu - 1:
            runs[-1] = (runs[-1][0], cpu)
        else:
            runs.append((cpu, cpu))
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in runs)


def effective_cpus(usable: Iterable[int], quota: float | None) -> int:
    """How many CPUs' worth of threads may run at once: usable CPUs, cut to the whole part of the quota, at least 1.

    A fractional quota is rounded *down*. The kernel hands a control group ``quota x period`` of CPU time per period
    (100 ms as a rule) and stops all its threads for the rest of the period once that is used up. Three busy threads
    under a quota of 2.5 run for 83 ms and then all stand still for 17 ms, which shows as a latency tail; two threads
    never meet the limit. Below one CPU there is no such choice: one thread runs, and is stopped in every period.
    """
    count = max(1, len(frozenset(usable)))
    return count if quota is None else max(1, min(count, math.floor(quota + 1e-9)))


# ---------------------------------------------------------------- control groups


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """One line of ``/proc/self/cgroup``: where the process sits in one hierarchy; no controllers means cgroup v2."""

    controllers: tuple[str, ...]
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """One line of ``mountinfo``; ``root`` is the folder of the file system that appears at ``point``."""

    root: str
    point: str
    kind: str
    options: tuple[str, ...]


def memberships(proc_cgroup: str) -> tuple[Membership, ...]:
    """``/proc/self/cgroup``, one entry per hierarchy; lines of another form are left out."""
    parts = [line.split(":", 2) for line in proc_cgroup.splitlines()]
    return tuple(Membership(controllers=tuple(filter(None, p[1].split(","))), path=p[2]) for p in parts if len(p) == 3)


def mounts(mountinfo: str) -> tuple[Mount, ...]:
    """``/proc/self/mountinfo`` in order; lines of another form are left out (see proc(5) for the fields)."""
    found = []
    for line in mountinfo.splitlines():
        before, dash, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ")
        if dash and len(fields) >= 6 and len(kind) >= 3:
            options = tuple(kind[2].split(","))
            found.append(Mount(root=_plain(fields[3]), point=_plain(fields[4]), kind=kind[0], options=options))
    return tuple(found)


def _plain(field: str) -> str:
    """Mountinfo writes blanks and backslashes as three octal digits."""
    return re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), field)


def cgroup_folders(controller: str, joined: Sequence[Membership], mounted: Sequence[Mount]) -> tuple[str, ...]:
    """Folders whose files limit this process for ``controller``, its own group first, up to the mount.

    Both generations are looked through, since a controller lives in exactly one of them and the kernel may mount both.
    A limit of any ancestor binds, so all of them are given. Ancestors above the mount (outside a container's view)
    cannot be seen from inside; nobody there can tell.
    """
    found: list[str] = []
    for member in joined:
        if member.controllers and controller not in member.controllers:
            continue
        wanted = [m for m in mounted if (_is_v1(m, controller) if member.controllers else m.kind == "cgroup2")]
        if wanted:
            found.extend(_upwards(*_place(member.path, wanted)))
    return tuple(dict.fromkeys(found))


def _is_v1(mount: Mount, controller: str) -> bool:
    return mount.kind == "cgroup" and controller in mount.options


def _place(path: str, wanted: Sequence[Mount]) -> tuple[str, str]:
    """(mount point, path below it). A group that no mount shows is looked for at the last mount itself.

    With a cgroup namespace both the path and the mount's root read ``/``; without one (Docker on cgroup v1) both carry
    the container's full path, of which only the part below the mount's root exists inside.
    """
    inside = [m for m in wanted if path == m.root or path.startswith(m.root.rstrip("/") + "/")]
    if not inside or ".." in path.split("/"):
        return wanted[-1].point, "."
    best = max(inside, key=lambda m: len(m.root))
    return best.point, posixpath.relpath(path, best.root)


def _upwards(point: str, below: str) -> list[str]:
    parts = [] if below == "." else below.split("/")
    return [posixpath.join(point, *parts[:n]) for n in range(len(parts), -1, -1)]


def quota_v2(cpu_max: str) -> float | None:
    """CPUs allowed by ``cpu.max`` (``"150000 100000"`` is 1.5); None without a limit or for other text."""
    match cpu_max.split():
        case [quota, period]:
            return quota_v1(quota, period)
        case [quota]:
            return quota_v1(quota, "100000")
    return None


def quota_v1(quota_us: str, period_us: str) -> float | None:
    """CPUs allowed by ``cpu.cfs_quota_us`` and ``cpu.cfs_period_us``; None without a limit (-1) or for other text."""
    try:
        quota, period = int(quota_us), int(period_us)
    except ValueError:
        return None
    return quota / period if quota > 0 and period > 0 else None


def byte_limit(text: str) -> int | None:
    """``memory.max`` or ``memory.limit_in_bytes``; None without a limit or for other text."""
    try:
        limit = int(text)
    except ValueError:
        return None
    return limit if 0 < limit < _UNLIMITED_BYTES else None


def tightest(limits: Iterable[float | None]) -> float | None:
    """The smallest of the limits that are set; None when none is."""
    return min((limit for limit in limits if limit is not None), default=None)


# ---------------------------------------------------------------- counters


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuTimes:
    """Seconds since boot, summed over some CPUs. ``busy_s`` leaves out idle, waiting for disks, and stolen time."""

    busy_s: float
    steal_s: float


def fields(text: str) -> dict[str, str]:
    """``name: value`` or ``name value`` lines (``/proc/self/status``, ``meminfo``, ``cpu.stat``); first one wins."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, _, value = line.partition(":") if ":" in line else line.partition(" ")
        found.setdefault(name.strip(), value.strip())
    return found


def kib(text: str) -> int:
    """Bytes of ``"1234 kB"``; 0 for other text."""
    number = text.partition(" ")[0]
    return int(number) * 1024 if number.isdecimal() else 0


def cpu_times(proc_stat: str, cpus: frozenset[int]) -> tuple[CpuTimes, int]:
    """(times summed over ``cpus``, how many they are) from ``/proc/stat``.

    Where the file does not list all of ``cpus`` (a container's own view of it numbers CPUs from 0), all it lists count.
    Time of guests is not added: it is already inside user and nice.
    """
    lines = {int(name): ticks for name, ticks in re.findall(r"^cpu(\d+) (.*)$", proc_stat, re.MULTILINE)}
    chosen = [lines[c] for c in cpus] if cpus and cpus <= lines.keys() else list(lines.values())
    columns = [dict(zip(_STAT, map(int, ticks.split()), strict=False)) for ticks in chosen]
    busy = sum(ticks.get(name, 0) for ticks in columns for name in _BUSY)
    steal = sum(ticks.get("steal", 0) for ticks in columns)
    return CpuTimes(busy_s=busy / USER_HZ, steal_s=steal / USER_HZ), len(chosen)


def pressure_us(text: str) -> int:
    """Microseconds since boot in which at least one task waited (``some ... total=``); 0 where not told."""
    match = re.search(r"^some .*\btotal=(\d+)", text, re.MULTILINE)
    return int(match[1]) if match else 0


def process_ticks(stat: str) -> int:
    """CPU ticks of a process and its reaped children, from ``/proc/PID/stat``; 0 for other text.

    The command name (field 2) may hold anything, so counting starts behind its last bracket: utime, stime, cutime and
    cstime are fields 14 to 17.
    """
    after = stat.rpartition(")")[2].split()
    return sum(map(int, after[11:15])) if len(after) >= 15 else 0
