"""Multiply-accumulates per sample, by operator class, at bound shapes; what cannot be counted is named, never zero."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from infertune.core.errors import quoted
from infertune.prepare import contrib, graphs
from infertune.prepare.contrib import Dims
from infertune.prepare.trace import Step, trace

if TYPE_CHECKING:
    from onnx import ModelProto


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorClass:
    """Nodes of one class and their multiply-accumulates per sample; ``operators`` lists them by count.

    ``macs`` is None where the sizes of some of the nodes are not known.
    """

    name: str
    nodes: int
    macs: int | None
    operators: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arithmetic:
    """``uncounted`` names operators that multiply but whose sizes are unknown, ``lost_at`` where shapes got lost."""

    batch: int
    classes: tuple[OperatorClass, ...]
    uncounted: tuple[str, ...]
    lost_at: tuple[str, ...]

    @property
    def macs(self) -> int | None:
        """Multiply-accumulates per sample of all classes; None where some could not be counted."""
        return None if self.uncounted else sum(c.macs or 0 for c in self.classes)


def count_macs(stripped: ModelProto, shapes: Mapping[str, tuple[int, ...]], batch: int) -> Arithmetic:
    """Count at these input shapes, which hold ``batch`` samples.

    Of the branches of an If the larger one counts; a loop counts as often as it runs where that is known.
    """
    tally = count_steps(trace(stripped, shapes))
    classes = tuple(
        OperatorClass(
            name=name,
            nodes=sum(tally.nodes[name].values()),
            macs=None if name in tally.unknown else round(tally.macs[name] / batch),
            operators=tuple(sorted(tally.nodes[name].items(), key=lambda item: (-item[1], item[0]))),
        )
        for name in CLASSES
        if name in tally.nodes
    )
    return Arithmetic(
        batch=batch, classes=classes, uncounted=tuple(tally.uncounted), lost_at=tuple(dict.fromkeys(tally.lost_at))
    )


@dataclass(slots=True)
class Tally:
    """Sums over steps: nodes by class and operator, multiply-accumulates by class."""

    nodes: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    macs: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    unknown: set[str] = field(default_factory=set)
    uncounted: list[str] = field(default_factory=list)
    lost_at: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        return sum(self.macs.values())

    def add(self, other: Tally, times: int) -> None:
        for name, operators in other.nodes.items():
            self.nodes[name].update(operators)
        for name, macs in other.macs.items():
            self.macs[name] += macs * times
        self.unknown |= other.unknown
        self.uncounted += other.uncounted
        self.lost_at += other.lost_at


def count_steps(steps: Iterable[Step]) -> Tally:
    tally = Tally()
    for step in steps:
        name, rule = _RULES.get(step.node.op_type, (OTHER, _nothing))
        tally.nodes[name][step.node.op_type] += 1
        macs = _safely(rule, step)
        tally.macs[name] += macs or 0
        if macs is None:
            tally.unknown.add(name)
            tally.uncounted.append(quoted(graphs.title(step.node)))
        if step.loses_shape:
            tally.lost_at.append(quoted(graphs.title(step.node)))
        _add_bodies(tally, step)
    return tally


def _add_bodies(tally: Tally, step: Step) -> None:
    counted = [(count_steps(body.steps), body.times) for body in step.bodies]
    if not counted:
        return
    largest, times = max(counted, key=lambda pair: pair[0].total)
    if times is None and (largest.total or largest.uncounted):
        tally.unknown |= {name for name, macs in largest.macs.items() if macs}
        tally.uncounted.append(f"{quoted(graphs.title(step.node))} (how often it runs is not known)")
    tally.add(largest, times or 0)


_Rule = Callable[[Step], int | None]


def _safely(rule: _Rule, step: Step) -> int | None:
    """None where a size that the rule needs is not known."""
    try:
        return rule(step)
    except (_NotKnown, IndexError, KeyError, TypeError, ValueError):
        return None


class _NotKnown(Exception):  # noqa: N818  not an error: a size is not known before the model runs
    pass


def _dims(step: Step, place: int) -> tuple[int, ...]:
    return _all_known(step.input(place).dims)


def _out(step: Step) -> tuple[int, ...]:
    return _all_known(step.outputs[0].dims if step.outputs else None)


def _all_known(dims: Dims | None) -> tuple[int, ...]:
    known = tuple(d for d in dims or () if d is not None)
    if dims is None or len(known) != len(dims):
        raise _NotKnown
    return known


def _nothing(_step: Step) -> int:
    return 0


def _rows_by_inner(axis_of_inner: int = -1) -> _Rule:
    """Matrix products: output elements x the inner dimension of the first operand."""
    return lambda step: math.prod(_out(step)) * _dims(step, 0)[axis_of_inner]


def _fused_matmul(step: Step) -> int:
    return math.prod(_out(step)) * (contrib.transposed(step.attributes, "A", _dims(step, 0))[-1] or 0)


def _gemm(step: Step) -> int:
    return math.prod(_out(step)) * _dims(step, 0)[0 if step.attributes.get("transA") else 1]


def _packed(step: Step) -> int:
    return math.prod(_dims(step, 0)) * int(step.attributes["N"])


def _convolution(weights: int) -> _Rule:
    """Output elements x (channels in of a group x kernel); weights are (out, in / groups, kernel...)."""
    return lambda step: math.prod(_out(step)) * math.prod(_dims(step, weights)[1:])


def _transposed_convolution(step: Step) -> int:
    """Input elements x (channels out of a group x kernel); weights are (in, out / groups, kernel...)."""
    return math.prod(_dims(step, 0)) * math.prod(_dims(step, 1)[1:])


def _recurrent(step: Step) -> int:
    """Steps x batch x both weight matrices of all gates and directions; inputs are (seq, batch, size)."""
    first, second, *_ = _dims(step, 0)
    return first * second * (math.prod(_dims(step, 1)) + math.prod(_dims(step, 2)))


def _einsum(step: Step) -> int:
    """The product of all index sizes for two operands; more are contracted in an order that only the runtime knows."""
    equation = str(step.attributes["equation"]).replace(" ", "")
    terms = equation.split("->", maxsplit=1)[0].split(",")
    if len(terms) == 1:
        return 0
    if len(terms) > 2 or "." in equation:
        raise _NotKnown
    sizes: dict[str, int] = {}
    for place, term in enumerate(terms):
        sizes.update(zip(term, _dims(step, place), strict=True))
    return math.prod(sizes.values())


def _attention(step: Step) -> int:
    """ONNX Attention (operator set 23): query x keys, then weights x values, over all heads; 3-D or 4-D inputs."""
    if step.node.domain not in graphs.ONNX_DOMAINS:
        return _attention_with_projection(step)
    query, key, value = (_dims(step, place) for place in range(3))
    past = _dims(step, 4)[2] if step.input(4).dims is not None else 0
    batch, steps = query[0], query[-2]
    total = key[-2] + past
    if len(query) == 4:
        return batch * query[1] * steps * total * (query[3] + value[3])
    heads, shared = (int(step.attributes[name]) for name in ("q_num_heads", "kv_num_heads"))
    return batch * steps * total * (query[2] + heads * (value[2] // shared))


def _attention_with_projection(step: Step) -> int:
    """com.microsoft Attention and QAttention: three projections in one, then the two products."""
    (batch, steps, _), weights = _dims(step, 0), _dims(step, 1)
    width = contrib.value_width(step.attributes, weights)
    sizes = step.attributes.get("qkv_hidden_sizes") or (weights[1] // 3,)
    return batch * steps * math.prod(weights) + batch * steps * steps * (int(sizes[0]) + width)


def _multi_head(step: Step) -> int:
    """com.microsoft MultiHeadAttention: keys of their own, or all three packed as (B, S, heads, 3, size)."""
    query = _dims(step, 0)
    if len(query) == 5:
        return 2 * query[0] * query[1] ** 2 * query[2] * query[4]
    keys = step.input(1).dims
    total = query[1] if keys is None else _dims(step, 1)[1 if len(keys) < 4 else 2]
    past = _dims(step, 6)[2] if step.input(6).dims is not None else 0
    return query[0] * query[1] * (total + past) * (query[2] + _out(step)[2])


def _group_query(step: Step) -> int:
    """com.microsoft GroupQueryAttention; the past counts as full when its buffer is shared with the present."""
    batch, steps, width = _out(step)
    past = _dims(step, 3)[2] if step.input(3).dims is not None else 0
    return 2 * batch * steps * (steps + past) * width


MATRIX, CONVOLUTION, ATTENTION, RECURRENT, OTHER = CLASSES = (
    "matrix multiplication", "convolution", "attention", "recurrent", "other",
)  # fmt: skip

_RULES: dict[str, tuple[str, _Rule]] = {
    **dict.fromkeys(
        ("MatMul", "MatMulInteger", "QLinearMatMul", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "GemmFastGelu"),
        (MATRIX, _rows_by_inner()),
    ),
    **dict.fromkeys(("FusedMatMul", "TransposeMatMul"), (MATRIX, _fused_matmul)),
    **dict.fromkeys(("Gemm", "FusedGemm", "QGemm"), (MATRIX, _gemm)),
    **dict.fromkeys(("MatMulNBits", "MatMulBnb4", "MatMulFpQ4"), (MATRIX, _packed)),
    "Einsum": (MATRIX, _einsum),
    **dict.fromkeys(("Conv", "ConvInteger", "FusedConv", "DeformConv"), (CONVOLUTION, _convolution(1))),
    "QLinearConv": (CONVOLUTION, _convolution(3)),
    "ConvTranspose": (CONVOLUTION, _transposed_convolution),
    "Attention": (ATTENTION, _attention),
    "QAttention": (ATTENTION, _attention_with_projection),
    "MultiHeadAttention": (ATTENTION, _multi_head),
    "GroupQueryAttention": (ATTENTION, _group_query),
    **dict.fromkeys(("LSTM", "GRU", "RNN", "DynamicQuantizeLSTM"), (RECURRENT, _recurrent)),
}
