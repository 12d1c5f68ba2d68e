"""The files that a simulated run leaves: latency profiles, summaries and chrome traces, one per activation."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from infertune.targets.qaic.profile import SIMULATED, render
from infertune.targets.qaic.sim.forecast import Forecast
from infertune.targets.qaic.sim.programs.queueing import Floats, Requests, executing, phases

MARK = "Simulated card: nothing below was measured on hardware"
HEADING = (f"Latency profile {SIMULATED}", "Times in microseconds", "One line per inference", "")
WAITING = 0.06
OUTPUT_WAIT_US = 0.141
"""Waiting for inputs, as a share of executing, and for outputs, in the published table with op-stats."""
_DEVICE = ("devInfPerSec", "devExecUs", "devInWaitTimeUs", "devOutWaitTimeUs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which files, where, from which request of each activation on, and how many requests at most.

    ``first``: the index of the first file, which depends on the SDK. ``cut``: lose the end of the last line.
    """

    kinds: Sequence[str]
    folder: str
    start: int
    samples: int
    first: int
    set_size: int
    batch: int
    op_stats: bool
    cut: bool

    @property
    def kept(self) -> slice:
        return slice(self.start, self.start + self.samples)


@dataclass(frozen=True, slots=True, kw_only=True)
class Activation:
    """One activation's requests: the columns of its latency profile, and for how long each had its cores."""

    requests: Requests
    columns: dict[str, Floats]
    executing: Floats


def activation(found: Requests, forecast: Forecast, rng: np.random.Generator) -> Activation:
    columns = phases(found, forecast, rng)
    return Activation(requests=found, columns=columns, executing=executing(found, columns))


def write(wanted: Wanted, found: Sequence[Activation], say: Callable[[str], None]) -> None:
    """Write every file, telling about each as the runner does."""
    for number, one in enumerate(found):
        for kind in dict.fromkeys(name.removesuffix("_stream") for name in wanted.kinds):
            path, text = _file(wanted, kind, number, one)
            if os.path.exists(path):
                say(f"Deleting previous file: {path}")
            with open(path, "w") as file:
                file.write(text)
            say(f"Writing file:{path}")


def _file(wanted: Wanted, kind: str, number: int, one: Activation) -> tuple[str, str]:
    start = f"{wanted.folder}/aic-profiling-program-{wanted.first + number}"
    if kind == "trace":
        return f"{start}-trace.json", _trace(wanted, number, one)
    if kind == "stats":
        path = f"{start}-activation-{number}-inf-{wanted.start}.txt"
        return path, f"{MARK}\n{device_performance(one.executing[wanted.kept])}"
    text = render(*_latency(wanted, one), HEADING)
    return f"{start}-latency.txt", text[:-7] if wanted.cut else text


def _latency(wanted: Wanted, one: Activation) -> tuple[list[str], list[str]]:
    """Column names and lines: whole microseconds where the kernel's clock counts, nanoseconds elsewhere."""
    device = _device_columns(wanted.batch, one.executing) if wanted.op_stats else {}
    told = {**device, **one.columns}
    whole = ("hostRoundTripUs", "exectoVcUs", "execToCompleteUs")
    numbers = ["%.0f" if name in whole else "%.3f" for name in told]
    form = ", ".join(["%d", str(wanted.set_size - 1), str(wanted.set_size), *numbers])
    steps = zip(*(values[wanted.kept].tolist() for values in told.values()), strict=True)
    lines = [form % (number, *row) for number, row in enumerate(steps, start=wanted.start)]
    return ["Sample", "queueDepth", "numInfInQueue", *told], lines


def _device_columns(batch: int, execution: Floats) -> dict[str, Floats]:
    values = (1e6 * batch / execution, execution, WAITING * execution, np.full_like(execution, OUTPUT_WAIT_US))
    return dict(zip(_DEVICE, values, strict=True))


def device_performance(execution: Floats) -> str:
    """What programs compiled with op-stats tell besides, of requests that had their cores for so many microseconds."""
    waits = (("InputWaitTimeUs", WAITING * execution), ("OutputWaitTimeUs", np.full_like(execution, OUTPUT_WAIT_US)))
    lines = (f"{name}, {_spread(values)}\n" for name, values in (("ExecTimeUs", execution), *waits))
    return "Device Performance:\nMetric, Avg, Min, Max, Std\n" + "".join(lines)


def _spread(values: Floats) -> str:
    told = (values.mean(), values.min(), values.max(), values.std()) if len(values) else (0.0,) * 4
    return ", ".join(f"{value:.3f}" for value in told)


def _trace(wanted: Wanted, number: int, one: Activation) -> str:
    """Complete events of chrome://tracing: each request on the device, and on the host in one of its queue's places."""
    events = []
    steps = zip(one.requests.sent, one.requests.done, one.executing, strict=True)
    for place, (sent, done, execution) in list(enumerate(steps))[wanted.kept]:
        events.append(_event("inference", number, f"host {place % wanted.set_size}", sent, done - sent))
        events.append(_event("execute", number, "device", done - execution, execution))
    return json.dumps(
        {"traceEvents": events, "displayTimeUnit": "ms", "otherData": {"simulated": "true", "note": MARK}}
    )


def _event(name: str, process: int, thread: str, start: float, length: float) -> dict[str, str | int | float]:
    return {
        "ph": "X", "pid": process, "tid": thread, "name": name, "ts": round(start, 3), "dur": round(length, 3)
    }  # fmt: skip
