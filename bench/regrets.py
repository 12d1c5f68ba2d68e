"""Regret curves for the pages of docs/strategies: `python bench/regrets.py runs/search.jsonl`, written by search.py.

A picture of all strategies on the measured spaces and on the simulated card's, and one for each strategy's own page,
with `auto` and `random` beside it. Of runs that were played twice (same space, strategy and seed) the later one counts.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from infertune.core.replayed import Replayed
from infertune.report.regret_curves import picture

PAGES = Path(__file__).resolve().parents[1] / "docs" / "strategies"
OWN = ("bert-16core-pytorch-throughput", "minilm-l6-2cpu", "card-bert-base")
"""Spaces on a strategy's own page: measured by others, recorded here, simulated."""
BESIDE = ("auto", "random")
ORDER = ("auto", "gp", "tpe", "pattern", "climb", "random", "grid")


def kept(files: Sequence[Path]) -> list[Replayed]:
    """The runs of recorded and simulated spaces, by strategy in `ORDER`."""
    found: dict[tuple[str, str, int], Replayed] = {}
    for line in (line for file in files for line in file.read_text().splitlines()):
        told = json.loads(line)
        regrets = tuple(math.inf if regret is None else regret for regret in told.pop("regrets"))
        run = Replayed(**{**told, "regrets": regrets, "seconds": tuple(told["seconds"])})
        found[run.recording, run.strategy, run.seed] = run
    ours = [run for run in found.values() if not run.recording.startswith("made-up")]
    return sorted(ours, key=lambda run: (run.recording.startswith("card"), run.recording, ORDER.index(run.strategy)))


def of(runs: Iterable[Replayed], strategies: Sequence[str], spaces: Sequence[str] = ()) -> list[Replayed]:
    return [r for r in runs if r.strategy in strategies and (not spaces or r.recording in spaces)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+")
    asked = parser.parse_args()
    runs = kept(asked.runs)
    strategies = list(dict.fromkeys(run.strategy for run in runs))
    (PAGES / "regret.svg").write_text(picture(runs))
    for name in strategies:
        (PAGES / f"regret-{name}.svg").write_text(picture(of(runs, [*BESIDE, name], OWN)))
    print(f"{PAGES}: {len(strategies) + 1} pictures of {len(runs)} runs")


if __name__ == "__main__":
    main()
