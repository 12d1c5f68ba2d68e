"""How long the compiler takes, alone and beside other compiles: fitted to what the notebooks' logs tell of it."""

from __future__ import annotations

import math

from infertune.targets.qaic.sim.setting import Setting
from infertune.targets.qaic.sim.sheet import SYNCED_KINDS
from infertune.targets.qaic.sim.workload import Workload

_BERT_OPERATORS = 145
_FIXED_S = 3.0
_CONVOLUTION = 10.0
"""Operators that a convolution counts as: ResNet-50 alone, 5 cores and batch 1, took about 61 s in the log of 2025 (one
compile and one run in 68 s). That host and compiler were other ones than BERT-base's, and the factor holds both."""

AT_ONCE = 2.1
"""Compiles that the 128-core host of the BERT notebook works on at full speed: three to six at once took 0.39 to 0.61
of their sum (median 0.47), by 25 of its batches."""
AT_ONCE_2025 = 6.0
"""The same of the 48-core host, whose compiles took longer: up to 6 of ResNet-50 at once took as long as the longest of
them; 14 and 19 took 1.3 and 2 times that."""
_CORNER = 6.0


def compile_seconds(workload: Workload, setting: Setting) -> float:
    """Alone on its host. Median error 8 % on the rows it was fitted to; other networks by their operators."""
    operators = sum(_operators(op.kind) * op.times for op in workload.ops)
    cores, batch, root = setting.cores, setting.batch, math.sqrt(setting.batch)
    finer, wider = setting.overlap_split - 1, max(setting.mos, 1) - 1
    one = 7.05 + 1.18 * cores + 0.67 * batch + 0.075 * cores * root
    return _FIXED_S + operators / _BERT_OPERATORS * (one + cores * (finer * (0.30 + 0.123 * root) + 0.21 * wider))


def _operators(kind: str) -> float:
    return _CONVOLUTION if kind in ("conv", "depthwise") else float(kind in SYNCED_KINDS)


def crowding(others: int, at_once: float = AT_ONCE) -> float:
    """How much longer a compile takes that begins while ``others`` are under way."""
    return float((1 + ((others + 1) / at_once) ** _CORNER) ** (1 / _CORNER) / (1 + at_once**-_CORNER) ** (1 / _CORNER))
