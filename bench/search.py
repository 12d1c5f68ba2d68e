"""How many trials each strategy needs: `python bench/search.py [FOLDER] [--noise 0.03] [--seeds 20] [--trials 40]`.

FOLDER (default ../shared/data beside the repository) holds ``landscapes/*.csv``: throughput and latency of BERT and
ResNet-50 on a 16-core CPU, measured by others for every memory script, policy, thread count and batch. Made-up CPUs
with two runtimes come on top. Nothing is launched: a strategy is told the recorded figure, with noise on top, and
judged by the figure.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from infertune.core.goal import Goal, parse_goal
from infertune.core.space import Rule, Space, Value
from infertune.search import find_strategy, names
from infertune.testing.spaces import Landscape, a_knob, cpu_landscape, play, regrets

DATA = Path(__file__).resolve().parents[1] / "../shared/data"
THROUGHPUT, LATENCY = parse_goal("max throughput"), parse_goal("min latency")
COLUMNS = {"benchmark": "memory", "topology": "policy", "intraop_threads": "cores", "batch_size": "batch"}
TOLERANCES = (0.01, 0.02, 0.05)
AFTER = (5, 10, 20, 40)
Case = tuple[Landscape, Goal]


def recorded(path: Path) -> Case:
    """A CSV as a space: throughput goals from its throughput, latency goals from its mean latency (ms)."""
    figures: dict[tuple[Value, ...], float] = {}
    with path.open() as file:
        for row in csv.DictReader(file):
            key = (row["benchmark"], row["topology"], int(row["intraop_threads"]), int(row["batch_size"]))
            rate = float(row["throughput"]) if "throughput" in row else 1e3 * key[3] / float(row["latency(avg)"])
            figures[key] = rate
    names_ = tuple(COLUMNS.values())
    knobs = tuple(a_knob(name, tuple(sorted({key[i] for key in figures}, key=_order))) for i, name in enumerate(names_))
    rule = Rule(reason="only what was recorded", holds=lambda values: _key(values, names_) in figures)
    space = Space(target="recorded", device="cpu", knobs=knobs, rules=(rule,))
    landscape = Landscape(name=path.stem, spaces=(space,), throughput=lambda point: figures[_key(point.values, names_)])
    return landscape, LATENCY if path.stem.endswith("latency") else THROUGHPUT


def _order(value: Value) -> tuple[bool, int, str]:
    return isinstance(value, str), value if isinstance(value, int) else 0, str(value)


def _key(values: Mapping[str, Value], order: tuple[str, ...]) -> tuple[Value, ...]:
    return tuple(values[name] for name in order)


def cases(folder: Path, seeds: int) -> Iterator[tuple[str, list[Case]]]:
    """Per data set: the case of each seed."""
    for path in sorted((folder / "landscapes").glob("*.csv")):
        yield path.stem, [recorded(path)] * seeds
    for units in (2, 16, 64):
        made = [(cpu_landscape(units=units, seed=seed), THROUGHPUT) for seed in range(seeds)]
        yield f"made-up CPUs, {units} units", made


def judged(strategy: str, case: Case, seed: int, *, noise: float, trials: int) -> np.ndarray:
    """Regret after each trial; the last one is repeated where the strategy stopped by itself, or never began."""
    landscape, goal = case
    played = play(find_strategy(strategy), landscape, goal, seed=seed, trials=trials, noise=noise)
    found = regrets(landscape, goal, played) or [np.inf]
    return np.asarray(found + [found[-1]] * (trials - len(found)))


def reached(regret: np.ndarray, tolerance: float) -> float:
    """The first trial within a tolerance of the best; infinite if there is none."""
    within = np.flatnonzero(regret <= -np.log1p(-tolerance))
    return float(within[0] + 1) if len(within) else np.inf


def row(strategy: str, curves: np.ndarray) -> str:
    counts = [[reached(curve, tolerance) for curve in curves] for tolerance in TOLERANCES]
    needed = "  ".join(f"{_rank(c, 50):>4} {_rank(c, 90):>4}" for c in counts)
    left = "  ".join(f"{100 * np.median(curves[:, k - 1]):5.1f}" for k in AFTER if k <= curves.shape[1])
    return f"  {strategy:8} {needed}    {left}"


def _rank(values: list[float], percent: int) -> str:
    found = float(np.percentile(values, percent, method="inverted_cdf"))
    return f"{found:.0f}" if np.isfinite(found) else "-"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=DATA)
    parser.add_argument("--noise", type=float, default=0.03)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--strategies", default=",".join(names()), help="separated by commas")
    asked = parser.parse_args()
    print(f"{asked.seeds} seeds, {asked.trials} trials at most, launches with {100 * asked.noise:g} % noise")
    print("  trials until within 1 / 2 / 5 % of the best (median, 90th percentile); median regret (%) after 5 10 20 40")
    for title, found in cases(asked.folder, asked.seeds):
        print(title)
        for strategy in asked.strategies.split(","):
            run = partial(judged, strategy, noise=asked.noise, trials=asked.trials)
            print(row(strategy, np.stack([run(case, seed) for seed, case in enumerate(found)])), flush=True)


if __name__ == "__main__":
    main()
