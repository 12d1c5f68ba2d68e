"""Examining this machine: targets, devices, the host's conditions, disk and extras, each with its next step."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass

from infertune.core import noise
from infertune.core.errors import quoted
from infertune.core.noise import Noise
from infertune.core.records import Device
from infertune.core.seams import needs_host
from infertune.edge.files import cache_folder, free_bytes
from infertune.edge.host import CARD_PREFIX, read_host
from infertune.edge.shell import LocalShell
from infertune.edge.worker import LocalExecutor
from infertune.study import steadiness
from infertune.study.question import MOST_HEALTH, probe
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
    return (*_targets(), *_host(), *_steadiness(), *_disk(), *_extras())


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
            yield _device(device)


def _device(device: Device) -> Finding:
    """What it is made of, or why it cannot be used."""
    if device.health != "ready":
        why = f"{device.name} {device.title}: {quoted(device.health, MOST_HEALTH)}"
        return Finding(area="target", name=device.target, state="warning", detail=why)
    versions = ", ".join(f"{n} {v}" for n, v in device.versions)
    detail = f"{device.title}; {device.units} units; {', '.join(device.precisions)}; {versions}"
    return Finding(area="target", name=device.target, state="ok", detail=detail)


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
        what = "what the card's tools do" if name.startswith(CARD_PREFIX) else "threading of every launch"
        detail = f"{value}: changes {what}; unset it unless you mean it"
        yield Finding(area="host", name=name, state="warning", detail=detail)


def _steadiness() -> Iterator[Finding]:
    """The noise class, and what it lets a study promise."""
    targets = discover().values()
    usable = (t for t in targets if t.automatic and needs_host(t) and not missing(t))
    target = next(usable, None)
    found = steadiness.examine(LocalExecutor(LocalShell()), target) if target else None
    if found is None:
        yield Finding(area="host", name="noise", state="missing", detail="no CPU runtime to measure it with")
        return
    seen = f"three launches spread by {found.spread:.1%}, others used {found.foreign_cpu:.1%} of the CPUs"
    yield Finding(
        area="host", name="noise", state="ok" if found.state == "quiet" else "warning", detail=f"{found.state}: {seen}"
    )
    yield Finding(area="host", name="promises", state=_HOLDS[found.state], detail=_promise(found))
    for number, advice in enumerate(_advice(found), 1):
        yield Finding(area="host", name=f"advice {number}", state="warning", detail=advice)


_HOLDS = {"quiet": "ok", "noisy": "warning", "unusable": "warning"}


def _promise(found: Noise) -> str:
    apart = f"differences from {found.told_apart():.0%} on are told apart by six launches of each"
    if found.state == "quiet":
        return f"all hold: {apart}"
    if found.state == "noisy":
        return f"disturbed launches are repeated and left out, so a study takes longer; {apart}"
    return "none hold: `tune` waits a minute for the machine, then refuses without --accept-noise"


def _advice(found: Noise) -> Iterator[str]:
    """How to make this machine steadier, in the order of what it brings."""
    host = read_host()
    named = dict(host.named)
    if found.foreign_cpu >= noise.QUIET:
        yield f"other programs use {found.foreign_cpu:.0%} of the CPUs: stop them, or tune when they are idle"
    if host.quota is not None and host.quota != int(host.quota):
        yield f"a quota of {host.quota:g} CPUs stops all threads now and then: grant whole CPUs"
    if named.get("governor", "performance") != "performance":
        yield f"the clock governor is {named['governor']}: `cpupower frequency-set -g performance` keeps clocks up"
    if named.get("turbo") == "on" and found.spread >= noise.QUIET:
        yield "turbo clocks depend on temperature and neighbours: switch turbo off while measuring"
    if found.state != "quiet" and named.get("virtualised") == "yes":
        yield "a virtual machine shares its CPUs: dedicated ones (no overcommitment) are steadier"


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
