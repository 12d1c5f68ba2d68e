"""The card model's answer for one point: how fast, how long a request takes and where, what it costs to build and hold.

Analytic, no table: `sheet` turns operators into amounts, `device` and `host` turn amounts into time with the fitted
`constants`. What it may be used for, and what not: docs/simulated-card.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from infertune.targets.qaic.sim.card import Card
from infertune.targets.qaic.sim.compiling import compile_seconds
from infertune.targets.qaic.sim.constants import Constants, fitted
from infertune.targets.qaic.sim.device import DeviceTime, device_time
from infertune.targets.qaic.sim.host import HostLoop, host_loop
from infertune.targets.qaic.sim.setting import Setting
from infertune.targets.qaic.sim.sheet import Array, Point, Sheet, sheet_of
from infertune.targets.qaic.sim.workload import Workload

RUN_SPREAD = 0.012
"""Relative spread of one run's rate: the notebook's winner measured again is 1.6 % faster."""

_PRE_US, _POST_US, _RUNTIME_US, _CHANNEL_US, _SWITCH_US = 4.0, 2.4, 3.4, 5.6, 50.0
_INPUT_BYTES_PER_US = 15e3
"""Host phases of the published latency tables: preparation (602 kB in 39 us), results, enqueue and submit, kernel to
channel, and the way back to user space."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Mean time of one request by where it passes; ``device_ns`` includes waiting for the requests before it."""

    application_ns: int
    runtime_ns: int
    driver_ns: int
    device_ns: int

    @property
    def total_ns(self) -> int:
        return self.application_ns + self.runtime_ns + self.driver_ns + self.device_ns


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """Samples per second of the whole card; ``service_ns``: the card's time for one request without waiting.

    ``request_spread``: relative spread of single requests. ``reason``: why the point cannot run, empty if it can; its
    rate is 0 then. ``device_bytes``: memory of the card that it takes.
    """

    throughput_per_s: float
    latency: Latency
    service_ns: int
    request_spread: float
    compile_s: float
    device_bytes: int
    reason: str = ""

    @property
    def feasible(self) -> bool:
        return not self.reason


def predict(workload: Workload, card: Card, setting: Setting) -> Prediction:
    """Steady state of a point, without noise."""
    taken = device_bytes(workload, setting)
    sheet = sheet_of([Point(workload=workload, card=card, setting=setting)])
    k = fitted()
    times = device_time(sheet, k)
    loop = host_loop(sheet, times.device, k)
    reason = why_not(card, setting, taken)
    rate = float(loop.requests_per_s[0])
    return Prediction(
        throughput_per_s=0.0 if reason else rate * setting.batch,
        latency=_latency(workload, setting, rate, loop, k),
        service_ns=round(1e9 * float(times.device[0])),
        request_spread=float(request_spread(times)[0]),
        compile_s=compile_seconds(workload, setting),
        device_bytes=taken,
        reason=reason,
    )


def request_spread(times: DeviceTime) -> Array:
    """Relative spread of single requests: most where instances get into each other's way on the memory bus."""
    spread: Array = 0.003 + 0.2 * (1 - times.solo / times.device)
    return spread


def rates(sheet: Sheet, k: Constants) -> tuple[DeviceTime, HostLoop]:
    """Many points at once: what the calibration fits."""
    times = device_time(sheet, k)
    return times, host_loop(sheet, times.device, k)


def device_bytes(workload: Workload, setting: Setting) -> int:
    """Weights once, and for every instance the activations that spill and the buffers of its queue."""
    moved = setting.batch * (workload.input_bytes + workload.output_bytes)
    each = setting.batch * workload.peak_bytes + setting.set_size * moved
    return max(workload.stored_bytes, workload.weight_bytes) + setting.instances * each


def why_not(card: Card, setting: Setting, taken: int) -> str:
    needed = setting.cores * setting.instances
    if needed > card.nsps:
        return f"{setting.cores} cores x {setting.instances} instances need {needed} of {card.nsps} NSPs"
    if setting.mos > setting.cores:
        return f"mos {setting.mos} exceeds {setting.cores} cores"
    if taken > card.ddr_bytes:
        return f"{taken} bytes of device memory are needed, the card has {card.ddr_bytes}"
    return ""


def _latency(workload: Workload, setting: Setting, rate: float, loop: HostLoop, k: Constants) -> Latency:
    """Little's law, less the time that a slot waits between requests."""
    copies = 1e6 * float(loop.copies_s[0])
    application = _PRE_US + _POST_US + setting.batch * workload.input_bytes / _INPUT_BYTES_PER_US + copies
    driver = _CHANNEL_US + _SWITCH_US
    gap = max(k.host_us - _PRE_US - _POST_US - _RUNTIME_US - driver, 0.0)
    whole = 1e6 * setting.instances * setting.set_size / rate - gap
    device = max(whole - application - _RUNTIME_US - driver, 1.0)
    return Latency(
        application_ns=round(1e3 * application),
        runtime_ns=round(1e3 * _RUNTIME_US),
        driver_ns=round(1e3 * driver),
        device_ns=round(1e3 * device),
    )


def noisy(prediction: Prediction, rng: np.random.Generator) -> Prediction:
    """The same as another run would show it: faster or slower as a whole by a few percent at most."""
    factor = float(np.exp(RUN_SPREAD * np.clip(rng.standard_normal(), -3, 3)))
    latency = prediction.latency
    return replace(
        prediction,
        throughput_per_s=prediction.throughput_per_s * factor,
        service_ns=round(prediction.service_ns / factor),
        latency=replace(latency, device_ns=round(latency.device_ns / factor)),
    )
