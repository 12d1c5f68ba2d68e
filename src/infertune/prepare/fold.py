"""Small constants computed ahead: the whole-number arithmetic by which exported models work out their own shapes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from onnx import NodeProto

Array = npt.NDArray[Any]
Attributes = Mapping[str, Any]

MOST_ELEMENTS = 4096
"""Values above this size are not kept: nothing that large says what shape something has."""

_FAILURES = (ValueError, TypeError, IndexError, KeyError, ZeroDivisionError, OverflowError, FloatingPointError)


def fold(node: NodeProto, attributes: Attributes, values: Sequence[Array | None]) -> Array | None:
    """The output of a node whose inputs are all known (None: an optional input left out); None where it is not known.

    The caller makes sure that the output is small.
    """
    rule = _RULES.get(node.op_type)
    if rule is None:
        return None
    try:
        with np.errstate(all="ignore"):
            made = np.asarray(rule(attributes, list(values)))
    except _FAILURES:
        return None
    return made if made.size <= MOST_ELEMENTS and made.dtype.kind in "biuf" else None


_Rule = Callable[[Attributes, list[Any]], Any]


def _binary(function: Callable[[Any, Any], Any]) -> _Rule:
    return lambda _, values: function(values[0], values[1])


def _divide(a: Array, b: Array) -> Array:
    """ONNX divides whole numbers towards zero."""
    if a.dtype.kind in "iu":
        return np.asarray(np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b)), a.dtype)
    return np.asarray(np.divide(a, b))


def _axes(attributes: Attributes, values: list[Any], place: int = 1) -> list[int] | None:
    """Axes as an input (newer operator sets) or as an attribute (older ones)."""
    if len(values) > place and values[place] is not None:
        return [int(axis) for axis in np.atleast_1d(values[place])]
    stated = attributes.get("axes")
    return None if stated is None else [int(axis) for axis in stated]


def _unsqueeze(attributes: Attributes, values: list[Any]) -> Array:
    return np.expand_dims(values[0], tuple(_axes(attributes, values) or ()))


def _squeeze(attributes: Attributes, values: list[Any]) -> Array:
    axes = _axes(attributes, values)
    return np.asarray(np.squeeze(values[0], None if axes is None else tuple(axes)))


def _reshape(_attributes: Attributes, values: list[Any]) -> Array:
    data, wanted = values
    return np.reshape(data, [data.shape[i] if size == 0 else int(size) for i, size in enumerate(wanted)])


def _slice(attributes: Attributes, values: list[Any]) -> Array:
    data: Array = values[0]
    if len(values) == 1:
        starts, ends, steps = attributes["starts"], attributes["ends"], None
        axes = attributes.get("axes")
    else:
        starts, ends = values[1], values[2]
        axes, steps = (values[i] if len(values) > i else None for i in (3, 4))
    chosen = [slice(None)] * data.ndim
    for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
        axis = number if axes is None else int(axes[number])
        step = 1 if steps is None else int(steps[number])
        backwards_to_the_first = step < 0 and int(end) < -data.shape[axis]
        chosen[axis] = slice(int(start), None if backwards_to_the_first else int(end), step)
    return np.asarray(data[tuple(chosen)])


def _cast(attributes: Attributes, values: list[Any]) -> Array:
    from onnx import helper

    return np.asarray(values[0]).astype(helper.tensor_dtype_to_np_dtype(int(attributes["to"])))


def _constant_of_shape(attributes: Attributes, values: list[Any]) -> Array:
    fill = attributes.get("value", np.zeros(1, np.float32))
    return np.full([int(size) for size in values[0]], np.reshape(fill, -1)[0])


def _expand(_attributes: Attributes, values: list[Any]) -> Any:
    return values[0] * np.ones([int(size) for size in values[1]], values[0].dtype)


def _reduce(function: Callable[..., Any]) -> _Rule:
    def reduce(attributes: Attributes, values: list[Any]) -> Any:
        axes = _axes(attributes, values)
        if axes is None and attributes.get("noop_with_empty_axes", 0):
            return values[0]
        chosen = None if axes is None else tuple(axes)
        return function(values[0], axis=chosen, keepdims=bool(attributes.get("keepdims", 1)))

    return reduce


def _over_all(function: Callable[[Any, Any], Any]) -> _Rule:
    def combine(_attributes: Attributes, values: list[Any]) -> Any:
        total = values[0]
        for value in values[1:]:
            total = function(total, value)
        return total

    return combine


def _flatten(attributes: Attributes, values: list[Any]) -> Array:
    axis = int(attributes.get("axis", 1))
    return np.reshape(values[0], (math.prod(values[0].shape[:axis]), -1))


_RULES: dict[str, _Rule] = {
    "Abs": lambda _, v: np.abs(v[0]),
    "Add": _binary(np.add),
    "And": _binary(np.logical_and),
    "Cast": _cast,
    "Ceil": lambda _, v: np.ceil(v[0]),
    "Concat": lambda a, v: np.concatenate(v, axis=int(a["axis"])),
    "ConstantOfShape": _constant_of_shape,
    "Div": _binary(_divide),
    "Equal": _binary(np.equal),
    "Expand": _expand,
    "Flatten": _flatten,
    "Floor": lambda _, v: np.floor(v[0]),
    "Gather": lambda a, v: np.take(v[0], v[1].astype(np.int64), axis=int(a.get("axis", 0))),
    "Greater": _binary(np.greater),
    "GreaterOrEqual": _binary(np.greater_equal),
    "Identity": lambda _, v: v[0],
    "Less": _binary(np.less),
    "LessOrEqual": _binary(np.less_equal),
    "Max": _over_all(np.maximum),
    "Min": _over_all(np.minimum),
    "Mod": lambda a, v: np.fmod(v[0], v[1]) if a.get("fmod", 0) else np.mod(v[0], v[1]),
    "Mul": _binary(np.multiply),
    "Neg": lambda _, v: np.negative(v[0]),
    "NonZero": lambda _, v: np.array(np.nonzero(np.atleast_1d(v[0])), np.int64),
    "Not": lambda _, v: np.logical_not(v[0]),
    "Or": _binary(np.logical_or),
    "Range": lambda _, v: np.arange(v[0].item(), v[1].item(), v[2].item(), dtype=v[0].dtype),
    "ReduceMax": _reduce(np.max),
    "ReduceMin": _reduce(np.min),
    "ReduceProd": _reduce(np.prod),
    "ReduceSum": _reduce(np.sum),
    "Reshape": _reshape,
    "Round": lambda _, v: np.round(v[0]),
    "Slice": _slice,
    "Sqrt": lambda _, v: np.sqrt(v[0]),
    "Squeeze": _squeeze,
    "Sub": _binary(np.subtract),
    "Tile": lambda _, v: np.tile(v[0], [int(n) for n in v[1]]),
    "Transpose": lambda a, v: np.transpose(v[0], a.get("perm")),
    "Unsqueeze": _unsqueeze,
    "Where": lambda _, v: np.where(v[0], v[1], v[2]),
}
