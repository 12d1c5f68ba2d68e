"""What one ONNX operator costs the card: a rule per operator type, in the units of `workload`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from infertune.prepare.arithmetic import count_steps
from infertune.prepare.facts import Fact
from infertune.prepare.trace import Step
from infertune.targets.qaic.sim.encoders import NORM_PASSES
from infertune.targets.qaic.sim.workload import TILE, Kind, Op, blocked, convolution, dense, product, vector

EXP, RECIPROCAL, LOG = 8, 4, 10
"""Vector instructions per element: reducing the range, a polynomial and a scaling; an estimate and its refinement."""
ERF = EXP + RECIPROCAL + 8
"""Abramowitz and Stegun 7.1.26: an exponential, a reciprocal, a polynomial of five terms, square, product and sign."""
SIGMOID = EXP + 1 + RECIPROCAL
TANH = SIGMOID + 2
INSTRUCTIONS = {
    "Exp": EXP, "Log": LOG, "Sigmoid": SIGMOID, "Tanh": TANH, "Softplus": EXP + 1 + LOG, "Elu": EXP + 3,
    "Celu": EXP + 4, "Selu": EXP + 4, "Mish": EXP + 5 + RECIPROCAL, "Sin": EXP + 4, "Cos": EXP + 4, "Erf": ERF,
    "Tan": ERF, "Acos": ERF, "Asin": ERF, "Atan": ERF,
}  # fmt: skip
"""What vector code needs, counted and measured by nobody; the card's rows know the price of an error function alone."""

GELU_PASSES = 4
"""Passes beside the error function: scale, add, multiply, multiply."""

FREE = frozenset(
    {
        "Cast", "CastLike", "Constant", "ConstantOfShape", "Dropout", "Flatten", "Identity",
        "Range", "Reshape", "Shape", "Size", "Squeeze", "Unsqueeze",
    }
)  # fmt: skip
"""Operators that compilers resolve ahead or make a view of."""

BLOCKED = frozenset({"AveragePool", "Conv", "ConvTranspose", "FusedConv", "GlobalAveragePool", "GlobalMaxPool",
                     "MaxPool", "QLinearConv", "ConvInteger"})  # fmt: skip
"""Makers of pictures; others make one of a picture that they read."""
UNBLOCKED = frozenset({"Flatten", "Gather", "Gemm", "MatMul", "Reshape", "Shape", "Squeeze", "Transpose", "Unsqueeze"})
"""What makes rows of tokens, or a list, of a picture."""

SAME_PLACE = frozenset({"elementwise", "erf", "softmax"})
"""Kinds that may write their output over an input that nobody reads again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A step of the graph: which of its inputs are weights, and the samples it computes. Pictures
    lie in blocks of positions and channels, padding included."""

    step: Step
    constant: tuple[bool, ...]
    batch: int
    reads_picture: bool = False
    makes_picture: bool = False

    def size(self, place: int) -> int:
        """Elements of an input per sample."""
        return elements(self.step.input(place), self.batch, picture=self.reads_picture) or 1

    @property
    def made(self) -> int:
        """Elements of the first output per sample."""
        outputs = self.step.outputs
        return elements(outputs[0], self.batch, picture=self.makes_picture) if outputs else 0

    def dims(self, place: int) -> tuple[int, ...]:
        return _known(self.step.input(place).dims)

    @property
    def out(self) -> tuple[int, ...]:
        return _known(self.step.outputs[0].dims)


def elements(fact: Fact, batch: int, *, picture: bool) -> int:
    """Per sample, as they lie on the card."""
    if picture and fact.elements:
        return blocked(_known(fact.dims)[1:]) * _known(fact.dims)[0] // batch
    return (fact.elements or 0) // batch


def _known(dims: tuple[int | None, ...] | None) -> tuple[int, ...]:
    return tuple(d or 1 for d in dims or ())


Rule = Callable[[Seen], list[Op]]


def ops_of(seen: Seen) -> list[Op]:
    """The work of one node; none where it is free or its sizes are not known."""
    if seen.step.node.op_type in FREE or not seen.made:
        return []
    return RULES.get(seen.step.node.op_type, _elementwise)(seen)


def is_view(seen: Seen) -> bool:
    """Moves that move nothing: the same elements in the same order, one index along the first axis, and pieces of
    whole blocks of channels."""
    kind, given, attributes = seen.step.node.op_type, seen.dims(0), seen.step.attributes
    if kind in ("Expand", "Pad", "Resize", "Slice", "Tile", "Upsample") and seen.out == given:
        return True
    if kind == "Transpose":
        order = attributes.get("perm") or range(len(given))[::-1]
        samples = given.index(seen.batch) if seen.batch in given else -1  # in whatever order, they are as near
        moved = [axis for axis in order if given[axis] > 1 and axis != samples]
        return moved == sorted(moved)
    if kind == "Gather" and seen.step.input(1).dims == ():
        return math.prod(given[: int(attributes.get("axis") or 0)]) == 1
    return kind in ("Slice", "Split") and seen.makes_picture and _in_whole_blocks(seen)


def _in_whole_blocks(seen: Seen) -> bool:
    parts = [seen.dims(0), *(_known(fact.dims) for fact in seen.step.outputs)]
    same = all(part[:1] + part[2:] == parts[0][:1] + parts[0][2:] for part in parts)
    return same and all(part[1] % TILE == 0 for part in parts)


def _elementwise(seen: Seen) -> list[Op]:
    if macs := count_steps([seen.step]).total:
        return [_unnamed_product(seen, macs // seen.batch)]
    return [vector("elementwise", seen.made)]


def _unnamed_product(seen: Seen, macs: int) -> Op:
    """Einsum, fused attention: a product of the output's size with as many terms as it takes."""
    wide = seen.out[-1] if seen.out else 1
    rows = max(1, seen.made // wide)
    deep = max(1, macs // (rows * wide))
    weights = any(seen.constant[1:])
    return dense(rows, deep, wide) if weights else product(1, rows, deep, wide)


def _passes(kind: Kind, count: int = 1) -> Rule:
    return lambda seen: [vector(kind, count * seen.made)]


def _over_inputs(kind: Kind) -> Rule:
    """Reductions: every input element is read once."""
    return lambda seen: [vector(kind, seen.size(0))]


def _mat_mul(seen: Seen) -> list[Op]:
    first, out = seen.dims(0), seen.out
    deep, wide = first[-1] if first else 1, out[-1] if out else 1
    if any(seen.constant[:2]):
        return [dense(max(1, seen.made // wide), deep, wide)]
    rows = out[-2] if len(out) > 1 else 1
    return [product(max(1, seen.made // (rows * wide)), rows, deep, wide)]


def _recurrent(seen: Seen) -> list[Op]:
    """One product with the inputs' weights for all steps, then one with the state's for each: those wait for another.

    The state's weights stay in fast memory between steps: they are read once.
    """
    steps = seen.dims(0)[1 if seen.step.attributes.get("layout") else 0]
    (directions, gates, size), hidden = seen.dims(1), seen.dims(2)[-1]
    chain = dense(1, hidden, gates, times=directions * steps)
    return [
        replace(dense(steps, size, gates), times=directions),
        replace(chain, weight_bytes=chain.weight_bytes // steps),
        replace(curve(SIGMOID, gates), times=directions * steps),
    ]


def _gemm(seen: Seen) -> list[Op]:
    first, out = seen.dims(0), seen.out
    deep = first[0 if seen.step.attributes.get("transA") else 1]
    return [dense(max(1, seen.made // out[-1]), deep, out[-1])]


def _conv(weights: int) -> Rule:
    def rule(seen: Seen) -> list[Op]:
        inputs, filters, out = seen.dims(0), seen.dims(weights), seen.out
        groups = int(seen.step.attributes.get("group") or 1)
        before = math.prod(inputs[2:])
        return [convolution(out[2:], inputs[1], out[1], math.prod(filters[2:]), groups=groups, in_positions=before)]

    return rule


def _transposed(seen: Seen) -> list[Op]:
    """Every input position feeds a window of outputs: as much work as a convolution at the input's size."""
    inputs, filters, out = seen.dims(0), seen.dims(1), seen.out
    groups = int(seen.step.attributes.get("group") or 1)
    made = convolution(inputs[2:], inputs[1], out[1], math.prod(filters[2:]), groups=groups)
    return [replace(made, out_bytes=2 * seen.made)]


def _pool(seen: Seen) -> list[Op]:
    window = math.prod(seen.step.attributes.get("kernel_shape") or (1,))
    return [vector("pool", window * seen.made)]


def _reduce(seen: Seen) -> list[Op]:
    """A mean over the positions of a picture is a pooling; along the last axis it is a pass of a normalisation."""
    given, out = seen.dims(0), seen.out
    pooled = len(given) == 4 and math.prod(out) * 4 <= math.prod(given) and given[2:] != out[2:]
    return [vector("pool" if pooled else "elementwise", seen.size(0))]


def _gather(seen: Seen) -> list[Op]:
    return [vector("lookup" if seen.constant and seen.constant[0] else "move", seen.made)]


def curve(instructions: int, values: int) -> Op:
    """``values`` of a function that takes so many vector instructions, as error functions of the same length."""
    return vector("erf", -(-instructions * values // ERF))


def _curve(instructions: int, passes: int = 0) -> Rule:
    return lambda seen: [
        curve(instructions, seen.made),
        *([vector("elementwise", passes * seen.made)] if passes else []),
    ]


def _gelu(seen: Seen) -> list[Op]:
    tanh = seen.step.attributes.get("approximate") in ("tanh", b"tanh")
    return _curve(TANH if tanh else ERF, GELU_PASSES)(seen)


_MOVES = (
    "Concat", "DepthToSpace", "Expand", "GatherElements", "GatherND", "Pad", "Resize", "ScatterElements", "ScatterND",
    "Slice", "SpaceToDepth", "Tile", "Transpose", "Upsample",
)  # fmt: skip
_NORMS = ("GroupNormalization", "InstanceNormalization", "LayerNormalization", "LpNormalization", "RMSNormalization",
          "SimplifiedLayerNormalization")  # fmt: skip
_REDUCTIONS = ("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
               "ReduceSum", "ReduceSumSquare")  # fmt: skip

RULES: dict[str, Rule] = {
    "MatMul": _mat_mul,
    "FusedMatMul": _mat_mul,
    "MatMulInteger": _mat_mul,
    "Gemm": _gemm,
    **dict.fromkeys(("GRU", "LSTM", "RNN"), _recurrent),
    "Conv": _conv(1),
    "FusedConv": _conv(1),
    "ConvInteger": _conv(1),
    "QLinearConv": _conv(3),
    "ConvTranspose": _transposed,
    "Softmax": _passes("softmax"),
    "LogSoftmax": _passes("softmax"),
    "Gelu": _gelu,
    "FastGelu": _curve(TANH, GELU_PASSES),
    "BiasGelu": _gelu,
    "QuickGelu": _curve(SIGMOID, 2),
    "Swish": _curve(SIGMOID, 1),
    "HardSwish": _passes("elementwise", 3),
    "HardSigmoid": _passes("elementwise", 2),
    "SkipLayerNormalization": _passes("elementwise", 1 + NORM_PASSES),
    "MaxPool": _pool,
    "AveragePool": _pool,
    "LpPool": _pool,
    "Split": _over_inputs("move"),
    "GlobalAveragePool": _over_inputs("pool"),
    "GlobalMaxPool": _over_inputs("pool"),
    "Gather": _gather,
    **{name: _curve(instructions) for name, instructions in INSTRUCTIONS.items()},
    **dict.fromkeys(_MOVES, _passes("move")),
    **dict.fromkeys(_NORMS, _passes("elementwise", NORM_PASSES)),
    **dict.fromkeys(_REDUCTIONS, _reduce),
}
