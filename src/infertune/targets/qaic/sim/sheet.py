"""Points of the card model as arrays, one row per point and one column per operator: what the equations work on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from infertune.targets.qaic.sim.assumed import effects_of
from infertune.targets.qaic.sim.card import Card
from infertune.targets.qaic.sim.setting import Setting
from infertune.targets.qaic.sim.split import Split, dealt, loads, split_of, vector_share
from infertune.targets.qaic.sim.workload import KINDS, MATRIX_KINDS, Op, Workload

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

SYNCED_KINDS = (*sorted(MATRIX_KINDS), "depthwise", "move", "pool")
"""Operators after which cores wait for each other; plain vector work stays where its input is."""

SURELY = 0.5
"""Of fast memory: activations that take no more fit whatever the share of it that the fit leaves them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    workload: Workload
    card: Card
    setting: Setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """``ops``: (points, operators) by name; ``kinds``: the same as masks; ``rows``: (points,) by name;
    ``stages``: (points, operators, stages), one where an operator belongs to a stage. Amounts are per request.
    ``passes``: other ways to go through the batches of these points."""

    ops: dict[str, Array]
    kinds: dict[str, Array]
    rows: dict[str, Array]
    stages: Array
    passes: Passes | None = None

    def take(self, places: Indices) -> Sheet:
        return Sheet(
            ops={name: values[places] for name, values in self.ops.items()},
            kinds={name: values[places] for name, values in self.kinds.items()},
            rows={name: values[places] for name, values in self.rows.items()},
            stages=self.stages[places],
            passes=self.passes.take(places) if self.passes else None,
        )

    def with_rows(self, **values: Array) -> Sheet:
        """The same with other facts of its points, and so of their passes."""
        passes = self.passes
        if passes:
            theirs = {name: value[passes.points] for name, value in values.items()}
            passes = replace(passes, sheet=passes.sheet.with_rows(**theirs))
        return replace(self, rows={**self.rows, **values}, passes=passes)

    def changed(self, change: Callable[[Sheet], Sheet]) -> Sheet:
        """What ``change`` makes of these points, and of their passes."""
        passes = replace(self.passes, sheet=self.passes.sheet.changed(change)) if self.passes else None
        return replace(change(replace(self, passes=None)), passes=passes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Passes:
    """``sheet``: passes over part of the samples of a request, ``times`` each; ``points``: whose they are."""

    sheet: Sheet
    times: Array
    points: Indices

    def take(self, places: Indices) -> Passes | None:
        """Those of the points at ``places``, which differ."""
        number = np.full(1 + max(self.points.max(), places.max()), -1)
        number[places] = np.arange(len(places))
        rows = np.flatnonzero(number[self.points] >= 0)
        if not len(rows):
            return None
        return Passes(sheet=self.sheet.take(rows), times=self.times[rows], points=number[self.points[rows]])


def sheet_of(points: Sequence[Point]) -> Sheet:
    sizes = [(place, size) for place, point in enumerate(points) for size in _passes(point)]
    sheet = _whole(points)
    if not sizes:
        return sheet
    parts = [replace(points[place], setting=replace(points[place].setting, batch=size)) for place, size in sizes]
    times = [math.ceil(points[place].setting.batch / size) for place, size in sizes]
    places = np.array([place for place, _ in sizes])
    return replace(sheet, passes=Passes(sheet=_whole(parts), times=np.array(times, float), points=places))


def _passes(point: Point) -> list[int]:
    """Samples of passes over part of a request that may be quicker than one: where activations may not fit, down to
    such that surely do, and where cores have less to do because several share each sample."""
    setting, effects = point.setting, effects_of(point.setting.options)
    batch, cores = setting.batch, setting.cores
    each = point.workload.peak_bytes * effects.bytes * effects.live
    room = SURELY * point.card.fast_memory_bytes * effects.room
    sizes = sorted({math.ceil(batch / passes) for passes in range(1, batch + 1)}, reverse=True)
    held = [loads(size, cores)[0][0] * each for size in sizes]
    work = {size: math.ceil(batch / size) * size * vector_share(size, cores) for size in sizes}
    return [
        size
        for size, before in zip(sizes[1:], held, strict=False)
        if before > room or work[size] < work[batch] * (1 - 1e-9)
    ]


def _whole(points: Sequence[Point]) -> Sheet:
    width = max(len(point.workload.ops) for point in points)
    ops = {name: np.zeros((len(points), width)) for name in _OP_NAMES}
    kinds: dict[str, Array] = {kind: np.zeros((len(points), width)) for kind in KINDS}
    number = np.zeros((len(points), width), np.int64)
    for row, point in enumerate(points):
        for column, op in enumerate(point.workload.ops):
            for name, value in _amounts(op, point.setting).items():
                ops[name][row, column] = value
            kinds[op.kind][row, column] = 1.0
            number[row, column] = op.stage
    stages = (number[:, :, None] == np.arange(number.max() + 1)).astype(float)
    facts = [_facts(point) for point in points]
    rows = {name: np.array([fact[name] for fact in facts], float) for name in facts[0]}
    return Sheet(ops=ops, kinds=kinds, rows=rows, stages=stages)


_OP_NAMES = (
    "times", "macs", "elements", "weights", "live", "touched", "share", "vector", "fill", "by_row", "by_channel",
    "whole",
)  # fmt: skip
_NO_SPLIT = Split(0.0, 1, 1, 1, 1)


def _amounts(op: Op, setting: Setting) -> dict[str, float]:
    batch, cores = setting.batch, setting.cores
    matrix = op.kind in MATRIX_KINDS
    cut = split_of(op, batch, cores, setting.channel_split) if matrix else _NO_SPLIT
    inside = dealt(batch, cores)[1] > 1 if op.kind == "attention" else cut.row_ways * cut.channel_ways > 1
    by_channel = float(cut.channel_ways > 1)
    return {
        "times": op.times,
        "macs": op.padded_macs * batch,
        "elements": op.elements * batch,
        "weights": op.weight_bytes,
        "live": op.live_bytes,
        "touched": op.in_bytes + op.out_bytes,
        "share": cut.share,
        "vector": vector_share(batch, cores),
        "fill": 1.0 / max(cut.rows, 8),
        "by_row": float(inside) - by_channel,
        "by_channel": by_channel,
        "whole": 1.0 - float(inside),
    }


def _facts(point: Point) -> dict[str, float]:
    setting, card, effects = point.setting, point.card, effects_of(point.setting.options)
    (most, with_most), (fewer, with_fewer) = loads(setting.batch, setting.cores)
    load: Any = {f"x_{name}": getattr(effects, name) for name in effects.__slots__}
    return {
        **load,
        "cores": setting.cores,
        "most": most,
        "with_most": with_most,
        "fewer": fewer,
        "with_fewer": with_fewer,
        "ols": setting.overlap_split,
        "batch": setting.batch,
        "instances": setting.instances,
        "set_size": setting.set_size,
        "multicast": float(setting.multicast),
        "replicas": min(setting.batch, setting.cores),
        "nsps": card.nsps,
        "ddr": card.ddr_bytes_per_s,
        "room": card.fast_memory_bytes,
        "boost": card.max_mhz / card.loaded_mhz,
        "speed": card.loaded_mhz / 1233.0,
        "cap": (card.capped_mhz or card.max_mhz) / card.loaded_mhz,
        "moved": setting.batch * (point.workload.input_bytes + point.workload.output_bytes),
    }
