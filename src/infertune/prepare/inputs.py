"""Inputs for launches and checks: from an ``.npz``, or seeded and such that a model of their kind can compute them."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from infertune.core.records import Feed, Model, TensorSpec
from infertune.core.seeds import natural
from infertune.prepare.samples import read_samples

Array = npt.NDArray[Any]

LEAST = 2.0**-10
"""Floats keep this distance from zero: zeros and denormals make kernels faster or slower than real inputs do."""

UNKNOWN_BELOW = 2
"""Exclusive bound of whole numbers that index a table of unknown size: hardly any table has fewer than two rows."""

_IMAGE_CHANNELS = (1, 3, 4)


def make_inputs(model: Model, feed: Feed, batch: int, count: int) -> list[dict[str, Array]]:
    """``count`` sets of inputs for requests of ``batch`` samples (of the model's own batch where that is fixed).

    The same feed gives the same bytes, and set i is the same whatever ``count`` is. With ``feed.path`` the sets go
    through the samples of the file in order and start again at its end; raises what `samples.read_samples` raises.
    """
    size = batch if model.batch_symbol is not None else model.fixed_batch
    if feed.path is not None:
        samples = read_samples(feed.path, model)
        return [samples.batch(i * size, size) for i in range(count)]
    return [_seeded(model, feed.seed, size, i) for i in range(count)]


def _seeded(model: Model, seed: int, batch: int, number: int) -> dict[str, Array]:
    made = {}
    for spec in model.inputs:
        rng = np.random.default_rng([natural(seed), number, zlib.crc32(spec.name.encode())])
        made[spec.name] = np.asarray(draw(spec, model, batch, rng)).astype(spec.dtype, copy=False)
    return made


def draw(spec: TensorSpec, model: Model, batch: int, rng: np.random.Generator) -> Array:
    """Values for one input: the first rule for its type whose words its name holds."""
    return _rule(spec)(spec, model, model.dims(spec, batch), rng)


def described(spec: TensorSpec, model: Model, batch: int) -> list[str | int]:
    """What `draw` does, for programs without this package: ``whole`` (numbers from .. to below), ``positions`` (and
    where they start again), ``uniform`` or ``normal`` (see `LEAST`).
    """
    make, shape = _rule(spec), model.dims(spec, batch)
    if make is _floats:
        return ["uniform" if _from_zero_to_one(spec, shape) else "normal"]
    if make is _positions and shape:
        return ["positions", _period(spec, shape)]
    if make is _whole:
        return ["whole", *_ends(spec)]
    if make is _segments:
        return ["whole", 0, spec.below or 1]
    constant = int(make(spec, model, (), np.random.default_rng(0)))
    return ["whole", constant, constant + 1]


_Make = Callable[[TensorSpec, Model, tuple[int, ...], np.random.Generator], Array]


def _rule(spec: TensorSpec) -> _Make:
    if spec.meant is not None:
        return _meant
    if spec.below is not None and np.dtype(spec.dtype).kind == "f":
        return _whole  # token ids, as Keras has them
    rules = {"b": _BOOL, "f": _FLOAT}.get(np.dtype(spec.dtype).kind, _WHOLE)
    return next(make for words, make in rules if re.search(words, spec.name, re.IGNORECASE))


def _meant(spec: TensorSpec, _model: Model, shape: tuple[int, ...], _rng: np.random.Generator) -> Array:
    return np.full(shape, spec.meant)


def _ones(spec: TensorSpec, _model: Model, shape: tuple[int, ...], _rng: np.random.Generator) -> Array:
    return np.ones(shape, spec.dtype)


def _floats(spec: TensorSpec, _model: Model, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Images and single numbers (a time step, a scale) uniform in (0, 1), everything else standard normal."""
    if _from_zero_to_one(spec, shape):
        return np.maximum(rng.random(shape, dtype=np.float32), np.float32(LEAST))
    values = rng.standard_normal(shape, dtype=np.float32)
    return np.where(np.abs(values) < LEAST, np.copysign(np.float32(LEAST), values), values)


def _from_zero_to_one(spec: TensorSpec, shape: tuple[int, ...]) -> bool:
    return len(shape) < 2 or _is_image(spec)


def _is_image(spec: TensorSpec) -> bool:
    """Rank four with one, three or four channels, first (NCHW) or last (NHWC)."""
    return len(spec.dims) == 4 and (spec.dims[1] in _IMAGE_CHANNELS or spec.dims[3] in _IMAGE_CHANNELS)


def _segments(spec: TensorSpec, model: Model, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    return rng.integers(0, spec.below or 1, shape)


def _positions(spec: TensorSpec, _model: Model, shape: tuple[int, ...], _rng: np.random.Generator) -> Array:
    """0, 1, 2, ... along the last axis, starting again where the table of positions ends."""
    if not shape:
        return np.zeros(shape, spec.dtype)
    return np.broadcast_to(np.arange(shape[-1]) % _period(spec, shape), shape).copy()


def _period(spec: TensorSpec, shape: tuple[int, ...]) -> int:
    return spec.below or max(1, shape[-1])


def _lengths(spec: TensorSpec, model: Model, shape: tuple[int, ...], _rng: np.random.Generator) -> Array:
    """Full length: the largest bound symbol of the other inputs, so that nothing of them counts as padding."""
    bound = dict(model.shapes)
    others = (d for other in model.inputs if other.name != spec.name for d in other.dims if isinstance(d, str))
    longest = max((bound[d] for d in others if d in bound), default=1)
    return np.full(shape, min(longest, np.iinfo(spec.dtype).max))


def _whole(spec: TensorSpec, _model: Model, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Inside the table that they index; the whole range of eight-bit types, which hold images or quantised values."""
    return rng.integers(*_ends(spec), shape)


def _ends(spec: TensorSpec) -> tuple[int, int]:
    if spec.below is not None and np.dtype(spec.dtype).kind == "f":
        return 0, min(spec.below, int(np.finfo(spec.dtype).max) + 1)
    limits = np.iinfo(spec.dtype)
    if spec.below is not None:
        return 0, min(spec.below, int(limits.max) + 1)
    return (int(limits.min), int(limits.max) + 1) if limits.bits == 8 else (0, UNKNOWN_BELOW)


_BOOL: tuple[tuple[str, _Make], ...] = (("", _ones),)
_FLOAT: tuple[tuple[str, _Make], ...] = (("mask", _ones), ("", _floats))
_WHOLE: tuple[tuple[str, _Make], ...] = (
    ("mask", _ones),
    ("token_type|segment", _segments),
    ("position|pos_ids", _positions),
    ("length|(^|_)lens?($|_)", _lengths),
    ("", _whole),
)
