"""What the order of names does to `auto`: `python bench/names.py [--seeds 4] [--noise 0.03] [--invalid 0]`.

The spaces that others measured, with their memory and thread policies renamed in every order, whole and with every
other batch left out. A name says nothing there, so a median over all orders is what another machine's names may expect;
that of one order is partly luck. Told are trials to within 2 % of the best: median and 90th percentile over orders and
seeds (`-`: not in 40), and the median of each order.
"""

from __future__ import annotations

import argparse
import csv
import io
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from common import print_conditions
from landscapes import SHARED, others

from infertune.search import auto
from infertune.search.replay.judge import Terms, judged
from infertune.search.replay.recording import Recording

NAMED = ("benchmark", "topology")
TRIALS, WITHIN = 40, 0.02
BATCHES = {"all": (0, 1), "odd octaves": (1,), "even octaves": (0,)}


def orders(path: Path, batches: str) -> Iterator[Recording]:
    """The recording of a file with its names in every order."""
    rows = list(csv.DictReader(io.StringIO(path.read_text())))
    rows = [row for row in rows if (int(row["batch_size"]).bit_length() - 1) % 2 in BATCHES[batches]]
    names = [sorted({row[column] for row in rows}) for column in NAMED]
    for places in itertools.product(*(itertools.permutations(range(len(found))) for found in names)):
        new = [
            dict(zip(found, (f"name{i}" for i in order), strict=True))
            for found, order in zip(names, places, strict=True)
        ]
        renamed = (row | {column: words[row[column]] for column, words in zip(NAMED, new, strict=True)} for row in rows)
        text = io.StringIO()
        table = csv.DictWriter(text, fieldnames=rows[0].keys())
        table.writeheader()
        table.writerows(renamed)
        yield others(path, text.getvalue())


def trials_to(case: Recording, seeds: range, terms: Terms) -> list[float]:
    """Per seed; infinite where no trial came so near."""
    played = judged("auto", auto.propose, case.landscape, case.goal, terms, seeds, simulated=False)
    return [run.reached(WITHIN) or np.inf for run in played]


def told(trials: float) -> str:
    return f"{trials:.0f}" if np.isfinite(trials) else "-"


def line(found: Sequence[Sequence[float]]) -> str:
    every = np.asarray(found).ravel()
    middle, most = np.quantile(every, [0.5, 0.9], method="higher")
    each = ", ".join(told(float(np.quantile(order, 0.5, method="higher"))) for order in found)
    return f"{told(middle):>4} {told(most):>4}   {each}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--noise", type=float, default=0.03)
    parser.add_argument("--invalid", type=float, default=0.0)
    asked = parser.parse_args()
    terms = Terms(trials=TRIALS, noise=asked.noise, invalid=asked.invalid)
    print_conditions()
    print(f"{asked.seeds} seeds, {100 * asked.noise:g} % noise, {100 * asked.invalid:g} % of the points fail")
    print(f"{'space':34} {'batches':12} {'50 %':>4} {'90 %':>4}   median of each order")
    for path in sorted(SHARED.glob("*.csv")):
        for batches in BATCHES:
            cases = enumerate(orders(path, batches))
            found = [trials_to(case, range(order * 100, order * 100 + asked.seeds), terms) for order, case in cases]
            print(f"{path.stem:34} {batches:12} {line(found)}", flush=True)


if __name__ == "__main__":
    main()
