"""Deploy: the optimised model, session options for the point, and a program that needs only ONNX Runtime."""

from __future__ import annotations

from infertune.core.records import ExportJob, Saved
from infertune.targets.deploy import write_files
from infertune.targets.onnxruntime.knobs import MODEL_FILE
from infertune.targets.onnxruntime.settings import entries, options


def write_bundle(job: ExportJob) -> Saved:
    settings = {
        "options": options(job.point),
        "entries": entries(job.point),
        "instances": max(1, job.point.number("instances")),
        "shared": job.point["weights"] == "shared",
    }
    return write_files(job, __file__, MODEL_FILE, settings)
