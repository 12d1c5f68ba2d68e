"""How infertune's own search on a card proposes, looks ahead and chooses among its leaders."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from infertune.core.goal import parse_goal
from infertune.core.records import Artifact, Failed, Launch, Measurement, Trial
from infertune.core.space import Point
from infertune.targets import find_target
from infertune.targets.qaic.configurator.schema import read_search
from infertune.targets.qaic.configurator.searches import (
    LATENCY,
    POINTS_PER_LEADER,
    RUNS_TO_LEAD,
    SPARE,
    THROUGHPUT,
    Effort,
    _ahead,
    _unsettled,
    narrowed,
    own_search,
)
from infertune.targets.qaic.configurator.workshop import Workshop
from infertune.testing.crew import VirtualClock, VirtualCrew
from infertune.testing.records import a_device, a_measurement, a_model
from test_qaic_configurator import model, place, run, sdk, words  # noqa: F401
from test_qaic_request import SCHEMA_A, with_start, write

WHOLE = "whole samples"


def space_of(folder: Path, told: Mapping[str, object], *, doublings: bool = False):  # type: ignore[no-untyped-def]
    card = replace(a_device(), target="qaic", name="qid0", units=16)
    bare = find_target("qaic").space(a_model(), card, parse_goal("max throughput"))
    return narrowed(bare, read_search(str(write(folder, told)), 16), {}, 2, doublings=doublings)


@pytest.mark.parametrize("doublings", [True, False])
def test_what_the_json_leaves_out_is_not_searched(tmp_path: Path, doublings: bool) -> None:
    told = {**SCHEMA_A, "params": {"cores": {"min": 1, "max": 4}}, "initial_values": [{"cores": 1}]}
    space = space_of(tmp_path, told, doublings=doublings)
    assert [knob.name for knob in space.knobs if len(knob.values) > 1] == ["cores"]


@pytest.mark.parametrize(("cores", "batch", "fine"), [(4, 8, True), (4, 2, True), (4, 6, False), (3, 8, False)])
def test_cores_get_whole_samples(tmp_path: Path, cores: int, batch: int, fine: bool) -> None:
    space = space_of(tmp_path, with_start())
    why = space.why_illegal(space.seeds[0].but(cores=cores, batch=batch))
    assert (why is None) == fine
    assert fine or WHOLE in str(why)


def test_a_start_that_cuts_samples_is_kept_and_so_are_points_like_it(tmp_path: Path) -> None:
    space = space_of(tmp_path, with_start(cores=3, bs=2))
    assert space.why_illegal(space.seeds[0]) is None
    assert space.why_illegal(space.seeds[0].but(cores=4, batch=6)) is None


def test_the_vendor_s_search_keeps_all_of_its_points(tmp_path: Path) -> None:
    space = space_of(tmp_path, with_start(), doublings=True)
    assert space.why_illegal(space.seeds[0].but(cores=3, batch=8)) is None


def shop_with(tmp_path: Path, build_s: float, run_s: float) -> Workshop:
    """One trial that took so long to compile and to run."""
    point = space_of(tmp_path, with_start()).seeds[0]
    lost = Failed(stage="measure", kind="crash", message="gone")
    launch = Launch(point=point, purpose="screen", block=0, outcome=lost, flags=(), wall_s=run_s)
    built = Artifact(key="a", path="a", size_bytes=0, build_s=build_s)
    trials = {point: Trial(point=point, launches=(launch,), build=built)}
    return cast(Workshop, SimpleNamespace(threads=16, trials=trials))


@pytest.mark.parametrize(("build_s", "points"), [(1.0, 1 + SPARE), (20.0, 4 + SPARE), (500.0, 13)])
def test_as_many_points_are_under_way_as_the_card_runs_during_a_compile(
    tmp_path: Path, build_s: float, points: int
) -> None:
    assert _ahead(shop_with(tmp_path, build_s, 5.0), replace(THROUGHPUT, ahead=99), 40) == points


def test_the_leader_has_been_run_several_times(
    model: Path,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = write(tmp_path, {**SCHEMA_A, "max_func_eval": 3})
    assert run(["x", *words(model, "-optimized-config-search", str(path))]) == 0
    told = capsys.readouterr().out
    runs = Counter(re.findall(r"compiledModelPath=\S+/(\S+), runnerParams=instances=(\d+)", told))
    assert 6 + RUNS_TO_LEAD - 1 <= sum(runs.values()) <= 6 * RUNS_TO_LEAD
    cores, ols, batch, instances = re.findall(r"^0 .* (\d+) \[1\] +(\d+) +(\d+) +(\d+) +[\d.]+$", told, re.MULTILINE)[0]
    assert runs[f"qpc-cores-{cores}-mos-1-ols-{ols}-bs-{batch}-output", instances] >= RUNS_TO_LEAD


def shop_where(
    monkeypatch: pytest.MonkeyPatch, folder: Path, crew: VirtualCrew, compiled: Any, measured: Any
) -> Workshop:
    """Compiles and runs are what these stand-ins say."""
    for name, stand_in in (("compile_into", compiled), ("measure_point", measured)):
        monkeypatch.setattr(f"infertune.targets.qaic.configurator.workshop.{name}", stand_in)
    return Workshop(
        sdk=cast(Any, None), shell=cast(Any, None), model=a_model(), space=space_of(folder, with_start()),
        goal=parse_goal("max throughput"), folder=str(folder), seconds=5, threads=4, crew=crew,
        say=lambda text: None,
    )  # fmt: skip


def points_of(most: int) -> Effort:
    return replace(THROUGHPUT, points=most)


def takes_a_minute(clock: VirtualClock) -> Callable[..., float]:
    """A compile, told in seconds."""

    def compiled(*asked: object) -> float:
        clock.sleep(60.0)
        return 60.0

    return compiled


def test_the_leader_is_run_again_before_the_card_waits_for_the_compiler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, waits = VirtualClock(), list[tuple[bool, int]]()

    def measured(*asked: object) -> Measurement:
        clock.sleep(5.0)
        (point,) = (part for part in asked if isinstance(part, Point))
        return a_measurement(100.0 * point.number("cores", 1) * point.number("instances", 1))

    class Watched(VirtualCrew):
        def wait(self, pending):  # type: ignore[no-untyped-def]
            leader = shop.best()
            waits.append((any(f.done() for f in pending), len(shop.trials[leader].launches) if leader else 0))
            super().wait(pending)

    shop = shop_where(monkeypatch, tmp_path, Watched(clock, 4), takes_a_minute(clock), measured)
    own_search(shop, points_of(8), 999)
    assert len(shop.trials) == 8
    assert {runs for ready, runs in waits if not ready} == {0, RUNS_TO_LEAD}


def test_the_answer_is_settled_between_two_leaders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen points that are all alike: the highest single run is a lucky one of 3 % noise."""
    noise, clock = np.random.default_rng(0), VirtualClock()

    def measured(*asked: object) -> Measurement:
        return a_measurement(1000.0 * float(np.exp(0.03 * noise.normal())))

    shop = shop_where(monkeypatch, tmp_path, VirtualCrew(clock, 4), lambda *asked: 1.0, measured)
    own_search(shop, points_of(16), 999)
    best = shop.best()
    runs = [len(trial.launches) for trial in shop.trials.values()]
    assert best is not None and len(shop.trials[best].launches) >= RUNS_TO_LEAD
    assert len(runs) == 16 and 16 < sum(runs) <= 16 + THROUGHPUT.last_runs  # nothing was compiled while the card waited


def test_a_clear_leader_is_not_run_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = VirtualClock()

    def measured(*asked: object) -> Measurement:
        (point,) = (part for part in asked if isinstance(part, Point))
        return a_measurement(100.0 * point.number("cores", 1) ** 0.5 * point.number("instances", 1))

    shop = shop_where(monkeypatch, tmp_path, VirtualCrew(clock, 4), lambda *asked: 1.0, measured)
    own_search(shop, points_of(16), 999)
    runs = sorted(len(trial.launches) for trial in shop.trials.values())
    assert runs[-2:] == [RUNS_TO_LEAD, RUNS_TO_LEAD] and sum(runs) == 16 + 2 * (RUNS_TO_LEAD - 1)


def test_leaders_are_run_again_while_the_card_would_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Points that are all alike, so that the leader stays the same one."""
    clock = VirtualClock()

    def measured(*asked: object) -> Measurement:
        clock.sleep(5.0)
        return a_measurement(1000.0)

    shop = shop_where(monkeypatch, tmp_path, VirtualCrew(clock, 4), takes_a_minute(clock), measured)
    own_search(shop, points_of(24), 999)
    assert sum(len(trial.launches) >= RUNS_TO_LEAD for trial in shop.trials.values()) >= 16 / POINTS_PER_LEADER


def test_of_least_latency_every_point_is_run_several_times_and_few_are_chosen_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, waiting = VirtualClock(), list[int]()

    class Watched(VirtualCrew):
        def wait(self, pending):  # type: ignore[no-untyped-def]
            waiting.append(len(pending))
            super().wait(pending)

    def measured(*asked: object) -> Measurement:
        clock.sleep(5.0)
        return a_measurement(1000.0)

    shop = shop_where(monkeypatch, tmp_path, Watched(clock, 16), takes_a_minute(clock), measured)
    shop.goal = parse_goal("min latency")
    own_search(shop, LATENCY, 999)
    assert max(waiting) == LATENCY.ahead
    assert len(shop.trials) <= LATENCY.points
    assert min(len(trial.launches) for trial in shop.trials.values()) == LATENCY.runs


@pytest.mark.parametrize(("asked", "tried", "status"), [(4, 4, "EXCEED_MAX_EVAL"), (999, 16, "SUCCESS")])
def test_a_search_that_its_own_limit_ends_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: int, tried: int, status: str
) -> None:
    clock = VirtualClock()
    shop = shop_where(monkeypatch, tmp_path, VirtualCrew(clock, 4), lambda *asked: 1.0, lambda *_: a_measurement(1e3))
    (row,) = own_search(shop, points_of(16), asked)
    assert (len(shop.trials), row.status) == (tried, status)
    assert set(shop.space.seeds) <= set(shop.trials)


EIGHT, NINE, TEN = (Point(target="qaic", device="qid0", settings=(("cores", cores),)) for cores in (8, 9, 10))


def around(centre: float, count: int) -> list[float]:
    """Scores of one point's runs, 4 % apart from each other."""
    return list(centre + 0.02 * np.random.default_rng(count).permutation(np.resize([1.0, -1.0], count)))


def test_a_third_point_with_few_runs_keeps_the_race_open_though_leader_and_rival_are_settled() -> None:
    scores = {EIGHT: around(0.0, 40), NINE: around(-0.012, 38), TEN: around(-0.0125, 2)}
    assert TEN in _unsettled(scores, 4)
    assert _unsettled(scores, 2) == []


def test_the_last_runs_end_once_nothing_is_expected_of_any_rival() -> None:
    assert _unsettled({EIGHT: around(0.0, 24), NINE: around(-0.1, 26), TEN: around(-0.12, 4)}, 4) == []


def test_a_lone_leader_is_run_several_times() -> None:
    assert _unsettled({EIGHT: [0.0] * (RUNS_TO_LEAD - 1)}, 4) == [EIGHT]
    assert _unsettled({EIGHT: [0.0] * RUNS_TO_LEAD}, 4) == []
