"""The default strategy: how soon it finds the best, and what it leaves alone."""

from __future__ import annotations

import re
import statistics
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from infertune.core.goal import parse_goal
from infertune.core.records import Artifact, Failed, FailureKind, Trial
from infertune.core.space import Point, Rule, Space
from infertune.search import auto, random
from infertune.search.parts.features import encoded
from infertune.search.parts.known import Known, known
from infertune.testing.spaces import Landscape, a_knob, cpu_landscape, play, regrets
from infertune.testing.strategies import broken, flat, nothing_legal, small_space

GOAL = parse_goal("max throughput")
SEEDS = range(20)
WITHIN_5 = 0.0513  # -log(0.95)


def final_regrets(strategy: str, *, units: int, trials: int) -> list[float]:
    propose = {"auto": auto.propose, "random": random.propose}[strategy]
    found = []
    for seed in SEEDS:
        landscape = cpu_landscape(units=units, seed=seed)
        played = play(propose, landscape, GOAL, seed=seed, trials=trials, noise=0.03)
        found.append(regrets(landscape, GOAL, played)[-1])
    return found


@pytest.mark.parametrize("units", [2, 16])
def test_finds_a_near_best_point_in_twenty_launches(units: int) -> None:
    """Twenty made-up machines, two runtimes, 3 % noise, 20 launches."""
    found = final_regrets("auto", units=units, trials=20)
    assert sum(regret <= WITHIN_5 for regret in found) >= 16
    assert statistics.median(found) <= 0.02


def test_beats_random_with_twice_the_launches() -> None:
    ours = final_regrets("auto", units=8, trials=15)
    theirs = final_regrets("random", units=8, trials=30)
    assert statistics.median(ours) < 0.5 * statistics.median(theirs)
    assert sum(a <= b for a, b in zip(ours, theirs, strict=True)) >= 15


def test_first_asks_for_starts_of_every_space() -> None:
    landscape = cpu_landscape(units=8, seed=0)
    starts = {p for s in landscape.spaces for p in (*s.seeds, *(b.point for b in s.baselines))}
    points = auto.propose(landscape.spaces, (), GOAL, 2, 0)
    assert set(points) <= starts
    assert [point.target for point in points] == ["alpha", "beta"]


def test_a_first_batch_is_made_of_starts() -> None:
    """One of each space first, then the others in the order of what is expected of them; only then anything else."""
    landscape = cpu_landscape(units=8, seed=0)
    starts = {p for s in landscape.spaces for p in (*s.seeds, *(b.point for b in s.baselines))}
    asked = auto.propose(landscape.spaces, (), GOAL, 12, 0)
    assert set(asked) <= starts
    assert asked[:2] == auto.propose(landscape.spaces, (), GOAL, 2, 0)
    under_way = tuple(Trial(point=point) for point in asked)
    assert set(auto.propose(landscape.spaces, under_way, GOAL, 4, 0)) <= starts
    everything = auto.propose(landscape.spaces, (), GOAL, len(starts) + 3, 0)
    assert set(everything[: len(starts)]) == starts


@pytest.mark.parametrize("seed", range(3))
def test_a_lone_space_gets_two_starts_before_anything_else(seed: int) -> None:
    landscape = cpu_landscape(units=16, seed=seed)
    alone = replace(landscape, spaces=landscape.spaces[:1])
    starts = {*alone.spaces[0].seeds, *(b.point for b in alone.spaces[0].baselines)}
    tried = [trial.point for trial in play(auto.propose, alone, GOAL, seed=seed, trials=2)]
    assert set(tried) <= starts


def test_only_what_is_measured_binds_a_goal() -> None:
    assert auto.is_free(GOAL) and auto.is_free(parse_goal("max throughput, batch <= 32, fidelity > 0.99"))
    assert not auto.is_free(parse_goal("max throughput, p99 < 20 ms"))


def test_a_measured_start_is_enough_to_look_elsewhere() -> None:
    landscape = cpu_landscape(units=8, seed=0)
    starts = {p for s in landscape.spaces for p in (*s.seeds, *(b.point for b in s.baselines))}
    begun = play(auto.propose, landscape, GOAL, seed=0, trials=2, noise=0.03)
    assert not set(auto.propose(landscape.spaces, begun, GOAL, 6, 0)) <= starts


def test_a_latency_goal_starts_with_one_request_at_a_time() -> None:
    space = cpu_landscape(units=8, seed=0).spaces[1]
    first = auto.propose([space], (), parse_goal("min p99"), 1, 0)[0]
    assert first["batch"] == 1
    assert first.number("instances") <= 1


def test_a_hopeless_runtime_is_dropped_quickly() -> None:
    base = cpu_landscape(units=8, seed=5)
    slow = replace(base, throughput=lambda p: base.throughput(p) * (0.1 if p.target == "beta" else 1.0))
    played = play(auto.propose, slow, GOAL, seed=0, trials=20, noise=0.03)
    assert sum(trial.point.target == "beta" for trial in played) <= 4


# ---------------------------------------------------------------- failures


def out_of_memory(point: Point) -> Failed | None:
    if point.number("batch") * max(1, point.number("instances")) < 32:
        return None
    return Failed(stage="measure", kind="memory", message="out of memory")


@pytest.mark.parametrize("kind", ["memory", "device-memory"])
def test_what_needs_more_memory_is_not_tried_and_the_rest_is(kind: FailureKind) -> None:
    def fails(point: Point) -> Failed | None:
        failed = out_of_memory(point)
        return replace(failed, kind=kind) if failed else None

    left: list[float] = []
    for seed in range(1, 7):
        landscape = replace(cpu_landscape(units=8, seed=seed), fails=fails)
        played = play(auto.propose, landscape, GOAL, seed=1, trials=25, noise=0.03)
        failed: list[Point] = []
        for point in (trial.point for trial in played):
            assert not any(larger(point, dead) for dead in failed), point
            if out_of_memory(point):
                failed.append(point)
        left.append(regrets(landscape, GOAL, played)[-1])
    assert statistics.mean(left) <= 0.12


def larger(point: Point, dead: Point) -> bool:
    sizes = {name: dead[name] for name in ("batch", "instances", "set_size")}
    alike = point.target == dead.target and point.but(**sizes) == dead
    return alike and all(point.number(name) >= dead.number(name) for name in sizes)


def test_an_artifact_that_cannot_be_built_is_asked_for_once() -> None:
    def fails(point: Point) -> Failed | None:
        bad = point.get("precision", "") == "bf16"
        return Failed(stage="build", kind="compiler", message="no bf16 here") if bad else None

    landscape = replace(cpu_landscape(units=4, seed=3), fails=fails)
    played = play(auto.propose, landscape, GOAL, seed=0, trials=15)
    assert sum(fails(trial.point) is not None for trial in played) == 1


def test_a_failing_corner_does_not_hold_the_search_back() -> None:
    def fails(point: Point) -> Failed | None:
        crashes = point.target == "alpha" and point.get("pinning", "") == "on"
        return Failed(stage="load", kind="crash", message="boom") if crashes else None

    left = []
    for machine in range(4, 8):
        landscape = replace(cpu_landscape(units=8, seed=machine), fails=fails)
        played = play(auto.propose, landscape, GOAL, seed=0, trials=25, noise=0.03)
        assert sum(fails(trial.point) is not None for trial in played) <= 10
        left.append(regrets(landscape, GOAL, played)[-1])
    assert sum(regret <= WITHIN_5 for regret in left) >= 3


# ---------------------------------------------------------------- limits


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6])
def test_limits_steer(share: float) -> None:
    """The best of the points within a p99 limit is found, whatever share of the points is within it."""
    landscape = cpu_landscape(units=8, seed=6)
    latencies = sorted(1e3 * latency_s(landscape, point) for point in landscape.points())
    goal = parse_goal(f"max throughput, p99 < {latencies[int(share * len(latencies))]:.3f} ms")
    found = [
        regrets(landscape, goal, play(auto.propose, landscape, goal, seed=seed, trials=25, noise=0.03))[-1]
        for seed in range(4)
    ]
    assert statistics.median(found) <= WITHIN_5


def latency_s(landscape: Landscape, point: Point) -> float:
    return point.number("batch") * landscape.in_flight(point) / landscape.throughput(point)


def test_limits_on_knobs_are_kept_from_the_start() -> None:
    landscape = cpu_landscape(units=8, seed=7)
    goal = parse_goal("max throughput, batch <= 4, cores < 5")
    played = play(auto.propose, landscape, goal, seed=0, trials=15)
    assert {trial.point.number("batch") for trial in played} <= {1, 2, 4}
    assert max(trial.point.number("cores") for trial in played) <= 4


def test_nothing_within_a_limit_on_knobs() -> None:
    assert auto.propose((small_space(),), (), parse_goal("max throughput, batch > 64"), 4, 0) == ()


# ---------------------------------------------------------------- costs, ends, and doubt


def build_space() -> Space:
    knobs = (a_knob("mode", ("a", "b", "c", "d"), "build"), a_knob("queue", ("p", "q", "r", "s")))
    return Space(target="t", device="d", knobs=knobs)


def test_prefers_what_is_built_already() -> None:
    """No difference but the price: what shares the artifact comes first."""
    landscape = replace(flat(build_space()), build_s=500.0, launch_s=1.0)
    begun = play(auto.propose, landscape, GOAL, seed=0, trials=2)
    built = {trial.point["mode"] for trial in begun}
    third = auto.propose(landscape.spaces, begun, GOAL, 1, 0)[0]
    assert third["mode"] in built


def test_builds_that_promise_much_are_not_put_off_for_small_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch needs a build of 40 s, queue delays only launches of 5 s: per second, what is built promises more."""
    server = gpu_landscape(rates={"fp32": 1.0, "fp16": 1.9, "int8": 3.0})
    landscape = replace(server, launch_cost_s=lambda _: 5.0, build_cost_s=lambda _: 40.0)
    goal = parse_goal("max throughput, p99 < 12 ms")

    def needed(seed: int) -> int:
        found = regrets(landscape, goal, play(auto.propose, landscape, goal, seed=seed, trials=24, noise=0.03))
        return sum(regret > 0.02 for regret in found)

    ours = [needed(seed) for seed in range(4)]
    monkeypatch.setattr(auto, "THRIFT", 1.0)
    assert all(mine < thrifty for mine, thrifty in zip(ours, map(needed, range(4)), strict=True))


@pytest.mark.parametrize("seed", range(6))
def test_a_precision_is_tried_though_the_others_speak_against_it(seed: int) -> None:
    """8 bits do twice what 32 do, so 16 should be in between; here they are the best, as without kernels for 8 bits."""
    landscape = gpu_landscape(rates={"fp32": 1.0, "fp16": 2.9, "int8": 2.3})
    played = play(auto.propose, landscape, GOAL, seed=seed, trials=20, noise=0.03)
    assert regrets(landscape, GOAL, played)[-1] <= 0.02


def test_no_search_ends_before_every_name_was_tried() -> None:
    landscape = gpu_landscape(rates={"fp32": 1.0, "fp16": 1.5, "int8": 2.3})
    played = play(auto.propose, landscape, GOAL, seed=0, trials=100, noise=0.01)
    assert len(played) < 40
    assert {trial.point["precision"] for trial in played} == {"fp32", "fp16", "int8"}


def gpu_landscape(rates: dict[str, float]) -> Landscape:
    knobs = (
        a_knob("batch", (1, 2, 4, 8, 16, 32), "build"), a_knob("precision", tuple(rates), "build"),
        a_knob("instances", (1, 2, 3, 4)), a_knob("delay_us", (0, 100, 500, 1000)),
    )  # fmt: skip
    space = Space(target="gpu", device="gpu:0", knobs=knobs)

    def rate(point: Point) -> float:
        in_flight = point.number("batch") * point.number("instances")
        slowed = 1.0 - 1e-5 * point.number("delay_us")
        return 1000.0 * rates[str(point["precision"])] * slowed * in_flight / (in_flight + 6)

    return Landscape(name="gpu", spaces=(space,), throughput=rate, build_s=4.0)


@pytest.mark.parametrize(
    ("goal", "doubted"),
    [
        ("max throughput", False),
        ("max throughput, batch <= 8", False),
        ("max throughput, p99 < 1 s", True),
        ("min p99", True),
        ("min p50, cores <= 2", True),
    ],
)
def test_doubts_its_hyperparameters_where_that_pays(goal: str, doubted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    landscape = cpu_landscape(units=4, seed=0)
    begun = play(auto.propose, landscape, parse_goal(goal), seed=0, trials=5)
    asked: list[int] = []

    def spied(*given: Any) -> Known:
        found = known(*given)
        asked.append(len(found.outlooks(encoded(given[0])[:1]).each))
        return found

    monkeypatch.setattr(auto, "known", spied)
    auto.propose(landscape.spaces, begun, parse_goal(goal), 1, 0)
    assert [models > 1 for models in asked] == [doubted]


def test_a_reused_artifact_teaches_no_price() -> None:
    landscape = flat(build_space())
    history = [
        replace(trial, build=Artifact(key="k", path="", size_bytes=0, build_s=0.001, reused=True))
        for trial in play(auto.propose, landscape, GOAL, seed=0, trials=3)
    ]
    assert auto.propose(landscape.spaces, history, GOAL, 1, 0)


def test_stops_when_nothing_is_left_worth_a_launch() -> None:
    landscape = cpu_landscape(units=2, seed=1)
    played = play(auto.propose, landscape, GOAL, seed=0, trials=400, noise=0.01)
    assert auto.ENOUGH <= len(played) < 60
    assert regrets(landscape, GOAL, played)[-1] <= 0.02


def test_does_not_stop_before_anything_works() -> None:
    space = small_space()
    failed = Failed(stage="measure", kind="crash", message="no")
    played = play(auto.propose, broken(failed, space), GOAL, seed=0, trials=400, n=3)
    assert len(played) == len(list(space.points()))


def test_a_space_without_seeds_is_searched_too() -> None:
    base = cpu_landscape(units=4, seed=8)
    bare = replace(base, spaces=tuple(replace(space, seeds=(), baselines=()) for space in base.spaces))
    played = play(auto.propose, bare, GOAL, seed=0, trials=25, noise=0.03)
    assert regrets(bare, GOAL, played)[-1] <= WITHIN_5


def test_trials_under_way_are_counted_on() -> None:
    landscape = cpu_landscape(units=4, seed=9)
    begun = play(auto.propose, landscape, GOAL, seed=0, trials=8, noise=0.03)
    ask = partial(auto.propose, landscape.spaces, goal=GOAL, n=1, seed=0)
    first = ask(history=begun)[0]
    second = ask(history=(*begun, Trial(point=first)))[0]
    assert second != first


def test_choices_without_whole_numbers_and_strangers_among_spaces() -> None:
    never = Rule(reason="p and a do not mix", holds=lambda v: not (v["mode"] == "a" and v["queue"] == "p"))
    spaces = (replace(build_space(), rules=(never,)), nothing_legal(), small_space())
    played = play(auto.propose, flat(*spaces), GOAL, seed=3, trials=12, n=5)
    assert len({trial.point for trial in played}) == 12


# ---------------------------------------------------------------- what was left behind


def told(landscape: Landscape, trials: int) -> str:
    played = play(auto.propose, landscape, GOAL, seed=0, trials=trials, noise=0.02)
    return auto.ending(landscape.spaces, played, GOAL)


def test_the_end_is_told_with_the_chance_that_something_better_remains() -> None:
    landscape = cpu_landscape(units=2, seed=1)
    few, many = (told(landscape, trials) for trials in (3, 30))
    assert "points were not tried; the chance that one of them is over 2 % better: " in few
    assert percent(few) > percent(many)


def test_what_is_told_of_tried_and_untried_points_adds_up() -> None:
    landscape = cpu_landscape(units=2, seed=1)
    goal = parse_goal("max throughput, batch <= 4")
    played = list(play(auto.propose, landscape, goal, seed=0, trials=3))
    unbuilt = Failed(stage="build", kind="compiler", message="no such operator")
    played[-1] = Trial(point=played[-1].point, launches=(), build=unbuilt)
    said = auto.ending(landscape.spaces, played, goal)
    left_out_or_left = re.findall(r"([\d,]+) (?:left out|points were)", said)
    assert len(left_out_or_left) == 3
    counted = sum(int(number.replace(",", "")) for number in left_out_or_left)
    assert counted + len(played) == sum(space.size()[0] for space in landscape.spaces)


def percent(text: str) -> float:
    return 0.5 if text.endswith("under 1 %") else float(text.rsplit(": ", 1)[1].removesuffix(" %"))


def test_a_space_that_was_tried_whole_leaves_nothing() -> None:
    landscape = flat(small_space())
    assert told(landscape, 14).startswith("1 point was not tried")
    assert told(landscape, 15) == "every point that can work was tried"
    assert auto.ending((small_space(),), (), parse_goal("max throughput, batch > 64")) == (
        "no point meets the goal's limits on knobs"
    )


def test_the_chance_errs_on_the_side_of_doubt() -> None:
    """Something better remains no more often than is told (after 12 trials: 70 % told, 30 % true)."""
    said, true = [], []
    for seed in range(10):
        landscape = cpu_landscape(units=4, seed=100 + seed)
        played = play(auto.propose, landscape, GOAL, seed=seed, trials=12, noise=0.02)
        said.append(percent(auto.ending(landscape.spaces, played, GOAL)) / 100.0)
        true.append(regrets(landscape, GOAL, played)[-1] > 0.0198)
    assert statistics.mean(said) >= statistics.mean(true) - 0.1


# ---------------------------------------------------------------- fronts


def test_both_ends_of_a_front_are_found() -> None:
    """Thirty trials for both figures find the fastest and the quickest point about as well as a search for each."""
    landscape = cpu_landscape(units=8, seed=11)
    front = parse_goal("pareto throughput, p99")
    played = play(auto.propose, landscape, front, seed=0, trials=30, noise=0.02)
    for end in (GOAL, parse_goal("min p99")):
        assert regrets(landscape, end, played)[-1] <= WITHIN_5


@pytest.mark.parametrize(("trials", "picked"), [(auto.ENOUGH - 1, 1), (auto.ENOUGH, 0)])
def test_what_doubt_promises_counts_once_only_doubt_keeps_the_search_going(trials: int, picked: int) -> None:
    promised = {1.0: np.array([0.001, 0.002]), auto.CAUTION: np.array([0.02, 0.01])}
    outlook = SimpleNamespace(best=0.0, gain=lambda caution=1.0: promised[caution])
    price = SimpleNamespace(total=lambda: np.ones(2))
    owed = SimpleNamespace(open=np.ones(2, dtype=bool), untried=lambda: np.zeros(2, dtype=bool))
    assert auto._most_gainful(cast(Any, outlook), cast(Any, price), cast(Any, owed), trials) == picked
