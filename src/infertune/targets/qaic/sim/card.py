"""What kinds of card there are: constants of the vendor's architecture page unless another source is named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Sku = Literal["standard", "pro", "ultra"]

FAST_MEMORY_BYTES = 8_323_072
"""Of 8 MiB per core, what the compiler reports as usable (`-aic-perf-metrics`)."""
MAX_MHZ = 1450.0
LOADED_MHZ = 1233.0
"""Clock that the profiler notebook shows with every core at work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One device as the runtime sees it. ``loaded_mhz`` is the clock to which power limits it when all cores work.

    ``capped_mhz``: a lower limit that was set or suffered; 0 for none.
    """

    sku: Sku
    nsps: int
    ddr_bytes: int
    ddr_bytes_per_s: float
    max_mhz: float = MAX_MHZ
    loaded_mhz: float = LOADED_MHZ
    capped_mhz: float = 0.0
    fast_memory_bytes: int = FAST_MEMORY_BYTES
    tdp_w: float = 75.0


_GIB = 1 << 30

CARDS: Mapping[str, Card] = {
    "standard": Card(sku="standard", nsps=14, ddr_bytes=16 * _GIB, ddr_bytes_per_s=137e9),
    "pro": Card(sku="pro", nsps=16, ddr_bytes=32 * _GIB, ddr_bytes_per_s=137e9),
    # one of the four devices of the card; 290 / 4 against 125 TFLOPs of a Pro with as many cores: a slower clock
    "ultra": Card(
        sku="ultra", nsps=16, ddr_bytes=32 * _GIB, ddr_bytes_per_s=137e9, loaded_mhz=LOADED_MHZ * 290 / 4 / 125,
        tdp_w=37.5,
    ),
}  # fmt: skip
