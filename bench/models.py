"""Tuned against defaults and hints, interleaved in one confirmation: `python bench/models.py [BUDGET] [MODEL ...]`.

The bar: at least 1.8x ONNX Runtime's default where the CPU has bf16 instructions, fidelity >= 0.99, and never below
0.98x of the best baseline; in five minutes the protocol (anchors, repeats, race, confirmation) takes at most a quarter.
"""

from __future__ import annotations

import sys
from pathlib import Path

from common import print_conditions, reference

from infertune import Study, tune
from infertune.core import history, words
from infertune.core.records import Opened
from infertune.core.space import Point

SHAPES = {"bert-base": {"sequence_length": 128}, "minilm-l6": {"sequence_length": 128}, "resnet50": {}}


def protocol(study: Study) -> str:
    """What the study spent beyond one launch of each point that it measured, baselines among them."""
    once: set[Point] = set()
    taken: dict[str, float] = {}
    for launch in history.launches(study.entries):
        if launch.point in once:
            name = "repeats" if launch.purpose == "screen" else launch.purpose
            taken[name] = taken.get(name, 0.0) + launch.wall_s
        once.add(launch.point)
    budget = [e.event.budget_s for e in study.entries if isinstance(e.event, Opened)][-1]
    parts = ", ".join(f"{name} {wall:.0f} s" for name, wall in taken.items())
    whole = sum(taken.values())
    return f"protocol: {whole:.0f} s, {whole / budget:.0%} of the budget (bar: 25 %): {parts}"


def print_answer(name: str, study: Study) -> None:
    found = study.answer
    if found.winner is None or found.figures is None:
        print(f"{name}: {found.status}")
        return
    fidelity = f"{found.fidelity.cosine:.4f}" if found.fidelity else "exact"
    print(f"{name}: {found.words(found.winner, found.figures.in_flight)}")
    print(f"  confirmed {words.interval(found.figures.throughput)} samples/s; fidelity {fidelity}; {found.why}")
    for rival in found.rivals:
        speedup = words.times(rival.speedup) if rival.speedup else "not enough blocks"
        print(f"  {rival.name:28} {words.interval(rival.figures.throughput):32} {speedup}")
    print(f"  {protocol(study)}")
    spent = found.spent
    share = (spent.build + spent.measure + spent.confirm) / spent.total
    print(f"  {spent.total:.0f} s, {share:.0%} of it building or measuring; {found.counts.launches} launches\n")


def main(budget: str, names: list[str]) -> None:
    print_conditions()
    for name in names:
        study = tune(reference(name), shapes=SHAPES[name], budget=budget, out=Path("runs") / f"bench-{name}-{budget}")
        print_answer(name, study)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "5m", sys.argv[2:] or list(SHAPES))
