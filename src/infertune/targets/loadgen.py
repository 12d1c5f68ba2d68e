"""A session under MLPerf LoadGen (extra ``loadgen``): the same runtime and settings, timed by somebody else's clock."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Literal

from infertune.core.seams import Session

Scenario = Literal["SingleStream", "Offline"]
_SAMPLES = 1024  # of LoadGen's library: indices only, the session goes through its own inputs
_SUMMARY = "mlperf_log_summary.txt"
_FIGURES = {
    "SingleStream": {"throughput": r"QPS w/o loadgen overhead\s*: ([\d.]+)", "p90_ns": r"90.00 percentile.*: (\d+)"},
    "Offline": {"throughput": r"Samples per second\s*: ([\d.]+)"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What LoadGen's summary says: samples per second and, of a single stream, the 90th percentile of latency in ns."""

    throughput: float
    p90_ns: float | None
    valid: bool


class _Server(threading.Thread):
    """Takes samples off a queue in requests of ``batch`` and keeps the session's slots filled with them."""

    def __init__(self, session: Session, batch: int) -> None:
        super().__init__(daemon=True)
        self.inbox: SimpleQueue[Sequence[int] | None] = SimpleQueue()
        self._session = session
        self._batch = batch

    def run(self) -> None:
        while (ids := self.inbox.get()) is not None:
            self._serve(ids)

    def _serve(self, ids: Sequence[int]) -> None:
        left = [ids[i : i + self._batch] for i in range(0, len(ids), self._batch)][::-1]
        free, running = list(range(self._session.in_flight)), dict[int, Sequence[int]]()
        while left or running:
            while left and free:
                slot = free.pop()
                running[slot] = left.pop()
                self._session.start(slot)
            for slot, _ in self._session.wait():
                _complete(running.pop(slot))
                free.append(slot)


def _complete(ids: Sequence[int]) -> None:
    import mlperf_loadgen as lg

    lg.QuerySamplesComplete([lg.QuerySampleResponse(i, 0, 0) for i in ids])


def run_under(session: Session, scenario: Scenario, *, batch: int, rate: float, seconds: float, folder: Path) -> Told:
    """Serve LoadGen's requests for at least ``seconds``; its logs go to ``folder``. ``rate``: samples per second that
    are expected, which decides how many samples the offline query holds."""
    import mlperf_loadgen as lg

    server = _Server(session, batch if scenario == "Offline" else 1)
    server.start()
    sut = lg.ConstructSUT(lambda samples: server.inbox.put([s.id for s in samples]), lambda: None)
    library = lg.ConstructQSL(_SAMPLES, _SAMPLES, lambda indices: None, lambda indices: None)
    try:
        lg.StartTestWithLogSettings(sut, library, _settings(lg, scenario, rate, seconds), _log_settings(lg, folder))
    finally:
        server.inbox.put(None)
        lg.DestroyQSL(library)
        lg.DestroySUT(sut)
    return read_summary((folder / _SUMMARY).read_text(), scenario)


def _settings(lg: Any, scenario: Scenario, rate: float, seconds: float) -> Any:
    settings = lg.TestSettings()
    settings.scenario = getattr(lg.TestScenario, scenario)
    settings.mode = lg.TestMode.PerformanceOnly
    settings.min_duration_ms = int(seconds * 1000)
    settings.min_query_count = 10 if scenario == "SingleStream" else 1
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
