"""Walking an ONNX model: every graph, node and tensor in it, each with its place in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from infertune.core.errors import DataError, quoted

if TYPE_CHECKING:
    from onnx import AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto

ONNX_DOMAINS = ("", "ai.onnx")
MOST_INLINED_NODES = 500_000
DEEPEST_CALL = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """A graph or function body. ``where`` is empty for the main graph, else words such as ``then_branch of If `x```."""

    where: str
    body: GraphProto | FunctionProto

    @property
    def initializers(self) -> Iterable[TensorProto]:
        return getattr(self.body, "initializer", ())

    @property
    def sparse_initializers(self) -> Iterable[SparseTensorProto]:
        return getattr(self.body, "sparse_initializer", ())

    def within(self, words: str) -> str:
        return f"{words} in {self.where}" if self.where else words


def scopes(model: ModelProto) -> Iterator[Scope]:
    """The main graph, every subgraph of a node at any depth, and every model-local function."""
    yield from _graph_scopes(Scope(where="", body=model.graph))
    for function in model.functions:
        yield from _graph_scopes(Scope(where=f"function `{function.name}`", body=function))


def graph_scopes(graph: GraphProto) -> Iterator[Scope]:
    """A graph and every subgraph of its nodes at any depth."""
    return _graph_scopes(Scope(where="", body=graph))


def _graph_scopes(scope: Scope) -> Iterator[Scope]:
    yield scope
    for node in scope.body.node:
        for attribute in node.attribute:
            for graph in subgraphs(attribute):
                where = scope.within(f"{attribute.name} of {title(node)}")
                yield from _graph_scopes(Scope(where=where, body=graph))


def subgraphs(attribute: AttributeProto) -> list[GraphProto]:
    found = [attribute.g] if attribute.HasField("g") else []
    return found + list(attribute.graphs)


def title(node: NodeProto) -> str:
    """``MatMul `name```; a node without a name goes by its first output."""
    name = node.name or next((o for o in node.output if o), "?")
    return f"{node.op_type} `{name}`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A tensor inside a model. ``node`` is None for an initializer; ``index``: the positions of sparse values."""

    name: str
    where: str
    tensor: TensorProto
    node: NodeProto | None = None
    index: bool = False


def tensors(model: ModelProto) -> Iterator[Found]:
    """Every tensor stored in the model: initializers and tensor attributes, dense and sparse, at any depth."""
    for scope in scopes(model):
        for tensor in scope.initializers:
            yield Found(name=tensor.name, where=scope.within("initializer"), tensor=tensor)
        for sparse in scope.sparse_initializers:
            yield from _sparse(sparse, sparse.values.name, scope.within("sparse initializer"), None)
        for node in scope.body.node:
            for attribute in node.attribute:
                where = scope.within(f"attribute {attribute.name} of {title(node)}")
                yield from _attribute_tensors(attribute, attribute_label(node, attribute), where, node)
        for attribute in getattr(scope.body, "attribute_proto", ()):
            yield from _attribute_tensors(attribute, attribute.name, f"default {attribute.name} of {scope.where}", None)


def attribute_label(node: NodeProto, attribute: AttributeProto) -> str:
    """A Constant goes by the tensor it makes; any other attribute by its node and its own name."""
    if node.op_type == "Constant" and len(node.output):
        return str(node.output[0])
    return f"{node.name or node.op_type}.{attribute.name}"


def _attribute_tensors(attribute: AttributeProto, name: str, where: str, node: NodeProto | None) -> Iterator[Found]:
    if attribute.HasField("t"):
        yield Found(name=name, where=where, tensor=attribute.t, node=node)
    for number, tensor in enumerate(attribute.tensors):
        yield Found(name=f"{name}[{number}]", where=where, tensor=tensor, node=node)
    if attribute.HasField("sparse_tensor"):
        yield from _sparse(attribute.sparse_tensor, name, where, node)
    for number, sparse in enumerate(attribute.sparse_tensors):
        yield from _sparse(sparse, f"{name}[{number}]", where, node)


def _sparse(sparse: SparseTensorProto, name: str, where: str, node: NodeProto | None) -> Iterator[Found]:
    yield Found(name=name, where=where, tensor=sparse.values, node=node)
    yield Found(name=name, where=where, tensor=sparse.indices, node=node, index=True)


def inlined(model: ModelProto) -> ModelProto:
    """The model with model-local functions replaced by their bodies; the model itself where it has none.

    Raises `DataError` for functions that do not fit their calls, call themselves, nest deeper than 64 calls or unfold
    into more than half a million nodes: small files can be written that would exhaust the stack or the memory.
    """
    if not model.functions:
        return model
    from onnx import inliner

    _check_unfolding(model)
    try:
        return inliner.inline_local_functions(model)
    except (RuntimeError, ValueError, IndexError) as error:
        raise _unfit(f"a model-local function does not fit its call: {quoted(str(error))}") from None


_FunctionKey = tuple[str, str, str]


def _check_unfolding(model: ModelProto) -> None:
    bodies = {(f.domain, f.name, f.overload): f for f in model.functions}
    sizes: dict[_FunctionKey, int] = {}

    def size(key: _FunctionKey, depth: int) -> int:
        if depth > DEEPEST_CALL:
            raise _unfit(f"function `{quoted(key[1])}` calls itself or is more than {DEEPEST_CALL} calls deep")
        if key not in sizes:
            sizes[key] = total(graph_nodes(Scope(where="", body=bodies[key])), depth)
        return sizes[key]

    def total(nodes: Iterable[NodeProto], depth: int) -> int:
        keys = ((n.domain, n.op_type, n.overload) for n in nodes)
        return sum(1 + (size(key, depth + 1) if key in bodies else 0) for key in keys)

    count = total(graph_nodes(Scope(where="", body=model.graph)), 0)
    if count > MOST_INLINED_NODES:
        raise _unfit(f"functions unfold into {count} nodes, more than {MOST_INLINED_NODES}")


def graph_nodes(scope: Scope) -> Iterator[NodeProto]:
    """The nodes of a body and of every subgraph in it."""
    for inner in _graph_scopes(scope):
        yield from inner.body.node


def _unfit(what: str) -> DataError:
    return DataError("model-functions", what, hint="export the model again without model-local functions")
