"""Fit the constants of the card model to the published rows and write them where the model reads them.

    python bench/sim/calibrate.py [DATA] [--write]

Least squares on the logarithm of throughput, robust against outliers, each constant held near its documented or
physical value by a prior. A third of the models is kept out (`published.kept_out`); so are all rows of a model that is
not in the fit. DATA is the folder that holds cloud-ai-100/published_nlp.csv (default: ../shared/data).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from published import Row, choice_points, choices, kept_out, notebook, points, published_nlp
from scipy.optimize import least_squares

from infertune.targets.qaic.sim.constants import FILE, Constants
from infertune.targets.qaic.sim.model import rates
from infertune.targets.qaic.sim.sheet import Array, Sheet, sheet_of

NOISE = 0.06
"""Relative spread of published rows around a good model: equal points under other names differ by 3 to 11 %."""

MARGIN = 0.004
"""By which the chosen of two points is to be ahead: with less, rounding decides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """``spread`` is that of the logarithm; 0 keeps the value. ``source`` says where the value comes from."""

    value: float
    spread: float
    source: str


PROFILE = "share of device time in the profiler notebook, BERT-base on 2 cores at batch 8"
PRIORS: Mapping[str, Prior] = {
    "matrix_tmacs": Prior(value=3.6, spread=0.1, source=PROFILE),
    "fill_rows": Prior(value=16, spread=1.0, source="half a block of rows"),
    "conv_factor": Prior(value=1.0, spread=0.3, source="as a matrix product"),
    "softmax_ns": Prior(value=0.39, spread=0.3, source=PROFILE),
    "erf_ns": Prior(value=0.183, spread=0.3, source=PROFILE),
    "elementwise_ns": Prior(value=0.0167, spread=0.3, source=PROFILE),
    "move_ns": Prior(value=0.085, spread=0.4, source=PROFILE + " (transposes)"),
    "tap_ns": Prior(value=0.02, spread=0.5, source="near an elementwise pass: a shifted read, an operation"),
    "overlap": Prior(value=0.05, spread=0.3, source="ols 3 against 1 in the notebook: at most 5 %"),
    "overlap_cost": Prior(value=0.005, spread=0.7, source="the notebook's searches stop at 2 to 4"),
    "op_us": Prior(value=3.0, spread=0.7, source="first roofline"),
    "row_sync_us": Prior(value=0.5, spread=0.7, source="first roofline"),
    "channel_sync_us": Prior(value=0.5, spread=0.7, source="first roofline"),
    "sample_sync_us": Prior(value=0.1, spread=0.7, source="whole samples need no exchange"),
    "multicast_us": Prior(value=0.1, spread=1.5, source="receivers have to be ready"),
    "move_loss": Prior(value=0.015, spread=1.0, source="first roofline: core exponent 0.98"),
    "ddr_efficiency": Prior(value=0.93, spread=0.05, source="two instances of 7 cores: 120 of 137 GB/s"),
    "core_ddr_gbs": Prior(value=60, spread=0.5, source="copies take 15 % of the profile"),
    "repeat_share": Prior(value=1.0, spread=1.0, source="documented: multicast reads shared weights once"),
    "spill": Prior(value=1.0, spread=0.5, source="written once, read once"),
    "memory_share": Prior(value=0.9, spread=0.2, source="some is staging room for weights"),
    "pass_loss": Prior(value=0.03, spread=1.0, source="batch 16 adds about nothing to 8 in the vendor's chart"),
    "hiding": Prior(value=3.0, spread=0.5, source="between adding up (1) and hiding wholly"),
    "sharing": Prior(value=5.0, spread=0.3, source="1 against 2 instances of 7 cores in the notebook"),
    "boost_load": Prior(value=0.4, spread=0.3, source="clock 1450 MHz at most, 1233 under load"),
    "host_us": Prior(value=115, spread=0.4, source="first roofline"),
    "copy_gbs": Prior(value=5.0, spread=0.5, source="first roofline: 4 GB/s for one stream in all"),
    "host_cache_mb": Prior(value=13, spread=0.3, source="last-level cache of a host core complex: 16 MiB"),
    "pcie_gbs": Prior(value=11, spread=0.1, source="first roofline"),
}
CAPPED = "capped"
CAPPED_PRIOR = Prior(value=0.67, spread=0.3, source="clock of the 2025 server: 825 of 1233 MHz")

DEARER_MOVES = 0.3
"""`move_loss` at which the fit starts a second time: from its prior it may stay in a valley of cheap moves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """``choices``: points of BERT-base that a search of the notebook ended at, each before one that it turned down."""

    rows: list[Row]
    sheet: Sheet
    measured: Array
    choices: Sheet | None

    def take(self, places: npt.NDArray[np.int64]) -> Data:
        rows = [self.rows[i] for i in places]
        choices = self.choices if any(row.source.startswith("bert-search") for row in rows) else None
        return Data(rows=rows, sheet=self.sheet.take(places), measured=self.measured[places], choices=choices)

    def where(self, keep: Sequence[bool] | npt.NDArray[np.bool_]) -> Data:
        return self.take(np.flatnonzero(keep))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """``capped``: the clock of the 2025 server (its own condition, no property of the card), relative."""

    constants: Constants
    capped: float


def load(data: Path) -> Data:
    rows = [*published_nlp(data), *(row for row in notebook() if "profiler" not in row.source)]
    measured = np.array([row.throughput for row in rows])
    return Data(rows=rows, sheet=sheet_of(points(rows)), measured=measured, choices=sheet_of(choice_points()))


def errors(data: Data, fit: Fit) -> Array:
    """Logarithm of predicted over measured throughput."""
    slow = np.array([row.host == "48-core" for row in data.rows])
    sheet = data.sheet.with_rows(cap=np.where(slow, fit.capped, data.sheet.rows["cap"]))
    _, loop = rates(sheet, fit.constants)
    result: Array = np.log(loop.requests_per_s * sheet.rows["batch"] / data.measured)
    return result


def regrets(pairs: Sheet | None, k: Constants) -> Array:
    """How far each point that a search turned down is predicted ahead of the one it ended at, against the noise."""
    if pairs is None:
        return np.zeros(0)
    _, loop = rates(pairs, k)
    speed = np.log(loop.requests_per_s * pairs.rows["batch"])
    noise = np.array([noise for _, _, noise in choices()])
    ahead: Array = np.maximum(speed[1::2] - speed[0::2] + MARGIN, 0.0)
    against: Array = ahead / noise
    return against


def weight(row: Row) -> float:
    """Runs of 10 to 20 s by hand count most; ResNet's two servers disagree, so its rows count less."""
    if row.model == "resnet50":
        return 0.7
    return {"published_nlp": 1.0}.get(row.source, 2.5 if "runner" in row.source else 1.5)


def fit(data: Data, priors: Mapping[str, Prior] = PRIORS) -> Fit:
    free = {name: prior for name, prior in priors.items() if prior.spread}
    weights = np.array([weight(row) for row in data.rows])
    spreads = np.array([*(prior.spread for prior in free.values()), CAPPED_PRIOR.spread])

    def unpacked(x: Array) -> Fit:
        values = {name: prior.value for name, prior in priors.items()}
        values.update(
            {name: prior.value * float(np.exp(step)) for (name, prior), step in zip(free.items(), x, strict=False)}
        )
        return Fit(constants=Constants(**values), capped=CAPPED_PRIOR.value * float(np.exp(x[-1])))

    def misfit(x: Array) -> Array:
        found = unpacked(x)
        wrong = regrets(data.choices, found.constants)
        return np.concatenate([errors(data, found) * weights / NOISE, wrong, x / spreads])

    starts = np.zeros((2, len(spreads)))
    if "move_loss" in free:
        starts[1, list(free).index("move_loss")] = np.log(DEARER_MOVES / free["move_loss"].value)
    found = [least_squares(misfit, start, loss="soft_l1", max_nfev=60) for start in np.unique(starts, axis=0)]
    return unpacked(min(found, key=lambda result: float(result.cost)).x)


def in_fit(row: Row) -> bool:
    return row.source != "published_nlp" or not kept_out(row.model)


def main(arguments: Sequence[str]) -> None:
    folder = next((a for a in arguments if not a.startswith("-")), None)
    data = load(Path(folder) if folder else Path(__file__).parents[3] / "shared" / "data")
    found = fit(data.where([in_fit(row) for row in data.rows]))
    told = {name: float(f"{getattr(found.constants, name):.4g}") for name in PRIORS}
    for name, value in told.items():
        print(f"{name:16} {value:9.4g}   prior {PRIORS[name].value:g} ({PRIORS[name].source})")
    print(f"{CAPPED:16} {found.capped:9.4g}   prior {CAPPED_PRIOR.value:g} ({CAPPED_PRIOR.source})")
    if "--write" in arguments:
        text = {"source": "bench/sim/calibrate.py", "constants": told, "conditions": {CAPPED: round(found.capped, 4)}}
        FILE.write_text(json.dumps(text, indent=2) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
