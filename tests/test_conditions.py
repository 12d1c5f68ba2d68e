"""What happened on the host during a window, from two readings of the kernel's counters."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from infertune.core import linux
from infertune.edge.counters import Counters, counter_reader, descendant_pids, own_cpu_s
from infertune.measure.conditions import Sampler, between, watch_host

START = Counters(
    monotonic_ns=5_000_000_000, wall_ns=10**18, cpus=2, busy_s=100.0, steal_s=1.0, own_s=10.0, involuntary=50,
    throttled=3, pressure_us=1000, load_average=0.5, peak_rss_bytes=100,
)  # fmt: skip


def later(seconds: float = 1.0, **grown: float) -> Counters:
    """A reading ``seconds`` after `START` with some counters grown."""
    ns = round(seconds * 1e9)
    moved = replace(START, monotonic_ns=START.monotonic_ns + ns, wall_ns=START.wall_ns + ns)
    return replace(moved, **{name: getattr(moved, name) + by for name, by in grown.items()})


def test_shares_are_of_all_cpus_time() -> None:
    seen = between(START, later(2.0, busy_s=3.0, own_s=2.0, steal_s=0.1))
    assert seen.own_cpu == pytest.approx(0.5)
    assert seen.foreign_cpu == pytest.approx(0.25)
    assert seen.steal == pytest.approx(0.025)


def test_rates_and_counts() -> None:
    seen = between(START, later(0.5, involuntary=20, throttled=2, pressure_us=250_000, load_average=1.0))
    assert seen.involuntary_switches_per_s == pytest.approx(40.0)
    assert seen.throttled_periods == 2
    assert seen.psi_some == pytest.approx(0.5)
    assert (seen.load_average, seen.peak_rss_bytes) == (1.5, 100)


def test_rounding_of_busy_time_never_makes_foreign_work_negative() -> None:
    assert between(START, later(1.0, busy_s=0.99, own_s=1.0)).foreign_cpu == 0.0


@pytest.mark.parametrize("jump_s", [3600.0, -3600.0, 0.001])
def test_the_wall_clock_against_the_monotonic_clock(jump_s: float) -> None:
    seen = between(START, later(1.0, wall_ns=round(jump_s * 1e9)))
    assert seen.clock_jump_s == pytest.approx(jump_s)
    assert seen.own_cpu == 0.0


@example(seconds=1 / 3, busy=1.0, own=0.0, steal=0.0, switches=0)
@given(
    seconds=st.floats(0.01, 100), busy=st.floats(0, 200), own=st.floats(0, 200), steal=st.floats(0, 100),
    switches=st.integers(-5, 10**6),
)  # fmt: skip
def test_every_condition_is_a_sensible_number(
    seconds: float, busy: float, own: float, steal: float, switches: int
) -> None:
    seen = between(START, later(seconds, busy_s=busy, own_s=own, steal_s=steal, involuntary=switches))
    assert seen.own_cpu >= 0
    wall_s = round(seconds * 1e9) / 1e9  # readings are whole nanoseconds; 1e-9 is for subtracting what stood before
    assert 0 <= seen.foreign_cpu <= busy / (2 * wall_s) + 1e-9
    assert seen.steal >= 0
    assert seen.involuntary_switches_per_s >= 0


def test_a_sampler_reads_twice() -> None:
    readings = iter([START, later(1.0, own_s=1.0)])
    sampler = Sampler(lambda: next(readings))
    with pytest.raises(RuntimeError):
        sampler.stop()
    sampler.start()
    assert sampler.stop().own_cpu == pytest.approx(0.5)


# ---------------------------------------------------------------- reading

STAT = """\
cpu  1000 100 300 9000 50 20 30 40 10 10
cpu0 500 50 150 4500 25 10 15 20 5 5
cpu1 400 40 100 4000 20 5 10 15 5 5
cpu2 100 10 50 500 5 5 5 5 0 0
intr 1 2 3
"""


def test_only_our_cpus_count() -> None:
    times, count = linux.cpu_times(STAT, frozenset({0, 2}))
    assert count == 2
    assert times.busy_s == pytest.approx((500 + 50 + 150 + 10 + 15 + 100 + 10 + 50 + 5 + 5) / 100)
    assert times.steal_s == pytest.approx(0.25)


@pytest.mark.parametrize("cpus", [frozenset({8, 9}), frozenset({0, 9}), frozenset[int]()])
def test_a_containers_own_numbering_of_cpus_is_taken_as_it_is(cpus: frozenset[int]) -> None:
    assert linux.cpu_times(STAT, cpus)[1] == 3


def test_old_kernels_with_fewer_columns() -> None:
    assert linux.cpu_times("cpu0 10 0 20 5\n", frozenset({0}))[0].busy_s == pytest.approx(0.3)


@pytest.mark.parametrize("name", ["python", "a) b (c", "", "((("])
def test_a_process_may_call_itself_anything(name: str) -> None:
    stat = f"42 ({name}) S 1 42 42 0 -1 4194560 9 8 7 6 100 20 3 4 20 0 1 0 12345 0 0"
    assert linux.process_ticks(stat) == 127


def test_living_descendants_are_found_at_any_depth(tmp_path: Path) -> None:
    for parent, children in {"self": "10 11 ", "10": "20 ", "11": "", "20": "30 ", "30": ""}.items():
        folder = tmp_path / "proc" / parent / "task" / parent
        folder.mkdir(parents=True)
        (folder / "children").write_text(children)
    assert sorted(descendant_pids(tmp_path)) == ["10", "11", "20", "30"]


def test_throttling_of_every_enclosing_group_counts(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "0::/a/b\n",
        "proc/self/mountinfo": "30 1 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
        "proc/stat": STAT,
        "proc/self/status": "Cpus_allowed_list:\t0-1\nVmHWM:\t  2048 kB\n",
        "proc/pressure/cpu": "some avg10=0.00 avg60=0.00 avg300=0.00 total=777\n",
        "proc/loadavg": "1.25 0 0 1/2 3\n",
        "sys/fs/cgroup/a/b/cpu.stat": "usage_usec 5\nnr_periods 9\nnr_throttled 4\n",
        "sys/fs/cgroup/a/cpu.stat": "nr_throttled 3\n",
        "sys/fs/cgroup/cpu.stat": "usage_usec 5\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    seen = counter_reader(tmp_path)()
    assert (seen.throttled, seen.cpus, seen.pressure_us, seen.load_average) == (7, 2, 777, 1.25)
    assert seen.peak_rss_bytes == 2048 * 1024


def test_a_machine_that_tells_nothing_gives_zeros(tmp_path: Path) -> None:
    seen = between(counter_reader(tmp_path)(), counter_reader(tmp_path)())
    assert (seen.foreign_cpu, seen.steal, seen.throttled_periods, seen.psi_some) == (0.0, 0.0, 0, 0.0)


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """Has burnt a quarter of a second of CPU time when it says so, and lives on."""
    code = "import time\nwhile time.process_time() < 0.25: pass\nprint(flush=True)\ninput()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield process
        process.kill()


def test_work_of_children_is_ours_alive_or_reaped(child: subprocess.Popen[bytes]) -> None:
    assert child.stdout is not None
    assert child.stdin is not None
    child.stdout.readline()
    alive = own_cpu_s()
    child.stdin.write(b"\n")
    child.stdin.flush()
    child.wait()
    reaped = own_cpu_s()
    assert alive >= 0.2
    assert reaped >= alive - 0.02  # a living child is counted in ticks


def test_this_machine_can_be_watched() -> None:
    stop = watch_host()
    total = sum(i * i for i in range(200_000))
    seen = stop()
    assert total > 0
    assert seen.own_cpu > 0
    assert seen.peak_rss_bytes > 10**6
    assert seen.involuntary_switches_per_s >= 0
