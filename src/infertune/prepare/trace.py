"""Shapes of every tensor at bound input shapes: one pass over the nodes in order, computing small constants on the way.

`onnx.shape_inference` over a whole model loses the shapes behind the arithmetic by which exporters spell reshapes and
expansions; here each node is inferred with the values of its small inputs, so those shapes are known too.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from infertune.prepare import contrib, facts, fold, graphs, source
from infertune.prepare.facts import UNKNOWN, Fact

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

Facts = MutableMapping[str, Fact]

MOST_ROUNDS = 2**31 - 2
"""Exporters spell "until the condition is false" as a trip count above this."""

DEEPEST_BODY = 6
"""Bodies inside bodies are looked into so deep: a loop may be traced twice, so a tower of them 2^depth times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A node with what is known of its inputs (None: left out) and outputs, and the bodies that it runs."""

    node: NodeProto
    attributes: Mapping[str, Any]
    inputs: tuple[Fact | None, ...]
    outputs: tuple[Fact, ...] = ()
    bodies: tuple[Body, ...] = ()

    def input(self, place: int) -> Fact:
        found = self.inputs[place] if place < len(self.inputs) else None
        return UNKNOWN if found is None else found

    @property
    def loses_shape(self) -> bool:
        """Whether the shape of the first output is unknown although those of all inputs are known."""
        known = all(fact is None or fact.elements is not None for fact in self.inputs)
        return known and bool(self.outputs) and self.outputs[0].elements is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """Steps of a subgraph that runs ``times`` times (None: known only when it runs), and what it hands back."""

    steps: tuple[Step, ...]
    results: tuple[Fact, ...]
    times: int | None


def trace(stripped: ModelProto, shapes: Mapping[str, tuple[int, ...]]) -> tuple[Step, ...]:
    """Every step of a stripped model whose inputs have these shapes. Raises `DataError` for unfolding functions."""
    model = graphs.inlined(stripped)
    kinds = {port.name: port.type.tensor_type.elem_type for port in model.graph.input}
    known = {name: Fact(dims=dims, data_type=kinds[name]) for name, dims in shapes.items()}
    return _Tracer(versions=source.opsets(model)).steps(model.graph, known)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tracer:
    versions: Mapping[str, int]
    depth: int = 0

    def steps(self, graph: GraphProto, known: Facts) -> tuple[Step, ...]:
        """Trace a graph, adding what becomes known to ``known``."""
        known.update((tensor.name, facts.stored(tensor)) for tensor in graph.initializer)
        for sparse in graph.sparse_initializer:
            known[sparse.values.name] = Fact(dims=tuple(sparse.dims), data_type=sparse.values.data_type)
        return tuple(self.step(node, known) for node in graph.node)

    def step(self, node: NodeProto, known: Facts) -> Step:
        inputs = tuple(known.get(name, UNKNOWN) if name else None for name in node.input)
        begun = Step(node=node, attributes=facts.attributes_of(node), inputs=inputs)
        done = self._with_bodies(begun, known) or replace(begun, outputs=self.outputs(begun))
        known.update((name, fact) for name, fact in zip(node.output, done.outputs, strict=False) if name)
        return done

    def _with_bodies(self, step: Step, known: Facts) -> Step | None:
        """The step with its bodies traced; None for a node without, or with such that make no sense."""
        trace_bodies = _BODIES.get(step.node.op_type) if step.node.domain in graphs.ONNX_DOMAINS else None
        if trace_bodies is None or self.depth >= DEEPEST_BODY:
            return None
        try:
            return trace_bodies(self, step, known)
        except (KeyError, IndexError, ValueError, TypeError, AttributeError):
            return None

    def body(self, graph: GraphProto, known: Facts, given: tuple[Fact, ...], times: int | None) -> Body:
        """A subgraph that sees the names around it, with ``given`` for its own inputs."""
        inner: Facts = ChainMap({}, known)
        inner.update((port.name, fact) for port, fact in zip(graph.input, given, strict=False))
        steps = replace(self, depth=self.depth + 1).steps(graph, inner)
        return Body(steps=steps, results=tuple(inner.get(o.name, UNKNOWN) for o in graph.output), times=times)

    def outputs(self, step: Step) -> tuple[Fact, ...]:
        node = step.node
        if node.op_type == "Constant":
            return (facts.constant(step.attributes),)
        outputs = self._inferred(step)
        if len(outputs) == 1 and (value := _value(step, outputs[0])) is not None:
            return (facts.of_value(value),)
        return outputs

    def _inferred(self, step: Step) -> tuple[Fact, ...]:
        node = step.node
        in_onnx = node.domain in graphs.ONNX_DOMAINS and self._defined(node.op_type)
        known_as = node.op_type if in_onnx else contrib.EQUIVALENT.get(node.op_type)
        if known_as and (found := self._by_onnx(step, known_as)) and found[0] != UNKNOWN:
            return found
        dims = contrib.output_dims(node.op_type, step.attributes, [f.dims if f else None for f in step.inputs])
        alike = contrib.same_outputs(node.op_type)
        made = Fact(dims=dims, data_type=_runtime_type(step))
        return tuple(made if place in alike else UNKNOWN for place in range(len(node.output)))

    def _defined(self, op_type: str) -> bool:
        from onnx import defs

        return bool(defs.has(op_type, self.versions.get("", 1), ""))

    def _by_onnx(self, step: Step, op_type: str) -> tuple[Fact, ...]:
        """By the operator's own rule in ONNX; nothing known where that has none or rejects the inputs."""
        import onnx
        from onnx import defs, shape_inference

        node = onnx.NodeProto()
        node.CopyFrom(step.node)
        node.op_type, node.domain = op_type, ""
        schema = defs.get_schema(op_type, self.versions.get("", 1), "")
        del node.input[schema.max_input :]
        kept = [attribute for attribute in step.node.attribute if attribute.name in schema.attributes]
        del node.attribute[:]
        node.attribute.extend(kept)
        known = {name: fact for name, fact in zip(node.input, step.inputs, strict=False) if fact is not None}
        if op_type != step.node.op_type:
            known = {name: _widened(fact, step.input(0).data_type) for name, fact in known.items()}
        try:
            found = shape_inference.infer_node_outputs(
                schema,
                node,
                {name: facts.to_type(fact) for name, fact in known.items()},
                {name: facts.to_tensor(name, fact.value) for name, fact in known.items() if fact.value is not None},
                opset_imports=[onnx.helper.make_opsetid("", self.versions.get("", 1))],
            )
        except (shape_inference.InferenceError, onnx.checker.ValidationError, *_FROM_CPP):
            return ()
        return tuple(facts.of_type(found[name]) if name in found else UNKNOWN for name in node.output)


# what pybind11 makes of the exceptions of C++; a rule may throw any on a node that it does not expect
_FROM_CPP = (RuntimeError, ValueError, IndexError, OverflowError, MemoryError)
_FLOATS = frozenset((1, 10, 11, 16))
_EIGHT_BITS = frozenset((2, 3))


def _widened(fact: Fact, data_type: int) -> Fact:
    """Weights of eight bits as the input beside them: the rule of the operator without quantisation takes no others."""
    return replace(fact, data_type=data_type, value=None) if fact.data_type in _EIGHT_BITS else fact


def _runtime_type(step: Step) -> int:
    """Of the output of a runtime's own operator: that of its first float input, or else of its first input."""
    kinds = [fact.data_type if fact else 0 for fact in step.inputs]
    if step.node.op_type == "QuantizeLinear":
        return kinds[2] if len(kinds) > 2 else 2
    quantised = step.node.op_type.startswith("QLinear")
    floats = [kind for kind in kinds if kind in _FLOATS]
    return floats[0] if floats and not quantised else next(iter(kinds), 0)


def _value(step: Step, output: Fact) -> fold.Array | None:
    """The value of a node's only output where it follows from known inputs and is small."""
    dims = step.input(0).dims
    if step.node.op_type == "Shape" and dims is not None and None not in dims:
        start, end = step.attributes.get("start", 0), step.attributes.get("end")
        return np.array(dims, np.int64)[slice(start, end)]
    if step.node.op_type == "Size" and (elements := step.input(0).elements) is not None:
        return np.array(elements, np.int64)
    small = output.elements is not None and output.elements <= fold.MOST_ELEMENTS
    values = [None if fact is None else fact.value for fact in step.inputs]
    given = all(fact is None or fact.value is not None for fact in step.inputs)
    if not given or not (small or step.node.op_type == "NonZero"):
        return None
    plain = {n: v.value if isinstance(v, Fact) else v for n, v in step.attributes.items()}
    return fold.fold(step.node, plain, values)


def _if(tracer: _Tracer, step: Step, known: Facts) -> Step:
    """Both branches, or the one that a known condition chooses."""
    chosen = ["then_branch", "else_branch"]
    condition = step.input(0).value
    if condition is not None and condition.size == 1:
        chosen = chosen[:1] if condition.item() else chosen[1:]
    bodies = tuple(tracer.body(step.attributes[name], known, (), 1) for name in chosen)
    outputs = tuple(facts.either(results) for results in zip(*(b.results for b in bodies), strict=False))
    return replace(step, outputs=outputs, bodies=bodies)


def _loop(tracer: _Tracer, step: Step, known: Facts) -> Step:
    """What is carried from round to round keeps only the dimensions that a round does not change."""
    count = step.input(0).value
    times = int(count.item()) if count is not None and count.size == 1 and count.item() <= MOST_ROUNDS else None
    graph = step.attributes["body"]
    carried = tuple(replace(fact or UNKNOWN, value=None) for fact in step.inputs[2:])
    own = (Fact(dims=(), data_type=7), Fact(dims=(), data_type=9))
    first = tracer.body(graph, known, (*own, *carried), times)
    kept = _kept(carried, first.results[1:])
    body = first if kept == carried else tracer.body(graph, known, (*own, *kept), times)
    collected = body.results[1 + len(carried) :]
    return replace(step, outputs=(*kept, *(_stacked(f, times, 0) for f in collected)), bodies=(body,))


def _kept(before: tuple[Fact, ...], after: tuple[Fact, ...]) -> tuple[Fact, ...]:
    return tuple(facts.either(pair) for pair in zip(before, after, strict=False))


def _stacked(fact: Fact, times: int | None, axis: int) -> Fact:
    if fact.dims is None:
        return UNKNOWN
    place = axis % (len(fact.dims) + 1)
    return Fact(dims=(*fact.dims[:place], times, *fact.dims[place:]), data_type=fact.data_type)


def _scan(tracer: _Tracer, step: Step, known: Facts) -> Step:
    """Scan as of operator set 9: states first, then inputs cut along their scan axis."""
    cut = int(step.attributes["num_scan_inputs"])
    states = tuple(replace(fact or UNKNOWN, value=None) for fact in step.inputs[: len(step.inputs) - cut])
    scanned = tuple(fact or UNKNOWN for fact in step.inputs[len(states) :])
    axes = step.attributes.get("scan_input_axes") or [0] * cut
    lengths = {f.dims[axis] for f, axis in zip(scanned, axes, strict=True) if f.dims}
    times = lengths.pop() if len(lengths) == 1 else None
    slices = tuple(_slice_of(fact, axis) for fact, axis in zip(scanned, axes, strict=True))
    body = tracer.body(step.attributes["body"], known, (*states, *slices), times)
    collected = body.results[len(states) :]
    out_axes = step.attributes.get("scan_output_axes") or [0] * len(collected)
    stacked = tuple(_stacked(f, times, axis) for f, axis in zip(collected, out_axes, strict=True))
    return replace(step, outputs=(*_kept(states, body.results), *stacked), bodies=(body,))


def _slice_of(fact: Fact, axis: int) -> Fact:
    if not fact.dims:
        return UNKNOWN
    place = axis % len(fact.dims)
    return Fact(dims=fact.dims[:place] + fact.dims[place + 1 :], data_type=fact.data_type)


_BODIES: dict[str, Callable[[_Tracer, Step, Facts], Step]] = {"If": _if, "Loop": _loop, "Scan": _scan}
