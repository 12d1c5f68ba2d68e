"""Who is confirmed, and which baselines stay to the end beside them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from infertune.build.cache import ArtifactCache
from infertune.core import choice, history
from infertune.core.answer import answer
from infertune.core.records import Decided, Entry, Found, Job, MeasureJob, Measurement, ProbeJob, RawNs, Reply
from infertune.core.space import Point
from infertune.search import find_ending, find_strategy
from infertune.study import checking
from infertune.study.bench import Bench
from infertune.study.calm import Calm
from infertune.study.confirming import _doubtful, _open
from infertune.study.journal import Journal
from infertune.study.loop import Loop
from infertune.study.question import ask
from infertune.study.racing import Raced
from infertune.study.tuning import run
from infertune.testing.clock import FakeClock
from infertune.testing.executor import FakeExecutor
from infertune.testing.records import a_device, a_launch, a_measurement
from infertune.testing.store import MemoryStore
from simulated_races import BASELINE, asked, candidates
from test_study_flow import Laboratory, decisions, killed


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


class Watched(list[Entry]):
    """A record that counts how often it is read from its beginning."""

    readings = 0

    def __iter__(self) -> Iterator[Entry]:
        self.readings += 1
        return super().__iter__()


def test_a_step_of_the_search_reads_the_record_as_often_for_many_points_as_for_few(tmp_path: Path) -> None:
    """Who is near the lead is asked in each step: of a thousand points it took seconds."""
    counts = []
    for points in (10, 40):
        loop = a_loop(Laboratory(tmp_path), 900.0)
        plain = next(loop.setting.space("openvino", "cpu").points())
        for batch in range(1, points + 1):
            loop.journal.append(a_launch(plain.but(batch=batch), 100.0))
        loop.journal.entries = watched = Watched(loop.journal.entries)
        checking.doubtful_leader(loop)
        checking.faithful_leaders(loop, loop.scores())
        loop.clear()
        counts.append(watched.readings)
    assert counts[0] == counts[1] > 0


def test_a_block_that_was_broken_off_is_made_up_for(tmp_path: Path) -> None:
    """Winner and baseline are compared within blocks, and one of them alone may be in the one that was broken off."""
    whole = Laboratory(tmp_path / "whole", noise=0.02)
    whole.run(900.0)
    (at,) = decisions(whole)
    alone = 0
    for after in range(1, 21):
        lab = killed(whole, at + 1 + after, tmp_path / str(after))
        found = answer(lab.run(900.0))
        (fresh,) = history.confirmations(lab.entries)
        rival = dict(choice.read(lab.entries).baselines)[found.best_rival or ""]
        assert found.winner is not None
        ours, theirs = ({block for block, _ in history.sample(p, fresh.launches).runs} for p in (found.winner, rival))
        alone += ours != theirs
        assert len(ours & theirs) >= 6
    assert alone


def test_a_difference_hidden_at_one_level_of_a_front_is_looked_at_again(tmp_path: Path) -> None:
    """One odd launch hides it in throughput; by both figures of the front together nothing is hidden."""
    loop = a_loop(Laboratory(tmp_path, goal="pareto throughput, p99 at 12 ms"), 900.0)
    default = loop.baselines()[0]
    winner = default.but(set_size=2)
    loop.journal.append(Decided(finalists=(winner,), why=""))
    for block in range(6):
        ours = a_measurement(45.0 if block == 3 else 80.0, 4.0, count=700)
        for point, found in ((winner, ours), (default, a_measurement(50.0, 9.0, count=700))):
            loop.journal.append(a_launch(point, found, purpose="confirm", block=block))
    assert _doubtful(loop, [winner])


class TwoDevices(FakeExecutor):
    """OpenVINO finds a GPU beside the CPU."""

    def _perform(self, target: str, job: Job) -> Reply:
        if isinstance(job, ProbeJob) and target == "openvino":
            return Found(devices=(a_device(target), replace(a_device(target), name="gpu")))
        return super()._perform(target, job)


def test_a_check_on_one_device_does_not_stand_for_another(tmp_path: Path) -> None:
    """A GPU rounds otherwise than the CPU does."""
    lab = Laboratory(tmp_path)
    lab.executor = TwoDevices(lab.clock, rate, error=lambda point: 3.0 * (point.device == "gpu"))
    loop = a_loop(lab, 900.0)
    theirs = next(p for p in loop.baselines() if p.device == "gpu")
    ours = next(p for p in loop.baselines() if p.settings == theirs.settings)
    assert ours.device == "cpu" and checking.check(loop, ours)
    checking.check_baseline(loop, theirs)
    assert not loop.faithful(theirs)


def test_a_finalist_is_not_left_out_for_baselines_with_wrong_outputs(tmp_path: Path) -> None:
    """There is time for two finalists beside one baseline, and not beside four."""
    loop = a_loop(Laboratory(tmp_path, error=lambda point: 3.0 * (point.target == "openvino")), 45.0)
    plain = loop.baselines()[0]
    finalists = (plain.but(set_size=2), plain.but(set_size=3))
    assert not loop.confirmable(finalists)
    assert _open(loop, Raced(finalists=finalists), "")[0] == list(finalists)
