"""The protocol's error rates over SIMULATED races with known truth: `python bench/protocol.py [RACES]`.

100 candidates, 6 % noise, 20 % of the launches contaminated (1.15x to 3x slower), 90 % of those visibly; whole studies
through the real loop in virtual time.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from infertune.testing.executor import Neighbour
from simulated_races import a_race, near_equals


def main(count: int) -> None:
    neighbour = Neighbour(share=0.20, seen=0.90)
    with tempfile.TemporaryDirectory() as folder:
        races = [a_race(Path(folder), near_equals(100, s), seed=s, neighbour=neighbour) for s in range(count)]
    regrets, errors = np.array([r.regret for r in races]), np.array([r.error for r in races])
    launches = np.mean([r.found.counts.launches for r in races])
    print(f"SIMULATED: {count} races of 100 candidates, {launches:.0f} launches each on average")
    print(f"within 5 % of the best: {np.mean(regrets <= 0.05):.1%} (bar: 97 %)")
    print(f"within 3 % of the best: {np.mean(regrets <= 0.03):.1%} (bar: 85 %)")
    print(f"bias of the reported number: {errors.mean():+.2%} (bar: 1 %)")
    print(f"95 % of its errors are below {np.quantile(np.abs(errors), 0.95):.1%} (bar: 8 %)")
    print(f"its interval covers the truth in {np.mean([r.covered for r in races]):.1%} (bar: 95 %)")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 300)
