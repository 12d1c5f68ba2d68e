"""Triton Inference Server: a model repository with ``config.pbtxt`` for its ONNX Runtime or OpenVINO back end.

Parameters are those the back ends document (github.com/triton-inference-server/onnxruntime_backend, openvino_backend).
Settings they cannot take are listed in README.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from infertune.edge.files import write_text
from infertune.export.bundle import Bundle, copy_model
from infertune.export.pbtxt import Served, model_config

title = "Triton model repository for the ONNX Runtime or OpenVINO back end"
targets = frozenset({"onnxruntime", "openvino"})

_LEVELS = {"ORT_DISABLE_ALL": "2", "ORT_ENABLE_BASIC": "-1", "ORT_ENABLE_EXTENDED": "1"}
_ORT = {
    "intra_op_num_threads": "intra_op_thread_count",
    "inter_op_num_threads": "inter_op_thread_count",
    "enable_mem_pattern": "enable_mem_pattern",
    "enable_cpu_mem_arena": "enable_mem_arena",
}
_DEFAULT_ENTRIES = {  # what ONNX Runtime does anyway: nothing is lost by not saying it
    "session.intra_op.allow_spinning": "1",
    "session.disable_prepacking": "0",
    "session.set_denormal_as_zero": "0",
}
_OPENVINO = ("NUM_STREAMS", "INFERENCE_NUM_THREADS", "PERFORMANCE_HINT")
_DEFAULT_PROPERTIES = {
    "ENABLE_CPU_PINNING": False,
    "ENABLE_HYPER_THREADING": True,
    "EXECUTION_MODE_HINT": "PERFORMANCE",
    "CPU_DENORMALS_OPTIMIZATION": False,
    "INFERENCE_PRECISION_HINT": "f32",
}


def _onnxruntime(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    options = config["options"]
    yield from ((theirs, str(int(options[ours]))) for ours, theirs in _ORT.items() if ours in options)
    if "execution_mode" in options:
        yield "execution_mode", str(int(options["execution_mode"] == "ORT_PARALLEL"))
    if config["shared"] and config["instances"] > 1:
        yield "share_session_between_instances", "true"


def _openvino(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    properties = config["properties"]
    yield from ((key, str(properties[key])) for key in _OPENVINO if key in properties)
    if properties.get("INFERENCE_PRECISION_HINT") == "bf16":
        yield "HINT_BF16", "YES"


def left_out(config: Mapping[str, Any]) -> list[str]:
    """Settings of the winner that the back end has no parameter for, and that are not its runtime's default."""
    entries = {k: v for k, v in config.get("entries", {}).items() if v != _DEFAULT_ENTRIES.get(k)}
    known = {*_OPENVINO, *(["INFERENCE_PRECISION_HINT"] if _takes_precision(config) else [])}
    properties = {
        k: v for k, v in config.get("properties", {}).items() if k not in known and v != _DEFAULT_PROPERTIES.get(k)
    }
    return [f"{key}={value}" for key, value in {**entries, **properties}.items()]


def _takes_precision(config: Mapping[str, Any]) -> bool:
    return config["properties"].get("INFERENCE_PRECISION_HINT") == "bf16" if "properties" in config else False


def served(bundle: Bundle) -> Served:
    """Instances are sessions for ONNX Runtime, and infer requests of one compiled model for OpenVINO."""
    config = bundle.config
    if bundle.runtime == "onnxruntime":
        level = _LEVELS.get(config["options"].get("graph_optimization_level", ""))
        return Served(
            backend="onnxruntime",
            file=bundle.main_file,
            instances=config["instances"],
            kind="KIND_CPU",
            parameters=tuple(_onnxruntime(config)),
            graph_level=level,
        )
    return Served(
        backend="openvino",
        file=bundle.main_file,
        instances=config["in_flight"],
        kind="KIND_CPU",
        parameters=tuple(_openvino(config)),
    )


def write(bundle: Bundle, into: Path) -> str:
    folder = into / "model_repository" / bundle.served_name
    (folder / "1").mkdir(parents=True, exist_ok=True)
    copy_model(bundle, folder / "1")
    write_text(folder / "config.pbtxt", model_config(bundle, served(bundle)))
    lost = left_out(bundle.config)
    note = f"\nThe back end has no parameter for {', '.join(lost)}: expect another number.\n" if lost else ""
    load = f"-b {bundle.config['batch']} --concurrency-range {bundle.config['in_flight']}"
    return f"""    docker run --rm -v "$PWD/model_repository:/models:ro" -p 8001:8001 \\
        nvcr.io/nvidia/tritonserver:YY.MM-py3 tritonserver --model-repository=/models
    perf_analyzer -m {bundle.served_name} -i grpc {load}

Take the image whose {bundle.runtime} is nearest to {bundle.version}: the confirmed number belongs to that release, and
includes neither network nor scheduler. Requests are collected into batches of {bundle.config["batch"]} for at most the
time that one batch takes at the confirmed throughput.
{note}"""
