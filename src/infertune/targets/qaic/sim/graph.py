"""The workload of an ONNX graph: every node traced at bound shapes, with what must be kept in memory at each."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from infertune.core.errors import quoted
from infertune.prepare import source
from infertune.prepare.facts import Fact
from infertune.prepare.load import read_ports
from infertune.prepare.trace import Step, trace
from infertune.targets.qaic.sim.graph_ops import BLOCKED, SAME_PLACE, UNBLOCKED, Seen, elements, is_view, ops_of
from infertune.targets.qaic.sim.workload import FP16_BYTES, Op, Workload, merged, staged

if TYPE_CHECKING:
    from onnx import ModelProto

    from infertune.core.records import TensorSpec

VIEWS = frozenset({"Cast", "Dropout", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
BIASED = frozenset({"MatMul", "Conv", "Gemm", "FusedMatMul"})
GATES = frozenset({"HardSigmoid", "Sigmoid"})
_DTYPE_BYTES = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 16: 2}


def workload_of(path: str, shapes: Mapping[str, int]) -> Workload:
    """The model at ``path`` with its symbols bound to ``shapes``; amounts per sample.

    A symbol that ``shapes`` leaves out counts as 1: the batch, which the amounts do not depend on.
    Raises the errors of `prepare.source.read`.
    """
    opened = source.read(path)
    return graph_workload(Path(path).stem, opened.proto, _input_dims(opened.proto, shapes))


def spec_workload(name: str, proto: ModelProto, inputs: Sequence[TensorSpec]) -> Workload:
    """The same for inputs whose dimensions are all numbers."""
    return graph_workload(name, proto, _dims(inputs))


def batch_of(proto: ModelProto, inputs: Sequence[TensorSpec]) -> int:
    """How many samples inputs of these shapes hold, by the rule that finds a model's batch everywhere."""
    return _batch(proto, _dims(inputs))


def _dims(inputs: Sequence[TensorSpec]) -> dict[str, tuple[int, ...]]:
    return {spec.name: tuple(int(d) if isinstance(d, int) else 1 for d in spec.dims) for spec in inputs}


def _batch(proto: ModelProto, inputs: Mapping[str, tuple[int, ...]]) -> int:
    ports = read_ports(proto)
    naming = ports.named()
    for port, dims in zip(ports.inputs, naming.inputs, strict=True):
        if naming.batch_symbol in dims:
            return inputs[port.name][dims.index(naming.batch_symbol)]
    return naming.fixed_batch


def _input_dims(proto: ModelProto, shapes: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    stored = {tensor.name for tensor in proto.graph.initializer}
    return {
        port.name: tuple(dim.dim_value or shapes.get(dim.dim_param, 1) for dim in port.type.tensor_type.shape.dim)
        for port in proto.graph.input
        if port.name not in stored
    }


def graph_workload(name: str, proto: ModelProto, inputs: Mapping[str, tuple[int, ...]]) -> Workload:
    """Amounts per sample of a graph whose inputs have these shapes."""
    batch = _batch(proto, inputs)
    constants = {tensor.name for tensor in proto.graph.initializer}
    steps = trace(proto, inputs)
    walk = _Walk(batch=batch, outputs=[port.name for port in proto.graph.output], constants=constants)
    ops = walk.ops(steps)
    kinds = {port.name: port.type.tensor_type.elem_type for port in proto.graph.input}
    given = [Fact(dims=dims, data_type=kinds[port]) for port, dims in inputs.items()]
    return Workload(
        name=quoted(name, 120),
        ops=merged(staged(ops)),
        input_bytes=_bytes(given) // batch,
        output_bytes=_bytes(_made_by(steps, [port.name for port in proto.graph.output])) // batch,
        stored_bytes=FP16_BYTES * sum(math.prod(tensor.dims) for tensor in proto.graph.initializer),
    )


def _made_by(steps: Iterable[Step], names: Sequence[str]) -> list[Fact]:
    made = {name: fact for step in steps for name, fact in zip(step.node.output, step.outputs, strict=False)}
    return [made[name] for name in names if name in made]


def _bytes(facts: Iterable[Fact]) -> int:
    return sum((fact.elements or 0) * _DTYPE_BYTES.get(fact.data_type, 4) for fact in facts)


@dataclass(slots=True)
class _Walk:
    """Goes through the steps of a graph in order, keeping account of the activations that are still needed.

    ``root`` names what a view is a view of; a sum with a bias is one of the product that it starts, and a normalisation
    with fixed factors one of the convolution that it is folded into. ``pictures`` lie in blocks. ``gates``: steps that
    are computed with the product (x times a sigmoid of x) that alone reads them.
    """

    batch: int
    outputs: Sequence[str]
    constants: set[str]
    live: dict[str, int] = field(default_factory=dict)
    root: dict[str, str] = field(default_factory=dict)
    pictures: set[str] = field(default_factory=set)
    gates: dict[str, Step] = field(default_factory=dict)

    def ops(self, steps: Sequence[Step]) -> list[Op]:
        worked = [step for step in self._runtime(steps) if not self._is_view(step)]
        last = self._last_reads(steps)
        found: list[Op] = []
        for place, step in enumerate(worked):
            found += self._bodies(step) if step.bodies else self._node(step)
            for name in map(self._origin, step.node.input):
                if last.get(name, -1) <= place:
                    self.live.pop(name, None)
        return found

    def _runtime(self, steps: Sequence[Step]) -> list[Step]:
        """What is left for the card: no small values and nothing made of weights only; views are named on the way."""
        left: list[Step] = []
        maker: dict[str, str] = {}
        gates = self._gates(steps)
        for step in steps:
            if self._is_constant(step):
                self.constants.update(step.node.output)
                continue
            left.append(step)
            self._look_at(step)
            maker.update(dict.fromkeys(step.node.output, step.node.op_type))
            seen = step.node.input[0] if step.node.output[0] in gates else self._seen_through(step, maker)
            if seen is not None:
                self.root.update(dict.fromkeys(step.node.output, self._origin(seen)))
        return left

    def _gates(self, steps: Sequence[Step]) -> set[str]:
        """Names of sigmoids of x that nothing but a product with x reads; `gates` has the steps by that product."""
        made = {step.node.output[0]: step for step in steps if step.node.op_type in GATES}
        readers = Counter(name for step in steps for name in step.node.input)
        readers.update(self.outputs)
        found: set[str] = set()
        for step in steps:
            for name, other in itertools.permutations(step.node.input) if step.node.op_type == "Mul" else ():
                if name in made and made[name].node.input[0] == other and readers[name] == 1:
                    self.gates[step.node.output[0]] = made[name]
                    found.add(name)
        return found

    def _look_at(self, step: Step) -> None:
        """Whether what it makes are pictures."""
        kind = step.node.op_type
        read = kind not in UNBLOCKED and any(name in self.pictures for name in step.node.input)
        for name, fact in zip(step.node.output, step.outputs, strict=False):
            if len(fact.dims or ()) > 2 and (read or kind in BLOCKED):
                self.pictures.add(name)

    def _is_constant(self, step: Step) -> bool:
        if step.outputs and all(fact.value is not None for fact in step.outputs):
            return True
        return not step.bodies and all(name in self.constants for name in step.node.input if name)

    def _seen_through(self, step: Step, maker: Mapping[str, str]) -> str | None:
        """The input that the output is a view of, if it is one."""
        if step.node.op_type in VIEWS and step.node.input:
            return str(step.node.input[0])
        if is_view(self._seen(step)):
            return str(step.node.input[0])
        if step.node.op_type == "BatchNormalization" and maker.get(step.node.input[0]) in BIASED:
            return str(step.node.input[0])
        if step.node.op_type != "Add":
            return None
        fixed = [name in self.constants for name in step.node.input]
        if sum(fixed) != 1:
            return None
        bias, sums = (1, 0) if fixed[1] else (0, 1)
        small = (step.input(bias).elements or 0) <= max(d or 1 for d in (step.input(sums).dims or (1,)))
        product = str(step.node.input[sums])
        return product if small and maker.get(product) in BIASED else None

    def _is_view(self, step: Step) -> bool:
        return bool(step.node.output) and step.node.output[0] in self.root

    def _origin(self, name: str) -> str:
        return self.root.get(name, name)

    def _last_reads(self, steps: Sequence[Step]) -> dict[str, int]:
        """Place among the steps that are no views and no constants at which a tensor is read last."""
        worked = [s for s in steps if s.node.output and s.node.output[0] not in self.constants and not self._is_view(s)]
        reads = {self._origin(name): place for place, step in enumerate(worked) for name in step.node.input}
        return {**reads, **{self._origin(name): len(worked) for name in self.outputs}}

    def _node(self, step: Step) -> list[Op]:
        gate = self.gates.get(step.node.output[0])
        ops = [*(ops_of(self._seen(gate)) if gate else ()), *ops_of(self._seen(step))]
        reads = sum(self.live.get(name, 0) for name in {self._origin(n) for n in step.node.input})
        self._keep(step)
        made = sum(self.live[name] for name in step.node.output)
        moved = [(reads, made), *((0, 0) for _ in ops[1:])]  # once, however many parts the operator has
        return [
            replace(op, in_bytes=given, out_bytes=out, live_bytes=self._needed(op, step, reads))
            for op, (given, out) in zip(ops, moved, strict=False)
        ]

    def _seen(self, step: Step) -> Seen:
        return Seen(
            step=step,
            constant=tuple(name in self.constants for name in step.node.input),
            batch=self.batch,
            reads_picture=bool(step.node.input) and step.node.input[0] in self.pictures,
            makes_picture=step.node.output[0] in self.pictures,
        )

    def _needed(self, op: Op, step: Step, reads: int) -> int:
        """Everything alive; an operator that works in place needs no second copy of what it reads."""
        total = sum(self.live.values())
        made = sum(self.live.get(name, 0) for name in step.node.output)
        return total - min(made, reads) if op.kind in SAME_PLACE else total

    def _keep(self, step: Step) -> None:
        for name, fact in zip(step.node.output, step.outputs, strict=False):
            self.live[name] = FP16_BYTES * elements(fact, self.batch, picture=name in self.pictures)

    def _bodies(self, step: Step) -> list[Op]:
        """The costliest body of an If, Loop or Scan, as often as it runs (once where that is not known)."""
        self._keep(step)
        bodies = []
        for body in step.bodies:
            inner = _Walk(batch=self.batch, outputs=(), constants=set(self.constants))
            bodies.append([replace(op, times=op.times * (body.times or 1)) for op in inner.ops(body.steps)])
        return max(bodies, key=lambda ops: sum(op.times * (op.macs + op.elements) for op in ops))
