"""What the card model needs of a network at bound shapes: one record per operator, all amounts per sample.

Matrix products are counted in the units of the tensor processor: blocks of 32 rows (tokens, or output positions of a
convolution in patches of 8 x 4) by tiles of 32 channels. Padding to those units is work that the card really does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

Kind = Literal["dense", "attention", "conv", "depthwise", "softmax", "erf", "elementwise", "move", "pool", "lookup"]
KINDS: tuple[Kind, ...] = (
    "dense", "attention", "conv", "depthwise", "softmax", "erf", "elementwise", "move", "pool", "lookup",
)  # fmt: skip
MATRIX_KINDS = frozenset({"dense", "attention", "conv"})

BLOCK_ROWS = 32
TILE = 32
PATCH = (8, 4)  # height and width of the 32 positions that one fp16 activation block of 32 channels holds
FP16_BYTES = 2
COLOURS = 4
"""Channels up to which the first layer of a picture is taken to be one."""


def padded(size: int, unit: int) -> int:
    """The least multiple of ``unit`` that is not below ``size``."""
    return -(-size // unit) * unit


@dataclass(frozen=True, slots=True, kw_only=True)
class Op:
    """One operator, ``times`` in a row, for one sample.

    Matrix kinds: ``groups`` independent products (heads, channel groups), each ``blocks`` x 32 rows by ``wide`` output
    channels by ``deep`` inputs (padded). ``elements``: what the vector unit reads or writes once. Bytes are those of
    fp16 tensors; ``live_bytes``: every activation that has to be kept while the operator runs. Weights are prefetched
    within a ``stage``: there, reading them may hide behind computing, and only there. ``rows``: of a product with
    weights, whose samples lie one below the other and share blocks; 0 where each sample has blocks of its own.
    """

    kind: Kind
    times: int = 1
    groups: int = 1
    rows: int = 0
    blocks: int = 0
    wide: int = 0
    deep: int = 0
    macs: int = 0
    elements: int = 0
    weight_bytes: int = 0
    in_bytes: int = 0
    out_bytes: int = 0
    live_bytes: int = 0
    stage: int = 0

    @property
    def padded_macs(self) -> int:
        """Multiply-accumulates including the padding of rows and channels."""
        return self.groups * self.blocks * BLOCK_ROWS * padded(self.wide, TILE) * self.deep


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A network bound to its shapes, for a batch of one; totals are per sample.

    ``stored_bytes``: all parameters in fp16, those that are only looked up included; 0 where nobody counted them.
    """

    name: str
    ops: tuple[Op, ...]
    input_bytes: int
    output_bytes: int
    stored_bytes: int = 0

    @property
    def macs(self) -> int:
        return sum(op.times * op.macs for op in self.ops)

    @property
    def vector_elements(self) -> int:
        return sum(op.times * op.elements for op in self.ops)

    @property
    def weight_bytes(self) -> int:
        """fp16 bytes of weights that one pass streams; a weight used by two operators counts twice."""
        return sum(op.times * op.weight_bytes for op in self.ops)

    @property
    def peak_bytes(self) -> int:
        return max((op.live_bytes for op in self.ops), default=0)

    @property
    def operators(self) -> int:
        return sum(op.times for op in self.ops)

    @property
    def matrix_operators(self) -> int:
        return sum(op.times for op in self.ops if op.kind in MATRIX_KINDS)


def dense(rows: int, deep: int, wide: int, *, times: int = 1, live_bytes: int = 0) -> Op:
    """``rows`` x ``deep`` activations times ``deep`` x ``wide`` weights."""
    return Op(
        kind="dense",
        times=times,
        rows=rows,
        blocks=-(-rows // BLOCK_ROWS),
        wide=wide,
        deep=padded(deep, TILE),
        macs=rows * deep * wide,
        weight_bytes=FP16_BYTES * deep * wide,
        in_bytes=FP16_BYTES * rows * deep,
        out_bytes=FP16_BYTES * rows * wide,
        live_bytes=live_bytes,
    )


def product(groups: int, rows: int, deep: int, wide: int, *, times: int = 1, live_bytes: int = 0) -> Op:
    """``groups`` products of two activations, as in attention: no weights."""
    return Op(
        kind="attention",
        times=times,
        groups=groups,
        blocks=-(-rows // BLOCK_ROWS),
        wide=wide,
        deep=padded(deep, TILE),
        macs=groups * rows * deep * wide,
        in_bytes=FP16_BYTES * groups * deep * (rows + wide),
        out_bytes=FP16_BYTES * groups * rows * wide,
        live_bytes=live_bytes,
    )


def position_blocks(spatial: tuple[int, ...]) -> int:
    """Blocks of 32 positions that cover a picture; a list of positions (one axis) is cut into runs of 32."""
    if len(spatial) < 2:
        return -(-math.prod(spatial) // BLOCK_ROWS)
    *outer, height, width = spatial
    return math.prod(outer) * padded(height, PATCH[0]) * padded(width, PATCH[1]) // BLOCK_ROWS


def blocked(picture: tuple[int, ...]) -> int:
    """Elements that a picture (channels, then positions) takes in blocks of 32 positions by 32 channels."""
    channels, *spatial = picture
    return padded(channels, TILE) * position_blocks(tuple(spatial)) * BLOCK_ROWS


def convolution(
    spatial: tuple[int, ...], inputs: int, outputs: int, window: int, *, groups: int = 1, in_positions: int = 0
) -> Op:
    """A convolution to ``spatial`` output positions; ``window`` is the number of taps.

    With one input channel per group there is nothing to reduce in the tensor unit: ``depthwise``, taps x elements of
    whole blocks. A first layer (``COLOURS`` channels at most) is unrolled over its window before padding, as compilers
    do: it comes in the host's layout and is laid anew anyway; other inputs lie in blocks of 32 channels, however few
    are used. Narrow groups are packed side by side into one product of tile width, zeros between them.
    """
    positions = math.prod(spatial)
    per_group, wide = inputs // groups, outputs // groups
    sizes = {
        "macs": positions * per_group * window * outputs,
        "weight_bytes": FP16_BYTES * per_group * window * outputs,
        "in_bytes": FP16_BYTES * (in_positions or positions) * inputs,
        "out_bytes": FP16_BYTES * positions * outputs,
    }
    if per_group == 1 and groups > 1:
        taps = blocked((outputs, *spatial)) * window
        return Op(kind="depthwise", blocks=position_blocks(spatial), wide=outputs, elements=taps, **sizes)
    packed = min(groups, -(-TILE // max(per_group, wide)))
    groups, per_group, wide = -(-groups // packed), per_group * packed, wide * packed
    unrolled = inputs <= COLOURS
    deep = padded(per_group * window, TILE) if unrolled else padded(per_group, TILE) * window
    return Op(kind="conv", groups=groups, blocks=position_blocks(spatial), wide=wide, deep=deep, **sizes)


def vector(kind: Kind, elements: int, *, times: int = 1, live_bytes: int = 0) -> Op:
    """Work of the vector unit: ``elements`` values produced."""
    moved = FP16_BYTES * elements
    return Op(kind=kind, times=times, elements=elements, in_bytes=moved, out_bytes=moved, live_bytes=live_bytes)


PREFETCH_BYTES = 8 << 20
"""A core's fast memory: weights further ahead than that cannot be fetched yet. 4 to 24 MiB were tried: ResNet-50, whose
late layers are all weights, fits worse from 16 on, and below 8 graphs differ from `encoders`, which has one stage."""


def staged(ops: list[Op]) -> list[Op]:
    """Number the stages of operators in their order: a stage ends when its weights fill the prefetch window."""
    done: list[Op] = []
    stage = held = 0
    for op in ops:
        done.append(replace(op, stage=stage))
        held += op.times * op.weight_bytes
        if held >= PREFETCH_BYTES:
            stage, held = stage + 1, 0
    return done


def in_stage(number: int, ops: list[Op]) -> list[Op]:
    return [replace(op, stage=number) for op in ops]


def merged(ops: list[Op]) -> tuple[Op, ...]:
    """Equal operators as one record with ``times``; order of first occurrence."""
    counts: dict[Op, int] = {}
    for op in ops:
        single = replace(op, times=1)
        counts[single] = counts.get(single, 0) + op.times
    return tuple(replace(op, times=times) for op, times in counts.items())
