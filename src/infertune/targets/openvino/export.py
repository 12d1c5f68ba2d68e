"""Deploy: the IR, OpenVINO's properties for the point, and a program that needs only OpenVINO."""

from __future__ import annotations

from infertune.core.records import ExportJob, Saved
from infertune.targets.deploy import write_files
from infertune.targets.openvino.knobs import MODEL_FILE
from infertune.targets.openvino.run import properties


def write_bundle(job: ExportJob) -> Saved:
    return write_files(job, __file__, MODEL_FILE, {"properties": properties(job.point)})
