"""How many trials each strategy needs: `python bench/search.py [NAME ...] [--strategies auto,gp] [--noise 0.03]`.

Plays the spaces of landscapes.py (NAME: only those whose name contains it) through `infertune replay`'s own judge and
prints its tables. ``made-up`` spaces differ from seed to seed. Nothing is launched. ``-o runs.jsonl`` adds every run to
a file, which regrets.py draws.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from landscapes import made_up, recorded, simulated

from infertune.core.replayed import Replayed
from infertune.report.replayed import replayed_json, replayed_text
from infertune.search import find_strategy, names
from infertune.search.replay.judge import Terms, judged
from infertune.search.replay.recording import Recording

MADE_UP = (2, 16, 64)


def cases(wanted: list[str], seeds: int) -> Iterator[tuple[str, list[Recording]]]:
    """Per data set: the recording of each seed."""
    for name, found in (*recorded(), *simulated()):
        if chosen(name, wanted):
            yield name, [found] * seeds
    for units in MADE_UP:
        name = f"made-up-{units}-cpus"
        if chosen(name, wanted):
            yield name, [made_up(units, seed) for seed in range(seeds)]


def chosen(name: str, wanted: list[str]) -> bool:
    return not wanted or any(part in name for part in wanted)


def runs(title: str, strategy: str, found: list[Recording], terms: Terms) -> Iterator[Replayed]:
    for seed, case in enumerate(found):
        played = judged(
            strategy,
            find_strategy(strategy),
            case.landscape,
            case.goal,
            terms,
            [seed],
            simulated=case.simulated,
            title=title,
        )
        yield from played


def keep(played: Sequence[Replayed], out: Path) -> None:
    """A JSON object per line and run."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("a") as file:
        file.writelines(json.dumps(run) + "\n" for run in replayed_json(played)["runs"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--noise", type=float, help="log deviation; default: as recorded, where that is known")
    parser.add_argument("--invalid", type=float, default=0.0)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--strategies", default=",".join(names()), help="separated by commas")
    parser.add_argument("--out", "-o", type=Path, help="add every run to this file (JSON lines)")
    asked = parser.parse_args()
    terms = Terms(trials=asked.trials, noise=asked.noise, invalid=asked.invalid)
    for title, found in cases(asked.names, asked.seeds):
        played = [run for name in asked.strategies.split(",") for run in runs(title, name, found, terms)]
        print(replayed_text(played), flush=True)
        if asked.out:
            keep(played, asked.out)


if __name__ == "__main__":
    main()
