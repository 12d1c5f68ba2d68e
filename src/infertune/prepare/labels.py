"""Which outputs are labels: whole numbers or truth values that name something (a class, a token, a row), where another
one is wrong however near it is. Whole numbers that a size was rounded to, such as pixels, are none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from infertune.prepare import graphs

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

_CHOOSES = frozenset(
    (
        "And", "ArgMax", "ArgMin", "Equal", "Greater", "GreaterOrEqual", "If", "IsInf", "IsNaN", "LabelEncoder", "Less",
        "LessOrEqual", "LinearClassifier", "Loop", "NonMaxSuppression", "NonZero", "Not", "Or", "SVMClassifier", "Scan",
        "TopK", "TreeEnsembleClassifier", "Unique", "Xor",
    )
)  # fmt: skip
"""Their whole numbers and truth values name something; those of a loop are the tokens that it decoded."""

_KEEPS = frozenset(
    (
        "Add", "Cast", "CastLike", "Concat", "Expand", "Flatten", "Identity", "Mul", "Pad", "Reshape", "Slice", "Split",
        "Squeeze", "Sub", "Tile", "Transpose", "Unsqueeze", "Where",
    )
)  # fmt: skip
"""What they make of labels are labels."""

_PICKS = frozenset(("ArrayFeatureExtractor", "Gather", "GatherElements", "GatherND"))
"""They name rows of their first input; what they give is a label where that is, or is stored and they were chosen."""

MOST_NODES = 200


def label_outputs(model: ModelProto, whole: Iterable[str]) -> frozenset[str]:
    """Those of the outputs ``whole``, which hold no fractions, that come from nodes that choose alone."""
    graph = graphs.inlined(model).graph
    makers = {name: node for node in graph.node for name in node.output}
    origins = {name: [node.op_type for node in _origins(makers, name)] for name in whole}
    return frozenset(name for name, found in origins.items() if found and _CHOOSES.issuperset(found))


def _origins(makers: Mapping[str, NodeProto], name: str) -> Iterator[NodeProto]:
    """The nodes that made what ``name`` holds, looked for behind those that keep labels."""
    seen: set[str] = set()
    waiting = [name]
    while waiting and len(seen) < MOST_NODES:
        node = makers.get(waiting.pop())
        if node is None or node.op_type == "Constant" or node.output[0] in seen:
            continue
        seen.add(node.output[0])
        if node.op_type in _PICKS:
            waiting.append(node.input[0] if node.input[0] in makers else node.input[1])
        elif node.op_type in _KEEPS:
            waiting.extend(node.input)
        else:
            yield node
