"""What else happened on the host while a launch measured: two readings of the kernel's counters, subtracted."""

from __future__ import annotations

from collections.abc import Callable

from infertune.core.records import Conditions
from infertune.edge.counters import Counters, counter_reader


def between(before: Counters, after: Counters) -> Conditions:
    """Conditions of the time between two readings.

    Shares are of the time of all CPUs on which the process may run: ``foreign_cpu = (busy - own) / (wall x CPUs)``.
    Foreign work is what no steal counter shows: other tenants of the same guest. The kernel counts busy time in ticks
    of 10 ms, so over the 0.75 s of the shortest window a share is good to about 0.01 per CPU; a negative difference,
    which only rounding can give, is 0.
    """
    wall_s = max((after.monotonic_ns - before.monotonic_ns) / 1e9, 1e-9)
    capacity_s = wall_s * after.cpus
    own_s = max(0.0, after.own_s - before.own_s)
    busy_s = after.busy_s - before.busy_s
    return Conditions(
        own_cpu=own_s / capacity_s,
        foreign_cpu=max(0.0, busy_s - own_s) / capacity_s,
        steal=max(0.0, after.steal_s - before.steal_s) / capacity_s,
        involuntary_switches_per_s=max(0, after.involuntary - before.involuntary) / wall_s,
        throttled_periods=max(0, after.throttled - before.throttled),
        psi_some=max(0, after.pressure_us - before.pressure_us) / 1e6 / wall_s,
        load_average=after.load_average,
        peak_rss_bytes=after.peak_rss_bytes,
        clock_jump_s=((after.wall_ns - before.wall_ns) - (after.monotonic_ns - before.monotonic_ns)) / 1e9,
    )


class Sampler:
    """Watches the host around one measured window: `start`, then `stop`."""

    def __init__(self, read: Callable[[], Counters]) -> None:
        self._read = read
        self._before: Counters | None = None

    def start(self) -> None:
        self._before = self._read()

    def stop(self) -> Conditions:
        """The conditions since `start`. Raises RuntimeError when it was not started."""
        if self._before is None:
            raise RuntimeError("the sampler was not started")
        return between(self._before, self._read())


def watch_host() -> Callable[[], Conditions]:
    """Start watching this machine; the function returned stops and tells the conditions."""
    sampler = Sampler(counter_reader())
    sampler.start()
    return sampler.stop
