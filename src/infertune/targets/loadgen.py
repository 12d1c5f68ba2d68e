"""A session under MLPerf LoadGen (extra ``loadgen``): the same runtime and settings, timed by somebody else's clock."""

from __future__ import annotations

import os
import re
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Literal

from infertune.core.seams import Session

Scenario = Literal["SingleStream", "Offline", "Server"]
_GLANCE_S = 0.0002  # how long to wait for a completion before looking for arrivals again, while a slot is free
_SAMPLES = 1024  # of LoadGen's library: indices only, the session goes through its own inputs
_LATENCY_S = 10.0  # the bound that a server run is held to: so long that only its figures count
_SUMMARY = "mlperf_log_summary.txt"
_FIGURES = {
    "SingleStream": {"throughput": r"QPS w/o loadgen overhead\s*: ([\d.]+)", "p90_ns": r"90.00 percentile.*: (\d+)"},
    "Offline": {"throughput": r"Samples per second\s*: ([\d.]+)"},
    "Server": {"throughput": r"Completed samples per second\s*: ([\d.]+)", "p90_ns": r"90.00 percentile.*: (\d+)"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What LoadGen's summary says: samples per second and, except offline, the 90th percentile of latency in ns."""

    throughput: float
    p90_ns: float | None
    valid: bool


class _Server(threading.Thread):
    """Takes samples off a queue and keeps the session's slots filled with them, up to ``batch`` in a request."""

    def __init__(self, session: Session, batch: int) -> None:
        super().__init__(daemon=True)
        self.inbox: SimpleQueue[Sequence[int] | None] = SimpleQueue()
        self._session = session
        self._batch = batch

        self._waiting: deque[int] = deque()
        self._running: dict[int, list[int]] = {}
        self._free = list(range(session.in_flight))
        self._closed = False

    def run(self) -> None:
        while not self._closed or self._waiting or self._running:
            self._admit()
            while self._waiting and self._free:
                slot = self._free.pop()
                count = min(self._batch, len(self._waiting))
                self._running[slot] = [self._waiting.popleft() for _ in range(count)]
                self._session.start(slot)
            if self._running:
                for slot, _ in self._session.wait(_GLANCE_S if self._free else None):
                    _complete(self._running.pop(slot))
                    self._free.append(slot)

    def _admit(self) -> None:
        """What has arrived; waits for the next where there is nothing else to do."""
        idle = not self._waiting and not self._running and not self._closed
        while idle or not self.inbox.empty():
            ids = self.inbox.get()
            self._closed = self._closed or ids is None
            self._waiting.extend(ids or ())
            idle = False


def _complete(ids: Sequence[int]) -> None:
    import mlperf_loadgen as lg

    lg.QuerySamplesComplete([lg.QuerySampleResponse(i, 0, 0) for i in ids])


def run_under(
    session: Session, scenario: Scenario, *, batch: int, rate: float, seconds: float, folder: Path, seed: int = 0
) -> Told:
    """Serve LoadGen's requests for at least ``seconds``; its logs go to ``folder``. ``rate``: samples per second that
    are expected, which decides how many samples the offline query holds, or that arrive at a server, at times that
    ``seed`` draws."""
    import mlperf_loadgen as lg

    server = _Server(session, 1 if scenario == "SingleStream" else batch)
    server.start()
    sut = lg.ConstructSUT(lambda samples: server.inbox.put([s.id for s in samples]), lambda: None)
    library = lg.ConstructQSL(_SAMPLES, _SAMPLES, lambda indices: None, lambda indices: None)
    wanted = _settings(lg, scenario, rate, seconds, seed)
    try:
        lg.StartTestWithLogSettings(sut, library, wanted, _log_settings(lg, folder))
    finally:
        server.inbox.put(None)
        lg.DestroyQSL(library)
        lg.DestroySUT(sut)
    return read_summary((folder / _SUMMARY).read_text(), scenario)


def _settings(lg: Any, scenario: Scenario, rate: float, seconds: float, seed: int) -> Any:
    settings = lg.TestSettings()
    settings.scenario = getattr(lg.TestScenario, scenario)
    settings.mode = lg.TestMode.PerformanceOnly
    settings.min_duration_ms = int(seconds * 1000)
    settings.min_query_count = 1 if scenario == "Offline" else 10
    settings.server_target_qps = rate
    settings.schedule_rng_seed = seed
    settings.server_target_latency_ns = int(_LATENCY_S * 1e9)
    settings.offline_expected_qps = rate
    settings.single_stream_expected_latency_ns = int(1e9 / rate)
    return settings


def _log_settings(lg: Any, folder: Path) -> Any:
    settings = lg.LogSettings()
    settings.log_output.outdir = os.fspath(folder)
    settings.log_output.copy_summary_to_stdout = False
    settings.enable_trace = False
    return settings


def read_summary(text: str, scenario: Scenario) -> Told:
    """Figures from LoadGen's summary. Raises ValueError for one without them."""
    patterns: Mapping[str, str] = _FIGURES[scenario]
    found = {name: re.search(pattern, text) for name, pattern in patterns.items()}
    figures = {name: float(match.group(1)) for name, match in found.items() if match}
    if "throughput" not in figures:
        raise ValueError(f"no figure in LoadGen's summary: {text[-500:]}")
    valid = re.search(r"Result is : (\w+)", text)
    return Told(
        throughput=figures["throughput"],
        p90_ns=figures.get("p90_ns"),
        valid=valid is not None and valid.group(1) == "VALID",
    )
