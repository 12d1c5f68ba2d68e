"""Requests per second: a closed loop of ``set_size`` requests per instance through host, PCIe and card."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from infertune.targets.qaic.sim.constants import Constants
from infertune.targets.qaic.sim.device import both
from infertune.targets.qaic.sim.sheet import Array, Sheet

HOST_THREADS = 4
"""`--aic-threads-per-queue`: how many requests of an instance the host handles at once."""
_LOOP_POWER = 8.0
_LINK_POWER = 12.0
_CACHE_POWER = 8.0
"""Exponents that round the corners between limits; none is fitted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostLoop:
    """(points,) each: requests per second of the whole card, and the seconds one request takes on host and link."""

    requests_per_s: Array
    calls_s: Array
    copies_s: Array
    link_s: Array


def host_loop(sheet: Sheet, device: Array, k: Constants) -> HostLoop:
    """The slowest of card, host threads and link limits an instance that has several requests queued; with one, the
    times add up. All instances share the link."""
    rows = sheet.rows
    moved = np.maximum(rows["moved"], 1.0)
    link = moved / (k.pcie_gbs * 1e9)
    copies = moved / (k.copy_gbs * 1e9) / (1 + (k.host_cache_mb * 1e6 / moved) ** _CACHE_POWER)
    calls = k.host_us * 1e-6 * rows["x_call"]
    around = device + calls + copies + link
    threads = np.minimum(rows["set_size"], HOST_THREADS)
    slowest = np.maximum.reduce([device, (calls + copies) / threads, link])
    queued = 1 / both(around / rows["set_size"], slowest, _LOOP_POWER)
    each = np.where(rows["set_size"] == 1, 1 / around, np.maximum(queued, 1 / around))
    wanted = rows["instances"] * each
    total = 1 / both(1 / wanted, link, _LINK_POWER)
    return HostLoop(requests_per_s=total, calls_s=calls, copies_s=copies, link_s=link)
