"""infertune's figures and MLPerf LoadGen's, interleaved: `python bench/loadgen.py [MODEL [TARGET] [SCENARIO]]`.

The bar: within 5 %.

The same point in the same kind of session, each time in a fresh process, once driven by infertune and once by
LoadGen: SingleStream (one request outstanding), Offline (every sample available at once) and Server (Poisson arrivals
at half of the closed loop's rate, another schedule in each round).
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from common import local_executor, print_conditions, reference

from infertune.build.cache import ArtifactCache
from infertune.build.pool import BuildTask, build_one
from infertune.core import stats, wire
from infertune.core.goal import parse_goal
from infertune.core.keys import digest
from infertune.core.records import Artifact, Feed, Found, Load, MeasureJob, Measurement, Plan, ProbeJob
from infertune.core.space import Point
from infertune.edge.clock import MonotonicClock
from infertune.edge.shell import LocalShell
from infertune.study.question import described
from infertune.targets import find_target
from infertune.targets.inproc import input_pool
from infertune.targets.loadgen import Scenario, Told, run_under

ROUNDS = 5
SECONDS = 5.0
SERVER_SECONDS = 20.0  # hundreds of gaps: their mean is off by 1 / sqrt(number)
HALF = 0.5  # of the closed loop's throughput arrives at a server
SHAPES = {"minilm-l6": {"sequence_length": 128}, "bert-base": {"sequence_length": 128}, "resnet50": {}}
TARGETS = ("openvino", "onnxruntime")


def points(target: str, name: str) -> dict[Scenario, MeasureJob]:
    """A job per scenario: one request at a time on every core, and a batch of 4 on one core each."""
    executor = local_executor()
    model = described(executor, str(reference(name)), SHAPES[name], None)
    found = executor.run(target, ProbeJob(target=target), timeout_s=60.0)
    assert isinstance(found, Found)
    device = found.devices[0]
    space = find_target(target).space(model, device, parse_goal("max throughput"))
    stream = space.seeds[0].but(batch=1, cores=device.units, instances=1, set_size=1, precision="f32")
    offline = stream.but(batch=4, cores=1, instances=device.units)
    task = BuildTask(key=digest([name, target, "loadgen"]), model=model, point=stream, timeout_s=600.0)
    artifact = build_one(task, executor, ArtifactCache(), MonotonicClock()).outcome
    assert isinstance(artifact, Artifact)
    plan = Plan(warmup_s=1.0, min_time_s=SECONDS, cap_s=30.0)

    def job(point: Point) -> MeasureJob:
        return MeasureJob(model=model, point=point, artifact=artifact.path, plan=plan, feed=Feed(seed=0))

    return {"SingleStream": job(stream), "Offline": job(offline), "Server": job(offline.but(batch=1))}


def arriving(job: MeasureJob, rate: float, seed: int) -> MeasureJob:
    load = Load(arrivals="poisson", rate_per_s=rate, seed=seed)
    return replace(job, plan=replace(job.plan, min_time_s=SERVER_SECONDS, load=load))


def by_infertune(job: MeasureJob) -> Measurement:
    found = local_executor().run(job.point.target, job, timeout_s=120.0)
    assert isinstance(found, Measurement), found
    return found


def by_loadgen(job: MeasureJob, scenario: Scenario, rate: float, seed: int) -> Told:
    """LoadGen in a process of its own, which is this script again."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "job.json").write_text(wire.to_json(job, MeasureJob))
        argv = [sys.executable, __file__, "--worker", folder, scenario, str(rate), str(seed)]
        done = LocalShell().run(argv, timeout_s=120.0, log=f"{folder}/log.txt", env=None, cwd=None)
        if done.code:
            raise RuntimeError(done.tail)
        told: Told = wire.from_json((Path(folder) / "told.json").read_text(), Told)
        return told


def work(folder: str, scenario: Scenario, rate: float, seed: int) -> None:
    """The worker: load the session, warm it up as infertune does, hand it to LoadGen."""
    job = wire.from_json((Path(folder) / "job.json").read_text(), MeasureJob)
    clock, batch = MonotonicClock(), job.point.number("batch", 1)
    if job.point.target == "openvino":
        from infertune.targets.openvino.run import OvSession as Session
    else:
        from infertune.targets.onnxruntime.run import OrtSession as Session  # type: ignore[assignment]
    session = Session(job, clock, input_pool(job))
    until = clock.now_ns() + int(job.plan.warmup_s * 1e9)
    while clock.now_ns() < until:
        session.start(0)
        session.wait()
    told = run_under(
        session,
        scenario,
        batch=batch,
        rate=rate,
        seconds=SERVER_SECONDS if scenario == "Server" else SECONDS,
        folder=Path(folder),
        seed=seed,
    )
    (Path(folder) / "told.json").write_text(wire.to_json(told, Told))


def compare(target: str, scenario: Scenario, job: MeasureJob) -> None:
    rate = stats.throughput(by_infertune(job)) * (HALF if scenario == "Server" else 1.0)
    ours_is = [arriving(job, rate, i) if scenario == "Server" else job for i in range(ROUNDS)]
    pairs = [(by_infertune(one), by_loadgen(job, scenario, rate, i)) for i, one in enumerate(ours_is)]
    ratios = [stats.throughput(ours) / theirs.throughput for ours, theirs in pairs]
    ours = statistics.median(stats.throughput(m) for m, _ in pairs)
    theirs = statistics.median(told.throughput for _, told in pairs)
    off = statistics.median(ratios) - 1
    both = f"infertune {ours:.1f}, LoadGen {theirs:.1f} samples/s"
    spread = f"{min(ratios) - 1:+.1%} to {max(ratios) - 1:+.1%}"
    print(f"{target:12} {scenario:13} {both}: {off:+.1%} (bar: 5 %), {spread} over {ROUNDS} rounds", flush=True)
    latencies = [(stats.quantile_ns(m.latencies_ns, 90.0), told.p90_ns) for m, told in pairs if told.p90_ns]
    if latencies:
        off = statistics.median(ours_ns / theirs_ns for ours_ns, theirs_ns in latencies if theirs_ns) - 1
        print(f"{'':12} {'':13} p90 latency: {off:+.1%} (bar: 5 %)", flush=True)


def main(name: str, only: set[str]) -> None:
    print_conditions()
    for target in TARGETS:
        for scenario, job in points(target, name).items():
            if only <= {target, scenario}:
                compare(target, scenario, job)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        work(sys.argv[2], sys.argv[3], float(sys.argv[4]), int(sys.argv[5]))  # type: ignore[arg-type]
    else:
        main(sys.argv[1] if len(sys.argv) > 1 else "minilm-l6", set(sys.argv[2:]))
