"""`infertune devices`: every device found, and its health."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infertune.cli.options import Json

if TYPE_CHECKING:
    from infertune.core.records import Device


def command(
    json: Json = False,
) -> None:
    """Show every device that a target found, with its health."""
    from infertune.cli.output import bytes_text, print_json, stdout_console, table
    from infertune.core import wire
    from infertune.edge.shell import LocalShell
    from infertune.edge.worker import LocalExecutor
    from infertune.study.question import probe
    from infertune.targets import discover

    executor = LocalExecutor(LocalShell())
    found = [device for t in discover().values() if t.automatic for device in probe(executor, t)]
    if json:
        print_json([wire.to_plain(device) for device in found])
        return
    rows = [
        (
            d.target,
            d.name,
            d.title + (" (simulated)" if d.simulated else ""),
            str(d.units) if d.units else "-",
            bytes_text(d.memory_bytes) if d.memory_bytes else "-",
            ", ".join(d.precisions),
            _state(d),
        )
        for d in found
    ]
    columns = ("target", "device", "what", "units", "memory", "precisions", "health")
    console = stdout_console()
    made = table(columns, rows)
    for column in made.columns[: columns.index("units")]:
        column.no_wrap = True  # on a narrow terminal the others are folded first
    console.print(made)
    for device in found:
        if told := _condition(device):
            console.print(f"{device.name}: {told}")
        if device.health != _state(device):
            console.print(f"{device.name}: {device.health}", markup=False, soft_wrap=True)


def _state(device: Device) -> str:
    """Its health in a word; what to do about it is told below the table."""
    state = device.health.partition(": ")[0]
    return state if state.isalpha() else "unusable"


def _condition(device: Device) -> str:
    """Firmware, temperature and power, where a device tells them."""
    told = {**dict(device.versions), **dict(device.facts)}
    forms = (("firmware", "firmware {}"), ("temperature_c", "{} C"), ("power_w", "{} W"))
    return ", ".join(form.format(told[name]) for name, form in forms if name in told)
