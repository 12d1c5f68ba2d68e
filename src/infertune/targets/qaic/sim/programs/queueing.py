"""Requests of one activation in a closed loop: when each was sent, when it was done, and where its time went.

The activation finishes one request per period, give or take some jitter, and keeps ``set_size`` requests outstanding
until the time is over; then it drains. Latency is therefore mostly waiting: about set_size periods.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from infertune.targets.qaic.sim.forecast import Forecast

Floats = npt.NDArray[np.float64]

LOOP_US = 55.0
"""From a completion to the next submission on the same slot: 44 to 68 us in the published runs at set size 1."""
QUEUED_LOOP_US = 4.0
"""The same where several threads serve a queue: too little to see in the published runs at set size 10."""
HICCUP = 0.0015
"""Share of the requests that the host delays noticeably (p99 to max in the published tables)."""
HOP_US = (33.0, 70.0)
"""Way between user space and kernel: execTotal - hostRoundTrip in the published tables."""
EXECUTING = 0.986
"""Share of execToComplete that the card computes where nothing waits before it: the published table with op-stats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """Microseconds of one activation's requests from the start of the run, in order."""

    sent: Floats
    done: Floats

    def __len__(self) -> int:
        return len(self.done)


def requests(
    period_us: float, jitter: float, set_size: int, rng: np.random.Generator, *, seconds: float | None, most: int | None
) -> Requests:
    """Run until ``seconds`` are over or ``most`` requests were sent."""
    limit = 1e6 * seconds if seconds is not None else float("inf")
    most = most if most is not None else int(limit / period_us * 1.05) + set_size + 16
    steps = period_us * (1.0 + jitter * rng.standard_normal(most))
    steps += period_us * rng.exponential(0.15, most) * (rng.random(most) < HICCUP)
    done = np.cumsum(np.maximum(steps, 0.2 * period_us))
    gap_us = LOOP_US if set_size == 1 else QUEUED_LOOP_US
    loop = min(gap_us, 0.3 * period_us) * rng.uniform(0.8, 1.2, most)
    sent = np.empty(most)
    sent[:set_size] = loop[:set_size]
    sent[set_size:] = done[:-set_size] + loop[set_size:] if most > set_size else sent[set_size:]
    kept = max(1, int(np.searchsorted(sent, limit)))
    return Requests(sent=sent[:kept], done=done[:kept])


def phases(found: Requests, forecast: Forecast, rng: np.random.Generator) -> dict[str, Floats]:
    """The columns of a latency profile, microseconds; identities as in the published tables:
    hostRoundTrip = exectoVc + execToComplete (whole microseconds), execTotal = hostRoundTrip + a hop."""
    n = len(found)
    total = found.done - found.sent
    host = {
        "enqTimeUs": _around(1.9, n, rng, 0.2, spikes=12.0),
        "preProcTimeUs": _around(forecast.pre_us, n, rng, 0.06, spikes=3.0),
        "submitTimeUs": _around(1.5, n, rng, 0.08, spikes=1.0),
        "postProcUs": _around(forecast.post_us, n, rng, 0.08, spikes=2.0),
    }
    spent = sum(host.values())
    hop = np.minimum(rng.uniform(*HOP_US, n), 0.1 * total)
    rest = np.minimum(rng.uniform(28.0, 60.0, n), 0.1 * total)
    to_channel = np.clip(np.rint(rng.normal(5.6, 0.6, n)), 3, 30)
    to_complete = np.maximum(1.0, np.floor(total - spent - hop - rest - to_channel))
    round_trip = to_channel + to_complete
    exec_total = round_trip + hop
    return {
        "hostRoundTripUs": round_trip,
        **{name: host[name] for name in ("enqTimeUs", "preProcTimeUs", "submitTimeUs")},
        "execTotalUs": exec_total,
        "exectoVcUs": to_channel,
        "execToCompleteUs": to_complete,
        "postProcUs": host["postProcUs"],
        "totalRoundtripTimeUs": np.maximum(total, exec_total + spent),
    }


def executing(found: Requests, columns: dict[str, Floats]) -> Floats:
    """Microseconds for which each request had its cores: what waits behind others in the queue is left out."""
    return np.minimum(EXECUTING * columns["execToCompleteUs"], np.diff(found.done, prepend=0.0))


def _around(mean: float, n: int, rng: np.random.Generator, spread: float, *, spikes: float) -> Floats:
    values = mean * np.exp(spread * rng.standard_normal(n) - spread**2 / 2)
    return values + spikes * rng.random(n) * (rng.random(n) < 0.01)


def activations(
    forecast: Forecast, instances: int, set_size: int, batch: int, rng: np.random.Generator, **until: float | int | None
) -> Iterator[Requests]:
    """Every activation's requests; they share the card evenly."""
    period_us = 1e6 * instances * batch / forecast.samples_per_s
    seconds, count = until.get("seconds"), until.get("count")
    for own in rng.spawn(instances):
        most = None if count is None else int(count)
        yield requests(period_us, forecast.jitter, set_size, own, seconds=seconds, most=most)
