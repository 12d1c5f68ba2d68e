"""Confirmation: which baselines stay to the end beside the finalists."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from infertune.core.answer import answer
from infertune.core.records import Job, MeasureJob, Measurement, RawNs, Reply
from infertune.core.space import Point
from infertune.testing.executor import FakeExecutor
from test_study_flow import Laboratory


def rate(point: Point) -> float:
    """OpenVINO's throughput hint is the fastest baseline."""
    if point.target == "onnxruntime":
        return 30.0
    return {"throughput": 80.0, "latency": 40.0, "default": 45.0}.get(str(point["preset"]), 50.0)


class Late(FakeExecutor):
    """Requests of OpenVINO's throughput hint take ten times as long as their number in flight says."""

    def _perform(self, target: str, job: Job) -> Reply:
        found = super()._perform(target, job)
        if (
            isinstance(job, MeasureJob)
            and isinstance(found, Measurement)
            and job.point.get("preset", "") == "throughput"
        ):
            return replace(found, latencies_ns=RawNs(10 * latency for latency in found.latencies_ns))
        return found


def test_who_breaks_a_limit_sends_home_no_baseline_that_keeps_it(tmp_path: Path) -> None:
    lab = Laboratory(tmp_path, goal="max throughput, p99 < 60 ms")
    lab.executor = Late(lab.clock, rate, noise=0.02)
    found = answer(lab.run(300.0, max_trials=6))
    launches = {rival.name: rival.figures.launches for rival in found.rivals if rival.figures.evidence == "confirm"}
    assert found.best_rival == "openvino default"
    assert launches == {
        "openvino default": 6,
        "openvino throughput hint": 3,
        "openvino latency hint": 3,
        "onnxruntime default": 3,
    }
