"""How the compiler cuts an operator over the cores of an instance: whole samples, runs of rows, tiles of channels."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

from infertune.targets.qaic.sim.workload import BLOCK_ROWS, TILE, Op, padded

ROW_RUN = 16
"""Rows of the smallest piece of a matrix product; chosen among 8, 16 and 32 by the fit (`bench/sim/calibrate.py`)."""


@dataclass(frozen=True, slots=True)
class Split:
    """``share`` of the work (of samples padded one by one) on the busiest core, ``rows`` that it computes; ways that
    samples, rows and channels go."""

    share: float
    rows: int
    samples: int
    row_ways: int
    channel_ways: int


def dealt(batch: int, cores: int) -> tuple[int, int]:
    """Samples in turn that the busiest core takes part in, and the cores that share each of them.

    Samples stay whole where there are as many as cores; fewer have cores of their own, equally many each. By the
    notebooks, where 16 samples took as long on 12 or 13 cores as on 8, for both networks.
    """
    return math.ceil(batch / cores), max(cores // batch, 1)


def loads(batch: int, cores: int) -> tuple[tuple[float, int], tuple[float, int]]:
    """Samples that a core holds (a part of one where cores share it) and how many cores do: the busiest, and the
    others that hold one sample less."""
    turns, own = dealt(batch, cores)
    if batch <= cores:
        return (1 / own, batch * own), (0.0, 0)
    busiest = batch - (turns - 1) * cores
    return (float(turns), busiest), (turns - 1.0, cores - busiest)


def split_of(op: Op, batch: int, cores: int, channel_limit: int) -> Split:
    """Samples as `dealt`, each cut over its own cores: heads of attention, runs of rows, tiles of channels."""
    turns, own = dealt(batch, cores)
    runs = max(op.blocks, 1) * BLOCK_ROWS // ROW_RUN
    if op.kind == "attention":
        one = _best(op.groups, runs, 1, own, 1)
    else:
        one = _best(1, runs, _tiles(op), own, channel_limit)
    each = Split(
        one.share * turns / batch, one.rows * turns, one.samples * min(batch, cores), one.row_ways, one.channel_ways
    )
    return _joined(op, batch, cores, channel_limit, each) if op.rows else each


def _joined(op: Op, batch: int, cores: int, channel_limit: int, each: Split) -> Split:
    """The samples of a core lie one below the other, so that only the last block of rows is padded; samples of less
    than a block are cut as one product of all of them where that is less work."""
    turns, own = dealt(batch, cores)
    if own == 1:
        rows = padded(turns * op.rows, BLOCK_ROWS)
        each = replace(each, share=each.share * rows / each.rows, rows=rows)
    if op.rows >= BLOCK_ROWS:
        return each
    rows = padded(batch * op.rows, BLOCK_ROWS)
    whole = _best(1, rows // ROW_RUN, _tiles(op), cores, channel_limit)
    whole = replace(whole, share=whole.share * rows / (batch * op.blocks * BLOCK_ROWS))
    return min(each, whole, key=lambda split: split.share)


def _tiles(op: Op) -> int:
    return max(1, -(-op.wide // TILE))


@lru_cache(maxsize=1 << 16)
def _best(samples: int, runs: int, tiles: int, cores: int, channel_limit: int) -> Split:
    """The smallest share; of equal ones that with the fewest cuts of channels: they cost traffic."""
    best = Split(1.0, samples * runs * ROW_RUN, 1, 1, 1)
    for by_channel in range(1, min(channel_limit, tiles, cores) + 1):
        for by_sample in range(1, min(samples, cores // by_channel) + 1):
            by_row = min(runs, cores // (by_sample * by_channel))
            parts = math.ceil(samples / by_sample), math.ceil(runs / by_row), math.ceil(tiles / by_channel)
            share = math.prod(parts) / (samples * runs * tiles)
            if share < best.share - 1e-12:
                best = Split(share, parts[0] * parts[1] * ROW_RUN, by_sample, by_row, by_channel)
    return best


def vector_share(batch: int, cores: int) -> float:
    """Of vector work on the busiest core."""
    turns, own = dealt(batch, cores)
    return turns / (batch * own)
