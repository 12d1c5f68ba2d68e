"""How a tensor's values lie in fp16: counted and clipped a piece at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import reduce
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from infertune.prepare.external import CHUNK_BYTES, Stretch

if TYPE_CHECKING:
    from onnx import TensorProto

Array = npt.NDArray[Any]
Infinities = Literal["keep", "clip"]

FP16_MAX = 65504.0
FP16_NORMAL = 2.0**-14
HALF_LEAST = 2.0**-25
"""Half of the smallest fp16 number: the tie rounds to 0, and the tie just below 2^-14 rounds to that normal number."""
BF16_LIMIT = 65280.0
"""The largest bfloat16 number that fp16 can hold: the next one is 65536."""

BLOCK = 1 << 18
"""Values counted at a time: few enough to stay in the processor's cache from one pass to the next."""

FLOAT, FLOAT16, DOUBLE, BFLOAT16 = 1, 10, 11, 16
_DTYPES: dict[int, npt.DTypeLike] = {FLOAT: "<f4", FLOAT16: "<f2", DOUBLE: "<f8", BFLOAT16: "<u2"}
FLOATS = frozenset(_DTYPES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Counts of values: finite ones beyond +-65504, infinities, NaN, those that fp16 turns to 0 or makes subnormal.

    ``low`` and ``high`` are over all values but NaN, and None where there are none.
    """

    elements: int = 0
    outside: int = 0
    infinite: int = 0
    nan: int = 0
    zeroed: int = 0
    subnormal: int = 0
    nonzero: int = 0
    low: float | None = None
    high: float | None = None

    def __add__(self, other: Spread) -> Spread:
        lows = [s.low for s in (self, other) if s.low is not None]
        highs = [s.high for s in (self, other) if s.high is not None]
        return Spread(
            elements=self.elements + other.elements,
            outside=self.outside + other.outside,
            infinite=self.infinite + other.infinite,
            nan=self.nan + other.nan,
            zeroed=self.zeroed + other.zeroed,
            subnormal=self.subnormal + other.subnormal,
            nonzero=self.nonzero + other.nonzero,
            low=min(lows, default=None),
            high=max(highs, default=None),
        )


def spread_of(values: Array) -> Spread:
    if not values.size:
        return Spread()
    with np.errstate(invalid="ignore"):
        low, high = float(values.min()), float(values.max())
    size = np.abs(values)
    zeros = values.size - int(np.count_nonzero(size))
    zeroed = int((size <= HALF_LEAST).sum()) - zeros
    usual = Spread(
        elements=values.size,
        zeroed=zeroed,
        subnormal=int((size < FP16_NORMAL - HALF_LEAST).sum()) - zeros - zeroed,
        nonzero=values.size - zeros,
        low=low,
        high=high,
    )
    return usual if low >= -FP16_MAX and high <= FP16_MAX else _with_extremes(usual, values, size)


def _with_extremes(found: Spread, values: Array, size: Array) -> Spread:
    """The counts that only a tensor with NaN, infinities or values beyond fp16 has."""
    nan, infinite = int(np.isnan(size).sum()), int(np.isinf(size).sum())
    comparable = values[~np.isnan(values)]
    return replace(
        found,
        outside=int((size > FP16_MAX).sum()) - infinite,
        infinite=infinite,
        nan=nan,
        nonzero=found.nonzero - nan,
        low=float(comparable.min()) if comparable.size else None,
        high=float(comparable.max()) if comparable.size else None,
    )


def survey(pieces: Iterable[Array]) -> Spread:
    blocks = (piece[at : at + BLOCK] for piece in pieces for at in range(0, len(piece), BLOCK))
    return reduce(Spread.__add__, map(spread_of, blocks), Spread())


def clipped(values: Array, data_type: int, infinities: Infinities) -> Array:
    """The values with finite ones, and infinities if asked, brought to the nearest that fp16 holds; NaN stays."""
    limit = BF16_LIMIT if data_type == BFLOAT16 else FP16_MAX
    brought = np.clip(values, -limit, limit)
    return brought if infinities == "clip" else np.where(np.isinf(values), values, brought)


def pieces(tensor: TensorProto, stretch: Stretch | None) -> Iterator[Array]:
    """The values of a float tensor, from its file or from the model, at most 16 MiB at a time; bfloat16 as float32."""
    if stretch is not None:
        yield from stored_pieces(tensor.data_type, stretch)
    elif tensor.HasField("raw_data"):
        raw = tensor.raw_data
        for at in range(0, len(raw), CHUNK_BYTES):
            yield _decoded(raw[at : at + CHUNK_BYTES], tensor.data_type)
    else:
        yield _typed(tensor)


def stored_pieces(data_type: int, stretch: Stretch) -> Iterator[Array]:
    for piece in stretch.chunks(np.dtype(_DTYPES[data_type]).itemsize):
        yield _decoded(piece, data_type)


def _typed(tensor: TensorProto) -> Array:
    """Values that sit in a field of their own type: 16-bit types as whole numbers in ``int32_data``."""
    if tensor.data_type in (FLOAT16, BFLOAT16):
        return _decoded(np.array(tensor.int32_data, np.int64).astype("<u2").tobytes(), tensor.data_type)
    return np.array(tensor.float_data if tensor.data_type == FLOAT else tensor.double_data, _DTYPES[tensor.data_type])


def _decoded(raw: bytes, data_type: int) -> Array:
    stored = np.frombuffer(raw, _DTYPES[data_type])
    return stored if data_type != BFLOAT16 else (stored.astype("<u4") << 16).view("<f4")


def encoded(values: Array, data_type: int) -> bytes:
    """Values as raw tensor data. Those of bfloat16 must be exact, as `pieces` and `clipped` leave them."""
    if data_type == BFLOAT16:
        return (values.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()
    return values.astype(_DTYPES[data_type]).tobytes()
