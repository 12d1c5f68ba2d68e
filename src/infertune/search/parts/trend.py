"""What is known of inference before anything was measured, as a prior mean that the data may overrule.

Throughput rises with the compute units at work (cores x instances), less so near the whole device where memory or
shared cores limit it; it saturates in batch like b / (b + 1), and falls slowly again as batches outgrow caches. One
instance on all cores loses to waiting, one per core to memory: the best cut is rarely at either end.
Latency follows by Little's law: latency = samples in flight / throughput. So both goals share one model, that of
log throughput.
"""

from __future__ import annotations

import numpy as np

from infertune.search.parts.arrays import Columns, Floats

LEVEL_SD = 3.0
SLOPES = (0.5, 0.4, 0.5, -0.02, -0.02)
SLOPE_SDS = (0.3, 0.3, 0.4, 0.1, 0.03)


def basis(columns: Columns, units: int, count: int) -> Floats:
    """(points, 6): level, log of units used, of those below half the device, batch saturation, batch octaves, cut.

    ``units``: the most compute units that any point of the space uses. ``cut``: squared octaves between a point's cores
    and those of the even cut, with as many instances as cores.
    """
    used = np.log(_whole(columns, "used", units, count) / units)
    batch = _whole(columns, "batch", 1, count)
    below_half = np.minimum(0.0, used + np.log(2.0))
    cores, instances = (_whole(columns, knob, 1, count) for knob in ("cores", "instances"))
    cut = (0.5 * np.log2(cores / instances)) ** 2 if "instances" in columns else np.zeros(count)
    return np.stack([np.ones(count), used, below_half, np.log(batch / (batch + 1.0)), np.log2(batch), cut], axis=1)


def depth(columns: Columns, count: int) -> Floats:
    """Log of the samples in flight, as far as the knobs tell."""
    total = np.zeros(count)
    for knob in ("batch", "instances", "set_size"):
        total += np.log(_whole(columns, knob, 1, count))
    return total


def _whole(columns: Columns, knob: str, otherwise: int, count: int) -> Floats:
    """A knob's values, ``otherwise`` where it is absent or left to the runtime."""
    if knob not in columns or columns[knob].dtype == object:
        return np.full(count, float(otherwise))
    values = columns[knob].astype(np.float64)
    return np.where(values > 0, values, float(otherwise))
