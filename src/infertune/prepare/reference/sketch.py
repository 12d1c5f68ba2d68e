"""A network as a list of nodes and a list of weights that are described but not drawn: counting costs nothing."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace

from infertune.core.records import TensorSpec

Attribute = int | float | tuple[int, ...]
Constant = int | float | tuple[int, ...]
Sizes = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """A float32 tensor of normal numbers cut at two deviations; ``std`` and ``mean`` are those of the result.

    ``centred`` filters (first axis: outputs) sum to zero, so that they do not pass on the common mean of rectified
    inputs: what BatchNormalization does in a trained network.
    """

    name: str
    shape: Sizes
    std: float
    mean: float = 0.0
    centred: bool = False

    @property
    def count(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One ONNX operator; a ``Constant`` node holds its value instead of attributes."""

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: tuple[tuple[str, Attribute], ...] = ()
    value: Constant | None = None


class Sketch:
    """Collects nodes in order; names follow those of torch exports (``/encoder/layer.0/.../MatMul_output_0``)."""

    def __init__(self, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]) -> None:
        self.inputs = inputs
        self.outputs = outputs
        self.nodes: list[Node] = []
        self.weights: list[Weight] = []
        self._used: Counter[str] = Counter()
        self._constants: dict[tuple[type, Constant], str] = {}

    @property
    def parameters(self) -> int:
        """Numbers in the weights, as the file will hold them."""
        return sum(weight.count for weight in self.weights)

    def weight(self, name: str, shape: Sizes, *, std: float, mean: float = 0.0, centred: bool = False) -> str:
        self.weights.append(Weight(name=name, shape=shape, std=std, mean=mean, centred=centred))
        return name

    def constant(self, value: Constant) -> str:
        """A scalar (int64 or float32) or a vector (int64); equal values share one node."""
        key = (type(value), value)
        if key not in self._constants:
            name = self._unique("/Constant")
            node = Node(op="Constant", name=name, inputs=(), outputs=(f"{name}_output_0",), value=value)
            self.nodes.append(node)
            self._constants[key] = node.outputs[0]
        return self._constants[key]

    def add(self, op: str, *inputs: str, at: str = "", out: str | None = None, **attributes: Attribute) -> str:
        """Append an operator inside the scope ``at`` and return the name of its one output."""
        return self.add_many(op, *inputs, at=at, outs=(out,), **attributes)[0]

    def add_many(
        self, op: str, *inputs: str, at: str, outs: tuple[str | None, ...], **attributes: Attribute
    ) -> tuple[str, ...]:
        """The same for several outputs; None takes the default name."""
        name = self._unique(f"/{at}/{op}" if at else f"/{op}")
        outputs = tuple(out or f"{name}_output_{i}" for i, out in enumerate(outs))
        node = Node(op=op, name=name, inputs=inputs, outputs=outputs, attributes=tuple(attributes.items()))
        self.nodes.append(node)
        return outputs

    def name_output(self, made: str, wanted: str) -> None:
        """Rename what the last operator made to the name of an output of the network."""
        last = self.nodes.pop()
        outputs = tuple(wanted if out == made else out for out in last.outputs)
        self.nodes.append(replace(last, outputs=outputs))

    def _unique(self, name: str) -> str:
        seen = self._used[name]
        self._used[name] += 1
        return f"{name}_{seen}" if seen else name
