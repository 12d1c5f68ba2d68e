"""Seeded weights: each tensor depends on the seed, its name and its description, on nothing else."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from infertune.prepare.reference.sketch import Weight

_CUT = 2.0
_CUT_STD = 0.8796256610342398  # standard deviation of a standard normal cut at +-2


def _generator(seed: int, name: str) -> np.random.Generator:
    """The name's hash keys the stream, so that adding or reordering tensors leaves all others as they were."""
    words = np.frombuffer(hashlib.sha256(name.encode()).digest(), dtype="<u4").tolist()
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *words])))


def _cut_normal(random: np.random.Generator, count: int) -> NDArray[np.float32]:
    values = random.standard_normal(count, dtype=np.float32)
    outside = np.flatnonzero(np.abs(values) > _CUT)
    while len(outside):
        values[outside] = random.standard_normal(len(outside), dtype=np.float32)
        outside = outside[np.abs(values[outside]) > _CUT]
    return values


def draw(weight: Weight, seed: int) -> NDArray[np.float32]:
    """The tensor that ``weight`` describes, float32 of its shape."""
    values = _cut_normal(_generator(seed, weight.name), weight.count).reshape(weight.shape)
    if weight.centred:
        values -= values.mean(axis=tuple(range(1, values.ndim)), keepdims=True)
    values *= np.float32(weight.std / _CUT_STD)
    values += np.float32(weight.mean)
    return values
