"""Other structures of the card model against the chosen one: what each physical effect is worth. Minutes.

    python bench/sim/structures.py [DATA]

Every structure is fitted anew, one architecture left out at a time; figures are those of rows that no fit saw.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import calibrate
import numpy as np
from calibrate import PRIORS, Data, Prior
from fidelity import agreeing, leave_one_architecture_out, percent, same_graph, same_task

from infertune.targets.qaic.sim.sheet import Sheet


def held(**values: float) -> Mapping[str, Prior]:
    """Constants that a structure does without: kept at a value at which they do nothing."""
    return {name: Prior(value=value, spread=0.0, source="left out") for name, value in values.items()}


def unchanged(sheet: Sheet) -> Sheet:
    return sheet


def one_stage(sheet: Sheet) -> Sheet:
    return replace(sheet, stages=sheet.stages.sum(2, keepdims=True))


def fixed_clock(sheet: Sheet) -> Sheet:
    return replace(sheet, rows={**sheet.rows, "boost": np.ones_like(sheet.rows["boost"])})


def even_split(sheet: Sheet) -> Sheet:
    """Work divided evenly over cores, without whole samples, rows and tiles."""
    even = np.broadcast_to(1 / sheet.rows["cores"][:, None], sheet.ops["share"].shape)
    used = np.where(sheet.ops["share"] > 0, even, 0.0)
    held = {"most": sheet.rows["batch"] / sheet.rows["cores"], "with_most": sheet.rows["cores"]}
    rows = {**sheet.rows, **held, "fewer": 0 * held["most"], "with_fewer": 0 * held["most"]}
    return replace(sheet, ops={**sheet.ops, "share": used, "vector": even}, rows=rows)


STRUCTURES: Mapping[str, tuple[Mapping[str, Prior], Callable[[Sheet], Sheet]]] = {
    "chosen": ({}, unchanged),
    "roofline: the longer of computing and reading": (held(hiding=60.0, sharing=60.0), one_stage),
    "adding up computing and reading": (held(hiding=1.0), one_stage),
    "no stages: weights prefetched at will": ({}, one_stage),
    "no clock boost at low load": (held(boost_load=0.4), fixed_clock),
    "even split of work": ({}, even_split),
    "no spill of activations": (held(spill=1e-9), unchanged),
    "moves cost the same on all cores": (held(move_loss=1e-9), unchanged),
    "no host cache: every result copied alike": (held(host_cache_mb=1e-9), unchanged),
}


def report(name: str, data: Data, priors: Mapping[str, Prior]) -> str:
    logs = leave_one_architecture_out(data, priors)
    ours = np.array([row.source == "published_nlp" for row in data.rows])
    single = np.array([row.in_flight == 1 for row in data.rows])
    pictures = np.array([row.model == "resnet50" and row.host == "128-core" for row in data.rows])
    shares = [
        right / total
        for chosen in (ours & ~single, ours & single)
        for key in (same_task, same_graph)
        for right, total in [agreeing(data, logs, chosen, key)]
    ]
    middle, high = percent(logs[ours])
    worst = 100 * float(np.max(np.abs(np.expm1(logs[pictures]))))
    told = " ".join(f"{100 * share:4.0f} %" for share in shares)
    return f"{name:48} {middle:5.1f} % {high:5.1f} %  pairs {told}   ResNet-50 2023, worst {worst:4.0f} %"


def main(arguments: Sequence[str]) -> None:
    folder = Path(arguments[0]) if arguments else Path(__file__).parents[3] / "shared" / "data"
    data = calibrate.load(folder)
    for name, (constants, change) in STRUCTURES.items():
        choices = data.choices.changed(change) if data.choices is not None else None
        changed = replace(data, sheet=data.sheet.changed(change), choices=choices)
        print(report(name, changed, {**PRIORS, **constants}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
