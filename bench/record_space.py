"""Records every point of a grid with real launches: `python bench/record_space.py RUN MODEL [--seconds 400] ...`.

Call it until it says that all blocks are complete; each call works for at most ``--seconds`` and goes on where the last
one stopped. Blocks are interleaved: every point is launched once, in a fresh random order, before any is launched
again. After these come ``--again`` blocks of only those points that are within ``--near`` of the best by the mean of
their launches so far: among them one launch more or less decides which is called the best. What comes out (RUN.csv: a
row per launch, RUN.json beside it: knobs, goal, costs, the machine's facts) is what `infertune replay` plays.

    python bench/record_space.py bench/spaces/minilm-l6-2cpu models/minilm-l6.onnx --shape sequence_length=128 \\
        --knob batch=1,2,4,8,16,32 --blocks 2 --again 6

``--study`` measures nothing: it takes the launches of a study that was made with ``--strategy grid``.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from infertune import __version__
from infertune.build.cache import ArtifactCache
from infertune.core import history, stats
from infertune.core.assignments import parse_assignments
from infertune.core.goal import parse_goal
from infertune.core.records import Built, Failed, Launch, Measurement, Plan, Question
from infertune.core.space import Point, Space, Value
from infertune.edge.clock import MonotonicClock
from infertune.edge.shell import LocalShell
from infertune.edge.worker import LocalExecutor
from infertune.measure.race import block_order
from infertune.prepare.shapes import parse_shapes
from infertune.store.sqlite import open_store
from infertune.study.bench import Bench
from infertune.study.journal import Journal
from infertune.study.question import Setting, ask, chosen_targets, described, make_setting

PLAN = Plan(warmup_s=0.15, warmup_count=2, min_time_s=0.4, min_count=6, cap_s=6.0)
FACTS = ("cpu", "instructions", "effective_cpus", "physical_cores", "numa_nodes", "memory_bytes", "smt", "virtualised")
METRICS = ("throughput", "p50_s", "p99_s", "memory_bytes", "in_flight", "launch_s", "failed")


def setting_of(asked: argparse.Namespace) -> Setting:
    executor = LocalExecutor(LocalShell())
    return make_setting(
        executor,
        model=described(executor, str(asked.model), parse_shapes(asked.shape), None),
        goal=parse_goal("max throughput"),
        targets=chosen_targets(None),
        wanted=parse_assignments(asked.knob),
        strategy="grid",
        seed=0,
        inputs=None,
        version=__version__,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """``whole`` blocks of all points, then ``again`` of those within a share ``near`` of the best."""

    whole: int
    again: int
    near: float

    def of(self, block: int, points: Sequence[Point], launches: Sequence[Launch]) -> Sequence[Point]:
        """The points of a block. Who is near the best was settled by the whole blocks."""
        if block < self.whole:
            return points
        rates: dict[Point, list[float]] = {}
        for launch in launches:
            if launch.block < self.whole and isinstance(launch.outcome, Measurement):
                rates.setdefault(launch.point, []).append(stats.throughput(launch.outcome))
        means = {point: statistics.geometric_mean(found) for point, found in rates.items()}
        least = (1.0 - self.near) * max(means.values())
        return [point for point in points if means.get(point, 0.0) >= least]


def work(setting: Setting, journal: Journal, *, blocks: Blocks, seconds: float) -> str:
    """Launch what is missing until the time is over; what is left, in words."""
    bench = Bench(setting, journal, LocalExecutor(LocalShell()), ArtifactCache(), MonotonicClock())
    everything = [point for space in setting.spaces for point in space.points()]
    done = {(launch.point, launch.block) for launch in history.launches(journal.entries)}
    count, until = blocks.whole + blocks.again, time.monotonic() + seconds
    for block in range(count):
        points = blocks.of(block, everything, history.launches(journal.entries))
        missing = [p for p in block_order(points, 0, block) if (p, block) not in done]
        for at, point in enumerate(missing):
            if time.monotonic() > until:
                return f"block {block + 1} of {count}: {len(missing) - at} of {len(points)} points are missing"
            bench.launch(point, "measure", block, PLAN)
    return f"all {count} blocks of {len(everything)} points are complete"


def row(launch: Launch, names: Sequence[str]) -> list[str]:
    values = launch.point.values
    return [launch.point.target, *(str(values.get(name, "")) for name in names), *figures(launch)]


def figures(launch: Launch) -> list[str]:
    found = launch.outcome
    if isinstance(found, Failed):
        return ["", "", "", "", "", f"{launch.wall_s:.2f}", found.kind]
    p50, p99 = (stats.quantile_ns(found.latencies_ns, percent) / 1e9 for percent in (50.0, 99.0))
    memory = found.conditions.peak_rss_bytes
    texts = [f"{stats.throughput(found):.6g}", f"{p50:.5g}", f"{p99:.5g}", str(memory), str(found.in_flight)]
    return [*texts, f"{launch.wall_s:.2f}", ""]


def knob_names(spaces: Sequence[Space]) -> list[str]:
    """Knobs that vary in some space."""
    return list(dict.fromkeys(k.name for s in spaces for k in s.knobs if len(k.values) > 1))


def described_space(
    name: str, question: Question, setting: Setting, names: Sequence[str], builds: Sequence[float]
) -> Mapping[str, object]:
    """``question``: as it was written into the record, with the machine and the time of the launches."""
    stages = {k.name: k.stage for s in setting.spaces for k in s.knobs}
    return {
        "title": name,
        "goal": "max throughput",
        "target": {"column": "target"},
        "device": "cpu",
        "knobs": {name: {"stage": stages[name]} for name in names},
        "metrics": {
            "throughput": {"column": "throughput"},
            "latency": {"column": "p50_s", "unit": "s"},
            "p99": {"column": "p99_s", "unit": "s"},
            "memory": {"column": "memory_bytes"},
        },
        "in_flight": {"column": "in_flight"},
        "failed": {"column": "failed"},
        "costs": {"launch_s": {"column": "launch_s"}, "build_s": round(sum(builds) / max(1, len(builds)), 2)},
        "seeds": [_named(p, names) for s in setting.spaces for p in s.seeds],
        "baselines": {b.name: _named(b.point, names) for s in setting.spaces for b in s.baselines},
        "rules": {s.target: [rule.reason for rule in s.rules] for s in setting.spaces},
        "facts": {
            **{name: told for name, told in question.host if name in FACTS},
            **{d.target: dict(d.versions) for d in question.devices},
        },
        "recorded_at": question.made_at,
    }


def _named(point: Point, names: Sequence[str]) -> dict[str, Value]:
    values = point.values
    return {"target": point.target, **{name: values[name] for name in names if name in values}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--shape", action="append", default=[])
    parser.add_argument("--knob", action="append", default=[], help="narrow the grid: batch=1,4,16")
    parser.add_argument("--blocks", type=int, default=3)
    parser.add_argument("--again", type=int, default=0, help="further blocks of the points near the best")
    parser.add_argument("--near", type=float, default=0.06, help="how near, as a share")
    parser.add_argument("--seconds", type=float, default=400.0)
    parser.add_argument("--study", type=Path, help="the run folder of a grid study of the same question")
    asked = parser.parse_args()
    with open_store(asked.study or Path("runs") / f"record-{asked.run.name}") as store:
        journal = Journal(store, MonotonicClock())
        setting = setting_of(asked)
        ask(journal, setting)
        if asked.study is None:
            blocks = Blocks(whole=asked.blocks, again=asked.again, near=asked.near)
            print(work(setting, journal, blocks=blocks, seconds=asked.seconds))
        launches, question = history.launches(journal.entries), history.question(journal.entries)
        builds = [e.event.wall_s for e in journal.entries if isinstance(e.event, Built)]
    names = knob_names(setting.spaces)
    with asked.run.with_suffix(".csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["target", *names, *METRICS])
        writer.writerows(row(launch, names) for launch in launches)
    told = json.dumps(described_space(asked.run.name, question, setting, names, builds), indent=1)
    asked.run.with_suffix(".json").write_text(told + "\n")
    good = sum(isinstance(launch.outcome, Measurement) for launch in launches)
    print(f"{asked.run}.csv: {len(launches)} launches, {good} of them measured")


if __name__ == "__main__":
    main()
