"""Outputs of the ONNX model beside those of the original."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from infertune.core.errors import DataError
from infertune.prepare.hf.original import Sample

TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One output at one shape. ``max_abs`` is infinite when the original has no such output or another shape."""

    output: str
    shape: tuple[int, ...]
    max_abs: float

    @property
    def agrees(self) -> bool:
        """NaN does not agree."""
        return self.max_abs <= TOLERANCE


def compare(model: Path, samples: tuple[Sample, ...]) -> Iterator[Comparison]:
    """Every output of the ONNX model for every sample, by ONNX Runtime on the CPU.

    Raises `DataError` (``export-unusable``) when the model does not load or run.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        wanted = {found.name for found in session.get_inputs()}
        for sample in samples:
            fed = {name: array for name, array in sample.inputs.items() if name in wanted}
            for name, ours in zip(names, session.run(names, fed), strict=True):
                yield Comparison(output=name, shape=ours.shape, max_abs=_max_abs(ours, sample.outputs.get(name)))
    except (RuntimeError, ValueError, IndexError) as error:  # what onnxruntime's own errors derive from
        raise _unusable(error) from error


def _max_abs(ours: NDArray[np.generic], theirs: NDArray[np.generic] | None) -> float:
    if theirs is None or ours.shape != theirs.shape:
        return float("inf")
    difference = np.abs(ours.astype(np.float64) - theirs.astype(np.float64))
    return float(difference.max()) if difference.size else 0.0


def _unusable(error: Exception) -> DataError:
    return DataError(
        "export-unusable",
        f"the exported model does not run in ONNX Runtime: {str(error).splitlines()[0]}",
        hint="try another --opset or --task",
    )
