"""How requests come: one when another completes, or at times that do not ask whether the last one is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast, get_args

from infertune.core.errors import UsageError, nearest, quoted
from infertune.core.subjects import RawNs

Arrivals = Literal["closed", "single", "offline", "poisson", "constant"]
"""``closed``: the next request is sent when one completes, all slots of the point kept busy. ``single``: the same with
one slot. ``offline``: every sample is there at once. ``poisson`` and ``constant``: samples arrive at a rate, at random
or evenly, whether or not the ones before are done."""

OPEN: tuple[Arrivals, ...] = ("offline", "poisson", "constant")
"""Loads whose samples arrive by a schedule: latency counts from the scheduled time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a launch is asked to drive.

    ``rate_per_s`` is in samples per second; None with a rate means that the launch looks for the highest one that keeps
    ``limits``, pairs of a latency percentile and its bound in seconds. ``seed`` makes the schedule.
    """

    arrivals: Arrivals = "closed"
    rate_per_s: float | None = None
    limits: tuple[tuple[float, float], ...] = ()
    seed: int = 0

    @property
    def is_open(self) -> bool:
        return self.arrivals in OPEN

    @property
    def searches(self) -> bool:
        """Whether the launch looks for the rate itself."""
        return self.arrivals in ("poisson", "constant") and self.rate_per_s is None


CLOSED = Load()


def parse_load(arrivals: str, rate_per_s: float | None, seed: int = 0) -> Load:
    """A load in words. Raises `UsageError` for an unknown word, and for a rate that is missing or means nothing."""
    known = get_args(Arrivals)
    if arrivals not in known:
        hint = f"{nearest(arrivals, known)}take one of {', '.join(known)}"
        raise UsageError("unknown-arrivals", f"requests cannot come as `{quoted(arrivals)}`", hint=hint)
    load = Load(arrivals=cast(Arrivals, arrivals), rate_per_s=rate_per_s, seed=seed)
    if load.searches:
        hint = "give --rate, or let `infertune serve-rate` find the highest one"
        raise UsageError("rate-missing", f"{arrivals} arrivals need a rate", hint=hint)
    if rate_per_s is not None and arrivals not in ("poisson", "constant"):
        hint = "leave --rate out, or add `--arrivals poisson`"
        raise UsageError("rate-means-nothing", f"a rate means nothing where requests come as `{arrivals}`", hint=hint)
    return load


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One rate that a launch tried."""

    rate_per_s: float
    samples: int
    kept: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What the load generator did.

    ``rate_per_s``: samples per second that arrived (0 when they all came at once). ``requests`` carried them, up to the
    point's batch each. ``unfinished`` of the samples were not done when the launch gave up; the last so many latencies
    are the ages that they had reached. ``lag_ns`` per request: how much later it was sent than its first sample had
    arrived and a slot was free. ``cpu`` is the share of one CPU that the generator used.
    """

    rate_per_s: float
    requests: int
    unfinished: int
    lag_ns: RawNs
    cpu: float
    probes: tuple[Probe, ...] = ()


LATE = 0.05
"""How much later than its samples' arrival serving may end: the precision to which a rate is found."""


def keeps_up(rate_per_s: float, latencies_ns: Sequence[int], wall_ns: int) -> bool:
    """Whether serving ended with the arrivals, not later: a queue that grows breaks no latency limit in a short window,
    but would in a longer one. What a few samples at the end need (two of the shortest latencies) is allowed.

    All samples of one stretch, ``wall_ns`` from the first arrival to the last completion; of all at once (a rate of 0)
    nothing can be said against.
    """
    if rate_per_s <= 0.0:
        return True
    arriving_ns = len(latencies_ns) / rate_per_s * 1e9
    return wall_ns <= arriving_ns * (1.0 + LATE) + 2 * min(latencies_ns, default=0)
