"""BERT and its relatives: Devlin et al. 2018 (arXiv:1810.04805), Sanh et al. 2019 (arXiv:1910.01108, DistilBERT),
Wang et al. 2020 (arXiv:2002.10957, MiniLM). Post-norm encoders with learned positions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from infertune.core.records import TensorSpec
from infertune.prepare.reference.layers import STD, attention, gelu, layer_norm, linear
from infertune.prepare.reference.sketch import Sketch

_TEXT = ("batch_size", "sequence_length")
_MASKED = -3.4028234663852886e38  # the least float32, as exports write it


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoder:
    """``types`` is the size of the token type vocabulary, 0 for a model without that input."""

    vocabulary: int
    layers: int
    hidden: int
    heads: int
    intermediate: int
    positions: int = 512
    types: int = 2
    head: Literal["question-answering", "last_hidden_state"] = "question-answering"
    scope: str = "bert"

    @property
    def std(self) -> float:
        """BERT's 0.02, less for what is wider and deeper than BERT-base: random layers average over positions, and at
        0.02 twenty-four of them leave nearly the same vector in all of them, whatever the input."""
        return STD * min(1.0, math.sqrt(768 * 12 / (self.hidden * self.layers)))


def _inputs(shape: Encoder) -> tuple[TensorSpec, ...]:
    names = ("input_ids", "attention_mask", "token_type_ids")
    bounds = (shape.vocabulary, 2, shape.types)
    kept = 3 if shape.types else 2
    return tuple(
        TensorSpec(name=name, dtype="int64", dims=_TEXT, below=below)
        for name, below in list(zip(names, bounds, strict=True))[:kept]
    )


def _outputs(shape: Encoder) -> tuple[TensorSpec, ...]:
    if shape.head == "last_hidden_state":
        return (TensorSpec(name="last_hidden_state", dtype="float32", dims=(*_TEXT, shape.hidden)),)
    return tuple(TensorSpec(name=name, dtype="float32", dims=_TEXT) for name in ("start_logits", "end_logits"))


def _scoped(shape: Encoder, rest: str) -> str:
    return f"{shape.scope}/{rest}" if shape.scope else rest


def _table(sketch: Sketch, shape: Encoder, name: str, rows: int, ids: str) -> str:
    at = _scoped(shape, f"embeddings/{name}")
    table = sketch.weight(f"{at.replace('/', '.')}.weight", (rows, shape.hidden), std=STD)
    return sketch.add("Gather", table, ids, at=at)


def _positions(sketch: Sketch, shape: Encoder) -> str:
    """0, 1, ... up to the sequence length, (1, sequence_length)."""
    at = _scoped(shape, "embeddings")
    length = sketch.add("Gather", sketch.add("Shape", "input_ids", at=at), sketch.constant((1,)), at=at, axis=0)
    every = sketch.constant(tuple(range(shape.positions)))
    upto = sketch.add("Slice", every, sketch.constant((0,)), length, sketch.constant((0,)), at=at)
    return sketch.add("Unsqueeze", upto, sketch.constant((0,)), at=at)


def _embeddings(sketch: Sketch, shape: Encoder) -> str:
    at = _scoped(shape, "embeddings")
    total = _table(sketch, shape, "word_embeddings", shape.vocabulary, "input_ids")
    if shape.types:
        kinds = _table(sketch, shape, "token_type_embeddings", shape.types, "token_type_ids")
        total = sketch.add("Add", total, kinds, at=at)
    places = _table(sketch, shape, "position_embeddings", shape.positions, _positions(sketch, shape))
    total = sketch.add("Add", total, places, at=at)
    return layer_norm(sketch, total, f"{at}/LayerNorm", shape.hidden, epsilon=1e-12)


def _mask(sketch: Sketch, scope: str) -> str:
    """What is added to the scores: 0 where the mask is 1, the least float32 where it is 0; (batch, 1, 1, seq)."""
    wide = sketch.add("Unsqueeze", "attention_mask", sketch.constant((1,)), at=scope)
    wide = sketch.add("Unsqueeze", wide, sketch.constant((2,)), at=scope)
    number = sketch.add("Cast", wide, at=scope, to=1)
    hidden = sketch.add("Sub", sketch.constant(1.0), number, at=scope)
    return sketch.add("Mul", hidden, sketch.constant(_MASKED), at=scope)


def _layer(sketch: Sketch, shape: Encoder, x: str, mask: str, at: str) -> str:
    seen = attention(sketch, x, f"{at}/attention/self", shape.hidden, shape.heads, mask=mask, std=shape.std)
    seen = linear(sketch, seen, f"{at}/attention/output/dense", shape.hidden, shape.hidden, std=shape.std)
    x = sketch.add("Add", seen, x, at=f"{at}/attention/output")
    x = layer_norm(sketch, x, f"{at}/attention/output/LayerNorm", shape.hidden, epsilon=1e-12)
    wide = linear(sketch, x, f"{at}/intermediate/dense", shape.hidden, shape.intermediate, std=shape.std)
    wide = gelu(sketch, wide, f"{at}/intermediate/intermediate_act_fn")
    narrow = linear(sketch, wide, f"{at}/output/dense", shape.intermediate, shape.hidden, std=shape.std)
    x = sketch.add("Add", narrow, x, at=f"{at}/output")
    return layer_norm(sketch, x, f"{at}/output/LayerNorm", shape.hidden, epsilon=1e-12)


def _answer_head(sketch: Sketch, shape: Encoder, x: str) -> None:
    # wider than the body's 0.02, so that logits spread over a few units as those of a trained head do
    logits = linear(sketch, x, "qa_outputs", shape.hidden, 2, std=2.0 / math.sqrt(shape.hidden))
    start, end = sketch.add_many("Split", logits, sketch.constant((1, 1)), at="", outs=(None, None), axis=-1)
    sketch.add("Squeeze", start, sketch.constant((-1,)), out="start_logits")
    sketch.add("Squeeze", end, sketch.constant((-1,)), out="end_logits")


def encoder(shape: Encoder) -> Sketch:
    """Inputs ``input_ids, attention_mask[, token_type_ids]`` (batch, seq) int64; outputs by ``shape.head``."""
    sketch = Sketch(_inputs(shape), _outputs(shape))
    x = _embeddings(sketch, shape)
    mask = _mask(sketch, shape.scope)
    for i in range(shape.layers):
        x = _layer(sketch, shape, x, mask, _scoped(shape, f"encoder/layer.{i}"))
    if shape.head == "question-answering":
        _answer_head(sketch, shape, x)
    else:
        sketch.name_output(x, "last_hidden_state")
    return sketch
