"""What a session returns as arrays of numbers: sequences, maps and texts come from classical models, in ONNX too."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.generic]


def numbers(outputs: Mapping[str, object]) -> dict[str, Array]:
    """Named outputs as arrays. A sequence of maps becomes a row of values per map, in the order of the keys, as
    probabilities of a classifier are; a sequence of tensors ``name.0``, ``name.1`` and so on. Texts become checksums:
    equal ones stay equal. An optional output that is absent is left out."""
    return {place: array for name, value in outputs.items() for place, array in _arrays(name, value)}


def _arrays(name: str, value: object) -> Iterator[tuple[str, Array]]:
    if isinstance(value, np.ndarray):
        yield name, _checksums(value) if value.dtype.kind in "OUS" else value
    elif isinstance(value, Mapping):
        yield name, _row(value)
    elif isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
        yield name, np.stack([_row(item) for item in value])
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from _arrays(f"{name}.{place}", item)
    elif value is not None:
        yield name, np.asarray(value)


def _row(values: Mapping[Any, Any]) -> Array:
    return np.asarray([values[key] for key in sorted(values)])


def _checksums(texts: Array) -> Array:
    flat: Sequence[object] = texts.ravel().tolist()
    return np.asarray([zlib.crc32(str(text).encode()) for text in flat], dtype=np.int64).reshape(texts.shape)
