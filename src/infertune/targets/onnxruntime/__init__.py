"""ONNX Runtime on the host's CPU."""

from __future__ import annotations

from collections.abc import Mapping

from infertune.core.goal import Goal
from infertune.core.records import (
    BuildJob,
    Device,
    ExportJob,
    InferJob,
    MeasureJob,
    Measurement,
    Model,
    Saved,
)
from infertune.core.seams import Clock, Shell
from infertune.core.space import Space


class OnnxRuntime:
    """`seams.Target` for ONNX Runtime."""

    name = "onnxruntime"
    title = "ONNX Runtime (CPU)"
    contends = frozenset({"host_cpu"})
    automatic = True
    open_loop = True
    requires: Mapping[str, str] = {"onnxruntime": "onnxruntime"}

    def probe(self, shell: Shell) -> tuple[Device, ...]:
        from infertune.targets.onnxruntime.probe import found

        return found()

    def space(self, model: Model, device: Device, goal: Goal) -> Space:
        from infertune.targets.onnxruntime.knobs import space_for

        return space_for(model, device)

    def build(self, job: BuildJob, shell: Shell) -> Saved:
        from infertune.targets.onnxruntime.build import optimise

        return optimise(job)

    def measure(self, job: MeasureJob, clock: Clock, shell: Shell) -> Measurement:
        from infertune.targets.inproc import measure_session
        from infertune.targets.onnxruntime.run import OrtSession

        return measure_session(job, clock, lambda pool: OrtSession(job, clock, pool))

    def infer(self, job: InferJob, shell: Shell) -> Saved:
        from infertune.targets.inproc import save_outputs
        from infertune.targets.onnxruntime.run import runner

        return save_outputs(job, runner(job))

    def export(self, job: ExportJob) -> Saved:
        from infertune.targets.onnxruntime.export import write_bundle

        return write_bundle(job)


target = OnnxRuntime()
