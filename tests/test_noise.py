"""How steady a machine is: classes, what six launches tell apart, waiting for a busy machine, what doctor says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from infertune.core import noise
from infertune.core.errors import BusyError
from infertune.core.noise import Noise
from infertune.core.records import Conditions, Measurement, RawNs
from infertune.core.verdict import MARGIN
from infertune.edge.counters import Counters
from infertune.edge.host import read_host
from infertune.study import steadiness
from infertune.study.doctor import examine
from infertune.testing.clock import FakeClock


def at(rate: float, foreign: float = 0.0) -> Measurement:
    gap = round(1e9 / rate)
    return Measurement(
        batch=1,
        in_flight=1,
        wall_ns=gap * 100,
        latencies_ns=RawNs([gap] * 100),
        ends_ns=RawNs(range(gap, gap * 101, gap)),
        setup_ns=0,
        first_ns=gap,
        warmup_count=3,
        conditions=Conditions(foreign_cpu=foreign),
    )


@pytest.mark.parametrize(
    ("rates", "foreign", "state"),
    [
        ((100.0, 101.0, 99.0), 0.01, "quiet"),
        ((100.0, 130.0, 90.0), 0.01, "noisy"),
        ((100.0, 101.0, 99.0), 0.2, "noisy"),
        ((100.0, 101.0, 99.0), 0.6, "unusable"),
    ],
)
def test_the_class_of_a_machine(rates: tuple[float, ...], foreign: float, state: str) -> None:
    found = noise.of([at(rate, foreign) for rate in rates])
    assert found is not None and found.state == state


def test_two_launches_say_nothing() -> None:
    assert noise.of([at(100.0), at(101.0)]) is None


def test_what_is_told_apart_is_what_simulated_comparisons_tell_apart() -> None:
    """At the difference that is printed, about 80 % of comparisons of six launches each find it at 95 %."""
    found = Noise(spread=0.06, foreign_cpu=0.0, launches=10)
    rng = np.random.default_rng(0)
    ours, theirs = (rng.normal(mean, found.spread, (4000, 6)) for mean in (found.told_apart(), 0.0))
    standard_error = found.spread * np.sqrt(2 / 6)
    shown = np.abs((ours.mean(axis=1) - theirs.mean(axis=1)) / standard_error) > 1.96
    assert 0.75 <= shown.mean() <= 0.87
    assert Noise(spread=0.0001, foreign_cpu=0.0, launches=3).told_apart() == MARGIN


def counters(share: Callable[[float], float]) -> tuple[FakeClock, Callable[[], Counters]]:
    """A machine of two CPUs of which others use ``share(now)``."""
    clock = FakeClock()
    busy = [0.0, 0.0]

    def read() -> Counters:
        now = clock.now_ns() / 1e9
        busy[0] += 2.0 * share(now) * (now - busy[1])
        busy[1] = now
        return Counters(
            monotonic_ns=clock.now_ns(), wall_ns=clock.now_ns(), cpus=2, busy_s=busy[0], steal_s=0.0, own_s=0.0,
            involuntary=0, throttled=0, pressure_us=0, load_average=0.0, peak_rss_bytes=0,
        )  # fmt: skip

    return clock, read


def waited(share: Callable[[float], float], **most: float) -> tuple[float, list[str]]:
    clock, read = counters(share)
    said: list[str] = []
    seconds = steadiness.wait_until_usable(
        clock,
        lambda: steadiness.foreign_cpu(clock, read),
        lambda phase, detail: said.append(detail),
        lambda: False,
        **most,
    )
    assert seconds in (0.0, clock.now_ns() / 1e9)
    return clock.now_ns() / 1e9, said


def test_a_usable_machine_costs_no_time() -> None:
    seconds, said = waited(lambda now: 0.3)
    assert seconds == pytest.approx(steadiness.GLANCE_S) and not said


def test_a_busy_spell_is_waited_for() -> None:
    seconds, said = waited(lambda now: 0.9 if now < 20.0 else 0.0)
    assert 20.0 <= seconds <= 21.0
    assert "90%" in said[0]


def test_a_machine_that_stays_busy_is_refused() -> None:
    with pytest.raises(BusyError) as refused:
        waited(lambda now: 0.8)
    assert refused.value.id == "machine-busy" and "--accept-noise" in refused.value.hint


def test_nobody_waits_longer_than_there_is_time_for() -> None:
    with pytest.raises(BusyError, match="for 5 s"):
        waited(lambda now: 0.8, most_s=5.0)


def test_doctor_tells_the_class_and_what_holds() -> None:
    found = {finding.name: finding for finding in examine() if finding.area == "host"}
    assert found["noise"].detail.split(":")[0] in ("quiet", "noisy", "unusable")
    assert found["promises"].detail


def test_doctor_advises_what_would_help(monkeypatch: pytest.MonkeyPatch) -> None:
    host = replace(read_host(), quota=1.5, named=(("governor", "powersave"), ("turbo", "on")))
    monkeypatch.setattr("infertune.study.doctor.read_host", lambda: host)
    noisy = Noise(spread=0.2, foreign_cpu=0.2, launches=3)
    monkeypatch.setattr(steadiness, "examine", lambda executor, target: noisy)
    advice = " ".join(finding.detail for finding in examine() if finding.name.startswith("advice"))
    assert all(word in advice for word in ("20%", "quota of 1.5", "powersave", "turbo"))
