"""The closed loop in virtual time: exact counts, exact throughput, exact latencies."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from infertune.core import stats
from infertune.core.records import Conditions, Measurement, Plan
from infertune.measure.closed_loop import closed_loop, settled
from infertune.testing.clock import FakeClock
from infertune.testing.session import FakeSession

MS = 1_000_000


def drive(
    service_ns: Callable[[int], int], *, in_flight: int = 1, servers: int = 1, plan: Plan | None = None, batch: int = 1
) -> tuple[Measurement, FakeSession]:
    clock = FakeClock()
    session = FakeSession(clock, in_flight=in_flight, servers=servers, service_ns=service_ns)
    measurement = closed_loop(
        session,
        batch=batch,
        plan=plan or Plan(),
        clock=clock,
        setup_ns=7,
        watch=lambda: lambda: Conditions(own_cpu=0.5),
    )
    return measurement, session


def test_throughput_is_counted_exactly() -> None:
    measurement, _ = drive(lambda i: 10 * MS, batch=4)
    assert stats.throughput(measurement) == pytest.approx(400.0)
    assert set(measurement.latencies_ns) == {10 * MS}
    assert measurement.wall_ns == len(measurement.latencies_ns) * 10 * MS


def test_queued_requests_wait_and_littles_law_holds() -> None:
    measurement, _ = drive(lambda i: 10 * MS, in_flight=6, servers=2)
    assert stats.throughput(measurement) == pytest.approx(200.0)
    mean_s = sum(measurement.latencies_ns) / len(measurement.latencies_ns) / 1e9
    assert stats.throughput(measurement) * mean_s == pytest.approx(6.0)


def test_runs_until_both_time_and_count_are_met() -> None:
    quick, _ = drive(lambda i: MS)
    assert quick.wall_ns == pytest.approx(0.75e9)
    slow, _ = drive(lambda i: 100 * MS)
    assert len(slow.latencies_ns) == Plan().min_count


def test_the_cap_ends_a_slow_point_with_at_least_three_requests() -> None:
    capped, _ = drive(lambda i: 1500 * MS, plan=Plan(cap_s=6.0))
    assert len(capped.latencies_ns) == 4
    endless, _ = drive(lambda i: 60_000 * MS, plan=Plan(cap_s=6.0))
    assert len(endless.latencies_ns) == 3


@pytest.mark.parametrize(("in_flight", "servers"), [(2, 2), (4, 2), (3, 3), (5, 2), (8, 8)])
@pytest.mark.parametrize("service_s", [0.1, 1.5, 60.0])
def test_bursts_do_not_bias_a_short_window(in_flight: int, servers: int, service_s: float) -> None:
    """Instances in lockstep: completions come in bursts of ``servers``, and the cap allows few of them."""
    plan = Plan(cap_s=2.0, min_count=7)
    measurement, _ = drive(lambda i: round(service_s * 1e9), in_flight=in_flight, servers=servers, plan=plan)
    assert len(measurement.latencies_ns) % in_flight == 0
    if in_flight % servers == 0:
        assert stats.throughput(measurement) == pytest.approx(servers / service_s)


def test_the_first_request_is_timed_apart() -> None:
    measurement, _ = drive(lambda i: 500 * MS if i == 0 else 10 * MS)
    assert measurement.first_ns == 500 * MS
    assert max(measurement.latencies_ns) == 10 * MS


def test_warm_up_goes_on_until_speed_settles() -> None:
    measurement, _ = drive(lambda i: 10 * MS << max(0, 8 - i), plan=Plan(cap_s=60.0))
    assert measurement.warmed
    assert set(measurement.latencies_ns) == {10 * MS}


def test_a_warm_up_that_never_settles_says_so() -> None:
    measurement, _ = drive(lambda i: 2 * MS << min(i, 12), plan=Plan(cap_s=2.0))
    assert not measurement.warmed


def test_a_short_window_is_no_reason_not_to_be_warm() -> None:
    measurement, _ = drive(lambda i: MS, plan=Plan(warmup_s=0.3, min_time_s=0.4, cap_s=0.4))
    assert measurement.warmed


def test_phases_and_settings_come_from_the_session() -> None:
    measurement, _ = drive(lambda i: 10 * MS, in_flight=2, servers=1)
    (execute,) = measurement.phases
    assert len(execute.samples_ns) == len(measurement.latencies_ns)
    assert set(execute.samples_ns) == {10 * MS}
    assert measurement.settings == (("servers", "1"),)
    assert measurement.setup_ns == 7
    assert measurement.conditions.own_cpu == 0.5


def test_every_slot_is_always_busy() -> None:
    measurement, session = drive(lambda i: (5 + i % 7) * MS, in_flight=3, servers=3)
    assert session.sent == 1 + 3 + len(measurement.latencies_ns) + measurement.warmup_count - 1
    assert len(measurement.latencies_ns) % 3 == 0


class Kept(FakeSession):
    """Starts the successor of what is done by itself."""

    asked = 0
    keeping = False

    def start(self, slot: int) -> None:
        self.asked += 1
        super().start(slot)

    def wait(self, timeout_s: float | None = None) -> Sequence[tuple[int, int]]:
        done = super().wait(timeout_s)
        for slot, _ in done if self.keeping else ():
            super().start(slot)
        return done

    def keep(self) -> bool:
        self.keeping = True
        return True

    def rest(self) -> bool:
        kept, self.keeping = self.keeping, False
        return kept


def test_a_session_that_keeps_its_slots_busy_is_measured_alike_and_asked_for_nothing_more() -> None:
    clock = FakeClock()
    session = Kept(clock, in_flight=6, servers=2, service_ns=lambda i: 10 * MS)
    found = closed_loop(
        session, batch=1, plan=Plan(), clock=clock, setup_ns=7, watch=lambda: lambda: Conditions(own_cpu=0.5)
    )
    usual, _ = drive(lambda i: 10 * MS, in_flight=6, servers=2)
    assert (found.latencies_ns, found.ends_ns, found.wall_ns) == (usual.latencies_ns, usual.ends_ns, usual.wall_ns)
    assert session.asked == 1 + 6, "the first request, and one for each slot"


def test_settled_needs_agreeing_halves() -> None:
    assert settled([100, 10, 10, 10, 10])
    assert not settled([10, 10, 10, 20, 20])
    assert not settled([10])
