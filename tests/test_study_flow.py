"""A study's life in virtual time: budget, resume, extension, failures, fidelity, interruption."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from rich.console import Console

from infertune.build.cache import ArtifactCache
from infertune.cli.live import Progress
from infertune.core import history, words
from infertune.core.answer import answer
from infertune.core.errors import BusyError, UsageError
from infertune.core.goal import parse_goal
from infertune.core.records import (
    BuildJob,
    Built,
    Checked,
    Closed,
    Decided,
    Entry,
    Event,
    Failed,
    Job,
    Launch,
    MeasureJob,
    Reply,
    Round,
)
from infertune.core.space import Point
from infertune.measure.plan import OVERTIME_S
from infertune.study.journal import Journal
from infertune.study.question import Setting, ask, chosen_targets, differences, make_setting
from infertune.study.steadiness import GLANCE_S, PATIENCE_S
from infertune.study.tuning import run
from infertune.testing.clock import FakeClock
from infertune.testing.executor import FakeExecutor, Rate, never
from infertune.testing.records import a_model, a_point, a_question
from infertune.testing.store import MemoryStore


def plausible(point: Point) -> float:
    """Openvino in bf16 with two instances and batch 8 is the best point; the numbers are made up."""
    speed = 50.0 if point.target == "onnxruntime" else 80.0
    speed *= {"bf16": 1.8, "runtime": 1.7}.get(str(point.get("precision", "f32")), 1.0)
    batch = point.number("batch", 1)
    speed *= 1.2 if batch in (8, 16) else 1.0
    return speed * (1.3 if point.number("instances") == 2 else 1.0)


class Laboratory:
    """A study in virtual time that can be run several times."""

    def __init__(
        self,
        folder: Path,
        *,
        rate: Rate = plausible,
        goal: str = "max throughput",
        seed: int = 0,
        start_s: float = 0.5,
        fails: Callable[[Job], Failed | None] = never,
        error: Rate = lambda point: 0.0,
        noise: float = 0.0,
    ) -> None:
        self.clock = FakeClock()
        self.store = MemoryStore()
        self.executor = FakeExecutor(
            self.clock, rate, fails=fails, error=error, noise=noise, seed=seed, start_s=start_s
        )
        self.cache = ArtifactCache(folder / "cache")
        self.goal, self.seed = goal, seed
        self.busy_s, self.glanced_s = 0.0, 0.0

    def setting(self) -> Setting:
        return make_setting(
            self.executor,
            model=a_model(),
            goal=parse_goal(self.goal),
            targets=chosen_targets(["onnxruntime", "openvino"]),
            wanted={"batch": (1, 4, 8, 16)},
            strategy="auto",
            seed=self.seed,
            inputs=None,
            version="0",
        )

    def run(self, budget_s: float = 300.0, max_trials: int | None = None, stop_after: int | None = None) -> list[Entry]:
        run(
            self.setting(), self.store, self.executor, self.clock, self.cache,
            budget_s=budget_s, max_trials=max_trials, stop=self.stopper(stop_after),
            glance=self.glance if self.busy_s else None,
        )  # fmt: skip
        return self.entries

    def glance(self) -> float:
        """Others use the CPUs for the first ``busy_s`` seconds of looking."""
        self.clock.sleep(GLANCE_S)
        self.glanced_s += GLANCE_S
        return 0.9 if self.glanced_s < self.busy_s else 0.0

    def stopper(self, launches: int | None) -> Callable[[], bool]:
        return lambda: launches is not None and len(history.launches(self.entries)) >= launches

    @property
    def entries(self) -> list[Entry]:
        return list(self.store.entries())

    def events(self, kind: type[Event]) -> list[Event]:
        return [e.event for e in self.entries if isinstance(e.event, kind)]


def screened(entries: list[Entry]) -> list[Point]:
    return [e.event.point for e in entries if isinstance(e.event, Launch) and e.event.purpose == "screen"]


def test_finds_confirms_and_explains_the_best_point(tmp_path: Path) -> None:
    found = answer(Laboratory(tmp_path).run())
    assert found.status == "ok"
    assert found.winner is not None and plausible(found.winner) >= 0.97 * 80 * 1.8 * 1.2 * 1.3
    assert found.confirmed and found.figures is not None and found.figures.launches == 6
    assert {rival.name for rival in found.rivals} == {
        "onnxruntime default",
        "openvino default",
        "openvino throughput hint",
        "openvino latency hint",
    }


def test_keeps_the_budget_confirmation_included(tmp_path: Path) -> None:
    for budget_s in (60.0, 120.0, 300.0):
        lab = Laboratory(tmp_path / str(budget_s))
        assert lab.run(budget_s)[-1].at_s <= budget_s + 10.0
        assert answer(lab.entries).confirmed


@pytest.mark.parametrize(("start_s", "budget_s"), [(1.5, 10.0), (1.5, 30.0), (1.5, 40.0), (3.0, 30.0), (3.0, 60.0)])
def test_time_past_the_budget_is_spent_only_where_it_confirms(tmp_path: Path, start_s: float, budget_s: float) -> None:
    """Launches cost so much that six of every point never fit."""
    entries = Laboratory(tmp_path, start_s=start_s).run(budget_s)
    late = [e.event for e in entries if isinstance(e.event, Launch) and e.at_s > budget_s]
    assert entries[-1].at_s <= budget_s + OVERTIME_S
    assert answer(entries).confirmed or not any(launch.block for launch in late)
    assert answer(entries).winner is not None


def test_at_least_85_per_cent_of_the_time_goes_into_building_and_measuring(tmp_path: Path) -> None:
    spent = history.spent(Laboratory(tmp_path).run())
    assert spent.build + spent.measure + spent.confirm >= 0.85 * spent.total


def test_confirmation_is_interleaved_and_fresh(tmp_path: Path) -> None:
    entries = Laboratory(tmp_path).run()
    decided_at = next(e.seq for e in entries if isinstance(e.event, Decided))
    confirm = [e for e in entries if isinstance(e.event, Launch) and e.event.purpose == "confirm"]
    assert all(e.seq > decided_at for e in confirm)
    blocks = [e.event.block for e in confirm if isinstance(e.event, Launch)]
    assert blocks == sorted(blocks)
    orders = {
        tuple(e.event.point for e in confirm if isinstance(e.event, Launch) and e.event.block == b) for b in set(blocks)
    }
    assert len(orders) > 1  # a fresh random order in every block


def test_baselines_that_decide_nothing_leave_after_three_blocks(tmp_path: Path) -> None:
    lab = Laboratory(tmp_path)
    lab.run()
    found = answer(lab.entries)
    launches = {rival.name: rival.figures.launches for rival in found.rivals}
    assert sorted(launches.values()) == [3, 3, 3, 6]
    assert next(name for name, count in launches.items() if count == 6) in (found.why or "")


def test_nothing_is_searched_twice_and_every_round_is_recorded_first(tmp_path: Path) -> None:
    entries = Laboratory(tmp_path).run()
    measured = screened(entries)
    assert len(measured) == len(set(measured))
    asked = [p for e in entries if isinstance(e.event, Round) for p in e.event.points]
    assert asked == measured


def test_points_with_the_same_build_share_one_artifact(tmp_path: Path) -> None:
    lab = Laboratory(tmp_path)
    lab.run()
    builds = [job for job in lab.executor.jobs if isinstance(job, BuildJob)]
    assert len(builds) == 2  # one per runtime


def test_resuming_after_a_crash_equals_the_unbroken_study(tmp_path: Path) -> None:
    whole = Laboratory(tmp_path / "whole")
    whole.run(max_trials=8)
    broken = Laboratory(tmp_path / "broken")
    broken.run(max_trials=8, stop_after=3)
    broken.run(max_trials=8)
    assert screened(broken.entries) == screened(whole.entries)
    assert answer(broken.entries).winner == answer(whole.entries).winner


def test_a_point_that_a_crash_left_built_is_measured_first(tmp_path: Path) -> None:
    whole = Laboratory(tmp_path / "whole")
    whole.run(max_trials=4)
    broken = Laboratory(tmp_path / "broken")
    for entry in whole.entries:
        broken.store.append(entry.event, entry.at_s)
        if isinstance(entry.event, Built):
            break
    broken.run(max_trials=4)
    assert screened(broken.entries) == screened(whole.entries)


def test_a_confirmation_that_was_interrupted_goes_on_where_it_ended(tmp_path: Path) -> None:
    lab = Laboratory(tmp_path, noise=0.03)
    launches = history.launches(Laboratory(tmp_path / "whole", noise=0.03).run(max_trials=8))
    begun = next(number for number, launch in enumerate(launches) if launch.purpose == "confirm")
    interrupted = len(lab.run(max_trials=8, stop_after=begun + 10))
    before = [launch.block for launch in history.launches(lab.entries) if launch.purpose == "confirm"]
    assert len(before) == 10
    later = history.launches(lab.run(max_trials=8)[interrupted:])
    assert {launch.purpose for launch in later} == {"confirm"}
    assert later[0].block == max(before) + 1
    found = answer(lab.entries)
    assert len(history.confirmations(lab.entries)) == 1
    assert found.confirmed and found.figures is not None and found.figures.launches >= 6


def killed(whole: Laboratory, after: int, folder: Path, rate: Rate = plausible) -> Laboratory:
    """The same study, whose first command was killed when the record had so many entries."""
    lab = Laboratory(folder, rate=rate, goal=whole.goal, noise=0.02)
    for entry in whole.entries[:after]:
        lab.store.append(entry.event, entry.at_s)
    return lab


def decisions(lab: Laboratory) -> list[int]:
    """Where the record holds decisions."""
    return [at for at, e in enumerate(lab.entries) if isinstance(e.event, Decided)]


@pytest.mark.parametrize("blocks", [0.5, 4.5, 100])
def test_a_study_killed_after_its_decision_searches_and_races_no_more(tmp_path: Path, blocks: float) -> None:
    """The strategy would offer more once it knows the confirmation's launches."""
    whole = Laboratory(tmp_path / "whole", noise=0.02)
    found = answer(whole.run(900.0))
    (at,) = decisions(whole)
    lab = killed(whole, min(at + int(5 * blocks), len(whole.entries) - 1), tmp_path / "killed")
    before = len(lab.entries)
    again = answer(lab.run(900.0))
    assert not any(isinstance(e.event, Round) for e in lab.entries[before:])
    assert {launch.purpose for launch in history.launches(lab.entries[before:])} <= {"confirm"}
    assert again.winner == found.winner and again.confirmed
    assert history.closed(lab.entries) == history.closed(whole.entries)


def test_an_extension_that_was_killed_before_its_first_point_searches_on(tmp_path: Path) -> None:
    lab = Laboratory(tmp_path)
    lab.run(max_trials=6)
    lab.run(max_trials=12, stop_after=0)
    assert len(screened(lab.entries)) == 6
    lab.run(max_trials=12)
    assert len(screened(lab.entries)) == 12


def test_a_finished_study_answers_at_once_and_a_larger_budget_extends_it(tmp_path: Path) -> None:
    lab = Laboratory(tmp_path)
    first = len(lab.run(max_trials=6))
    assert len(lab.run(max_trials=6)) == first
    lab.run(max_trials=12)
    assert len(screened(lab.entries)) == 12
    assert len(lab.events(Decided)) == 2
    assert answer(lab.entries).confirmed


def test_a_resumed_study_names_its_points_as_the_first_command_did() -> None:
    store, clock, question, point = MemoryStore(), FakeClock(), a_question(), a_point(batch=8)
    fresh, resumed = (Progress(goal=parse_goal("max throughput")) for _ in range(2))
    console = Console(quiet=True)
    setting = cast("Setting", SimpleNamespace(question=question))
    for progress in (fresh, resumed):
        ask(Journal(store, clock, (partial(progress.tell, console=console),)), setting)
    assert len(list(store.entries())) == 1
    assert resumed.named(point) == fresh.named(point) == words.point(point, question.spaces)
    assert resumed.named(point) != words.point(point, ())


def test_the_same_command_without_trials_goes_on(tmp_path: Path) -> None:
    lab = Laboratory(tmp_path)
    lab.run(max_trials=6)
    lab.run()
    assert len(screened(lab.entries)) > 6
    whole = len(lab.entries)
    assert len(lab.run(max_trials=6)) == whole


class SlowModel(Laboratory):
    """A fifth of a second per sample at best; batches tie, and launches of large ones cost half a minute."""

    def setting(self) -> Setting:
        made = super().setting()
        spaces = tuple(space.narrowed({"batch": (1, 4, 16, 64)}) for space in made.spaces)
        return replace(made, spaces=spaces)


def test_a_tie_that_is_slow_to_launch_does_not_keep_the_winner_from_being_confirmed(tmp_path: Path) -> None:
    def tied(point: Point) -> float:
        fast = point.target == "openvino" and point.number("instances") == 2
        return (6.0 if fast else 2.0) * (1.0 + 0.0001 * point.number("batch", 1))

    lab = SlowModel(tmp_path, rate=tied)
    assert lab.run(300.0)[-1].at_s <= 310.0
    found = answer(lab.entries)
    assert found.confirmed and found.figures is not None and found.figures.launches >= 3
    assert all(rival.speedup is not None for rival in found.rivals)


def test_waiting_for_a_busy_machine_is_part_of_the_budget(tmp_path: Path) -> None:
    lab = Laboratory(tmp_path)
    lab.busy_s = 40.0
    assert lab.run(100.0)[-1].at_s <= 100.0 + OVERTIME_S
    assert answer(lab.entries).spent.waiting >= 40.0


@pytest.mark.parametrize(("budget_s", "most_s"), [(1.0, 1.0), (300.0, PATIENCE_S + 1.0)])
def test_a_study_that_never_began_records_nothing(tmp_path: Path, budget_s: float, most_s: float) -> None:
    lab = Laboratory(tmp_path)
    lab.busy_s = math.inf
    with pytest.raises(BusyError, match="others have used 90% of the CPUs"):
        lab.run(budget_s)
    assert not lab.entries
    assert lab.glanced_s <= most_s


def test_a_busy_machine_keeps_nobody_from_reading_a_finished_study(tmp_path: Path) -> None:
    lab = Laboratory(tmp_path)
    whole = len(lab.run(max_trials=3))
    lab.busy_s = math.inf
    assert len(lab.run(max_trials=3)) == whole
    lab.goal = "min latency"
    with pytest.raises(UsageError, match="differs in goal"):
        lab.run(max_trials=3)


def test_another_question_is_refused(tmp_path: Path) -> None:
    lab = Laboratory(tmp_path)
    lab.run(max_trials=3)
    lab.goal = "min latency"
    with pytest.raises(UsageError, match="differs in goal") as caught:
        lab.run(max_trials=3)
    assert caught.value.id == "another-question"


def test_the_seed_of_the_inputs_is_the_studys_own(tmp_path: Path) -> None:
    """Who asks with another seed alone is not told that the inputs differ, too."""
    lab = Laboratory(tmp_path)
    lab.run(max_trials=3)
    asked = history.question(lab.entries)
    other = replace(asked, seed=1, feed=replace(asked.feed, seed=1))
    assert differences(asked, other) == ["seed"]
    moved = replace(asked.feed, path="b.npz", digest="ab")
    assert differences(replace(asked, feed=replace(moved, path="a.npz")), replace(asked, feed=moved)) == []
    assert differences(asked, replace(asked, feed=moved)) == ["inputs"]


def test_an_interrupted_study_still_answers(tmp_path: Path) -> None:
    entries = Laboratory(tmp_path).run(stop_after=5)
    assert entries[-1].event == Closed(status="interrupted", why="interrupted")
    found = answer(entries)
    assert found.status == "interrupted" and not found.confirmed and found.winner is not None


def test_crashing_candidates_cost_only_themselves(tmp_path: Path) -> None:
    def fails(job: Job) -> Failed | None:
        crash = isinstance(job, MeasureJob) and job.point.number("batch") == 8
        return Failed(stage="measure", kind="crash", message="the worker died of SIGSEGV") if crash else None

    found = answer(Laboratory(tmp_path, fails=fails).run())
    assert found.status == "ok"
    assert found.winner is not None and found.winner["batch"] == 16
    assert found.counts.failed > 0


def test_when_nothing_works_the_answer_says_so(tmp_path: Path) -> None:
    def fails(job: Job) -> Failed | None:
        return Failed(stage="build", kind="compiler", message="no") if isinstance(job, BuildJob) else None

    lab = Laboratory(tmp_path, fails=fails)
    found = answer(lab.run(max_trials=5))
    assert found.status == "nothing_feasible" and found.winner is None


def test_an_unfaithful_precision_never_wins(tmp_path: Path) -> None:
    def error(point: Point) -> float:
        return 1.0 if point.get("precision", "f32") in ("bf16", "runtime") else 0.0

    lab = Laboratory(tmp_path, error=error)
    found = answer(lab.run())
    assert found.winner is not None and found.winner["precision"] == "f32"
    assert any(c.fidelity.cosine < 0.99 for c in lab.events(Checked) if isinstance(c, Checked))


def test_where_time_reaches_for_unfaithful_points_only_the_default_is_the_answer(tmp_path: Path) -> None:
    """The default was launched as the anchor: it is a point that can be chosen like others."""

    def fails(job: Job) -> Failed | None:
        explicit = isinstance(job, MeasureJob) and job.point["preset"] == "explicit"
        return Failed(stage="measure", kind="crash", message="Boom") if explicit else None

    def error(point: Point) -> float:
        return 1.0 if point.target == "openvino" else 0.0

    lab = Laboratory(tmp_path, fails=fails, error=error)
    found = answer(lab.run())
    assert found.status == "ok" and found.winner is not None and found.confirmed
    assert found.winner["preset"] == "default" and found.winner.target == "onnxruntime"


def test_a_point_that_hangs_does_not_take_the_study_far_beyond_its_budget(tmp_path: Path) -> None:
    lab = Laboratory(tmp_path)
    limits: list[float] = []
    whole = lab.executor.run

    def watched(target: str, job: Job, *, timeout_s: float) -> Reply:
        if isinstance(job, MeasureJob):
            limits.append(timeout_s - (60.0 - lab.clock.now_ns() / 1e9))
        return whole(target, job, timeout_s=timeout_s)

    lab.executor.run = watched  # type: ignore[method-assign]
    lab.run(budget_s=60.0)
    assert limits and max(limits) < 30.0, "a launch may end so many seconds after the budget at most"


def test_no_build_or_launch_may_take_more_than_half_of_a_short_study(tmp_path: Path) -> None:
    lab = Laboratory(tmp_path)
    whole = lab.executor.run
    limits: list[float] = []

    def slow(target: str, job: Job, *, timeout_s: float) -> Reply:
        tried = isinstance(job, BuildJob | MeasureJob) and job.point["preset"] == "explicit"
        limits.extend([timeout_s] if tried and len(limits) < 2 else [])
        if len(limits) != 2 or not isinstance(job, MeasureJob):
            return whole(target, job, timeout_s=timeout_s)
        limits.append(math.inf)
        lab.clock.advance(timeout_s)
        return Failed(stage="measure", kind="timeout", message=f"no result within {timeout_s:.0f} s")

    lab.executor.run = slow  # type: ignore[method-assign]
    found = answer(lab.run(budget_s=60.0))
    assert max(limits[:2]) <= 30.0, "the first build and the first launch, before anything was measured"
    assert found.winner is not None and found.confirmed
    assert lab.clock.now_ns() / 1e9 < 60.0 + OVERTIME_S


def test_nothing_is_kept_back_for_confirming_before_anything_was_measured(tmp_path: Path) -> None:
    """Else a study of 40 s with four baselines would give up after 10 s."""

    def fails(job: Job) -> Failed | None:
        early = isinstance(job, MeasureJob) and lab.clock.now_ns() < 28e9
        return Failed(stage="measure", kind="crash", message="Boom") if early else None

    lab = Laboratory(tmp_path, fails=fails, start_s=4.0)
    assert answer(lab.run(budget_s=40.0)).winner is not None


def test_baselines_that_there_is_no_time_to_launch_are_not_compared(tmp_path: Path) -> None:
    lab = Laboratory(tmp_path, start_s=8.0)
    found = answer(lab.run(budget_s=40.0))
    checked = {e.fidelity.point for e in lab.events(Checked) if isinstance(e, Checked)}
    assert found.winner is not None and not found.confirmed and checked == {found.winner}


def test_limits_are_kept(tmp_path: Path) -> None:
    limit_ms = 60.0
    found = answer(Laboratory(tmp_path, goal=f"max throughput, p50 < {limit_ms} ms").run())
    assert found.winner is not None and found.figures is not None
    assert found.figures.p50_ms is not None and found.figures.p50_ms < limit_ms


def test_an_impossible_limit_is_nothing_feasible(tmp_path: Path) -> None:
    found = answer(Laboratory(tmp_path, goal="max throughput, p50 < 1 us").run(budget_s=60.0))
    assert found.status == "nothing_feasible" and found.nearest is not None


def test_the_same_seed_gives_the_same_study(tmp_path: Path) -> None:
    a, b = (Laboratory(tmp_path / name, noise=0.05).run() for name in "ab")
    assert [e.event.point for e in a if isinstance(e.event, Launch)] == [
        e.event.point for e in b if isinstance(e.event, Launch)
    ]


def test_any_whole_number_is_a_seed(tmp_path: Path) -> None:
    assert answer(Laboratory(tmp_path, seed=-1).run(max_trials=3)).confirmed


def test_study_time_counts_over_all_commands(tmp_path: Path) -> None:
    lab = Laboratory(tmp_path)
    lab.run(max_trials=3)
    before = lab.entries[-1].at_s
    lab.clock.advance(1000.0)  # nobody works on the study
    lab.run(max_trials=5)
    times = [e.at_s for e in lab.entries]
    assert times == sorted(times)
    assert times[-1] - before < 300.0 and not math.isnan(times[-1])
