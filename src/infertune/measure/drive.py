"""Driving a loaded session as the plan's load asks: one request after the other, or as samples arrive."""

from __future__ import annotations

from collections.abc import Callable

from infertune.core.records import Conditions, Measurement, Plan
from infertune.core.seams import Clock, Session
from infertune.measure.closed_loop import closed_loop
from infertune.measure.open_loop import open_loop


def drive(
    session: Session,
    *,
    batch: int,
    plan: Plan,
    clock: Clock,
    setup_ns: int,
    watch: Callable[[], Callable[[], Conditions]],
) -> Measurement:
    """Measure a loaded session and return raw samples; see `closed_loop` and `open_loop`."""
    loop = open_loop if plan.load.is_open else closed_loop
    return loop(session, batch=batch, plan=plan, clock=clock, setup_ns=setup_ns, watch=watch)
