"""int8 for ONNX Runtime with its own tools: dynamic (ranges found per request) or static (calibrated, QDQ)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from infertune.core.errors import excerpt
from infertune.core.records import BuildJob
from infertune.edge.host import read_host
from infertune.prepare.calibration import calibration_sets
from infertune.targets.int8 import QUANTISATION, refused
from infertune.targets.onnxruntime.knobs import DYNAMIC

if TYPE_CHECKING:
    from onnx import ModelProto

_PER_CHANNEL_FROM_OPSET = 13
_EXTERNAL_FROM_BYTES = 1_000_000_000  # a protobuf holds two billion


def quantised(path: str, job: BuildJob, folder: str) -> str:
    """Quantise the model at ``path`` into ``folder``; the new file.

    Raises `CandidateFailed` when the tools cannot take the model or find nothing in it, and what
    `calibration_sets` raises.
    """
    into = os.path.join(folder, "quantised.onnx")
    way = str(job.point[QUANTISATION])
    sets = [] if way == DYNAMIC else calibration_sets(job.model, job.feed)
    try:
        _dynamic(path, into, job) if way == DYNAMIC else _static(path, into, job, sets)
    except Exception as error:  # whatever the tools meet in a graph they do not know
        raise refused("ONNX Runtime", excerpt(f"{type(error).__name__}: {error}", 400)) from error
    if not _holds_int8(into):
        raise refused("ONNX Runtime", "it found nothing to quantise")
    return into


def _common(job: BuildJob) -> dict[str, Any]:
    """Without VNNI, x86 adds pairs of int8 products in 16 bits: weights of seven bits keep them from saturating."""
    from onnx import TensorProto
    from onnxruntime.quantization import QuantType

    instructions = read_host().instructions
    return {
        "weight_type": QuantType.QInt8,
        "per_channel": job.model.opset >= _PER_CHANNEL_FROM_OPSET,
        "reduce_range": "avx2" in instructions and not any("vnni" in name for name in instructions),
        "use_external_data_format": job.model.weight_bytes > _EXTERNAL_FROM_BYTES,
        "extra_options": {"DefaultTensorType": TensorProto.FLOAT},
    }


def _dynamic(path: str, into: str, job: BuildJob) -> None:
    from onnxruntime.quantization import quantize_dynamic

    quantize_dynamic(path, into, **_common(job))


def _static(path: str, into: str, job: BuildJob, sets: Sequence[dict[str, Any]]) -> None:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # the library has no types
        """The sets, one after the other."""

        def __init__(self) -> None:
            self._left: Iterator[dict[str, Any]] = iter(sets)

        def get_next(self) -> dict[str, Any] | None:
            return next(self._left, None)

    quantize_static(
        path,
        into,
        Reader(),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8,
        nodes_to_exclude=_made_ready(path),
        **_common(job),
    )


def _made_ready(path: str) -> list[str]:
    """Rewrite in place what the tool stumbles over; the nodes to leave alone."""
    import onnx

    model = onnx.load(path, load_external_data=False)
    _flatten_biases(model)
    left = _softmaxes_not_in_float32(model)
    onnx.save(model, path)
    return left


def _flatten_biases(model: ModelProto) -> None:
    """A bias of 1 x n as one of n: the tool takes its rows for channels."""
    uses = [(name, node.op_type == "Gemm" and i == 2) for node in model.graph.node for i, name in enumerate(node.input)]
    others = {name for name, is_bias in uses if not is_bias}
    biases = {name for name, is_bias in uses if is_bias} - others
    for tensor in model.graph.initializer:
        if tensor.name in biases and len(tensor.dims) == 2 and tensor.dims[0] == 1:
            del tensor.dims[0]


def _softmaxes_not_in_float32(model: ModelProto) -> list[str]:
    """By name, which they are given: the tool wants ranges for them that it did not calibrate."""
    from onnx import TensorProto, shape_inference

    found = shape_inference.infer_shapes(model).graph
    kinds = {port.name: port.type.tensor_type.elem_type for port in (*found.value_info, *found.output)}
    left = [
        node
        for node in model.graph.node
        if node.op_type == "Softmax" and kinds.get(node.output[0]) not in (None, TensorProto.FLOAT)
    ]
    for node in left:
        node.name = f"softmax:{node.output[0]}"
    return [node.name for node in left]


def _holds_int8(path: str) -> bool:
    import onnx

    from infertune.prepare.traits import QUANTISED, traits

    return QUANTISED in traits(onnx.load(path, load_external_data=False))
