"""What is measured and how it is told: raw samples, facts, models, inputs, devices. `records` re-exports it all."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, overload

import numpy as np
from numpy.typing import DTypeLike, NDArray

from infertune.core.space import Point, Value


class RawNs(Sequence[int]):
    """Raw nanosecond samples in order: eight bytes each in memory, compressed when stored."""

    __slots__ = ("_samples",)

    def __init__(self, samples: Iterable[int] = ()) -> None:
        self._samples = array("q", samples)

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> RawNs: ...
    def __getitem__(self, index: int | slice) -> int | RawNs:
        return RawNs(self._samples[index]) if isinstance(index, slice) else self._samples[index]

    def __len__(self) -> int:
        return len(self._samples)

    def __iter__(self) -> Iterator[int]:
        return iter(self._samples)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RawNs | tuple) and len(self) == len(other) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self._samples))

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[np.int64]:  # noqa: FBT001
        return np.array(self._samples, dtype=dtype or np.int64)

    def __repr__(self) -> str:
        return f"RawNs({len(self)} samples)"


Named = tuple[tuple[str, str], ...]
"""Facts as (name, text) pairs, in a fixed order."""


def facts(**pairs: object) -> Named:
    """`Named` from keyword arguments; None is left out."""
    return tuple((name, str(value)) for name, value in pairs.items() if value is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One part of each request's latency (enqueue, pre, execute, post), as the runtime tells it."""

    name: str
    samples_ns: RawNs


# ---------------------------------------------------------------- models


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """An input or output. ``dims`` holds numbers and symbols; ``below`` the exclusive bound of integer inputs.

    ``meant``: the one value that the model asks a single number for, as it does a sampling rate. ``label``: an output
    whose numbers name something, such as a class; a near one is as wrong as any other.
    """

    name: str
    dtype: str  # numpy name: float32, int64, bool, ...
    dims: tuple[int | str, ...]
    below: int | None = None
    meant: int | None = None
    label: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A prepared ONNX file and its digest.

    ``batch_symbol`` is the symbol of the batch dimension, None when the batch is fixed at ``fixed_batch``.
    ``shapes`` binds every other symbol. ``traits`` says what it computes with (`prepare.traits`).
    """

    path: str
    digest: str
    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    batch_symbol: str | None
    fixed_batch: int
    shapes: tuple[tuple[str, int], ...]
    opset: int
    parameters: int
    weight_bytes: int
    traits: tuple[str, ...] = ()

    @property
    def labels(self) -> frozenset[str]:
        """The outputs that hold labels."""
        return frozenset(spec.name for spec in self.outputs if spec.label)

    def dims(self, tensor: TensorSpec, batch: int) -> tuple[int, ...]:
        """The concrete shape of an input at ``batch``. Raises KeyError for a symbol that nothing binds."""
        bound = dict(self.shapes)
        if self.batch_symbol is not None:
            bound[self.batch_symbol] = batch
        return tuple(d if isinstance(d, int) else bound[d] for d in tensor.dims)


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """Where inputs come from: an ``.npz`` with one array per input (first axis: samples), or a seed.

    ``digest`` is the file's SHA-256.
    """

    seed: int
    path: str | None = None
    digest: str | None = None


SEEDED = Feed(seed=0)


# ---------------------------------------------------------------- devices


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """What a target found. ``units``: compute units usable by us (CPUs after quota and affinity, NSPs, ...)."""

    name: str
    target: str
    title: str
    units: int
    memory_bytes: int
    precisions: tuple[str, ...]
    versions: Named
    health: str = "ready"
    facts: Named = ()
    simulated: bool = False


# ---------------------------------------------------------------- spaces, as a record keeps them


@dataclass(frozen=True, slots=True, kw_only=True)
class KnobFact:
    name: str
    stage: str
    default: Value
    values: tuple[Value, ...]
    doc: str
    spelling: str
    calibrated: tuple[Value, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceFact:
    """What the record keeps of a space, so that a report needs nothing but the run folder."""

    target: str
    device: str
    knobs: tuple[KnobFact, ...]
    rules: tuple[str, ...]
    baselines: tuple[tuple[str, Point], ...]
    legal: int
    raw: int


# ---------------------------------------------------------------- outputs


@dataclass(frozen=True, slots=True, kw_only=True)
class Recheck:
    """After timing, the timed session answers input set ``number`` once more: its outputs must be within ``floor`` (a
    cosine) of those in the ``.npz`` file ``reference``, named ``<output>.<number>``."""

    reference: str
    number: int
    floor: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeats:
    """How long answers took after timing, in pairs: ``same_ns[i]`` to one input asked again and again, ``varied_ns[i]``
    to one that was not asked before (`measure.repeats`)."""

    same_ns: RawNs
    varied_ns: RawNs


Measure = Literal["cosine", "concordance", "length", "slices", "agreement"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fidelity:
    """How near a point's outputs are to the fp32 reference: worst cosine similarity over outputs and inputs.

    Of an output of one number per sample it is the concordance, of one that is longer or shorter than the reference's
    how much alike the lengths are, of slices that a cosine cannot see how near they are by themselves, and of labels
    the share of equal ones (`verify.outputs`); ``measure`` names which of the five was the worst.
    ``metric`` is what the person's own measure of closeness says, where there is one: it counts instead of all.
    """

    point: Point
    cosine: float
    max_abs: float
    max_rel: float
    top1: float | None
    inputs: int
    reason: str = ""
    metric: float | None = None
    measure: Measure = "cosine"

    @property
    def made(self) -> bool:
        """Whether outputs were there to compare; where not, ``reason`` says why, and no figure means anything."""
        return self.inputs > 0

    @property
    def value(self) -> float:
        """What the limit on fidelity is compared with."""
        return self.cosine if self.metric is None else self.metric

    def named(self, metric: str) -> str:
        """What `value` is: the function ``metric`` of the question where that judged, else `measure`."""
        return self.measure if self.metric is None else metric

    def words(self, metric: str) -> str:
        """``cosine 0.99980``."""
        return f"{self.named(metric)} {self.value:.5f}"
