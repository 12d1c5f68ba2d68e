"""What OpenVINO finds here."""

from __future__ import annotations

from infertune.core.records import Device, facts
from infertune.edge.host import read_host

_SPELLED = {"FP32": "f32", "BF16": "bf16", "FP16": "f16"}


def found() -> tuple[Device, ...]:
    import openvino

    core = openvino.Core()
    if "CPU" not in core.available_devices:
        return ()
    host = read_host()
    abilities = [str(a) for a in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")]
    return (
        Device(
            name="cpu",
            target="openvino",
            title=str(core.get_property("CPU", "FULL_DEVICE_NAME")).strip() or host.cpu,
            units=host.effective_cpus,
            memory_bytes=host.memory_bytes,
            precisions=tuple(_SPELLED[a] for a in abilities if a in _SPELLED),
            versions=facts(openvino=openvino.get_version()),
            facts=facts(abilities=", ".join(abilities), smt="yes" if len(host.usable) > host.physical_cores else "no"),
        ),
    )
