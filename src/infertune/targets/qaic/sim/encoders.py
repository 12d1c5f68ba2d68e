"""Workloads of text encoders from their published configuration: no ONNX file needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from infertune.targets.qaic.sim.workload import FP16_BYTES, Op, Workload, dense, in_stage, merged, product, vector

Head = Literal["none", "answer", "classes", "tokens", "vocabulary"]

NORM_PASSES = 7
"""Passes over the elements of a decomposed layer normalisation: two means, subtract, square, divide, scale, shift."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderShape:
    """``embedding`` is the width of the word table (ALBERT, ELECTRA-small: narrower than ``hidden``); 0 = ``hidden``.

    ``mask``: added to the scores once prepared (BERT), or expanded and filled in by every layer (DistilBERT).
    ``relative_spans``: positions of disentangled attention (DeBERTa), 0 for ordinary attention.
    """

    layers: int
    hidden: int
    heads: int
    intermediate: int
    vocabulary: int = 30522
    sequence: int = 128
    embedding: int = 0
    head: Head = "none"
    relative_spans: int = 0
    pooler: bool = False
    mask: Literal["added", "filled"] = "added"

    @property
    def table_width(self) -> int:
        return self.embedding or self.hidden


def encoder_workload(name: str, shape: EncoderShape) -> Workload:
    """Amounts per sample of ``sequence`` tokens: the operators of torch exports, biases fused into products."""
    ops = [*in_stage(0, _embedding(shape)), *in_stage(1, _layers(shape)), *in_stage(2, _head(shape))]
    return Workload(name=name, ops=merged(ops), input_bytes=3 * 8 * shape.sequence, output_bytes=_output_bytes(shape))


def _embedding(shape: EncoderShape) -> list[Op]:
    values = shape.sequence * shape.table_width
    live = 2 * FP16_BYTES * values
    ops = [
        vector("lookup", values, live_bytes=live),
        vector("elementwise", (2 + NORM_PASSES) * values, live_bytes=live),
    ]
    if shape.table_width != shape.hidden:
        ops.append(dense(shape.sequence, shape.table_width, shape.hidden, live_bytes=live))
    return ops


def _layers(shape: EncoderShape) -> list[Op]:
    n, s, h, i = shape.layers, shape.sequence, shape.hidden, shape.intermediate
    states, inner, scores = FP16_BYTES * s * h, FP16_BYTES * s * i, FP16_BYTES * shape.heads * s * s
    depth = h // shape.heads
    return [
        dense(s, h, h, times=3 * n, live_bytes=4 * states),
        vector("move", s * h, times=4 * n, live_bytes=4 * states),
        product(shape.heads, s, depth, s, times=n, live_bytes=4 * states + scores),
        vector("elementwise", 2 * shape.heads * s * s, times=n, live_bytes=2 * states + 2 * scores),
        vector("softmax", shape.heads * s * s, times=n, live_bytes=2 * states + 2 * scores),
        product(shape.heads, s, s, depth, times=n, live_bytes=3 * states + scores),
        *_filled_mask(shape),
        *_disentangled(shape),
        dense(s, h, h, times=n, live_bytes=3 * states),
        vector("elementwise", (1 + NORM_PASSES) * s * h, times=2 * n, live_bytes=3 * states),
        dense(s, h, i, times=n, live_bytes=states + inner),
        vector("erf", s * i, times=n, live_bytes=states + 2 * inner),
        vector("elementwise", 4 * s * i, times=n, live_bytes=states + 2 * inner),
        dense(s, i, h, times=n, live_bytes=2 * states + inner),
    ]


def _filled_mask(shape: EncoderShape) -> list[Op]:
    """`masked_fill`: the mask is expanded to the scores, then chosen from, where others add it."""
    if shape.mask == "added":
        return []
    scores = shape.heads * shape.sequence**2
    live = FP16_BYTES * (2 * shape.sequence * shape.hidden + 2 * scores)
    return [vector("move", scores, times=shape.layers, live_bytes=live)]


def _disentangled(shape: EncoderShape) -> list[Op]:
    """Content-to-position and position-to-content scores (He et al. 2021, arXiv:2006.03654): two products with the
    table of relative positions, two more projections of that table, and two gathers of one element per score."""
    if not shape.relative_spans:
        return []
    n, s, h = shape.layers, shape.sequence, shape.hidden
    scores = shape.heads * s * s
    live = FP16_BYTES * (4 * s * h + 2 * scores)
    return [
        dense(shape.relative_spans, h, h, times=2 * n, live_bytes=live),
        product(shape.heads, s, h // shape.heads, shape.relative_spans, times=2 * n, live_bytes=live),
        vector("move", scores, times=2 * n, live_bytes=live),
        vector("elementwise", 2 * scores, times=n, live_bytes=live),
    ]


def _head(shape: EncoderShape) -> list[Op]:
    s, h = shape.sequence, shape.hidden
    if shape.head == "vocabulary":
        width = shape.table_width
        return [
            dense(s, h, width, live_bytes=2 * FP16_BYTES * s * h),
            vector("erf", s * width),
            vector("elementwise", (4 + NORM_PASSES) * s * width),
            dense(s, width, shape.vocabulary, live_bytes=FP16_BYTES * s * width),
        ]
    rows = 1 if shape.head == "classes" else s
    ops = [dense(1, h, h)] if shape.head == "classes" or shape.pooler else []
    return ops if shape.head == "none" else [*ops, dense(rows, h, 2)]


def _output_bytes(shape: EncoderShape) -> int:
    """Outputs leave the card as float32."""
    values = {
        "none": shape.sequence * shape.hidden,
        "answer": 2 * shape.sequence,
        "classes": 3,
        "tokens": 9 * shape.sequence,
        "vocabulary": shape.sequence * shape.vocabulary,
    }
    return 4 * values[shape.head]
