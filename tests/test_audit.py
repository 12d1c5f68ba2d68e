"""Flags: raised when they should be, silent when nothing is wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from infertune.core import audit
from infertune.core.audit import CONSEQUENCES, ENVIRONMENT, FLAGS, bimodal, contaminated, flags, little_holds, steady
from infertune.core.records import Conditions, Measurement, Plan, RawNs, Repeats
from infertune.testing.records import a_measurement

PLAN = Plan(min_count=20)
LATENCIES = RawNs([9_500_000, 10_500_000, 10_000_000, 10_000_000] * 25)
GOOD = replace(a_measurement(100.0, count=100), latencies_ns=LATENCIES, conditions=Conditions())


def paced(latencies: list[float]) -> Measurement:
    """One request after the other: Little's law holds by construction."""
    ns = [round(each * 1e6) for each in latencies]
    ends = np.cumsum(ns).tolist()
    return replace(
        GOOD, in_flight=1, wall_ns=ends[-1], latencies_ns=RawNs(ns), ends_ns=RawNs(ends), conditions=Conditions()
    )


def under(**conditions: float) -> Measurement:
    return replace(GOOD, conditions=Conditions(**conditions))  # type: ignore[arg-type]


def test_a_good_launch_earns_no_flag() -> None:
    assert flags(GOOD, PLAN) == ()
    assert not contaminated(flags(GOOD, PLAN))


@pytest.mark.parametrize(
    ("measurement", "flag"),
    [
        (under(foreign_cpu=0.051), "foreign_cpu"),
        (under(steal=0.021), "steal"),
        (under(foreign_cpu=0.02, involuntary_switches_per_s=651.0), "involuntary_switches"),
        (under(foreign_cpu=0.02, psi_some=0.11), "psi"),
        (under(throttled_periods=1), "throttled"),
        (under(clock_jump_s=0.6), "clock_jump"),
        (under(clock_jump_s=-0.6), "clock_jump"),
        (replace(GOOD, in_flight=2), "little_law"),
        (replace(GOOD, latencies_ns=LATENCIES[:19], ends_ns=GOOD.ends_ns[:19], wall_ns=190_000_000), "few_samples"),
    ],
)
def test_each_flag(measurement: Measurement, flag: str) -> None:
    assert flags(measurement, PLAN) == (flag,)
    assert contaminated((flag,)) == (flag in ENVIRONMENT)


@pytest.mark.parametrize(
    "measurement",
    [
        under(foreign_cpu=0.049),
        under(steal=0.019),
        under(psi_some=0.9),  # our own threads waiting for each other
        under(involuntary_switches_per_s=7000.0),  # OpenVINO's threads on a quiet machine
        under(foreign_cpu=0.02, involuntary_switches_per_s=649.0),  # 250 and 4 for each of 100 requests per second
        under(clock_jump_s=0.4),
    ],
)
def test_what_is_not_wrong_is_not_flagged(measurement: Measurement) -> None:
    assert flags(measurement, PLAN) == ()


def test_what_a_runtime_does_to_itself_grows_with_the_rate() -> None:
    busy = replace(paced([0.2] * 5000), conditions=Conditions(foreign_cpu=0.02, involuntary_switches_per_s=7000))
    assert flags(busy, PLAN) == ()


def test_flags_come_in_the_order_of_the_table_and_are_all_explained() -> None:
    worst = replace(
        paced([12.0] * 8 + [10.0] * 7),
        in_flight=0,
        warmed=False,
        warmup_count=9,
        conditions=Conditions(
            foreign_cpu=1.0, steal=1.0, involuntary_switches_per_s=1e9, psi_some=1.0, throttled_periods=1,
            clock_jump_s=9.0,
        ),
        repeats=Repeats(same_ns=RawNs([1] * 5), varied_ns=RawNs([9] * 5)),
    )  # fmt: skip
    earned = flags(worst, PLAN)
    assert earned == tuple(name for name in FLAGS if name in earned)
    assert set(FLAGS) - set(earned) == {"not_steady", "bimodal", "little_law", "overloaded", "generator_late"}
    assert all(text and not text.endswith(".") for text in (*FLAGS.values(), *CONSEQUENCES.values()))
    assert list(CONSEQUENCES) == list(FLAGS)
    assert set(FLAGS) >= ENVIRONMENT


def test_no_flags_are_clean() -> None:
    assert not contaminated(())
    assert not contaminated(("psi", "throttled", "not_steady", "few_samples"))


# ---------------------------------------------------------------- steady and bimodal


@pytest.mark.parametrize(
    ("seen", "latencies", "flagged"),
    [
        (3, [12.0] * 3 + [10.0] * 3, False),  # the first request and two more: too few to tell
        (9, [10.0] * 6, False),  # settled by then
        (9, [12.0] * 3 + [10.0] * 3, True),
        (9, [10.0], True),
    ],
)
def test_a_warm_up_that_could_not_tell_is_no_warning(seen: int, latencies: list[float], flagged: bool) -> None:
    launch = replace(paced(latencies), warmed=False, warmup_count=seen)
    assert ("not_warmed" in flags(launch, Plan(warmup_count=3))) == flagged


def test_a_drift_is_not_steady() -> None:
    assert "not_steady" in flags(paced([10.0 + 0.05 * i for i in range(100)]), PLAN)


def test_a_step_is_not_steady_and_has_two_modes() -> None:
    assert set(flags(paced([10.0] * 60 + [13.0] * 60), PLAN)) == {"not_steady", "bimodal"}


def test_a_slow_level_that_comes_and_goes_is_steady_but_bimodal() -> None:
    spell = [10.0] * 26 + [13.0] * 20 + [10.0] * 54
    assert flags(paced(spell + spell[::-1]), PLAN) == ("bimodal",)


def test_one_slow_spell_is_neither() -> None:
    assert flags(paced([10.0] * 55 + [30.0] * 5 + [10.0] * 60), PLAN) == ()


def test_a_few_requests_cannot_tell() -> None:
    assert flags(paced([10.0] * 5 + [20.0] * 5), Plan(min_count=3)) == ()


@given(st.lists(st.floats(0.95, 1.045), min_size=0, max_size=10))
def test_small_variation_is_steady_with_one_mode(medians: list[float]) -> None:
    assert steady(medians)
    assert not bimodal(medians)


@given(
    st.lists(st.floats(1.0, 1.05), min_size=2, max_size=8),
    st.lists(st.floats(1.3, 1.4), min_size=2, max_size=8),
    st.randoms(use_true_random=False),
)
def test_two_levels_are_two_modes_in_any_order(low: list[float], high: list[float], order: object) -> None:
    mixed = [*low, *high]
    order.shuffle(mixed)  # type: ignore[attr-defined]
    assert bimodal(mixed)


@example([0.0, 4.0, 5e-324, 5e-324])
@given(st.lists(st.floats(0.0, 1e9), max_size=12))
def test_any_medians_have_an_answer(medians: list[float]) -> None:
    assert steady(medians) in (True, False)
    assert bimodal(medians) in (True, False)


# ---------------------------------------------------------------- Little's law


def closed_loop(seed: int, in_flight: int, spread: float, rounds: int) -> Measurement:
    """A perfect closed loop: each slot sends its next request the moment the last one is done; window in mid-run."""
    rng = np.random.default_rng(seed)
    service = rng.lognormal(0.0, spread, size=(in_flight, rounds * 3)) * 1e6
    ends = np.cumsum(service, axis=1) + rng.uniform(0, 1e6, size=(in_flight, 1))
    opened = float(np.sort(ends.ravel())[in_flight * rounds])  # at a completion, as `drive.closed_loop` does
    closed = opened + rounds * 1e6
    inside = (ends > opened) & (ends <= closed)
    order = np.argsort(ends[inside])
    return replace(
        GOOD,
        in_flight=in_flight,
        wall_ns=round(closed - opened),
        latencies_ns=RawNs(np.round(service[inside][order]).astype(int).tolist()),
        ends_ns=RawNs(np.round(ends[inside][order] - opened).astype(int).tolist()),
    )


@given(
    seed=st.integers(0, 2**31), in_flight=st.integers(1, 32), spread=st.sampled_from([0.0, 0.05, 0.2, 0.5]),
    rounds=st.integers(2, 60),
)  # fmt: skip
@settings(derandomize=True, max_examples=300)
def test_a_sound_closed_loop_is_never_accused(seed: int, in_flight: int, spread: float, rounds: int) -> None:
    assert little_holds(closed_loop(seed, in_flight, spread, rounds))


@given(seed=st.integers(0, 2**31), in_flight=st.integers(2, 32), claimed=st.sampled_from([0.5, 0.75, 1.25, 2.0]))
def test_another_depth_than_claimed_is_noticed(seed: int, in_flight: int, claimed: float) -> None:
    sound = closed_loop(seed, in_flight * 4, 0.1, 100)
    assert not little_holds(replace(sound, in_flight=round(in_flight * 4 * claimed)))


def idle(sound: Measurement, each_ns: int) -> Measurement:
    """The same loop whose slots are idle for so much of every round."""
    return replace(sound, latencies_ns=RawNs([each - each_ns for each in sound.latencies_ns]))


@pytest.mark.parametrize(
    ("in_flight", "each_ns", "holds"), [(4, 80_000, True), (4, 250_000, False), (1, 250_000, True)]
)
def test_idle_time_is_noticed_where_it_is_more_than_the_host_takes(in_flight: int, each_ns: int, holds: bool) -> None:
    """Rounds of 1 ms: 8 % of them are the host's; a quarter is too much where other requests should be in flight."""
    assert little_holds(idle(closed_loop(1, in_flight, 0.0, 200), each_ns)) == holds


@pytest.mark.parametrize("in_flight", [1, 4])
def test_more_in_flight_than_claimed_is_always_noticed(in_flight: int) -> None:
    assert not little_holds(idle(closed_loop(1, in_flight, 0.0, 200), -80_000))


@pytest.mark.parametrize(
    ("batches_per_s", "latency_ms", "depth"),
    [(322.4, 217.05, 70), (1.0, 970.0, 1), (2.0, 980.0, 2)],
    ids=["seven activations with ten queued", "one", "two"],
)
def test_published_runs_of_an_accelerator(batches_per_s: float, latency_ms: float, depth: int) -> None:
    count = round(batches_per_s * 20)
    run = replace(
        a_measurement(batches_per_s * 8, latency_ms, count=count, batch=8, in_flight=depth), conditions=Conditions()
    )
    assert little_holds(run)


def test_nothing_measured_breaks_no_law() -> None:
    empty = replace(GOOD, latencies_ns=RawNs(), ends_ns=RawNs(), wall_ns=0)
    assert flags(empty, PLAN) == ("few_samples",)


def test_thresholds_are_named() -> None:
    assert (audit.FOREIGN_CPU, audit.STEAL, audit.PRESSURE, audit.CLOCK_JUMP_S) == (0.05, 0.02, 0.10, 0.5)
    assert (audit.STEADY, audit.GAP, audit.LITTLE, audit.HOST_NS) == (0.10, 0.15, 0.05, 100_000)


@pytest.mark.parametrize("warmed", [True, False])
def test_a_completion_just_before_the_window_opened_is_in_its_first_part(warmed: bool) -> None:
    launch = replace(paced([10.0] * 40), warmed=warmed, warmup_count=9)
    early = replace(launch, ends_ns=RawNs([-1_000, *list(launch.ends_ns)[1:]]))
    assert flags(early, PLAN) == flags(launch, PLAN) == ()
