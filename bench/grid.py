"""The tuner against every point of the space, on MiniLM-L6: `python bench/grid.py`.

The grid measures every legal point once, races its leaders and confirms; `auto` gets as many trials as should end, with
anchors and with a race and a confirmation as long as the grid's, at a tenth of all of the grid's launches. Then both
winners are measured again side by side in fresh interleaved launches, and only that ratio counts. The bar: within 5 %
of the winner of the grid.
"""

from __future__ import annotations

from pathlib import Path

from common import local_executor, print_conditions, reference

from infertune import Study, tune
from infertune.build.cache import ArtifactCache
from infertune.core import history, keys, stats, words
from infertune.core.records import Artifact, Launch, MeasureJob, Measurement, Plan
from infertune.core.space import Point
from infertune.measure.again import ANCHOR_EVERY
from infertune.measure.race import block_order

SHAPE = {"sequence_length": 128}
BLOCKS = 8
PLAN = Plan(warmup_s=0.3, min_time_s=2.0, min_count=50, cap_s=8.0)


def choosing(study: Study) -> list[Launch]:
    """Launches that took part in choosing: all but the confirmation's."""
    return [launch for launch in history.launches(study.entries) if launch.purpose != "confirm"]


def side_by_side(study: Study, points: list[Point]) -> dict[Point, list[float]]:
    """Throughput of each point, block by block."""
    question = history.question(study.entries)
    executor, cache = local_executor(), ArtifactCache()
    rates: dict[Point, list[float]] = {p: [] for p in points}
    for block in range(BLOCKS):
        for point in block_order(points, 1, block):
            artifact = cache.find(keys.artifact_key(question, point))
            assert isinstance(artifact, Artifact)
            job = MeasureJob(model=question.model, point=point, artifact=artifact.path, plan=PLAN, feed=question.feed)
            found = executor.run(point.target, job, timeout_s=120.0)
            assert isinstance(found, Measurement), found
            rates[point].append(stats.throughput(found))
    return rates


def main() -> None:
    print_conditions()
    model = reference("minilm-l6")
    grid = tune(model, shapes=SHAPE, budget="3h", strategy="grid", out=Path("runs/bench-grid"))
    whole = history.launches(grid.entries)
    later = sum(launch.purpose in ("race", "confirm") for launch in whole)
    trials = (len(whole) // 10 - later) * ANCHOR_EVERY // (ANCHOR_EVERY + 1)
    auto = tune(model, shapes=SHAPE, budget="1h", trials=max(4, trials), out=Path("runs/bench-grid-auto"))
    winners = [study.best.point for study in (auto, grid)]
    for name, study, winner in zip(("auto", "grid"), (auto, grid), winners, strict=True):
        total = len(history.launches(study.entries))
        counts = f"{len(choosing(study))} launches to choose, {total} with confirmation"
        print(f"{name}: {counts}: {study.answer.words(winner)}")
    print(f"auto took {len(history.launches(auto.entries)) / len(whole):.1%} of the grid's launches (bar: 10 %)")
    if winners[0] == winners[1]:
        print("both chose the same point: 1.00x")
        return
    rates = side_by_side(grid, [winners[0], winners[1]])
    ratio = stats.ratio_interval(rates[winners[0]], rates[winners[1]])
    print(f"auto's winner reaches {words.times(ratio)} of the grid's, {BLOCKS} interleaved blocks")


if __name__ == "__main__":
    main()
