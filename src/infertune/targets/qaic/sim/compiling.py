"""How long the compiler takes, alone on its host: fitted to 49 single compiles of BERT-base in the notebook's logs."""

from __future__ import annotations

import math

from infertune.targets.qaic.sim.setting import Setting
from infertune.targets.qaic.sim.sheet import SYNCED_KINDS
from infertune.targets.qaic.sim.workload import Workload

_BERT_OPERATORS = 145
_FIXED_S = 3.0


def compile_seconds(workload: Workload, setting: Setting) -> float:
    """Median error 8 % on the rows it was fitted to; other networks by their number of operators, which is assumed."""
    operators = sum(op.times for op in workload.ops if op.kind in SYNCED_KINDS)
    cores, batch, root = setting.cores, setting.batch, math.sqrt(setting.batch)
    finer, wider = setting.overlap_split - 1, max(setting.mos, 1) - 1
    one = 7.05 + 1.18 * cores + 0.67 * batch + 0.075 * cores * root
    return _FIXED_S + operators / _BERT_OPERATORS * (one + cores * (finer * (0.30 + 0.123 * root) + 0.21 * wider))
