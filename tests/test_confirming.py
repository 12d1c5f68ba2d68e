"""Who is confirmed, and which baselines stay to the end beside them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from infertune.build.cache import ArtifactCache
from infertune.core.answer import answer
from infertune.core.records import Job, MeasureJob, Measurement, RawNs, Reply
from infertune.core.space import Point
from infertune.search import find_ending, find_strategy
from infertune.study.bench import Bench
from infertune.study.calm import Calm
from infertune.study.journal import Journal
from infertune.study.loop import Loop
from infertune.study.question import ask
from infertune.study.tuning import run
from infertune.testing.clock import FakeClock
from infertune.testing.executor import FakeExecutor
from infertune.testing.store import MemoryStore
from simulated_races import BASELINE, asked, candidates
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


class Slow(FakeExecutor):
    """A launch of the first candidate takes 40 s to start."""

    def run(self, target: str, job: Job, *, timeout_s: float) -> Reply:
        if isinstance(job, MeasureJob) and job.point["variant"] == 0:
            self._clock.advance(40.0)
        return super().run(target, job, timeout_s=timeout_s)


def test_a_leader_that_takes_too_long_to_race_is_confirmed_where_no_other_comes_near(tmp_path: Path) -> None:
    """It is 8 % ahead; the race has 36 s, and three launches of it fit into the time for confirmation."""
    speeds = [108.0, *(100.0 - 0.3 * place for place in range(10)), *[60.0] * 100]
    clock, store = FakeClock(), MemoryStore()
    executor = Slow(clock, lambda p: 50.0 if p["variant"] == BASELINE else speeds[p.number("variant")], start_s=0.3)
    run(asked(candidates(len(speeds)), 1), store, executor, clock, ArtifactCache(tmp_path), budget_s=300.0)
    found = answer(list(store.entries()))
    assert found.confirmed and found.winner is not None and found.winner["variant"] == 0


def a_loop(lab: Laboratory, budget_s: float) -> Loop:
    setting, journal = lab.setting(), Journal(lab.store, lab.clock)
    ask(journal, setting)
    return Loop(
        setting=setting,
        journal=journal,
        bench=Bench(setting, journal, lab.executor, lab.cache, lab.clock),
        strategy=find_strategy("grid"),
        ending=find_ending("grid"),
        clock=lab.clock,
        budget_s=budget_s,
        max_trials=None,
        stop=lambda: False,
        on_phase=lambda phase, detail: None,
        calm=Calm(glance=None, journal=journal, clock=lab.clock, stop=lambda: False, on_phase=lambda *told: None),
    )


def test_no_time_is_kept_back_for_baselines_with_wrong_outputs(tmp_path: Path) -> None:
    """All three of OpenVINO's have the same arithmetic, so one check tells of them all."""
    loop = a_loop(Laboratory(tmp_path, error=lambda point: 3.0 * (point.target == "openvino")), 900.0)
    plain, preset, *_ = loop.baselines()
    before = loop.confirm_reserve_s([])
    assert loop.bench.check(preset).value < loop.setting.goal.fidelity_floor
    assert loop.rivals() == [plain]
    assert loop.confirm_reserve_s([]) - loop.check_s() < before / 2
    assert len(loop.baselines()) == 4
