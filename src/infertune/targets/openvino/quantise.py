"""int8 for OpenVINO: NNCF's post-training quantisation, calibrated on real or seeded inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from infertune.core.errors import excerpt
from infertune.core.records import BuildJob
from infertune.prepare.calibration import calibration_sets
from infertune.targets.int8 import QUANTISATION, refused
from infertune.targets.openvino.knobs import TRANSFORMER

if TYPE_CHECKING:
    import openvino as ov


def quantised(network: ov.Model, job: BuildJob) -> ov.Model:
    """The network with NNCF's fake quantisation in it, which the CPU plugin turns into int8 kernels.

    Raises `CandidateFailed` when NNCF cannot take the network or finds nothing in it, and what
    `calibration_sets` raises.
    """
    taken = {name for port in network.inputs for name in port.get_names()}
    sets = [{k: v for k, v in inputs.items() if k in taken} for inputs in calibration_sets(job.model, job.feed)]
    try:
        found = _by_nncf(network, str(job.point[QUANTISATION]), sets)
    except Exception as error:  # whatever NNCF meets in a network it does not know
        raise refused("NNCF", excerpt(f"{type(error).__name__}: {error}", 400)) from error
    if not any(op.get_type_name() == "FakeQuantize" for op in found.get_ops()):
        raise refused("NNCF", "it found nothing to quantise")
    return found


def _by_nncf(network: ov.Model, way: str, sets: Sequence[dict[str, Any]]) -> ov.Model:
    """The transformer preset spreads outliers between weights and activations first (SmoothQuant)."""
    import nncf

    kind = nncf.ModelType.TRANSFORMER if way == TRANSFORMER else None
    return nncf.quantize(network, nncf.Dataset(sets), model_type=kind, subset_size=len(sets))
