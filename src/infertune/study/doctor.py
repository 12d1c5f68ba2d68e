"""Examining this machine: targets, devices, the host's conditions, disk and extras, each with its next step."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass

from infertune.edge.files import cache_folder, free_bytes
from infertune.edge.host import read_host
from infertune.edge.shell import LocalShell
from infertune.edge.worker import LocalExecutor
from infertune.study.question import probe
from infertune.targets import discover, missing

_LITTLE_DISK = 2_000_000_000
_BUSY = 0.5  # load average per usable CPU before any launch
EXTRAS = {
    "hf": ("torch", "transformers", "optimum"),
    "int8": ("nncf",),
    "loadgen": ("mlperf_loadgen",),
    "pandas": ("pandas",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """``state`` is ``ok``, ``warning`` or ``missing``; ``detail`` the fact, and the next step unless it is ok."""

    area: str
    name: str
    state: str
    detail: str


def examine() -> tuple[Finding, ...]:
    """Everything worth knowing before a study, in the order a person would fix it."""
    return (*_targets(), *_host(), *_disk(), *_extras())


def _targets() -> Iterator[Finding]:
    executor = LocalExecutor(LocalShell())
    for name, target in discover().items():
        lacking = missing(target)
        if lacking:
            detail = f"not available: pip install {' '.join(lacking)}"
            yield Finding(area="target", name=name, state="missing", detail=detail)
            continue
        devices = probe(executor, target)
        if not devices:
            yield Finding(area="target", name=name, state="missing", detail="no device found")
        for device in devices:
            versions = ", ".join(f"{n} {v}" for n, v in device.versions)
            detail = f"{device.title}; {device.units} units; {', '.join(device.precisions)}; {versions}"
            state = "ok" if device.health == "ready" else "warning"
            yield Finding(area="target", name=name, state=state, detail=detail)


def _host() -> Iterator[Finding]:
    host = read_host()
    limited = "" if host.quota is None else f", quota {host.quota:g}"
    detail = f"{host.effective_cpus} of {len(host.online)} online{limited}"
    yield Finding(area="host", name="usable CPUs", state="ok", detail=detail)
    busy = host.load_average / max(1, host.effective_cpus)
    advice = "" if busy < _BUSY else ": other programs are running, numbers will be noisy; stop them if you can"
    state = "ok" if busy < _BUSY else "warning"
    yield Finding(area="host", name="load", state=state, detail=f"{host.load_average:.2f}{advice}")
    for name, value in host.environment:
        detail = f"{value}: changes threading of every launch; unset it unless you mean it"
        yield Finding(area="host", name=name, state="warning", detail=detail)


def _disk() -> Iterator[Finding]:
    folder = cache_folder()
    free = free_bytes(folder)
    state = "ok" if free > _LITTLE_DISK else "warning"
    advice = "" if state == "ok" else "; make room, or `infertune cache prune`"
    yield Finding(area="disk", name="cache", state=state, detail=f"{free / 1e9:.0f} GB free for {folder}{advice}")


def _extras() -> Iterator[Finding]:
    for extra, modules in EXTRAS.items():
        lacking = [m for m in modules if importlib.util.find_spec(m) is None]
        detail = "installed" if not lacking else f'pip install "infertune[{extra}]"'
        yield Finding(area="extra", name=extra, state="missing" if lacking else "ok", detail=detail)
