"""Qualcomm Cloud AI 100 cards, through the vendor's own tools; or cards that `infertune qaic-sim` simulates."""

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


class Qaic:
    """`seams.Target` for Cloud AI 100. The compiler runs on the host, the model on the card: they may overlap."""

    name = "qaic"
    title = "Qualcomm Cloud AI 100"
    contends: frozenset[str] = frozenset()
    automatic = True
    open_loop = False
    requires: Mapping[str, str] = {}

    def probe(self, shell: Shell) -> tuple[Device, ...]:
        from infertune.targets.qaic.probe import found

        return found(shell)

    def space(self, model: Model, device: Device, goal: Goal) -> Space:
        from infertune.targets.qaic.knobs import space_for

        return space_for(model, device, goal)

    def build(self, job: BuildJob, shell: Shell) -> Saved:
        from infertune.targets.qaic.build import compile_program

        return compile_program(job, shell)

    def measure(self, job: MeasureJob, clock: Clock, shell: Shell) -> Measurement:
        from infertune.targets.qaic.run import measure_program

        return measure_program(job, shell)

    def infer(self, job: InferJob, shell: Shell) -> Saved:
        from infertune.targets.qaic.infer import save_outputs

        return save_outputs(job, shell)

    def export(self, job: ExportJob) -> Saved:
        from infertune.targets.qaic.export import write_bundle

        return write_bundle(job)


target = Qaic()
