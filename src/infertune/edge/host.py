"""What this machine is: CPUs that we may really use, memory, clocks, and whatever else colours a measurement.

Everything is read below ``root``, so that tests look at machines made of plain files. A fact that cannot be read is
left out, never guessed.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from infertune.core import linux
from infertune.core.records import Named, facts

ROOT = Path("/")
THREADING_PREFIXES = ("OMP_", "KMP_", "MKL_", "MALLOC_", "ORT_", "OV_", "OPENVINO_", "GOMP_", "TBB_", "LD_PRELOAD")
CARD_PREFIX = "QAIC_"
ROOT_OF_SDK = "QAIC_ROOT"  # the device's versions tell which SDK it was; its folder changes nothing
_SECRET = re.compile(r"token|key|secret|password|credential", re.IGNORECASE)
_INSTRUCTIONS = re.compile(
    r"^(avx|avx2|avx512f|avx512_vnni|avx_vnni|avx512_bf16|avx512_fp16|amx_tile|amx_bf16|amx_int8|amx_fp16|fma|f16c"
    r"|asimd|asimdhp|asimddp|bf16|i8mm|sve|sve2)$"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A machine as this process sees it.

    ``usable`` are the CPUs that affinity and cpuset leave us, ``quota`` how many CPUs' worth of time the control
    groups grant (None: no limit), ``effective_cpus`` how many threads may run at once after both (a fractional quota
    rounds down, see `linux.effective_cpus`). ``physical_cores`` counts cores that hold at least one usable CPU.
    ``memory_bytes`` is the installed memory or the tightest limit on it.
    """

    cpu: str
    instructions: tuple[str, ...]
    online: frozenset[int]
    affinity: frozenset[int]
    cpuset: frozenset[int]
    usable: frozenset[int]
    quota: float | None
    effective_cpus: int
    physical_cores: int
    numa_nodes: int
    memory_bytes: int
    load_average: float
    pressure: str
    named: Named
    environment: Named

    def facts(self) -> Named:
        """Everything worth keeping beside a measurement, as text."""
        fixed = facts(
            cpu=self.cpu,
            instructions=" ".join(self.instructions) or None,
            online_cpus=linux.cpu_text(self.online),
            affinity=linux.cpu_text(self.affinity),
            cpuset=linux.cpu_text(self.cpuset) or None,
            cpu_quota=None if self.quota is None else f"{self.quota:g}",
            effective_cpus=self.effective_cpus,
            physical_cores=self.physical_cores,
            numa_nodes=self.numa_nodes,
            memory_bytes=self.memory_bytes,
            load_average=f"{self.load_average:.2f}",
            cpu_pressure=self.pressure or None,
        )
        return (*fixed, *self.named, *((f"env {name}", value) for name, value in self.environment))


def text_of(path: Path) -> str:
    """The content of a small file, stripped; empty when it cannot be read."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def cgroup_files(root: Path, controller: str) -> list[Path]:
    """Folders (below ``root``) whose control files bind this process, its own group first."""
    joined = linux.memberships(text_of(root / "proc/self/cgroup"))
    mounted = linux.mounts(text_of(root / "proc/self/mountinfo"))
    return [root / folder.lstrip("/") for folder in linux.cgroup_folders(controller, joined, mounted)]


def read_quota(root: Path = ROOT) -> float | None:
    """CPUs' worth of time that the tightest enclosing control group grants (either generation); None: no limit."""
    folders = cgroup_files(root, "cpu")
    v2 = [linux.quota_v2(text_of(f / "cpu.max")) for f in folders]
    v1 = [linux.quota_v1(text_of(f / "cpu.cfs_quota_us"), text_of(f / "cpu.cfs_period_us")) for f in folders]
    return linux.tightest([*v2, *v1])


def read_memory(root: Path = ROOT) -> int:
    """Bytes of installed memory, or of the tightest control group limit when that is less; 0 when not told."""
    total = linux.kib(linux.fields(text_of(root / "proc/meminfo")).get("MemTotal", ""))
    folders = cgroup_files(root, "memory")
    limits = [linux.byte_limit(text_of(f / name)) for f in folders for name in ("memory.max", "memory.limit_in_bytes")]
    known = [total or None, *limits]
    return int(linux.tightest(known) or 0)


def read_cpuset(root: Path = ROOT) -> frozenset[int]:
    """CPUs of the control group's cpuset (both generations); empty when there is none."""
    names = ("cpuset.cpus.effective", "cpuset.effective_cpus", "cpuset.cpus")
    texts = (text_of(folder / name) for folder in cgroup_files(root, "cpuset") for name in names)
    return _cpus(next(filter(None, texts), ""))


def read_affinity(root: Path = ROOT) -> frozenset[int]:
    """CPUs on which the process's main thread may run; empty when not told."""
    return _cpus(linux.fields(text_of(root / "proc/self/status")).get("Cpus_allowed_list", ""))


def _cpus(text: str) -> frozenset[int]:
    try:
        return linux.cpu_list(text)
    except ValueError:
        return frozenset()


def _online(root: Path) -> frozenset[int]:
    return _cpus(text_of(root / "sys/devices/system/cpu/online")) or frozenset(range(os.cpu_count() or 1))


def _physical_cores(root: Path, cpus: Iterable[int]) -> int:
    base = root / "sys/devices/system/cpu"
    return len({text_of(base / f"cpu{cpu}/topology/thread_siblings_list") or str(cpu) for cpu in cpus})


def _numa_nodes(root: Path, cpus: frozenset[int]) -> int:
    nodes = (root / "sys/devices/system/node").glob("node[0-9]*/cpulist")
    return max(1, sum(1 for node in nodes if _cpus(text_of(node)) & cpus))


def _cpu_title(cpuinfo: Mapping[str, str]) -> str:
    if title := cpuinfo.get("model name"):
        return " ".join(title.split())
    if "CPU part" in cpuinfo:  # arm64 gives numbers only
        return f"{platform.machine()} implementer {cpuinfo.get('CPU implementer', '?')} part {cpuinfo['CPU part']}"
    return platform.processor() or platform.machine()


def _turbo(root: Path) -> str | None:
    base = root / "sys/devices/system/cpu"
    if no_turbo := text_of(base / "intel_pstate/no_turbo"):
        return "off" if no_turbo == "1" else "on"
    boost = text_of(base / "cpufreq/boost")
    return {"1": "on", "0": "off"}.get(boost)


def _named(root: Path, flags: frozenset[str]) -> Named:
    smt = text_of(root / "sys/devices/system/cpu/smt/active")
    return facts(
        smt={"1": "on", "0": "off"}.get(smt),
        governor=text_of(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") or None,
        turbo=_turbo(root),
        clock_source=text_of(root / "sys/devices/system/clocksource/clocksource0/current_clocksource") or None,
        virtualised={True: "yes", False: "no"}["hypervisor" in flags] if flags else None,
        kernel=text_of(root / "proc/sys/kernel/osrelease") or None,
    )


def telling_environment(environment: Mapping[str, str]) -> Named:
    """Variables that change threading, allocation or a card's tools underneath us; values of secret-looking ones are
    left out."""
    watched = (*THREADING_PREFIXES, CARD_PREFIX)
    kept = {name: value for name, value in environment.items() if name.startswith(watched) and name != ROOT_OF_SDK}
    return tuple((name, "(hidden)" if _SECRET.search(name) else kept[name]) for name in sorted(kept))


def read_load(root: Path = ROOT) -> float:
    """The one-minute load average; 0 when not told."""
    first = text_of(root / "proc/loadavg").split(" ")[0]
    return float(first) if re.fullmatch(r"\d+(\.\d+)?", first) else 0.0


def read_host(root: Path = ROOT, environment: Mapping[str, str] | None = None) -> Host:
    """The machine below ``root``."""
    online = _online(root)
    affinity = read_affinity(root) or online
    cpuset = read_cpuset(root)
    usable = (affinity & online & (cpuset or online)) or (affinity & online) or online
    quota = read_quota(root)
    cpuinfo = linux.fields(text_of(root / "proc/cpuinfo"))
    flags = frozenset((cpuinfo.get("flags") or cpuinfo.get("Features") or "").split())
    return Host(
        cpu=_cpu_title(cpuinfo),
        instructions=tuple(sorted(filter(_INSTRUCTIONS.match, flags))),
        online=online,
        affinity=affinity,
        cpuset=cpuset,
        usable=usable,
        quota=quota,
        effective_cpus=linux.effective_cpus(usable, quota),
        physical_cores=_physical_cores(root, usable),
        numa_nodes=_numa_nodes(root, usable),
        memory_bytes=read_memory(root),
        load_average=read_load(root),
        pressure=text_of(root / "proc/pressure/cpu").partition("\n")[0],
        named=_named(root, flags),
        environment=telling_environment(os.environ if environment is None else environment),
    )


def host_facts(root: Path = ROOT) -> Named:
    """The facts of the machine, as a study keeps them."""
    return read_host(root).facts()
