"""The closed loop: keep ``in_flight`` requests outstanding, time each one, count what completes.

Scope: this module knows requests and time. It does not know models, inputs, runtimes or goals.
Latency runs from the moment a request is handed to the session to its completion: queueing inside the runtime counts.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field

from infertune.core.records import Conditions, Measurement, Phase, Plan, RawNs
from infertune.core.seams import Clock, Keeping, Session

_WARMUP_SHARE = 0.3  # of the launch's cap: after that the launch is measured anyway and says it was not warmed
_SETTLED = 0.10  # halves of the last two thirds of the warm-up agree within this
_LEAST_ROUNDS = 2
_LEAST_AT_CAP = 3  # requests measured even when each takes longer than the cap


@dataclass(slots=True)
class Loop:
    """Requests outstanding, and what has completed since the last `reset`."""

    session: Session
    clock: Clock
    slots: int
    started: list[int] = field(default_factory=list)
    latencies: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    kept: bool = False

    def fill(self) -> None:
        self.kept = isinstance(self.session, Keeping) and self.session.keep()
        for slot in range(self.slots):
            self.started.append(self.clock.now_ns())
            self.session.start(slot)

    def turn(self) -> int:
        """Wait for completions, start their successors; the time of the last completion."""
        now_ns, start, started = self.clock.now_ns, self.session.start, self.started
        end = 0
        for slot, end in self.session.wait():
            self.latencies.append(end - started[slot])
            self.ends.append(end)
            if self.kept:
                started[slot] = end
            else:
                started[slot] = now_ns()
                start(slot)
        return end

    def keep(self, count: int) -> None:
        """Forget completions after the first ``count``."""
        del self.latencies[count:], self.ends[count:]

    def drain(self) -> None:
        drain(self.session, self.slots)

    def reset(self) -> None:
        self.latencies, self.ends = [], []
        self.session.phases()


def drain(session: Session, left: int) -> None:
    """Wait for the ``left`` requests that are outstanding, starting nothing."""
    if isinstance(session, Keeping) and session.rest():
        return
    while left > 0:
        left -= len(session.wait())


def settled(latencies_ns: list[int]) -> bool:
    """The last two thirds of the warm-up, cut in halves, have medians within 10 % (after pyperf's calibration)."""
    tail = latencies_ns[len(latencies_ns) // 3 :]
    if len(tail) < 2:
        return False
    first, second = (statistics.median(part) for part in (tail[: len(tail) // 2], tail[len(tail) // 2 :]))
    return abs(first - second) <= _SETTLED * max(first, second)


def warm_up(loop: Loop, plan: Plan, since_ns: int) -> tuple[bool, int]:
    """(settled in time, end of the last completion): stops at once when time, count and steadiness are reached."""
    least = plan.warmup_s * 1e9
    cap = max(least, plan.cap_s * _WARMUP_SHARE * 1e9)
    while True:
        end = loop.turn()
        spent = end - since_ns
        if spent >= least and len(loop.latencies) >= plan.warmup_count and settled(loop.latencies):
            return True, end
        if spent >= cap and loop.latencies:
            return False, end


def _measure(loop: Loop, plan: Plan, opened_ns: int) -> int:
    """Runs until both minimum time and count are met, or the cap; the end of the last counted completion.

    Only whole rounds count: as many completions as there are requests outstanding, again and again. Instances that
    started together finish together, so a window cut inside a round would count one completion of a burst too many or
    too few, which at three requests is half of the figure. At least two, except at the cap.
    """
    least, cap, slots = plan.min_time_s * 1e9, plan.cap_s * 1e9, loop.slots
    enough = max(plan.min_count, _LEAST_ROUNDS * slots)
    while True:
        loop.turn()
        count = len(loop.ends) // slots * slots
        if not count:
            continue
        end = loop.ends[count - 1]
        spent = end - opened_ns
        if (spent >= least and count >= enough) or (spent >= cap and count >= _LEAST_AT_CAP):
            loop.keep(count)
            return end


def first_request(session: Session, clock: Clock) -> int:
    """Nanoseconds of the very first request (lazy initialisation included), sent alone."""
    began = clock.now_ns()
    session.start(0)
    end = session.wait()[0][1]
    session.phases()
    return end - began


def closed_loop(
    session: Session,
    *,
    batch: int,
    plan: Plan,
    clock: Clock,
    setup_ns: int,
    watch: Callable[[], Callable[[], Conditions]],
) -> Measurement:
    """Measure a loaded session and return raw samples.

    The window opens at a completion (the last of the warm-up) and closes at one, with the pipeline full at both ends
    and a whole number of rounds between, so completions / wall time is unbiased; requests outstanding at the end are
    not counted (`close` abandons them). A load of ``single`` keeps one request outstanding, whatever the session could.
    ``watch()`` starts watching the host and returns the function that stops and tells the conditions.
    """
    slots = 1 if plan.load.arrivals == "single" else session.in_flight
    first_ns = first_request(session, clock)
    loop = Loop(session=session, clock=clock, slots=slots)
    loop.fill()
    warmed, opened = warm_up(loop, plan, clock.now_ns())
    warmup_count = len(loop.latencies) + 1
    loop.reset()
    stop = watch()
    closed = _measure(loop, plan, opened)
    conditions = stop()
    count = len(loop.ends)
    phases = tuple(Phase(name=p.name, samples_ns=p.samples_ns[:count]) for p in session.phases())
    return Measurement(
        batch=batch,
        in_flight=slots,
        wall_ns=closed - opened,
        latencies_ns=RawNs(loop.latencies),
        ends_ns=RawNs(end - opened for end in loop.ends),
        setup_ns=setup_ns,
        first_ns=first_ns,
        warmup_count=warmup_count,
        phases=phases,
        conditions=conditions,
        settings=session.settings(),
        warmed=warmed,
        load=plan.load,
    )
