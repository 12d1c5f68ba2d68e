"""The recorded, simulated and made-up spaces that strategies are judged on, by name.

``../shared/data/landscapes/*.csv`` (measured by others on a 16-core CPU), ``bench/spaces/*.csv`` (recorded by this
project, see record_space.py), the simulated card's spaces (see card_space.py), and made-up CPUs with two runtimes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from infertune.core.goal import parse_goal
from infertune.search.replay.recording import Recording, recording
from infertune.study.replay import load
from infertune.testing.spaces import cpu_landscape

HERE = Path(__file__).resolve().parent
SHARED = HERE.parents[1] / "shared/data/landscapes"
KNOBS = {"memory": "benchmark", "policy": "topology", "cores": "intraop_threads", "batch": "batch_size"}


def others(path: Path, table: str | None = None) -> Recording:
    """A CSV measured by others: throughput as it is, latency (mean, ms) for a latency goal. ``table``: its text."""
    latency = path.stem.endswith("latency")
    told = {
        "title": path.stem,
        "goal": "min latency" if latency else "max throughput",
        "knobs": {knob: {"column": column} for knob, column in KNOBS.items()},
        "metrics": {"latency": {"column": "latency(avg)", "unit": "ms"}}
        if latency
        else {"throughput": {"column": "throughput"}},
        "ignored": ["latency(min)", "latency(max)"] if latency else [],
    }
    return recording(path.stem, table or path.read_text(), json.dumps(told))


def recorded() -> Iterator[tuple[str, Recording]]:
    for path in sorted(SHARED.glob("*.csv")):
        yield path.stem, others(path)
    for path in sorted((HERE / "spaces").glob("*.csv")):
        yield path.stem, load(path)


def simulated() -> Iterator[tuple[str, Recording]]:
    from card_space import card_recording

    for model in ("bert-base", "resnet50"):
        yield f"card-{model}", card_recording(model)


def made_up(units: int, seed: int) -> Recording:
    landscape = cpu_landscape(units=units, seed=seed)
    return Recording(landscape=landscape, goal=parse_goal("max throughput"), simulated=True)
