"""What ONNX Runtime offers here."""

from __future__ import annotations

from infertune.core.records import Device, facts
from infertune.edge.host import read_host


def found() -> tuple[Device, ...]:
    import onnxruntime

    host = read_host()
    return (
        Device(
            name="cpu",
            target="onnxruntime",
            title=host.cpu,
            units=host.effective_cpus,
            memory_bytes=host.memory_bytes,
            precisions=("f32", "int8"),
            versions=facts(onnxruntime=onnxruntime.__version__),
            facts=facts(providers=", ".join(onnxruntime.get_available_providers())),
        ),
    )
