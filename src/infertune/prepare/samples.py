"""Real inputs from an ``.npz``: one array per input, first axis samples; checked before anything is measured."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from infertune.core.errors import DataError, NotFoundError, UsageError, nearest, quoted
from infertune.core.records import Model, TensorSpec

Array = npt.NDArray[Any]

_UNREADABLE = (
    ValueError, OSError, EOFError, KeyError, MemoryError, NotImplementedError, RuntimeError, OverflowError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Arrays by input name; those in ``axes`` have samples first, which go to that axis of the input.

    An axis of None is an input without a batch dimension: a request gets the value of its first sample. Arrays that
    are not in ``axes`` are the same for every request. ``count`` samples in all.
    """

    arrays: Mapping[str, Array]
    axes: Mapping[str, int | None]
    count: int

    def batch(self, first: int, size: int) -> dict[str, Array]:
        """Inputs of one request: ``size`` samples from number ``first`` on, counted round and round."""
        rows = np.arange(first, first + size) % self.count
        return {name: self._rows(name, array, rows) for name, array in self.arrays.items()}

    def _rows(self, name: str, array: Array, rows: npt.NDArray[np.intp]) -> Array:
        if name not in self.axes:
            return array
        axis = self.axes[name]
        return np.asarray(array[rows[0]]) if axis is None else np.ascontiguousarray(np.moveaxis(array[rows], 0, axis))


def read_samples(path: str, model: Model) -> Samples:
    """Load an ``.npz`` and check it against the model's inputs.

    Raises `NotFoundError` or `DataError` for the file, `UsageError` for arrays that do not fit the model.
    """
    arrays = _load(path)
    _check_names(arrays, model)
    ordered = {spec.name: arrays[spec.name] for spec in model.inputs}
    per_sample = {spec.name for spec in model.inputs if _has_samples(spec, ordered[spec.name], model)}
    for spec in model.inputs:
        _check_values(spec, ordered[spec.name])
    counts = {name: len(ordered[name]) for name in ordered if name in per_sample}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{name} {count}" for name, count in counts.items())
        message = f"the arrays hold different numbers of samples: {quoted(listed)}"
        raise UsageError("inputs-count", message, hint="make them equal")
    axes = {spec.name: batch_axis(spec, model) for spec in model.inputs if spec.name in per_sample}
    return Samples(arrays=ordered, axes=axes, count=next(iter(counts.values()), 1))


def batch_axis(spec: TensorSpec, model: Model) -> int | None:
    """The axis that counts samples; for a model of fixed batch axis 0 of inputs with that size there."""
    if model.batch_symbol is not None:
        return spec.dims.index(model.batch_symbol) if model.batch_symbol in spec.dims else None
    leads = bool(spec.dims) and spec.dims[0] == model.fixed_batch
    return 0 if leads and (len(spec.dims) > 1 or model.fixed_batch > 1) else None


def _load(path: str) -> dict[str, Array]:
    shown = quoted(path)
    if not os.path.isfile(path):
        raise NotFoundError("inputs-not-found", f"there is no file `{shown}`", hint="name an .npz file")
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (*_UNREADABLE, AttributeError, TypeError):  # the last two: an .npy holds an array, not a collection
        raise DataError(
            "inputs-not-npz",
            f"`{shown}` is not a readable .npz of plain arrays",
            hint="write it with numpy.savez(path, input_name=array, ...); arrays of objects are never loaded",
        ) from None


def _check_names(arrays: Mapping[str, Array], model: Model) -> None:
    names = [spec.name for spec in model.inputs]
    listed = f"the model's inputs: {quoted(', '.join(names), 400)}"
    if missing := [name for name in names if name not in arrays]:
        extra = [name for name in arrays if name not in names]
        near = nearest(missing[0], extra)
        raise UsageError("inputs-missing", f"the .npz has no array `{quoted(missing[0])}`", hint=near + listed)
    if extra := [name for name in arrays if name not in names]:
        message = f"the model has no input `{quoted(extra[0])}`"
        raise UsageError("inputs-unknown", message, hint=nearest(extra[0], names) + listed)


def _has_samples(spec: TensorSpec, array: Array, model: Model) -> bool:
    """Whether axis 0 counts samples. False for an array of the whole shape of an input without a batch dimension."""
    size = 1 if model.batch_symbol is not None else model.fixed_batch
    whole = model.dims(spec, size)
    axis = batch_axis(spec, model)
    if axis is None and array.shape == whole:
        return False
    sample = whole if axis is None else whole[:axis] + whole[axis + 1 :]
    if array.ndim != len(sample) + 1 or array.shape[1:] != sample or len(array) == 0:
        wanted = ", ".join(["samples", *map(str, sample)])
        raise UsageError(
            "inputs-shape",
            f"array `{quoted(spec.name)}` has shape {array.shape}, the model takes ({wanted})",
            hint="the first axis counts samples; --shape SYMBOL=NUMBER changes the others where the model has symbols",
        )
    return True


def _check_values(spec: TensorSpec, array: Array) -> None:
    name = quoted(spec.name)
    if array.dtype != np.dtype(spec.dtype):
        raise UsageError(
            "inputs-dtype",
            f"array `{name}` is of type {array.dtype}, the model takes {spec.dtype}",
            hint=f"save it as array.astype('{spec.dtype}')",
        )
    if array.dtype.kind == "f" and np.isnan(array).any():
        count = int(np.isnan(array).sum())
        message = f"array `{name}` holds {count} NaN values"
        raise UsageError("inputs-nan", message, hint="remove them: a model computes nothing from NaN")
    if spec.below is not None and array.size and (array.max() >= spec.below or array.min() < -spec.below):
        low, high = int(array.min()), int(array.max())
        raise UsageError(
            "inputs-range",
            f"array `{name}` holds values from {low} to {high}, the model's table has {spec.below} rows",
            hint=f"give values from 0 to {spec.below - 1}",
        )
