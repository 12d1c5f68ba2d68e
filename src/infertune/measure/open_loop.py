"""The open loop: samples arrive by a schedule, whether or not the ones before them are done.

Latency runs from the *scheduled* time of a sample to its completion, so a stall of the server, or of this generator,
lengthens the latency of everything that arrived meanwhile: no coordinated omission (wrk2, MLPerf LoadGen).

Whenever a slot is free and samples wait, up to a batch of them is sent at once, oldest first: a serving system's
dynamic batching with no added delay. A request takes the time of a full batch whatever it carries, as it does where
shapes are fixed; so at low rates a large batch only costs latency, and at high ones it fills by itself.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from infertune.core import stats
from infertune.core.load import Load, Probe, Sent, keeps_up
from infertune.core.records import Conditions, Measurement, Phase, Plan, RawNs
from infertune.core.seams import Clock, Session
from infertune.edge.clock import thread_cpu_ns
from infertune.measure.closed_loop import Loop, first_request, warm_up
from infertune.measure.schedule import arrivals_ns
from infertune.measure.sustain import highest_rate

CpuTime = Callable[[], int]
_LEAST = 20  # samples of a stretch, however slow the model is


@dataclass(slots=True, kw_only=True)
class Stretch:
    """What became of one schedule. Times in ns from its start; samples in order of completion."""

    rate_per_s: float
    offsets: NDArray[np.int64]
    latencies: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    lag: list[int] = field(default_factory=list)
    unfinished: int = 0
    cpu_ns: int = 0

    @property
    def wall_ns(self) -> int:
        return max(self.ends, default=0)

    def keeps(self, limits: tuple[tuple[float, float], ...]) -> bool:
        """Everything was served as fast as it came, and each percentile is within its bound."""
        within = (stats.quantile_ns(self.latencies, percent) <= bound_s * 1e9 for percent, bound_s in limits)
        kept_up = keeps_up(self.rate_per_s, self.latencies, self.wall_ns)
        return not self.unfinished and kept_up and all(within)


@dataclass(slots=True)
class _Generator:
    """Sends what has arrived and takes what is done; gives up after ``cap_ns``, or once more than ``allowed`` samples
    took longer than ``bound_ns``."""

    session: Session
    clock: Clock
    batch: int
    stretch: Stretch
    cap_ns: int
    bound_ns: float = math.inf
    allowed: float = math.inf
    waiting: deque[int] = field(default_factory=deque)
    running: dict[int, list[int]] = field(default_factory=dict)
    free: list[tuple[int, int]] = field(default_factory=list)
    opened: int = 0
    arrived: int = 0
    over: int = 0

    def run(self) -> None:
        self.opened = self.clock.now_ns()
        self.free = [(0, slot) for slot in reversed(range(self.session.in_flight))]
        while self.arrived < len(self.stretch.offsets) or self.waiting or self.running:
            now = self._admit()
            if now > self.cap_ns or self._hopeless(now):
                self._give_up(now)
                return
            self._send()
            self._take(self._until_next())

    def _hopeless(self, now: int) -> bool:
        """Whether too many samples took too long, or waited too long already (they wait in the order they came)."""
        spare = self.allowed - self.over
        if spare < 0:
            return True
        return spare < len(self.waiting) and now - self.waiting[int(spare)] > self.bound_ns

    def _admit(self) -> int:
        """Samples whose time has come join those that wait; the time now."""
        now, offsets = self.clock.now_ns() - self.opened, self.stretch.offsets
        while self.arrived < len(offsets) and offsets[self.arrived] <= now:
            self.waiting.append(int(offsets[self.arrived]))
            self.arrived += 1
        return now

    def _send(self) -> None:
        while self.waiting and self.free:
            since, slot = self.free.pop()
            carried = [self.waiting.popleft() for _ in range(min(self.batch, len(self.waiting)))]
            self.running[slot] = carried
            self.stretch.lag.append(max(0, self.clock.now_ns() - self.opened - max(since, carried[0])))
            self.session.start(slot)

    def _until_next(self) -> float | None:
        """Seconds until the next arrival; None where nothing could be sent then, or nothing comes any more."""
        if self.arrived >= len(self.stretch.offsets) or not self.free:
            return None
        return max(0.0, (int(self.stretch.offsets[self.arrived]) + self.opened - self.clock.now_ns()) / 1e9)

    def _take(self, timeout_s: float | None) -> None:
        if not self.running:
            if timeout_s:
                self.clock.sleep(timeout_s)
            return
        for slot, completed in self.session.wait(timeout_s):
            end = completed - self.opened
            for scheduled in self.running.pop(slot):
                self.stretch.latencies.append(end - scheduled)
                self.stretch.ends.append(end)
                self.over += end - scheduled > self.bound_ns
            self.free.append((end, slot))

    def _give_up(self, now: int) -> None:
        """What is not done is counted with the age that it has reached; the runtime finishes what it was given."""
        open_ = [*(s for carried in self.running.values() for s in carried), *self.waiting]
        self.stretch.latencies += [now - scheduled for scheduled in open_]
        self.stretch.ends += [now] * len(open_)
        self.stretch.unfinished = len(open_)
        left = set(self.running)
        while left:
            left -= {slot for slot, _ in self.session.wait()}


@dataclass(slots=True, kw_only=True)
class _Ground:
    """What all stretches of a launch share."""

    session: Session
    clock: Clock
    batch: int
    plan: Plan
    cpu: CpuTime

    def samples(self, rate_per_s: float) -> int:
        """Enough for the plan's time and count, within its cap; whole batches where all come at once."""
        plan = self.plan
        wanted = max(plan.min_count, math.ceil(rate_per_s * plan.min_time_s))
        count = max(_LEAST, min(wanted, math.ceil(rate_per_s * plan.cap_s)))
        return -(-count // self.batch) * self.batch if plan.load.arrivals == "offline" else count

    def stretch(self, rate_per_s: float) -> Stretch:
        """Serve one schedule to its end; while looking for a rate, only until it cannot be kept any more."""
        load, count = self.plan.load, self.samples(rate_per_s)
        made = Stretch(rate_per_s=rate_per_s, offsets=arrivals_ns(load, rate_per_s, count))
        length_ns = int(made.offsets[-1])
        generator = _Generator(self.session, self.clock, self.batch, made, cap_ns=2 * length_ns + self._cap_ns())
        if load.searches:
            percent, bound_s = min(load.limits, key=lambda limit: limit[1])
            generator.bound_ns, generator.allowed = bound_s * 1e9, count - math.ceil(percent / 100 * count - 1e-9)
        began = self.cpu()
        generator.run()
        made.cpu_ns = self.cpu() - began
        return made

    def _cap_ns(self) -> int:
        return int(self.plan.cap_s * 1e9)


def open_loop(
    session: Session,
    *,
    batch: int,
    plan: Plan,
    clock: Clock,
    setup_ns: int,
    watch: Callable[[], Callable[[], Conditions]],
    cpu: CpuTime = thread_cpu_ns,
) -> Measurement:
    """Warm up in a closed loop, let that drain, then serve arrivals. Each sample is a request of the measurement.

    Where the load names no rate, stretches of different rates find the highest one that keeps its limits; the
    measurement is of the last stretch that kept them (of the last one at all where none did).
    """
    first_ns = first_request(session, clock)
    loop = Loop(session=session, clock=clock, slots=session.in_flight)
    began = clock.now_ns()
    loop.fill()
    warmed, ended = warm_up(loop, plan, began)
    capacity = len(loop.latencies) * batch / max(1e-9, (ended - began) / 1e9)
    warmup_count = len(loop.latencies) + 1
    loop.drain()
    ground = _Ground(session=session, clock=clock, batch=batch, plan=plan, cpu=cpu)
    kept, probes, conditions = _served(ground, capacity, watch)
    return Measurement(
        batch=1,
        in_flight=session.in_flight,
        wall_ns=kept.wall_ns,
        latencies_ns=RawNs(kept.latencies),
        ends_ns=RawNs(kept.ends),
        setup_ns=setup_ns,
        first_ns=first_ns,
        warmup_count=warmup_count,
        phases=_no_phases(session),
        conditions=conditions,
        settings=session.settings(),
        warmed=warmed,
        load=plan.load,
        sent=_sent(kept, plan.load, probes),
    )


def _served(
    ground: _Ground, capacity: float, watch: Callable[[], Callable[[], Conditions]]
) -> tuple[Stretch, tuple[Probe, ...], Conditions]:
    """The stretch that counts, the rates that were tried, and the conditions meanwhile."""
    load = ground.plan.load
    stop = watch()
    if not load.searches:
        made = ground.stretch(capacity if load.arrivals == "offline" else load.rate_per_s or capacity)
        return made, (), stop()
    tried: list[tuple[Stretch, bool]] = []

    def keeps(rate_per_s: float) -> bool:
        made = ground.stretch(rate_per_s)
        tried.append((made, made.keeps(load.limits)))
        return tried[-1][1]

    found = highest_rate(keeps, capacity)
    conditions = stop()
    probes = tuple(Probe(rate_per_s=s.rate_per_s, samples=len(s.offsets), kept=ok) for s, ok in tried)
    best = [s for s, ok in tried if ok and s.rate_per_s == found]
    return (best or [tried[-1][0]])[-1], probes, conditions


def _sent(kept: Stretch, load: Load, probes: tuple[Probe, ...]) -> Sent:
    return Sent(
        rate_per_s=0.0 if load.arrivals == "offline" else kept.rate_per_s,
        requests=len(kept.lag),
        unfinished=kept.unfinished,
        lag_ns=RawNs(kept.lag),
        cpu=kept.cpu_ns / max(1, kept.wall_ns),
        probes=probes,
    )


def _no_phases(session: Session) -> tuple[Phase, ...]:
    """The runtime tells them per request, not per sample, and without the waiting before it: left out."""
    session.phases()
    return ()
