"""Build: the model converted once to OpenVINO's own format, shapes bound, the batch left open; quantised if asked.

Why not the compiled blob: see docs/decisions/0001-openvino-artifact.md (it loads slower and holds weights twice).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from infertune.core.records import BuildJob, Model, Saved
from infertune.targets.int8 import NONE, QUANTISATION
from infertune.targets.openvino.knobs import MODEL_FILE
from infertune.targets.openvino.quantise import quantised

if TYPE_CHECKING:
    import openvino as ov


def bind(network: ov.Model, model: Model, batch: int | None) -> None:
    """Reshape every input to its bound shape; ``batch`` None leaves the batch dimension open."""
    import openvino as ov

    bound = dict(model.shapes)
    if model.batch_symbol is not None:
        bound[model.batch_symbol] = -1 if batch is None else batch
    by_name = {name: port for port in network.inputs for name in port.get_names()}
    network.reshape(
        {
            by_name[spec.name]: ov.PartialShape([d if isinstance(d, int) else bound[d] for d in spec.dims])
            for spec in model.inputs
            if spec.name in by_name
        }
    )


def convert(job: BuildJob) -> Saved:
    """Write ``model.xml`` and ``model.bin`` into ``job.into``. Raises what OpenVINO raises."""
    import openvino as ov

    network = ov.Core().read_model(job.model.path)
    bind(network, job.model, None)
    if job.point[QUANTISATION] != NONE:
        network = quantised(network, job)
    ov.save_model(network, os.path.join(job.into, MODEL_FILE), compress_to_fp16=False)
    return Saved(files=tuple(sorted(os.listdir(job.into))))
