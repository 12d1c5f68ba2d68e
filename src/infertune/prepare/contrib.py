"""Output shapes of operators that ONNX Runtime adds to ONNX (domain com.microsoft), from their documentation, and of
those of ai.onnx.ml that keep a shape.

Source: onnxruntime docs/ContribOperators.md. Only the first output is given, and the fourth of the skip
normalisations; the others (masks, present keys and values) feed no arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Dims = tuple[int | None, ...]
Known = Sequence[Dims | None]
Attributes = Mapping[str, Any]

EQUIVALENT = {
    "DynamicQuantizeLSTM": "LSTM",
    "FusedConv": "Conv",
    "FusedGemm": "Gemm",
    "FusedMatMulActivation": "MatMul",
    "QLinearAveragePool": "AveragePool",
    "QLinearGlobalAveragePool": "GlobalAveragePool",
}
"""Operators with the shape rule of an ONNX operator, apart from further inputs behind that one's."""


def output_dims(op_type: str, attributes: Attributes, inputs: Known) -> Dims | None:
    """Dimensions of the first output; None for an operator without a rule or with unknown inputs."""
    rule = _RULES.get(op_type)
    try:
        return rule(attributes, inputs) if rule else None
    except (TypeError, IndexError, KeyError, ValueError, ZeroDivisionError):  # a rank or number that is not known
        return None


def same_outputs(op_type: str) -> tuple[int, ...]:
    """Places of outputs that have the dimensions of the first one."""
    return (0, 3) if op_type.startswith("Skip") else (0,)


def _need(dims: Dims | None) -> Dims:
    if dims is None:
        raise ValueError("unknown rank")
    return dims


def broadcast(first: Dims, second: Dims) -> Dims:
    """Numpy's broadcasting; an unknown size stays unknown unless the other side decides."""
    rank = max(len(first), len(second))
    a, b = ((1,) * (rank - len(dims)) + dims for dims in (first, second))
    return tuple(y if x == 1 else x if y in (1, x) else None for x, y in zip(a, b, strict=True))


def _matmul(first: Dims, second: Dims) -> Dims:
    rows = () if len(first) == 1 else (first[-2],)
    columns = () if len(second) == 1 else (second[-1],)
    return (*broadcast(first[:-2], second[:-2]), *rows, *columns)


def transposed(attributes: Attributes, side: str, dims: Dims) -> Dims:
    """The dimensions of an input of FusedMatMul after its own transpositions (`transBatchA`, then `transA`)."""
    if attributes.get(f"transBatch{side}") and len(dims) > 2:
        dims = (*dims[1:-1], dims[0], dims[-1])
    return (*dims[:-2], dims[-1], dims[-2]) if attributes.get(f"trans{side}") and len(dims) > 1 else dims


def _fused_matmul(attributes: Attributes, inputs: Known) -> Dims:
    a, b = (transposed(attributes, side, _need(dims)) for side, dims in zip("AB", inputs[:2], strict=True))
    return _matmul(a, b)


def _same(_attributes: Attributes, inputs: Known) -> Dims:
    return _need(inputs[0])


def _two_of(first: int, second: int, combine: Callable[[Dims, Dims], Dims]) -> Callable[[Attributes, Known], Dims]:
    return lambda _, inputs: combine(_need(inputs[first]), _need(inputs[second]))


def _columns(attributes: Attributes, inputs: Known) -> Dims:
    return (*_need(inputs[0])[:-1], int(attributes["N"]))


def value_width(attributes: Attributes, weights: Dims) -> int:
    """Columns of the value projection of com.microsoft Attention; its weights are (in, query + key + value)."""
    sizes = attributes.get("qkv_hidden_sizes")
    return int(sizes[2]) if sizes else int(weights[1] or 0) // 3


def _attention(attributes: Attributes, inputs: Known) -> Dims:
    return (*_need(inputs[0])[:2], value_width(attributes, _need(inputs[1])))


def _multi_head(_attributes: Attributes, inputs: Known) -> Dims:
    """Query (B, S, H) with keys and values of their own, or packed as (B, S, heads, 3, size)."""
    query = _need(inputs[0])
    if len(query) == 5:
        return (query[0], query[1], int(query[2] or 0) * int(query[4] or 0))
    value = inputs[2] if len(inputs) > 2 else None
    if value is None:
        return query
    return (*query[:2], value[2] if len(value) == 3 else int(value[1] or 0) * int(value[3] or 0))


def _group_query(attributes: Attributes, inputs: Known) -> Dims:
    """Query (B, S, heads x size); without a key of its own the keys and values are packed behind the query's heads."""
    query = _need(inputs[0])
    if len(inputs) > 1 and inputs[1] is not None:
        return query
    heads, shared = int(attributes["num_heads"]), int(attributes["kv_num_heads"])
    return (*query[:2], int(query[2] or 0) // (heads + 2 * shared) * heads)


def _embedding(_attributes: Attributes, inputs: Known) -> Dims:
    return (*_need(inputs[0]), _need(inputs[2])[1])


def _quantised_concat(attributes: Attributes, inputs: Known) -> Dims:
    """Output scale and zero point, then triples of tensor, scale and zero point."""
    parts = [_need(dims) for dims in inputs[2::3]]
    axis = int(attributes["axis"]) % len(parts[0])
    sizes = [part[axis] for part in parts]
    total = None if None in sizes else sum(size for size in sizes if size is not None)
    return (*parts[0][:axis], total, *parts[0][axis + 1 :])


_SAME = (
    "BiasAdd", "BiasGelu", "BiasSoftmax", "DequantizeLinear", "FastGelu", "Gelu", "GroupNorm", "LayerNormalization",
    "QLinearLeakyRelu", "QLinearSigmoid", "QLinearSoftmax", "QuantizeLinear", "QuickGelu", "RotaryEmbedding",
    "SimplifiedLayerNormalization", "SkipGroupNorm", "SkipLayerNormalization", "SkipSimplifiedLayerNormalization",
    "GroupNormalization", "MeanVarianceNormalization", "Affine", "ParametricSoftplus", "ScaledTanh", "ImageScaler",
    "Binarizer", "Imputer", "Normalizer", "Scaler",
)  # fmt: skip

_RULES: dict[str, Callable[[Attributes, Known], Dims]] = {
    **dict.fromkeys(_SAME, _same),
    **dict.fromkeys(("QLinearAdd", "QLinearMul"), _two_of(0, 3, broadcast)),
    **dict.fromkeys(("MatMulIntegerToFloat", "DynamicQuantizeMatMul", "GemmFastGelu"), _two_of(0, 1, _matmul)),
    **dict.fromkeys(("FusedMatMul", "TransposeMatMul"), _fused_matmul),
    **dict.fromkeys(("MatMulNBits", "MatMulBnb4", "MatMulFpQ4"), _columns),
    **dict.fromkeys(("Attention", "QAttention"), _attention),
    **dict.fromkeys(("EmbedLayerNormalization", "QEmbedLayerNormalization"), _embedding),
    "MultiHeadAttention": _multi_head,
    "GroupQueryAttention": _group_query,
    "QLinearConcat": _quantised_concat,
}
