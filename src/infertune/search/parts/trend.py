"""What is known of inference before anything was measured, as a prior mean that the data may overrule.

Throughput rises with the compute units at work (cores x instances), less so near the whole device where memory or
shared cores limit it; it saturates in batch like b / (b + 1), and falls slowly again as batches outgrow caches.
Instances work side by side, while the cores of one instance wait for each other: of equally many units at work, more
instances of fewer cores do more. Numbers of half the bits take up to half the time: the middle between no gain and
twice the speed is expected. One instance on all cores loses to waiting, one per core to memory: the best cut is rarely
at either end. Where cores take whole samples, some wait for others if neither samples divide evenly among the cores of
an instance nor cores among samples.
Latency follows by Little's law: latency = samples in flight / throughput. So both goals share one model, that of
log throughput.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from infertune.search.parts.arrays import Columns, Floats

LEVEL_SD = 3.0
SLOPES = (0.5, 0.4, 0.5, -0.02, -0.02, -0.15, 0.35, -0.3)
SLOPE_SDS = (0.3, 0.3, 0.4, 0.1, 0.03, 0.2, 0.35, 0.4)
BITS = {"f32": 32, "bf16": 16, "fp16": 16, "f16": 16, "int8": 8, "int4": 4}
UNKNOWN_BITS = 16
"""Where the runtime decides."""


def basis(columns: Columns, units: int, count: int, *, whole_samples: bool = False) -> Floats:
    """(points, 9): level, log of units used, of those below half, batch saturation, batch octaves, cut, each, halvings,
    uneven.

    ``units``: the most compute units that any point of the space uses. ``cut``: squared octaves between a point's cores
    and those of the even cut, with as many instances as cores. ``each``: log of the cores of an instance (of the even
    cut where the runtime decides), 0 in a space without instances. ``halvings``: of the 32 bits of a number.
    ``uneven``: see `_uneven`; 0 unless cores take whole samples.
    """
    used = np.log(_whole(columns, "used", units, count) / units)
    batch = _whole(columns, "batch", 1, count)
    below_half = np.minimum(0.0, used + np.log(2.0))
    cores, instances = (_whole(columns, knob, 1, count) for knob in ("cores", "instances"))
    cut = (0.5 * np.log2(cores / instances)) ** 2 if "instances" in columns else np.zeros(count)
    each = np.log(np.where(_left(columns, "cores", count), np.sqrt(units), cores))
    each = each if "instances" in columns else np.zeros(count)
    grown = (np.log(batch / (batch + 1.0)), np.log2(batch))
    uneven = _uneven(batch, cores) if whole_samples else np.zeros(count)
    rest = (cut, each, _halvings(columns, count), uneven)
    return np.stack([np.ones(count), used, below_half, *grown, *rest], axis=1)


def depth(columns: Columns, count: int) -> Floats:
    """Log of the samples in flight, as far as the knobs tell."""
    total = np.zeros(count)
    for knob in ("batch", "instances", "set_size"):
        total += np.log(_whole(columns, knob, 1, count))
    return total


def _uneven(batch: Floats, cores: Floats) -> Floats:
    """Log of the busiest core's work over that of an even split, where a core gets whole samples, or a sample a whole
    number of cores: 0 where batch is a multiple of cores or cores of batch."""
    samples = np.ceil(batch / cores) * cores / batch
    shares = cores / (batch * np.maximum(np.floor(cores / batch), 1.0))
    return np.asarray(np.log(np.where(batch >= cores, samples, shares)))


def _halvings(columns: Columns, count: int) -> Floats:
    """How often 32 bits were halved for a point's numbers."""
    if "precision" not in columns:
        return np.zeros(count)
    bits = [BITS.get(str(value), UNKNOWN_BITS) for value in columns["precision"].tolist()]
    return 5.0 - np.log2(np.asarray(bits, dtype=np.float64))


def _left(columns: Columns, knob: str, count: int) -> npt.NDArray[np.bool_]:
    """Where a knob is left to the runtime."""
    return np.asarray(_whole(columns, knob, 0, count) == 0.0)


def _whole(columns: Columns, knob: str, otherwise: int, count: int) -> Floats:
    """A knob's values, ``otherwise`` where it is absent or left to the runtime."""
    if knob not in columns or columns[knob].dtype == object:
        return np.full(count, float(otherwise))
    values = columns[knob].astype(np.float64)
    return np.where(values > 0, values, float(otherwise))
