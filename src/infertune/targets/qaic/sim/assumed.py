"""Effects of the compiler's lesser options: directions are documented, sizes assumed, small and calibrated on nothing.

Sources of the directions: the vendor's tuning page and MLPerf configurations (split size, VTCM share, delayed
deallocation, depth-first, producer DMA, pipelined clusters), and the documented arithmetic rates (int8: twice fp16).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from infertune.targets.qaic.sim.setting import DEALLOC_DELAY, SPLIT_KIB, Options


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """Factors on parts of the model; all 1 for default options."""

    matrix: float = 1.0
    vector: float = 1.0
    bytes: float = 1.0
    sync: float = 1.0
    room: float = 1.0
    live: float = 1.0
    spill: float = 1.0
    overlap: float = 1.0
    sync_cores: float = 1.0
    call: float = 1.0


def effects_of(options: Options) -> Effects:
    rate = {"f16": 1.0, "f32": 8.0, "int8": 0.5}[options.precision]
    delay = (options.dealloc_delay or DEALLOC_DELAY) - DEALLOC_DELAY
    tile = math.log2((options.split_kib or SPLIT_KIB) / SPLIT_KIB)
    deep = options.depth_first_mib > 0
    separate = (options.combine_inputs is False) + (options.combine_outputs is False)
    return Effects(
        matrix=rate * (1.04 if deep else 1.0),
        vector=min(rate, 2.0),
        bytes={"f16": 1.0, "f32": 2.0, "int8": 0.5}[options.precision],
        sync=(1.0 - 0.04 * tile) * (0.98 if options.producer_dma else 1.0) * (1.03 if deep else 1.0),
        room=(options.vtcm_percent or 100) / 100,
        live=1.0 + 0.02 * delay,
        spill=(1.0 + 0.1 * tile) * (0.5 if deep else 1.0),
        overlap=1.0 + 0.1 * min(max(delay, -1), 4),
        sync_cores=1.0 / options.clusters,
        call=1.0 + 0.05 * separate,
    )
