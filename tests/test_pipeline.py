"""Overlapped search on simulated cards in virtual time: the card hardly waits, twins share the work, losses show."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from infertune.build.cache import ArtifactCache
from infertune.build.pool import PER_BUILD
from infertune.core import audit, history, stats
from infertune.core.answer import answer
from infertune.core.calibrated import Calibrated
from infertune.core.errors import BusyError, StorageError
from infertune.core.goal import parse_goal
from infertune.core.records import (
    BuildJob,
    Built,
    Checked,
    Conditions,
    Decided,
    Entry,
    Failed,
    FailureStage,
    Fidelity,
    Found,
    InferJob,
    Job,
    Launch,
    MeasureJob,
    Measurement,
    Plan,
    Reply,
    Round,
)
from infertune.core.seams import Executor
from infertune.core.space import Point, Space
from infertune.edge.clock import MonotonicClock
from infertune.edge.files import free_bytes
from infertune.measure.again import LATER
from infertune.measure.plan import OVERTIME_S
from infertune.prepare.load import describe
from infertune.report import plain_text
from infertune.report.rows import table
from infertune.study.calm import Glance
from infertune.study.cards import Card, rescaled
from infertune.study.pipeline import Staff
from infertune.study.question import Wanted, chosen_targets, make_setting
from infertune.study.tuning import run
from infertune.targets.qaic.sim.install import install
from infertune.targets.qaic.sim.programs.faults import VARIABLE
from infertune.targets.qaic.sim.programs.tree import ERROR, Tree
from infertune.targets.qaic.sim.shell import SimulatedExecutor
from infertune.testing.crew import VirtualClock, VirtualCrew
from infertune.testing.records import a_launch, a_measurement, a_point
from infertune.testing.store import MemoryStore
from small_models import write_classifier

BUILDERS = 4
CARDS = 2


class Lab:
    """A study of a small model on simulated cards. Compiles and runs cost simulated seconds; nothing else costs any."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, *, cards: int = 1) -> None:
        install(folder / "sdk", card="pro", cards=cards, time_scale=1.0, seed=3)
        monkeypatch.setenv("QAIC_ROOT", str(folder / "sdk"))
        self.clock = VirtualClock()
        self.crews: list[VirtualCrew] = []
        self.store = MemoryStore()
        self.cache = ArtifactCache(folder / "cache")
        self.model = describe(str(write_classifier(folder / "m.onnx", width=2048)), shapes={})

    def crew(self, hands: int) -> VirtualCrew:
        self.crews.append(VirtualCrew(self.clock, hands))
        return self.crews[-1]

    def searched(self, trials: int) -> bool:
        launched = [e.event for e in self.store.entries() if isinstance(e.event, Launch)]
        return len({x.point for x in launched if x.purpose == "screen"}) >= trials

    def run(
        self,
        trials: int = 12,
        *,
        budget_s: float = 2000.0,
        search_only: bool = True,
        executor: Executor | None = None,
        strategy: str = "auto",
        first: Wanted | None = None,
        enough: int | None = None,
        glance: Glance | None = None,
    ) -> list[Entry]:
        """``first``: knob values of points to try before others; ``enough`` points searched end it early."""
        executor = executor or SimulatedExecutor(self.clock)
        setting = make_setting(
            executor,
            model=self.model,
            goal=parse_goal("max throughput"),
            targets=chosen_targets(["qaic"]),
            wanted={"cores": (1, 2, 4, 8), "batch": (32, 64, 96), "mos": (1,), "ols": (1, 2), "set_size": (2,)},
            strategy=strategy,
            seed=0,
            inputs=None,
            version="0",
        )
        space, *_ = setting.spaces
        run(
            setting,
            self.store,
            executor,
            self.clock,
            self.cache,
            budget_s=budget_s,
            max_trials=trials,
            stop=lambda: search_only and self.searched(enough or trials),
            staff=Staff(crew=self.crew, builders=BUILDERS),
            first=tuple(space.narrowed(first).points()) if first else (),
            glance=glance,
        )
        return list(self.store.entries())


def searching_s(entries: Sequence[Entry]) -> tuple[float, float, float]:
    """Seconds of the search by the clock, of its builds, and of its launches."""
    screened = [e for e in entries if isinstance(e.event, Launch) and e.event.purpose == "screen"]
    builds = sum(e.event.wall_s for e in entries if isinstance(e.event, Built))
    launches = sum(e.event.wall_s for e in screened if isinstance(e.event, Launch))
    return screened[-1].at_s, builds, launches


def test_builds_run_while_the_card_measures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = Lab(tmp_path, monkeypatch).run()
    clock_s, builds_s, launches_s = searching_s(entries)
    assert clock_s < 0.7 * (builds_s + launches_s)


def test_rounds_look_ahead_and_every_point_is_tried_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = Lab(tmp_path, monkeypatch).run(trials=15)
    asked = [p for e in entries if isinstance(e.event, Round) for p in e.event.points]
    assert len(asked) == len(set(asked)) == 15
    screened = [e.event.point for e in entries if isinstance(e.event, Launch) and e.event.purpose == "screen"]
    assert sorted(map(str, screened)) == sorted(map(str, asked))
    assert any(isinstance(e.event, Round) and len(e.event.points) > 1 for e in entries)


def test_few_trials_are_not_chosen_blindly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four builders and a card would take six points at once: the whole search before its first result."""
    entries = Lab(tmp_path, monkeypatch).run(trials=6)
    rounds = [len(e.event.points) for e in entries if isinstance(e.event, Round)]
    assert rounds == [2, 1, 1, 1, 1]


def test_twins_measure_side_by_side_after_calibration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = Lab(tmp_path, monkeypatch, cards=2).run(trials=12)
    told = [e.event for e in shared if isinstance(e.event, Calibrated)]
    assert [(c.device, c.like) for c in told] == [("qid1", "qid0")]
    assert len(told[0].rates) == len(told[0].like_rates) == 3
    places = {dict(m.settings).get("measured_on", "qid0") for m in measurements(shared)}
    assert places == {"qid0", "qid1"}
    assert len(history.question(shared).spaces) == 1
    assert f"qid1 searched beside qid0, its times multiplied by {told[0].factor:.4f}" in answer(shared).caveats
    devices = {str(device) for device in table(shared).column("device")}
    assert {name for text in devices for name in text.split(", ")} == {"qid0", "qid1"}


def test_twins_are_comparable_and_reported_figures_come_from_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = Lab(tmp_path, monkeypatch, cards=2).run(trials=6, search_only=False)
    factor = next(e.event.factor for e in entries if isinstance(e.event, Calibrated))
    assert factor != 1.0
    assert answer(entries).winner is not None
    for launch in launches(entries, "confirm") + launches(entries, "race"):
        assert isinstance(launch.outcome, Measurement)
        assert "measured_on" not in dict(launch.outcome.settings)
    elsewhere = [m for m in measurements(entries) if "measured_on" in dict(m.settings)]
    for found in elsewhere:
        raw = float(str(dict(found.settings)["samples_per_s"]))
        assert stats.throughput(found) * factor == pytest.approx(raw, rel=1e-3)


def test_flags_of_a_twins_launch_are_those_of_the_times_that_are_kept() -> None:
    """`verify --recompute` raises them anew from the record, which has no others."""
    busy = Conditions(foreign_cpu=0.02, involuntary_switches_per_s=640.0)
    found, plan = replace(a_measurement(100.0), conditions=busy), Plan()
    launch = replace(a_launch(a_point(), found), plan=plan, flags=audit.flags(found, plan))
    told = rescaled(
        launch, launch.point, Card(Space(target="qaic", device="qid0", knobs=()), "qid1", first=False, factor=1.05)
    )
    assert isinstance(told.outcome, Measurement)
    assert told.flags == audit.flags(told.outcome, plan) != launch.flags


def test_two_simulated_trees_may_share_one_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outputs come from the model that a program's own tree keeps: found by another tree it would fail its check."""
    shared = ArtifactCache(tmp_path / "cache")
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        lab = Lab(tmp_path / name, monkeypatch)
        lab.cache = shared
        entries = lab.run(trials=3, search_only=False)
        assert [fidelity.reason for fidelity in checks(entries) if fidelity.reason] == []
        assert answer(entries).winner is not None


def launches(entries: Sequence[Entry], purpose: str) -> list[Launch]:
    return [e.event for e in entries if isinstance(e.event, Launch) and e.event.purpose == purpose]


def measurements(entries: Sequence[Entry]) -> list[Measurement]:
    return [x.outcome for x in launches(entries, "screen") if isinstance(x.outcome, Measurement)]


def checks(entries: Sequence[Entry]) -> list[Fidelity]:
    return [e.event.fidelity for e in entries if isinstance(e.event, Checked)]


def searched(entries: Sequence[Entry]) -> list[Launch]:
    """Launches of the search, anchors among them."""
    return [e.event for e in entries if isinstance(e.event, Launch) and e.event.purpose in ("screen", "anchor")]


def test_every_tenth_launch_is_followed_by_an_anchor_on_the_first_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = Lab(tmp_path, monkeypatch, cards=2).run(trials=24, strategy="random")
    ((baseline,),) = (space.baselines for space in history.question(entries).spaces)
    places = [place for place, launch in enumerate(searched(entries)) if launch.purpose == "anchor"]
    assert len(places) >= 2
    assert all(10 < later - earlier <= 10 + 2 * CARDS for earlier, later in pairwise(places))
    for anchor in launches(entries, "anchor"):
        assert anchor.point == baseline[1]
        assert isinstance(anchor.outcome, Measurement)
        assert "measured_on" not in dict(anchor.outcome.settings)


class Disturbed:
    """An executor whose third measurement runs beside another busy program."""

    def __init__(self, inner: Executor) -> None:
        self._inner, self._count = inner, 0
        self.victim: Point | None = None

    def run(self, target: str, job: Job, *, timeout_s: float) -> Reply:
        reply = self._inner.run(target, job, timeout_s=timeout_s)
        if not isinstance(reply, Measurement) or not isinstance(job, MeasureJob):
            return reply
        self._count += 1
        if self._count != 3:
            return reply
        self.victim = job.point
        return replace(reply, conditions=Conditions(foreign_cpu=0.4))


def test_a_disturbed_launch_is_repeated_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = Lab(tmp_path, monkeypatch)
    disturbed = Disturbed(SimulatedExecutor(lab.clock))
    screened = launches(lab.run(trials=20, executor=disturbed, strategy="random"), "screen")
    places = [place for place, launch in enumerate(screened) if launch.point == disturbed.victim]
    assert len(places) == 2
    assert places[1] - places[0] > LATER
    assert audit.contaminated(screened[places[0]].flags)
    assert not audit.contaminated(screened[places[1]].flags)
    others = [launch.point for launch in screened if launch.point != disturbed.victim]
    assert len(others) == len(set(others))


def test_a_busy_host_keeps_no_card_from_measuring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def looked() -> float:
        raise AssertionError("what others do on the host does not matter")

    lab = Lab(tmp_path, monkeypatch)
    entries = lab.run(trials=3, executor=Disturbed(SimulatedExecutor(lab.clock)), glance=looked)
    assert len(launches(entries, "screen")) >= 3


def test_a_leader_whose_outputs_are_wrong_is_found_while_searching(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "wrong-output@ols=2")
    entries = Lab(tmp_path, monkeypatch).run(trials=16, strategy="random")
    last = max(place for place, e in enumerate(entries) if isinstance(e.event, Launch))
    early = checks(entries[:last])
    assert {1, 2} <= {fidelity.point.number("ols") for fidelity in early}
    assert all((fidelity.cosine > 0.99) == (fidelity.point.number("ols") != 2) for fidelity in early)
    assert len({fidelity.point for fidelity in early}) == len(early)


class Unlike:
    """An executor to which every card is of a kind of its own, and slow to answer with outputs.

    ``checked`` tells from when to when each was asked for them.
    """

    def __init__(self, inner: Executor, clock: VirtualClock) -> None:
        self._inner, self._clock = inner, clock
        self.checked: list[tuple[int, int]] = []

    def run(self, target: str, job: Job, *, timeout_s: float) -> Reply:
        began = self._clock.now_ns()
        reply = self._inner.run(target, job, timeout_s=timeout_s)
        if isinstance(job, InferJob) and target == "qaic":
            self._clock.sleep(20.0)
            self.checked.append((began, self._clock.now_ns()))
        if isinstance(reply, Found):
            return Found(devices=tuple(replace(d, title=f"{d.title} {d.name}") for d in reply.devices))
        return reply


def test_one_point_is_checked_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two checks would write one reference's file at once."""
    lab = Lab(tmp_path, monkeypatch, cards=2)
    unlike = Unlike(SimulatedExecutor(lab.clock), lab.clock)
    entries = lab.run(trials=12, executor=unlike, strategy="random")
    assert len(history.question(entries).spaces) == 2
    assert len(unlike.checked) > 1
    assert all(ended <= begun for (_, ended), (begun, _) in pairwise(sorted(unlike.checked)))


def test_the_closing_line_says_what_was_left_untried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = Lab(tmp_path, monkeypatch).run(trials=6, search_only=False)
    closed = history.closed(entries)
    assert closed is not None and closed.status == "ok"
    why, _, left = closed.why.partition("; ")
    assert why == "all trials are spent (--trials 6, baselines not counted)"
    assert "the chance that one of them is over 2 % better" in left


def test_a_card_that_breaks_in_a_check_says_nothing_about_the_outputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = Lab(tmp_path, monkeypatch)
    with pytest.raises(BusyError) as lost:
        lab.run(executor=NoChecks(SimulatedExecutor(lab.clock)))
    assert lost.value.id == "device-lost"
    entries = list(lab.store.entries())
    assert checks(entries) == []
    assert launches(entries, "screen")
    asked = {p for e in lab.run(trials=6) if isinstance(e.event, Round) for p in e.event.points}
    assert {x.point for x in launches(list(lab.store.entries()), "screen")} == asked


class NoChecks:
    """An executor on which the card refuses to answer with outputs."""

    def __init__(self, inner: Executor, device: str = "") -> None:
        self._inner, self._device = inner, device

    def run(self, target: str, job: Job, *, timeout_s: float) -> Reply:
        if isinstance(job, InferJob) and target == "qaic" and job.point.device.startswith(self._device):
            return Failed(stage="verify", kind="device", message="the device is not ready")
        return self._inner.run(target, job, timeout_s=timeout_s)


def test_a_lost_twin_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "card-error@qid=1,after=5")
    entries = Lab(tmp_path, monkeypatch, cards=2).run(trials=12)
    screened = launches(entries, "screen")
    assert len({launch.point for launch in screened}) == 12
    assert not any(isinstance(x.outcome, Failed) for x in screened)
    (left,) = [caveat for caveat in answer(entries).caveats if "left alone" in caveat]
    assert left.startswith("qid1 was left alone while searching: it refused 3 launches: ")
    assert left in " ".join(plain_text(entries).split())


class Sluggish:
    """An executor on which each launch takes half a minute."""

    def __init__(self, inner: Executor, clock: VirtualClock) -> None:
        self._inner, self._clock = inner, clock

    def run(self, target: str, job: Job, *, timeout_s: float) -> Reply:
        if isinstance(job, MeasureJob):
            self._clock.sleep(min(30.0, timeout_s))
        return self._inner.run(target, job, timeout_s=timeout_s)


def test_comparing_twins_leaves_the_time_to_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = Lab(tmp_path, monkeypatch, cards=2)
    entries = lab.run(budget_s=400.0, trials=4, executor=Sluggish(SimulatedExecutor(lab.clock), lab.clock))
    (told,) = [e.event for e in entries if isinstance(e.event, Calibrated)]
    assert len(told.rates) == len(told.like_rates) == 1
    assert launches(entries, "screen")


def test_a_twin_stands_in_for_a_first_card_that_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three runs calibrate it. What it measured until then and what the twin does are compared by the factor."""
    monkeypatch.setenv(VARIABLE, "card-error@qid=0,after=7")
    entries = Lab(tmp_path, monkeypatch, cards=2).run(trials=12, search_only=False)
    found, (told,) = answer(entries), [e.event for e in entries if isinstance(e.event, Calibrated)]
    assert found.status == "ok" and found.confirmed
    assert not [x for x in launches(entries, "screen") + launches(entries, "race") if isinstance(x.outcome, Failed)]
    assert len({x.point for x in launches(entries, "screen")}) == 12
    settings = [dict(x.outcome.settings) for x in launches(entries, "confirm") if isinstance(x.outcome, Measurement)]
    assert settings and {one["measured_on"] for one in settings} == {"qid1"}
    assert {dict(m.settings).get("measured_on", "qid0") for m in measurements(entries)} == {"qid0", "qid1"}
    caveats = " ".join(found.caveats)
    assert "qid0 was left alone while searching: it refused 3 times (qid1 stands in for it): " in caveats
    assert f"qid1 stood in for qid0 in the confirmation, its times multiplied by {told.factor:.5f}" in caveats


def test_a_twin_stands_in_for_a_card_that_is_lost_in_the_confirmation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = Lab(tmp_path, monkeypatch, cards=2)
    entries = lab.run(trials=6, search_only=False, executor=NoLaunches(lab, device="qid0"))
    found = answer(entries)
    assert found.status == "ok" and found.confirmed
    assert not [x for x in launches(entries, "confirm") if isinstance(x.outcome, Failed)]
    assert "qid1 stood in for qid0 in the confirmation" in " ".join(found.caveats)


def test_a_twin_checks_outputs_where_the_first_card_breaks_in_a_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = Lab(tmp_path, monkeypatch, cards=2)
    entries = lab.run(trials=8, executor=NoChecks(SimulatedExecutor(lab.clock), device="qid0"))
    assert checks(entries) and all(fidelity.cosine > 0.99 for fidelity in checks(entries))
    assert len({x.point for x in launches(entries, "screen")}) == 8


def test_a_study_goes_on_where_a_card_of_it_is_not_ready_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In state Error it tells neither its kind nor its size, which is no other question."""
    lab, tree = Lab(tmp_path, monkeypatch, cards=2), Tree(tmp_path / "sdk")
    lab.run(trials=4)
    tree.set_status(0, ERROR)
    entries = lab.run(trials=6)
    assert len({x.point for x in launches(entries, "screen")}) == 6
    assert (
        "qid0 was left alone while searching: it is not ready (qid1 stands in for it): error"
        in answer(entries).caveats[-1]
    )
    tree.set_status(1, ERROR)
    tree.reset(0)
    assert len({x.point for x in launches(lab.run(trials=8), "screen")}) == 8
    tree.set_status(0, ERROR)
    tree.reset(1)
    entries = [e for e in lab.store.entries() if not isinstance(e.event, Calibrated)]
    lab.store = MemoryStore()
    for entry in entries:
        lab.store.append(entry.event, entry.at_s)
    with pytest.raises(BusyError, match="begun on qid0, which is not ready now: error"):
        lab.run(trials=10)


def test_the_second_of_two_cards_that_is_lost_ends_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "card-error@after=6")
    lab = Lab(tmp_path, monkeypatch, cards=2)
    with pytest.raises(BusyError, match=r"^qid[01] refused 3 times") as lost:
        lab.run()
    assert lost.value.id == "device-lost"
    assert not [x for x in launches(list(lab.store.entries()), "screen") if isinstance(x.outcome, Failed)]


def test_a_lost_card_ends_the_command_and_keeps_the_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = Lab(tmp_path, monkeypatch)
    monkeypatch.setenv(VARIABLE, "card-error@after=5")
    with pytest.raises(BusyError, match="refused 3 times") as lost:
        lab.run()
    assert lost.value.exit_code == 75
    entries = list(lab.store.entries())
    kept = launches(entries, "screen") + launches(entries, "anchor")
    assert len(kept) + len(checks(entries)) == 5
    assert not any(isinstance(x.outcome, Failed) for x in kept)
    assert all(fidelity.cosine > 0.99 for fidelity in checks(entries))
    closed = history.closed(entries)
    assert closed is not None and closed.status == "interrupted"
    why, _, left = closed.why.partition("; ")
    assert why == lost.value.message and "points were not tried" in left
    assert [caveat for caveat in answer(entries).caveats if caveat.startswith(f"interrupted: {closed.why}")]


def test_after_a_reset_the_same_command_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = Lab(tmp_path, monkeypatch)
    monkeypatch.setenv(VARIABLE, "card-error@after=5")
    with pytest.raises(BusyError):
        lab.run()
    monkeypatch.delenv(VARIABLE)
    (tmp_path / "sdk" / "state" / "card-0.json").unlink()
    entries = lab.run()
    asked = [p for e in entries if isinstance(e.event, Round) for p in e.event.points]
    assert len(asked) == len(set(asked)) == 12
    assert {x.point for x in launches(entries, "screen")} == set(asked)


class NoLaunches:
    """An executor on which the card refuses every launch once a decision is in the record."""

    def __init__(self, lab: Lab, device: str = "") -> None:
        self._inner, self._store, self._device = SimulatedExecutor(lab.clock), lab.store, device

    def run(self, target: str, job: Job, *, timeout_s: float) -> Reply:
        here = isinstance(job, MeasureJob) and job.point.device.startswith(self._device)
        if here and any(isinstance(e.event, Decided) for e in self._store.entries()):
            return Failed(stage="measure", kind="device", message="the device is not ready")
        return self._inner.run(target, job, timeout_s=timeout_s)


def test_a_card_lost_in_the_confirmation_ends_the_command_and_the_same_one_confirms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = Lab(tmp_path, monkeypatch)
    with pytest.raises(BusyError, match="refused 3 times") as lost:
        lab.run(trials=6, search_only=False, executor=NoLaunches(lab))
    assert lost.value.id == "device-lost"
    found = answer(lab.run(trials=6, search_only=False))
    assert found.status == "ok" and found.confirmed


class Hanging:
    """An executor on which the ``nth`` job of a kind does not end before its time is over."""

    def __init__(self, inner: Executor, clock: VirtualClock, kind: type[BuildJob | MeasureJob], nth: int) -> None:
        self._inner, self._clock, self._kind, self._left = inner, clock, kind, nth

    def run(self, target: str, job: Job, *, timeout_s: float) -> Reply:
        counts = target == "qaic" and isinstance(job, self._kind)
        self._left -= counts
        if self._left or not counts:
            return self._inner.run(target, job, timeout_s=timeout_s)
        self._clock.sleep(timeout_s)
        stage: FailureStage = "build" if self._kind is BuildJob else "measure"
        return Failed(stage=stage, kind="timeout", message=f"no result within {timeout_s:.0f} s")


@pytest.mark.parametrize(("kind", "nth"), [(BuildJob, 1), (BuildJob, 2), (MeasureJob, 1)])
def test_what_hangs_costs_a_study_neither_its_budget_nor_its_confirmation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[BuildJob | MeasureJob], nth: int
) -> None:
    lab = Lab(tmp_path, monkeypatch)
    hanging = Hanging(SimulatedExecutor(lab.clock), lab.clock, kind, nth)
    entries = lab.run(budget_s=100.0, search_only=False, executor=hanging)
    assert entries[-1].at_s <= 100.0 + OVERTIME_S
    assert answer(entries).confirmed
    outcomes = [e.event.outcome for e in entries if isinstance(e.event, Built | Launch)]
    assert any(isinstance(outcome, Failed) and outcome.kind == "timeout" for outcome in outcomes)


class Overseen:
    """An executor that notes when the card's builds began and ended, and kills the first build of so many points."""

    def __init__(self, inner: Executor, clock: VirtualClock, victims: int = 0) -> None:
        self._inner, self._clock, self._victims = inner, clock, victims
        self.spans: list[tuple[int, int, Point]] = []
        self.killed: list[Point] = []

    def run(self, target: str, job: Job, *, timeout_s: float) -> Reply:
        began = self._clock.now_ns()
        reply = self._inner.run(target, job, timeout_s=timeout_s)
        if target != "qaic" or not isinstance(job, BuildJob):
            return reply
        self.spans.append((began, self._clock.now_ns(), job.point))
        if len(self.killed) == self._victims or job.point in self.killed:
            return reply
        self.killed.append(job.point)
        return Failed(stage="build", kind="memory", message="killed by the system, most likely out of memory")

    def beside(self, begin: int, end: int) -> int:
        """How many builds shared some time with that from ``begin`` to ``end``, itself among them."""
        return sum(a < end and begin < b for a, b, _ in self.spans)


def test_what_crowding_may_have_killed_is_built_once_more_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = Lab(tmp_path, monkeypatch)
    overseen = Overseen(SimulatedExecutor(lab.clock), lab.clock, victims=2)
    entries = lab.run(executor=overseen, strategy="random")
    again = {point: (a, b) for a, b, point in overseen.spans if point in overseen.killed}
    assert len(again) == 2
    assert [overseen.beside(a, b) for a, b in again.values()] == [1, 1]
    assert max(overseen.beside(a, b) for a, b, _ in overseen.spans) > 1
    built = [e.event for e in entries if isinstance(e.event, Built)]
    assert not any(isinstance(event.outcome, Failed) for event in built)
    assert set(overseen.killed) <= {launch.point for launch in launches(entries, "screen")}


def test_what_fails_alone_too_has_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = Lab(tmp_path, monkeypatch)
    entries = lab.run(trials=6, executor=Starved(SimulatedExecutor(lab.clock)), strategy="random")
    failed = [e.event for e in entries if isinstance(e.event, Built) and isinstance(e.event.outcome, Failed)]
    assert failed
    assert len({built.point for built in failed}) == len(failed)
    assert all(built.point.number("ols") == 2 for built in failed)


def test_points_that_all_fail_to_build_do_not_end_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More points than may wait at once need one program, which cannot be built: others are asked for afterwards."""
    monkeypatch.setenv(VARIABLE, "compile-failure@cores=8,batch=32")
    of_one_build = {"cores": (8,), "batch": (32,), "ols": (1,), "instances": (1,), "set_size": tuple(range(1, 10))}
    entries = Lab(tmp_path, monkeypatch).run(trials=30, strategy="random", first=of_one_build, enough=1)
    rounds = [e.event.points for e in entries if isinstance(e.event, Round)]
    assert len(rounds[0]) == BUILDERS + 2
    failed = {e.event.point for e in entries if isinstance(e.event, Built) and isinstance(e.event.outcome, Failed)}
    assert len({p for p in failed if p.number("instances") == 1}) == 9
    assert launches(entries, "screen")


class Starved:
    """An executor on which builds with ``ols=2`` find too little memory."""

    def __init__(self, inner: Executor) -> None:
        self._inner = inner

    def run(self, target: str, job: Job, *, timeout_s: float) -> Reply:
        if isinstance(job, BuildJob) and job.point.number("ols") == 2:
            return Failed(stage="build", kind="memory", message="out of memory")
        return self._inner.run(target, job, timeout_s=timeout_s)


def weighing(lab: Lab, share: float) -> None:
    """Give the model such weights that one build needs this share of the free disk."""
    lab.model = replace(lab.model, weight_bytes=int(share * free_bytes(lab.cache.root.parent) / PER_BUILD))


def test_a_disk_without_room_for_a_build_is_named_before_any(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = Lab(tmp_path, monkeypatch)
    weighing(lab, 1000.0)
    overseen = Overseen(SimulatedExecutor(lab.clock), lab.clock)
    with pytest.raises(StorageError) as told:
        lab.run(executor=overseen)
    assert told.value.id == "disk-full"
    assert not overseen.spans


def test_no_more_is_built_at_a_time_than_the_disk_has_room_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = Lab(tmp_path, monkeypatch)
    weighing(lab, 0.6)
    overseen = Overseen(SimulatedExecutor(lab.clock), lab.clock)
    entries = lab.run(executor=overseen)
    assert max(overseen.beside(a, b) for a, b, _ in overseen.spans) == 1
    assert len({launch.point for launch in launches(entries, "screen")}) == 12


class Meeting:
    """An executor on which the first measurement ends only when a build has begun meanwhile."""

    def __init__(self, inner: Executor) -> None:
        self._inner = inner
        self._measuring, self.met = threading.Event(), threading.Event()

    def run(self, target: str, job: Job, *, timeout_s: float) -> Reply:
        if isinstance(job, BuildJob) and self._measuring.is_set():
            self.met.set()
        if isinstance(job, MeasureJob):
            self._measuring.set()
            self.met.wait(20.0)
        return self._inner.run(target, job, timeout_s=timeout_s)


def test_overlaps_in_real_threads_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = Lab(tmp_path, monkeypatch)
    install(tmp_path / "sdk", card="pro", cards=1, time_scale=0.0, seed=3)
    meeting = Meeting(SimulatedExecutor(MonotonicClock()))
    setting = make_setting(
        meeting, model=lab.model, goal=parse_goal("max throughput"), targets=chosen_targets(["qaic"]),
        wanted={"cores": (1, 2, 4), "batch": (32, 64), "mos": (1,), "ols": (1,), "set_size": (2,)},
        strategy="auto", seed=0, inputs=None, version="0",
    )  # fmt: skip
    run(
        setting, lab.store, meeting, MonotonicClock(), lab.cache,
        budget_s=600.0, max_trials=6, stop=lambda: lab.searched(6), staff=Staff(builders=1),
    )  # fmt: skip
    assert meeting.met.is_set()
