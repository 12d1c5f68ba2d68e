"""Inputs that post-training quantisation takes its ranges from, apart from those that outputs are checked on."""

from __future__ import annotations

import math

import numpy as np

from infertune.core.records import Feed, Model
from infertune.prepare.inputs import Array, make_inputs
from infertune.prepare.samples import read_samples

SETS = 64
"""Input sets; on MiniLM-L6 128 of them brought 0.0007 of cosine and 300 brought 0.0003, at 2x and 4x the cost."""

MOST_BYTES = 512_000_000

SEED = 0xCA11B
"""Calibration draws its own inputs whatever the seed of a study, so that its artifacts can be used again."""

CHECKED = 16
"""The first samples of a person's file are what outputs are checked on; calibration leaves them alone if it can."""


def calibration_sets(model: Model, feed: Feed) -> list[dict[str, Array]]:
    """Up to `SETS` input sets of one sample (of the model's own batch where that is fixed), `MOST_BYTES` in all.

    Raises what `samples.read_samples` raises.
    """
    size = sum(math.prod(model.dims(spec, model.fixed_batch)) * np.dtype(spec.dtype).itemsize for spec in model.inputs)
    count = max(1, min(SETS, MOST_BYTES // max(1, size)))
    if feed.path is None:
        return make_inputs(model, Feed(seed=SEED), 1, count)
    samples = read_samples(feed.path, model)
    step = 1 if model.batch_symbol is not None else model.fixed_batch
    first = CHECKED if samples.count >= 2 * CHECKED else 0
    return [samples.batch(first + i * step, step) for i in range(max(1, min(count, (samples.count - first) // step)))]
