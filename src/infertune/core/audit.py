"""Auditing one measured window: named flags, never silent edits. Nothing is removed and no number is changed.

A flag says that a figure deserves less trust, and why. Flags of the environment (`contaminated`) are the ones that
measuring again, later, can cure; the others belong to the point or to the plan.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from infertune.core import stats
from infertune.core.records import Measurement, Plan

FOREIGN_CPU = 0.05
"""Share of our CPUs' time. Quiet launches on a shared two-CPU machine showed 0.00-0.04, disturbed ones 0.11-0.66."""

STEAL = 0.02
"""Share of our CPUs' time. One 10 ms tick in the shortest window on two CPUs is 0.007: 1 % would be rounding."""

INVOLUNTARY_PER_S = 250.0
"""Forced switches per second that a quiet host shows besides those of our own making (12-77, once 229)."""

INVOLUNTARY_PER_REQUEST = 4.0
"""Forced switches per request that a runtime inflicts on itself: up to 2.5 (7000/s) for OpenVINO on two quiet CPUs."""

PRESSURE = 0.10
"""Share of the time in which some task of the machine waited for a CPU."""

FOREIGN_PRESENT = 0.01
"""Switches and pressure are put down to others only when the kernel counted foreign work above its rounding."""

CLOCK_JUMP_S = 0.5
"""Wall clock against monotonic clock."""

STEADY = 0.10
"""The medians of the first and second half of the window agree within this (pyperf's bound for warmed-up values)."""

GAP = 0.15
"""Relative gap between neighbouring levels of sub-window medians from which they count as two modes."""

LITTLE = 0.05
"""In flight = rate x latency must hold within this, beyond what the edges of the window can explain."""

HOST_NS = 100_000
"""What a host may take between two requests of a slot: 0.07 ms in a published run of a card with nothing queued."""

ROUNDS = 10
"""Completed requests per slot from which Little's law is looked at."""

PER_WINDOW = 5
"""Requests that a sub-window needs before its median is looked at."""

FLAGS: dict[str, str] = {
    "foreign_cpu": "other programs used more than 5 % of the CPUs that this launch could run on",
    "involuntary_switches": "other programs took the CPU away from this launch unusually often",
    "steal": "the hypervisor withheld more than 2 % of the CPU time",
    "psi": "programs waited for a CPU more than 10 % of the time while others were running too",
    "throttled": "the control group ran out of CPU quota, so all threads stood still for a while",
    "clock_jump": "the wall clock jumped against the monotonic clock: the machine was suspended or its time was set",
    "not_warmed": "speed was still changing when the warm-up's time was over, and within the window",
    "not_steady": "the first and second half of the window differ by more than 10 %",
    "bimodal": "latency had two levels more than 15 % apart within the window",
    "little_law": "requests in flight do not match rate x latency: the load was not what was asked for",
    "few_samples": "fewer requests completed than the plan asks for",
    "overloaded": "samples arrived faster than they were served: some were not done when the launch gave up",
    "generator_late": "the load generator itself was saturated: it sent requests later than they were due",
    "caches_inputs": "an input that was asked before was answered more than 10 % faster than one that was not",
}

QUIETER = "run again when it is quieter"

CONSEQUENCES: dict[str, str] = {
    "foreign_cpu": f"figures may be too low: {QUIETER}",
    "involuntary_switches": f"figures may be too low: {QUIETER}",
    "steal": "figures may be too low: dedicated CPUs would tell",
    "psi": "figures may be too low: fewer threads, or a quieter machine, would tell",
    "throttled": "the figures are those of this quota",
    "clock_jump": "times may be wrong: run again",
    "not_warmed": "figures may be a little off: a larger --budget warms up for longer",
    "not_steady": "figures depend on when one looks: the HTML report draws the latencies of every launch",
    "bimodal": "percentiles depend on which of them a request meets",
    "little_law": "please report this",
    "few_samples": "throughput is counted all the same, percentiles are rough",
    "overloaded": "a lower rate, or a faster point, would keep up",
    "generator_late": "the model itself may be faster",
    "caches_inputs": "figures may be those of a cache",
}
"""What a flag on launches that confirm means for the answer, and what to do about it."""

LAG = 0.05
"""Of the median latency: requests sent later than that (99th percentile) are not the load that was asked for."""

LAG_LEAST_NS = 1_000_000
"""Lag below 1 ms is what waking up a thread costs."""

CACHED = 0.10
"""By how much faster the same input may be answered than another one."""

CHANCE = 0.05
"""Of the pairs so many favour the same input as equal answers would with this chance at most; all of them, if few."""

ENVIRONMENT = frozenset({"foreign_cpu", "involuntary_switches", "steal", "clock_jump"})
"""Flags that measuring again can cure.

``psi`` is not among them because it counts our own threads waiting for each other as well, ``throttled`` because the
same point under the same quota is throttled again: it is how this machine runs it.
"""

OF_THE_PLAN = frozenset({"few_samples"})
"""Flags that the measurement alone does not tell."""


def flags(measurement: Measurement, plan: Plan) -> tuple[str, ...]:
    """The flags that a launch earns, in the order of `FLAGS`."""
    earned = {*_host(measurement), *_window(measurement, plan)}
    return tuple(name for name in FLAGS if name in earned)


def contaminated(flags: Sequence[str]) -> bool:
    """Whether the environment disturbed the launch: it may screen, but neither decide nor confirm."""
    return not ENVIRONMENT.isdisjoint(flags)


def _host(measurement: Measurement) -> set[str]:
    seen = measurement.conditions
    others = seen.foreign_cpu > FOREIGN_PRESENT
    verdicts = {
        "foreign_cpu": seen.foreign_cpu > FOREIGN_CPU,
        "involuntary_switches": others and seen.involuntary_switches_per_s > _switches_allowed(measurement),
        "steal": seen.steal > STEAL,
        "psi": others and seen.psi_some > PRESSURE,
        "throttled": seen.throttled_periods > 0,
        "clock_jump": abs(seen.clock_jump_s) > CLOCK_JUMP_S,
    }
    return {name for name, raised in verdicts.items() if raised}


def _switches_allowed(measurement: Measurement) -> float:
    """Forced switches per second that our own threads explain: they grow with the rate of requests."""
    requests_per_s = stats.throughput(measurement) / max(1, measurement.batch)
    return INVOLUNTARY_PER_S + INVOLUNTARY_PER_REQUEST * requests_per_s


def _window(measurement: Measurement, plan: Plan) -> set[str]:
    medians = _levels(measurement)
    verdicts = {
        "not_warmed": _still_changing(measurement, plan),
        "not_steady": not steady(medians),
        "bimodal": bimodal(medians),
        "little_law": not little_holds(measurement),
        "few_samples": len(measurement.latencies_ns) < plan.min_count,
        "overloaded": measurement.sent is not None and measurement.sent.unfinished > 0,
        "generator_late": generator_late(measurement),
        "caches_inputs": caches_inputs(measurement),
    }
    return {name for name, raised in verdicts.items() if raised}


def _still_changing(measurement: Measurement, plan: Plan) -> bool:
    """Whether the warm-up, long enough to tell, did not settle, and the window does not show that speed had by then.

    Two or three long requests tell nothing of that; ``warmup_count`` holds the very first one, too.
    """
    if measurement.warmed or measurement.warmup_count <= plan.warmup_count:
        return False
    halves = stats.window_medians_ns(measurement, 2)
    return len(halves) < 2 or not _agree(*halves)


def _levels(measurement: Measurement) -> tuple[float, ...]:
    """Sub-window medians: ten, or fewer so that each covers `PER_WINDOW` requests on average."""
    windows = min(10, len(measurement.latencies_ns) // PER_WINDOW)
    return stats.window_medians_ns(measurement, windows) if windows else ()


def steady(medians: Sequence[float]) -> bool:
    """Whether the halves of a window agree within `STEADY`; true for fewer than four parts, which cannot tell."""
    if len(medians) < 4:
        return True
    half = len(medians) // 2
    first, second = statistics.median(medians[:half]), statistics.median(medians[-half:])
    return _agree(first, second)


def _agree(first: float, second: float) -> bool:
    if min(first, second) <= 0:
        return first == second
    return abs(math.log(second) - math.log(first)) <= math.log(1 + STEADY)


def bimodal(medians: Sequence[float]) -> bool:
    """Whether the largest gap between sorted medians exceeds `GAP` with at least two on either side.

    One odd part is an outlier, not a mode.
    """
    levels = sorted(medians)
    gaps = [(levels[i + 1] - levels[i], i) for i in range(1, len(levels) - 2)]
    widest, i = max(gaps, default=(0.0, 0))
    return widest > GAP * levels[i] if gaps else False


def generator_late(measurement: Measurement) -> bool:
    """Whether an open loop's requests left too late: 99th percentile of the lag over 1 ms and 5 % of the median."""
    if measurement.sent is None or not measurement.sent.lag_ns or not measurement.latencies_ns:
        return False
    lag, median = stats.quantile_ns(measurement.sent.lag_ns, 99.0), stats.quantile_ns(measurement.latencies_ns, 50.0)
    return lag > max(LAG_LEAST_NS, LAG * median)


def caches_inputs(measurement: Measurement) -> bool:
    """Whether the same input was answered faster than others: by the median of the pairs, and in nearly all of them.

    The second condition (a sign test) keeps noise between single answers, which may be as large as `CACHED`, from
    passing for a cache.
    """
    ratios = stats.repeat_ratios(measurement)
    if not ratios:
        return False
    faster = sum(ratio < 1.0 for ratio in ratios)
    chance = sum(math.comb(len(ratios), k) for k in range(faster, len(ratios) + 1)) / 2 ** len(ratios)
    surely = faster == len(ratios) or chance <= CHANCE
    return surely and statistics.median(ratios) < 1 / (1 + CACHED)


def little_holds(measurement: Measurement) -> bool:
    """Little's law for a closed loop: in flight = request rate x mean latency. True where it cannot be told.

    Over a window of length W with N requests always outstanding, the latencies of the requests that *complete* inside
    add up to N x W, plus the time that those in flight at its opening had already spent, minus the time that those
    still in flight at its close have spent so far. Each of the two is about N x one latency at most, with opposite
    signs, so the ratio may be off by (one latency / W) with nothing being wrong. Since a request that is still
    unfinished may outlast every finished one, twice the longest latency is allowed, on top of `LITTLE`. With many
    rounds per slot that allowance vanishes and the check is sharp to 5 %, but for the time that the host takes between
    requests (`least_in_flight`); below `ROUNDS` it says nothing, and nothing of an open loop, where nobody keeps the
    number outstanding.
    """
    latencies, wall, depth = measurement.latencies_ns, measurement.wall_ns, measurement.in_flight
    if measurement.sent is not None:
        return True
    if wall <= 0 or depth < 1 or len(latencies) < ROUNDS * depth:
        return True
    seen, slack = sum(latencies) / wall, depth * (LITTLE + 2.0 * max(latencies) / wall)
    return least_in_flight(depth, 1e9 * len(latencies) / wall) - slack <= seen <= depth + slack


def least_in_flight(asked: int, requests_per_s: float) -> float:
    """How many of ``asked`` requests are in flight on average while the host does its part after each one.

    With one in flight all idle time is the host's, however long. Of several, no more than `HOST_NS` a request is: where
    fewer are in flight than that explains, the load was not what was asked for.
    """
    return 0.0 if asked == 1 else asked - requests_per_s * HOST_NS / 1e9
