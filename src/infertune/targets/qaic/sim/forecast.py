"""What the programs ask the model of the card: how long a compile takes, how fast a program runs on this kind of card.

Everything here comes from `model`; the programs add queueing, noise and faults.
"""

from __future__ import annotations

from dataclasses import dataclass

from infertune.targets.qaic.sim.card import CARDS
from infertune.targets.qaic.sim.compiling import compile_seconds as _compile_seconds
from infertune.targets.qaic.sim.compiling import crowding
from infertune.targets.qaic.sim.model import RUN_SPREAD, predict
from infertune.targets.qaic.sim.setting import Setting
from infertune.targets.qaic.sim.workload import Workload

__all__ = ["RUN_SPREAD", "Forecast", "compile_seconds", "crowding", "run_forecast"]

POST_US = 2.4
"""Of the host's part that the model calls application, what follows the request (published: 2.4 to 3.2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """``samples_per_s`` of the whole card in steady state; host times of one request in microseconds.

    ``jitter``: relative spread of single requests. ``memory_bytes``: DRAM of the card. ``reason``: why the program
    cannot run like that, empty if it can.
    """

    samples_per_s: float
    pre_us: float
    post_us: float
    jitter: float
    memory_bytes: int
    reason: str = ""


def compile_seconds(workload: Workload, how: Setting) -> float:
    """Wall seconds of one compile that runs alone."""
    return _compile_seconds(workload, how)


def run_forecast(workload: Workload, kind: str, how: Setting) -> Forecast:
    """Steady state of ``how.instances`` copies with ``how.set_size`` requests queued at each."""
    found = predict(workload, CARDS[kind], how)
    return Forecast(
        samples_per_s=found.throughput_per_s,
        pre_us=max(found.latency.application_ns / 1e3 - POST_US, 1.0),
        post_us=POST_US,
        jitter=found.request_spread,
        memory_bytes=found.device_bytes,
        reason=found.reason,
    )
