"""Time of one request on the card: computing per operator, reading weights per stage, sharing memory and clock.

core    = matrix and vector time of the busiest core, less what overlap splitting hides, at the present clock
solo    = sum over stages of (core + sync, reading) combined: reading hides behind computing only within a stage;
          starting operators takes the same clock
device  = the same with the memory bus shared by all instances
request = one pass over its samples, or equal passes over some of them, each with all of that
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from infertune.targets.qaic.sim.constants import Constants
from infertune.targets.qaic.sim.sheet import SYNCED_KINDS, Array, Indices, Sheet
from infertune.targets.qaic.sim.workload import FP16_BYTES

FREE_CORES = 2
"""Cores of an instance up to which moving data costs no more; chosen among 1 to 4 by the fit."""
_CLOCK_ROUNDS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceTime:
    """Seconds per request, (points,) each: ``device`` in the company of the other instances, ``solo`` alone."""

    device: Array
    solo: Array
    computing: Array
    syncing: Array
    reading: Array
    read_bytes: Array
    clock: Array


SUMMED = tuple(field.name for field in fields(DeviceTime) if field.name != "clock")


def both(first: Array, second: Array, power: float) -> Array:
    """Two activities that overlap in part: their sum for power 1, the longer one as power grows."""
    longer = np.maximum(np.maximum(first, second), 1e-12)
    total: Array = longer * ((first / longer) ** power + (second / longer) ** power) ** (1 / power)
    return total


def device_time(sheet: Sheet, k: Constants) -> DeviceTime:
    """In one pass over all samples of a request, or in equal passes over some of them, whichever is quickest."""
    whole = _one_pass(sheet, k)
    if sheet.passes is None:
        return whole
    times = sheet.passes.times * (1 + k.pass_loss)
    return _quickest(whole, sheet.passes.points, times, _one_pass(sheet.passes.sheet, k))


def _quickest(whole: DeviceTime, points: Indices, times: Array, each: DeviceTime) -> DeviceTime:
    """Every pass reads the weights again. ``points``: whose pass it is; ``times``: as long as how many of it."""
    device = times * each.device
    order = np.argsort(-device)
    best = np.zeros(len(whole.device), np.int64)
    best[points[order]] = order  # the quickest of a point's comes last
    better = (points[best] == np.arange(len(best))) & (device[best] < whole.device)
    summed = {name: times * getattr(each, name) for name in SUMMED}
    chosen = {name: np.where(better, amounts[best], getattr(whole, name)) for name, amounts in summed.items()}
    return DeviceTime(**chosen, clock=np.where(better, each.clock[best], whole.clock))


def _one_pass(sheet: Sheet, k: Constants) -> DeviceTime:
    rows = sheet.rows
    core, sync = _core_seconds(sheet, k), _sync_seconds(sheet, k)
    streamed, (most_spilled, spilled) = _streamed_bytes(sheet, k), _spilled_bytes(sheet, k)
    read = streamed + spilled
    bus, core_bus = k.ddr_efficiency * rows["ddr"], k.core_ddr_gbs * 1e9
    reading = np.maximum(read / bus[:, None], (streamed / rows["cores"][:, None] + most_spilled) / core_bus)
    crowd = read * (rows["instances"] / bus)[:, None]

    def at(clock: Array) -> tuple[Array, Array]:
        solo = both((core + sync) / (clock * rows["speed"])[:, None], reading, k.hiding)
        return solo, both(solo, crowd, k.sharing)

    clock = np.minimum(rows["boost"], rows["cap"])
    for _ in range(_CLOCK_ROUNDS):
        _, shared = at(clock)
        load = core.sum(1) / (clock * rows["speed"] * shared.sum(1)) * rows["instances"] * rows["cores"] / rows["nsps"]
        free = 1 + (rows["boost"] - 1) * np.clip((1 - load) / (1 - min(k.boost_load, 0.95)), 0, 1)
        clock = np.minimum(free, rows["cap"])
    solo, shared = at(clock)
    return DeviceTime(
        device=shared.sum(1),
        solo=solo.sum(1),
        computing=core.sum(1) / (clock * rows["speed"]),
        syncing=sync.sum(1) / (clock * rows["speed"]),
        reading=reading.sum(1),
        read_bytes=read.sum(1),
        clock=clock,
    )


def _by_stage(sheet: Sheet, amounts: Array) -> Array:
    total: Array = np.einsum("po,pos->ps", sheet.ops["times"] * amounts, sheet.stages)
    return total


def _core_seconds(sheet: Sheet, k: Constants) -> Array:
    """At the loaded clock, on the busiest core, (points, stages)."""
    ops, kinds, rows = sheet.ops, sheet.kinds, sheet.rows
    effort = kinds["dense"] + kinds["attention"] + k.conv_factor * kinds["conv"]
    fill = 1 + k.fill_rows * ops["fill"]
    matrix = _by_stage(sheet, effort * ops["macs"] * ops["share"] * fill) / (k.matrix_tmacs * 1e12)
    crossing = (1 + k.move_loss * np.maximum(rows["cores"] - FREE_CORES, 0))[:, None]
    cost = (
        k.softmax_ns * kinds["softmax"] + k.erf_ns * kinds["erf"] + k.elementwise_ns * kinds["elementwise"]
        + k.move_ns * (crossing * kinds["move"] + kinds["lookup"]) + k.tap_ns * (kinds["pool"] + kinds["depthwise"])
    )  # fmt: skip
    vector = _by_stage(sheet, cost * ops["elements"] * ops["vector"]) * 1e-9
    matrix, vector = matrix * rows["x_matrix"][:, None], vector * rows["x_vector"][:, None]
    hidden = (k.overlap * rows["x_overlap"] * (1 - 1 / rows["ols"]))[:, None] * np.minimum(matrix, vector)
    finer = 1 + k.overlap_cost * (rows["ols"] - 1)
    total: Array = (matrix + vector - hidden) * finer[:, None]
    return total


def _sync_seconds(sheet: Sheet, k: Constants) -> Array:
    """Starting operators and waiting for the other cores, (points, stages)."""
    ops, rows = sheet.ops, sheet.rows
    synced = sum(sheet.kinds[kind] for kind in SYNCED_KINDS)
    others = np.maximum(rows["cores"] * rows["x_sync_cores"] - 1, 0)[:, None]
    each = (
        k.row_sync_us * ops["by_row"] + k.channel_sync_us * ops["by_channel"] + k.sample_sync_us * ops["whole"]
        + k.multicast_us * rows["multicast"][:, None] * (ops["weights"] > 0)
    )  # fmt: skip
    finer = (rows["x_sync"] * (1 + k.overlap_cost * (rows["ols"] - 1)))[:, None]
    return _by_stage(sheet, synced * (k.op_us + others * each) * finer) * 1e-6


def _streamed_bytes(sheet: Sheet, k: Constants) -> Array:
    """Weights once per request, more without multicast, and rows that are looked up; (points, stages)."""
    ops, rows = sheet.ops, sheet.rows
    repeats = 1 + k.repeat_share * (1 - rows["multicast"]) * (rows["replicas"] - 1)
    looked_up = sheet.kinds["lookup"] * FP16_BYTES * ops["elements"]
    return _by_stage(sheet, (ops["weights"] * repeats[:, None] + looked_up) * rows["x_bytes"][:, None])


def _spilled_bytes(sheet: Sheet, k: Constants) -> tuple[Array, Array]:
    """Activations that do not fit into a core's memory: of the busiest core, and of all; (points, stages) each.

    Every core has its own samples, or its part of one; no operator moves more of them than it reads and writes.
    """
    ops, rows = sheet.ops, sheet.rows
    room = rows["room"] * k.memory_share * rows["x_room"]

    def spilled(samples: Array) -> Array:
        held = ops["live"] * (samples * rows["x_bytes"] * rows["x_live"])[:, None]
        touched = ops["touched"] * (samples * rows["x_bytes"])[:, None]
        over = np.minimum(2 * k.spill * np.maximum(held - room[:, None], 0), touched)
        return _by_stage(sheet, over * rows["x_spill"][:, None])

    most, fewer = spilled(rows["most"]), spilled(rows["fewer"])
    return most, most * rows["with_most"][:, None] + fewer * rows["with_fewer"][:, None]
