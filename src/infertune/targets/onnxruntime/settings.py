"""A point as ONNX Runtime's session settings: plain data, used to run it here and to deploy it elsewhere."""

from __future__ import annotations

from infertune.core.space import Point
from infertune.targets.onnxruntime.knobs import ORIGINAL

LOG_SEVERITY = 3
"""Errors only: some models earn a warning for every request, which takes longer to print than a small one to serve."""

CONFIG_ENTRIES = {
    "spinning": ("session.intra_op.allow_spinning", {"on": "1", "off": "0"}),
    "prepacking": ("session.disable_prepacking", {"on": "0", "off": "1"}),
    "denormals": ("session.set_denormal_as_zero", {"keep": "0", "zero": "1"}),
}


def options(point: Point) -> dict[str, object]:
    """Attributes of `SessionOptions`; under the runtime's own preset only what is logged."""
    if point["preset"] == ORIGINAL:
        return {"log_severity_level": LOG_SEVERITY}
    parallel = point["execution_mode"] == "parallel"
    return {
        "log_severity_level": LOG_SEVERITY,
        "graph_optimization_level": "ORT_DISABLE_ALL",  # the file is optimised already
        "intra_op_num_threads": point.number("cores"),
        "inter_op_num_threads": point.number("cores") if parallel else 1,
        "execution_mode": "ORT_PARALLEL" if parallel else "ORT_SEQUENTIAL",
        "enable_mem_pattern": point["memory_pattern"] == "on",
        "enable_cpu_mem_arena": point["arena"] == "on",
    }


def entries(point: Point) -> dict[str, str]:
    """Session configuration entries; none under the runtime's own preset."""
    if point["preset"] == ORIGINAL:
        return {}
    return {entry: spelled[str(point[knob])] for knob, (entry, spelled) in CONFIG_ENTRIES.items()}
