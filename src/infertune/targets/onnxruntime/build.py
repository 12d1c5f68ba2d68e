"""Build: the graph optimised once and saved, with its weights beside it so that every load maps them."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING

from infertune.core.records import BuildJob, Saved, facts
from infertune.targets.int8 import NONE, QUANTISATION
from infertune.targets.onnxruntime.knobs import MODEL_FILE
from infertune.targets.onnxruntime.quantise import quantised

if TYPE_CHECKING:
    import onnxruntime as ort

_LEVELS = {
    "all": "ORT_ENABLE_ALL",
    "extended": "ORT_ENABLE_EXTENDED",
    "basic": "ORT_ENABLE_BASIC",
    "off": "ORT_DISABLE_ALL",
}
_WEIGHTS_FILE = "model.onnx.data"
_EXTERNAL_FROM_BYTES = 1024


def bind_shapes(options: ort.SessionOptions, shapes: tuple[tuple[str, int], ...]) -> None:
    """Fix every symbol but the batch, so that shape arithmetic folds away."""
    for symbol, value in shapes:
        options.add_free_dimension_override_by_name(symbol, value)


def optimise(job: BuildJob) -> Saved:
    """Write the optimised model into ``job.into``, quantised before if asked. Raises what ONNX Runtime raises."""
    level = str(job.point["optimisation"])
    if job.point[QUANTISATION] == NONE:
        save_optimised(job.model.path, job, level, job.into)
    else:
        with tempfile.TemporaryDirectory(prefix="infertune-int8-") as folder:
            save_optimised(job.model.path, job, "basic", folder)
            save_optimised(quantised(os.path.join(folder, MODEL_FILE), job, folder), job, level, job.into)
    return Saved(files=tuple(sorted(os.listdir(job.into))), facts=facts(optimisation=level))


def save_optimised(source: str, job: BuildJob, level: str, folder: str) -> None:
    """Write the model at ``source`` into ``folder`` with the optimisations of ``level`` applied, shapes bound."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, _LEVELS[level])
    bind_shapes(options, job.model.shapes)
    path = os.path.join(folder, MODEL_FILE)
    options.optimized_model_filepath = path
    options.add_session_config_entry("session.optimized_model_external_initializers_file_name", _WEIGHTS_FILE)
    options.add_session_config_entry(
        "session.optimized_model_external_initializers_min_size_in_bytes", str(_EXTERNAL_FROM_BYTES)
    )
    ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
