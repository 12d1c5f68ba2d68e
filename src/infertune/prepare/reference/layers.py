"""The parts that transformers share, decomposed as torch exports them at opset 17."""

from __future__ import annotations

import math

from infertune.prepare.reference.sketch import Sketch

STD = 0.02  # BERT's initializer_range


def _weights_of(at: str, kind: str) -> str:
    return f"{at.replace('/', '.')}.{kind}"


def linear(sketch: Sketch, x: str, at: str, wide: int, out: int, *, std: float) -> str:
    """(..., wide) -> (..., out)."""
    product = sketch.add("MatMul", x, sketch.weight(_weights_of(at, "weight"), (wide, out), std=std), at=at)
    return sketch.add("Add", sketch.weight(_weights_of(at, "bias"), (out,), std=STD), product, at=at)


def layer_norm(sketch: Sketch, x: str, at: str, size: int, *, epsilon: float) -> str:
    gamma = sketch.weight(_weights_of(at, "weight"), (size,), mean=1.0, std=0.05)
    beta = sketch.weight(_weights_of(at, "bias"), (size,), std=STD)
    return sketch.add("LayerNormalization", x, gamma, beta, at=at, axis=-1, epsilon=epsilon)


def gelu(sketch: Sketch, x: str, at: str) -> str:
    """x (1 + erf(x / sqrt 2)) / 2 in five operators, the form that runtimes recognise and fuse."""
    inner = sketch.add("Erf", sketch.add("Div", x, sketch.constant(math.sqrt(2.0)), at=at), at=at)
    scaled = sketch.add("Mul", x, sketch.add("Add", inner, sketch.constant(1.0), at=at), at=at)
    return sketch.add("Mul", scaled, sketch.constant(0.5), at=at)


def attention(sketch: Sketch, x: str, at: str, hidden: int, heads: int, *, mask: str | None = None, std: float) -> str:
    """Softmax(Q K' / sqrt d + mask) V of (batch, seq, hidden), without the output projection."""
    each = hidden // heads
    query = _heads(sketch, x, at, "query", (0, 2, 1, 3), hidden, heads, std)
    key = _heads(sketch, x, at, "key", (0, 2, 3, 1), hidden, heads, std)
    value = _heads(sketch, x, at, "value", (0, 2, 1, 3), hidden, heads, std)
    scores = sketch.add("MatMul", query, key, at=at)
    scores = sketch.add("Div", scores, sketch.constant(math.sqrt(each)), at=at)
    if mask is not None:
        scores = sketch.add("Add", scores, mask, at=at)
    chances = sketch.add("Softmax", scores, at=at, axis=-1)
    mixed = sketch.add("Transpose", sketch.add("MatMul", chances, value, at=at), at=at, perm=(0, 2, 1, 3))
    return sketch.add("Reshape", mixed, sketch.constant((0, 0, hidden)), at=at)


def _heads(
    sketch: Sketch, x: str, at: str, role: str, order: tuple[int, ...], hidden: int, heads: int, std: float
) -> str:
    """(batch, seq, hidden) projected, split into heads and ordered."""
    projected = linear(sketch, x, f"{at}/{role}", hidden, hidden, std=std)
    split = sketch.add("Reshape", projected, sketch.constant((0, 0, heads, hidden // heads)), at=at)
    return sketch.add("Transpose", split, at=at, perm=order)
