"""What a model computes with, as far as it decides how its precision may be lowered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from infertune.prepare import graphs

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

ATTENTION, CONVOLUTION, MATMUL, QUANTISED = "attention", "convolution", "matmul", "quantised"

_OPERATORS = {
    ATTENTION: frozenset(("Attention", "MultiHeadAttention", "GroupQueryAttention", "PackedAttention", "QAttention")),
    CONVOLUTION: frozenset(("Conv", "ConvTranspose", "FusedConv")),
    MATMUL: frozenset(("MatMul", "Gemm", "LSTM", "GRU", "RNN", "FusedMatMul")),
    QUANTISED: frozenset(
        (
            "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "ConvInteger",
            "QLinearMatMul", "QLinearConv", "MatMulNBits", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM", "QAttention",
        )
    ),
}  # fmt: skip


_PASSING = frozenset(("Constant", "Transpose", "Identity", "Cast", "DequantizeLinear"))
"""What is made of stored tensors alone stays one."""


def traits(model: ModelProto) -> tuple[str, ...]:
    """The words of `_OPERATORS` that fit, sorted; products without a stored factor beside a softmax are attention."""
    nodes = [node for scope in graphs.scopes(model) for node in scope.body.node]
    found = {node.op_type for node in nodes}
    told = {name for name, operators in _OPERATORS.items() if operators & found}
    if "Softmax" in found and _multiplies_activations(nodes, _initializers(model)):
        told.add(ATTENTION)
    return tuple(sorted(told))


def _initializers(model: ModelProto) -> set[str]:
    return {tensor.name for scope in graphs.scopes(model) for tensor in scope.initializers}


def _multiplies_activations(nodes: Sequence[NodeProto], stored: set[str]) -> bool:
    """Whether a product has no stored factor, as that of queries with keys has none."""
    for node in nodes:
        if node.op_type in _PASSING and stored.issuperset(node.input):
            stored = stored.union(node.output)
        elif node.op_type in ("MatMul", "Einsum") and stored.isdisjoint(node.input):
            return True
    return False
