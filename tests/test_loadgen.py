"""LoadGen drives a session; its summary is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from infertune.edge.clock import MonotonicClock
from infertune.targets.loadgen import Scenario, read_summary, run_under
from infertune.targets.null import NullSession

STREAM = """
Scenario : SingleStream
90.0th percentile latency (ns) : 12345678
Result is : VALID
QPS w/ loadgen overhead         : 81.10
QPS w/o loadgen overhead        : 81.33
90.00 percentile latency (ns)   : 12345679
"""


class Counting(NullSession):
    """Counts requests, and never lets one slot serve two of them."""

    def __init__(self, in_flight: int) -> None:
        super().__init__(in_flight, MonotonicClock())
        self.started = 0
        self.busy: set[int] = set()

    def start(self, slot: int) -> None:
        assert slot not in self.busy
        self.busy.add(slot)
        self.started += 1
        super().start(slot)

    def wait(self, timeout_s: float | None = None) -> list[tuple[int, int]]:
        done = list(super().wait(timeout_s))
        self.busy -= {slot for slot, _ in done}
        return done


@pytest.mark.parametrize(("scenario", "batch"), [("SingleStream", 1), ("Offline", 4), ("Server", 2)])
def test_a_session_serves_loadgen(tmp_path: Path, scenario: Scenario, batch: int) -> None:
    pytest.importorskip("mlperf_loadgen")
    session = Counting(3)
    told = run_under(session, scenario, batch=batch, rate=1000.0, seconds=0.2, folder=tmp_path)
    assert told.throughput > 0 and not session.busy
    assert (told.p90_ns is not None) == (scenario != "Offline")
    summary = (tmp_path / "mlperf_log_detail.txt").read_text()
    assert session.started > 0 and summary
    if scenario == "Offline":
        assert session.started == pytest.approx(1000 * 0.2 * 1.1 / batch, abs=2), "samples go in requests of the batch"


def test_the_summary_is_read() -> None:
    found = read_summary(STREAM, "SingleStream")
    assert (found.throughput, found.p90_ns, found.valid) == (81.33, 12345679.0, True)
    offline = read_summary("Samples per second: 512.5\nResult is : INVALID\n", "Offline")
    assert (offline.throughput, offline.p90_ns, offline.valid) == (512.5, None, False)
    with pytest.raises(ValueError, match="no figure"):
        read_summary("Scenario : Offline", "Offline")
