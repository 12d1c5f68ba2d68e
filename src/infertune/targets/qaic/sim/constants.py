"""The fitted constants of the card model: read from ``constants.json``, which `bench/sim/calibrate.py` writes."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Constants:
    """Rates hold per core at the loaded clock; times per element in nanoseconds, per operator in microseconds.

    matrix_tmacs      matrix unit, T multiply-accumulates per second, padding included
    fill_rows         rows' worth of time to load a tile of weights into the matrix unit
    conv_factor       time of a convolution against a matrix product of the same padded size
    softmax_ns .. tap_ns   vector unit, per element (pooling and depthwise convolutions: per tap and element)
    overlap           share of the shorter of matrix and vector time that full overlap splitting hides
    overlap_cost      growth of computing and waiting with each further overlap split
    op_us             starting an operator
    row_sync_us, channel_sync_us, sample_sync_us   per further core, by what is cut
    multicast_us      per further core, for an operator whose weights are multicast
    move_loss         growth of moving data (transposes, gathers) per core of an instance beyond two
    ddr_efficiency    of the nominal bandwidth
    core_ddr_gbs      what one core's transfer unit can read
    repeat_share      how far reading without multicast repeats weights (1: cores with other samples read all)
    spill             bytes written and read again, against what does not fit
    memory_share      of fast memory that activations can take
    pass_loss         growth of a request that goes through its samples in several passes
    hiding            exponent: how well reading weights hides behind computing in one instance
    sharing           exponent: how well the instances' phases interleave on the memory bus
    boost_load        load up to which the clock stays at its maximum
    host_us           host time per request, copying apart
    copy_gbs          copying results that do not fit into the host's cache
    host_cache_mb     size of that cache
    pcie_gbs          PCIe, both directions together
    """

    matrix_tmacs: float
    fill_rows: float
    conv_factor: float
    softmax_ns: float
    erf_ns: float
    elementwise_ns: float
    move_ns: float
    tap_ns: float
    overlap: float
    overlap_cost: float
    op_us: float
    row_sync_us: float
    channel_sync_us: float
    sample_sync_us: float
    multicast_us: float
    move_loss: float
    ddr_efficiency: float
    core_ddr_gbs: float
    repeat_share: float
    spill: float
    memory_share: float
    pass_loss: float
    hiding: float
    sharing: float
    boost_load: float
    host_us: float
    copy_gbs: float
    host_cache_mb: float
    pcie_gbs: float


FILE = Path(__file__).with_name("constants.json")
NAMES = tuple(field.name for field in fields(Constants))


@cache
def fitted() -> Constants:
    """The committed fit."""
    told = json.loads(FILE.read_text())["constants"]
    return Constants(**{name: float(told[name]) for name in NAMES})
