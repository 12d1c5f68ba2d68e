"""What OpenVINO finds here."""

from __future__ import annotations

import importlib.metadata
import importlib.util

from infertune.core.records import Device, facts
from infertune.edge.host import read_host

_SPELLED = {"FP32": "f32", "BF16": "bf16", "FP16": "f16", "INT8": "int8"}
QUANTISER = "nncf"


def found() -> tuple[Device, ...]:
    import openvino

    core = openvino.Core()
    if "CPU" not in core.available_devices:
        return ()
    host = read_host()
    quantiser = quantiser_version()
    abilities = [str(a) for a in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")]
    return (
        Device(
            name="cpu",
            target="openvino",
            title=str(core.get_property("CPU", "FULL_DEVICE_NAME")).strip() or host.cpu,
            units=host.effective_cpus,
            memory_bytes=host.memory_bytes,
            precisions=tuple(_SPELLED[a] for a in abilities if a in _SPELLED and (a != "INT8" or quantiser)),
            versions=facts(openvino=openvino.get_version(), nncf=quantiser),
            facts=facts(abilities=", ".join(abilities), smt="yes" if len(host.usable) > host.physical_cores else "no"),
        ),
    )


def quantiser_version() -> str | None:
    """NNCF's version without loading it; None where it is not installed (extra ``int8``)."""
    if importlib.util.find_spec(QUANTISER) is None:
        return None
    return importlib.metadata.version(QUANTISER)
