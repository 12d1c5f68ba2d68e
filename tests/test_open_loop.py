"""The open loop in virtual time: latency from the scheduled time, batches filled by what waits, the rate found."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infertune.core import audit, stats
from infertune.core.errors import UsageError
from infertune.core.goal import load_for, parse_goal
from infertune.core.load import Load, parse_load
from infertune.core.records import Conditions, Measurement, Plan
from infertune.measure.drive import drive
from infertune.measure.schedule import arrivals_ns
from infertune.measure.sustain import WITHIN, highest_rate
from infertune.study.serving import keeps
from infertune.testing.clock import FakeClock
from infertune.testing.session import FakeSession

MS = 1_000_000


def driven(
    service_ns: Callable[[int], int],
    load: Load,
    *,
    batch: int = 1,
    in_flight: int = 1,
    servers: int = 1,
    seconds: float = 10.0,
    count: int = 20,
) -> Measurement:
    clock = FakeClock()
    return drive(
        FakeSession(clock, in_flight=in_flight, servers=servers, service_ns=service_ns),
        batch=batch,
        plan=Plan(min_time_s=seconds, min_count=count, cap_s=max(10.0, seconds), load=load),
        clock=clock,
        setup_ns=0,
        watch=lambda: Conditions,
    )


def p99_s(measurement: Measurement) -> float:
    return stats.quantile_ns(measurement.latencies_ns, 99.0) / 1e9


def constant(rate: float) -> Load:
    return Load(arrivals="constant", rate_per_s=rate)


def test_a_fast_server_answers_in_its_service_time() -> None:
    found = driven(lambda i: 5 * MS, constant(100.0))
    assert set(found.latencies_ns) == {5 * MS}
    assert len(found.latencies_ns) == 1000
    assert stats.throughput(found) == pytest.approx(100.0, rel=0.01)
    assert found.batch == 1 and found.sent is not None and found.sent.rate_per_s == 100.0
    assert audit.flags(found, Plan()) == ()


def freezing(i: int) -> int:
    """1 ms, but once in a thousand requests a whole second."""
    return 1000 * MS if i % 1000 == 500 else MS


def test_a_stall_delays_everything_that_arrives_meanwhile() -> None:
    """Coordinated omission: the server stands still for 1 s in 10 s, 100 requests arrive per second."""
    opened = driven(freezing, constant(100.0))
    assert p99_s(opened) >= 0.85
    closed = driven(freezing, Load())
    assert p99_s(closed) <= 0.002, "a closed loop stops sending while the server stalls, and sees one slow request"
    assert closed.load.arrivals == "closed" and opened.load.arrivals == "constant"


def test_what_waits_fills_the_batch() -> None:
    """One server, 10 ms for up to 4 samples: 400 samples/s, and nobody waits for a batch to fill at low rates."""
    busy = driven(lambda i: 10 * MS, constant(380.0), batch=4)
    assert stats.throughput(busy) == pytest.approx(380.0, rel=0.02)
    assert p99_s(busy) < 0.03
    idle = driven(lambda i: 10 * MS, constant(20.0), batch=4)
    assert set(idle.latencies_ns) == {10 * MS}
    assert idle.sent is not None and idle.sent.requests == len(idle.latencies_ns)


def test_what_cannot_be_served_counts_with_its_age() -> None:
    swamped = driven(lambda i: 20 * MS, constant(500.0))
    assert swamped.sent is not None and swamped.sent.unfinished > 0
    assert "overloaded" in audit.flags(swamped, Plan())
    assert len(swamped.latencies_ns) == 5000, "no sample is forgotten"
    assert stats.throughput(swamped) == pytest.approx(50.0, rel=0.05)
    assert p99_s(swamped) > 5.0


def test_offline_serves_everything_at_once_in_whole_batches() -> None:
    found = driven(lambda i: 10 * MS, Load(arrivals="offline"), batch=4, in_flight=2, servers=2)
    assert stats.throughput(found) == pytest.approx(800.0, rel=0.02)
    assert len(found.latencies_ns) % 4 == 0 and found.sent is not None and found.sent.unfinished == 0


def test_a_single_stream_keeps_one_request_outstanding() -> None:
    found = driven(lambda i: 10 * MS, Load(arrivals="single"), in_flight=6, servers=2)
    assert found.in_flight == 1 and set(found.latencies_ns) == {10 * MS}


def test_arrivals_are_the_same_for_the_same_seed_and_fill_the_time() -> None:
    load = Load(arrivals="poisson", rate_per_s=50.0, seed=3)
    made = arrivals_ns(load, 50.0, 2000)
    assert np.array_equal(made, arrivals_ns(load, 50.0, 2000))
    assert not np.array_equal(made, arrivals_ns(Load(arrivals="poisson", rate_per_s=50.0, seed=4), 50.0, 2000))
    gaps = np.diff(made) / 1e9
    assert made[0] == 0 and gaps.min() >= 0
    assert made[-1] / 1e9 == pytest.approx(40.0, rel=0.01)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.1), "an exponential distribution spreads as much as its mean"
    even = np.diff(arrivals_ns(constant(50.0), 50.0, 100))
    assert even.min() >= 20 * MS - 1 and even.max() <= 20 * MS + 1


@given(capacity=st.floats(0.5, 1e5), share=st.floats(0.02, 3.5))
def test_the_highest_rate_is_found_from_below(capacity: float, share: float) -> None:
    limit, asked = capacity * share, list[float]()

    def keeps(rate: float) -> bool:
        asked.append(rate)
        return rate <= limit

    found = highest_rate(keeps, capacity)
    assert found is not None and found in asked
    assert limit / (1 + WITHIN) <= found <= limit
    assert len(asked) <= 16


def test_where_no_rate_keeps_the_limits_none_is_given() -> None:
    assert highest_rate(lambda rate: False, 100.0) is None


def test_what_keeps_any_rate_is_told_four_times_its_capacity_at_most() -> None:
    assert highest_rate(lambda rate: rate <= 400.0, 100.0) == 400.0
    assert highest_rate(lambda rate: True, 100.0) == 400.0


def test_a_launch_finds_the_rate_itself() -> None:
    """Evenly spaced arrivals at a server of 10 ms: up to 100 per second nobody waits, above that the queue grows."""
    load = Load(arrivals="constant", limits=((99.0, 0.015),))
    found = driven(lambda i: 10 * MS, load, count=100, seconds=2.0)
    assert found.sent is not None
    assert 95.0 <= found.sent.rate_per_s <= 101.0
    assert p99_s(found) <= 0.015
    assert any(not probe.kept for probe in found.sent.probes)
    assert parse_goal("max rate, p99 < 15 ms").value(found) == found.sent.rate_per_s


def test_a_limit_below_the_service_time_cannot_be_kept() -> None:
    load = Load(arrivals="poisson", limits=((99.0, 0.005),))
    found = driven(lambda i: 10 * MS, load, count=50, seconds=0.5)
    assert found.sent is not None and not any(probe.kept for probe in found.sent.probes)
    assert parse_goal("max rate, p99 < 5 ms").limits[0].excess(p99_s(found)) > 0


def test_a_growing_queue_is_not_kept_even_where_no_latency_is_long_yet() -> None:
    """Two hundred samples of 10 ms at twice the capacity: the last one waits for a second, and the limit is ten."""
    load = Load(arrivals="constant", limits=((99.0, 10.0),))
    found = driven(lambda i: 10 * MS, load, count=200, seconds=0.5)
    assert found.sent is not None
    assert found.sent.rate_per_s <= 106.0


def test_what_confirms_a_rate_is_judged_as_what_found_it() -> None:
    """Seven per cent above the capacity of 100 per second no limit is broken, but the queue grows."""
    goal = parse_goal("max rate, p99 < 10 s")
    assert keeps(goal, driven(lambda i: 10 * MS, constant(99.0)))
    assert not keeps(goal, driven(lambda i: 10 * MS, constant(107.0)))


def test_random_arrivals_need_room_that_even_ones_do_not() -> None:
    """M/D/1: at p99 under three service times the sustained rate is well below the capacity."""
    limits = ((99.0, 0.030),)
    poisson = driven(lambda i: 10 * MS, Load(arrivals="poisson", limits=limits), count=2000, seconds=5.0)
    even = driven(lambda i: 10 * MS, Load(arrivals="constant", limits=limits), count=2000, seconds=5.0)
    assert poisson.sent is not None and even.sent is not None
    assert poisson.sent.rate_per_s < 0.8 * even.sent.rate_per_s


def test_a_generator_that_sends_late_is_told() -> None:
    sound = driven(lambda i: 50 * MS, constant(10.0), seconds=5.0)
    assert not audit.generator_late(sound)
    assert sound.sent is not None
    late = Measurement(
        **{
            **{name: getattr(sound, name) for name in sound.__slots__},
            "sent": type(sound.sent)(
                rate_per_s=10.0, requests=50, unfinished=0, lag_ns=type(sound.sent.lag_ns)([5 * MS] * 50), cpu=0.5
            ),
        }
    )
    assert "generator_late" in audit.flags(late, Plan())


def test_loads_in_words() -> None:
    assert parse_load("poisson", 5.0, 7) == Load(arrivals="poisson", rate_per_s=5.0, seed=7)
    assert parse_load("closed", None) == Load()
    for arrivals, rate, error in (
        ("posson", 5.0, "unknown-arrivals"),
        ("constant", None, "rate-missing"),
        ("offline", 5.0, "rate-means-nothing"),
    ):
        with pytest.raises(UsageError) as refused:
            parse_load(arrivals, rate)
        assert refused.value.id == error and refused.value.hint


def test_a_rate_needs_a_latency_limit() -> None:
    assert load_for(parse_goal("max rate, p99 < 20 ms, memory < 2 GB")).limits == ((99.0, 0.02),)
    assert load_for(parse_goal("max throughput, p99 < 20 ms")) == Load()
    with pytest.raises(UsageError) as refused:
        load_for(parse_goal("max rate, memory < 2 GB"))
    assert refused.value.id == "rate-without-limit"
