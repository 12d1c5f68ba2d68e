"""The files that a simulated run leaves: latency profiles, summaries and chrome traces, one per activation."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from infertune.targets.qaic.profile import SIMULATED, render
from infertune.targets.qaic.sim.forecast import Forecast
from infertune.targets.qaic.sim.programs.queueing import Floats, Requests, phases

HEADING = (f"Latency profile {SIMULATED}", "Times in microseconds", "One line per inference", "")
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
    op_stats: bool
    cut: bool


def write(
    wanted: Wanted, found: Sequence[Requests], forecast: Forecast, rng: np.random.Generator, say: Callable[[str], None]
) -> None:
    """Write every file, telling about each as the runner does."""
    for number, one in enumerate(found):
        columns = phases(one, forecast, rng)
        kept = slice(wanted.start, wanted.start + wanted.samples)
        for kind in dict.fromkeys(name.removesuffix("_stream") for name in wanted.kinds):
            path, text = _file(wanted, kind, number, one, columns, kept)
            if os.path.exists(path):
                say(f"Deleting previous file: {path}")
            with open(path, "w") as file:
                file.write(text)
            say(f"Writing file:{path}")


def _file(
    wanted: Wanted, kind: str, number: int, one: Requests, columns: dict[str, Floats], kept: slice
) -> tuple[str, str]:
    start = f"{wanted.folder}/aic-profiling-program-{wanted.first + number}"
    if kind == "trace":
        return f"{start}-trace.json", _trace(number, one, columns, kept)
    if kind == "stats":
        return f"{start}-activation-{number}-inf-{wanted.start}.txt", device_performance(_mean(columns, kept))
    text = render(*_latency(wanted, columns, kept), HEADING)
    return f"{start}-latency.txt", text[:-7] if wanted.cut else text


def _mean(columns: dict[str, Floats], kept: slice) -> float:
    values = columns["execToCompleteUs"][kept]
    return float(values.mean()) if len(values) else 0.0


def _latency(wanted: Wanted, columns: dict[str, Floats], kept: slice) -> tuple[list[str], list[str]]:
    """Column names and lines: whole microseconds where the kernel's clock counts, nanoseconds elsewhere."""
    device = _device_columns(columns) if wanted.op_stats else {}
    told = {**device, **columns}
    whole = ("hostRoundTripUs", "exectoVcUs", "execToCompleteUs")
    numbers = ["%.0f" if name in whole else "%.3f" for name in told]
    form = ", ".join(["%d", str(wanted.set_size - 1), str(wanted.set_size), *numbers])
    steps = zip(*(values[kept].tolist() for values in told.values()), strict=True)
    lines = [form % (number, *row) for number, row in enumerate(steps, start=wanted.start)]
    return ["Sample", "queueDepth", "numInfInQueue", *told], lines


def _device_columns(columns: dict[str, Floats]) -> dict[str, Floats]:
    execution = 0.93 * columns["execToCompleteUs"]
    waiting = 0.05 * columns["execToCompleteUs"]
    values = (1e6 / execution, execution, waiting, np.full_like(execution, 0.141))
    return dict(zip(_DEVICE, values, strict=True))


def device_performance(exec_us: float) -> str:
    """What programs compiled with op-stats tell besides."""
    rows = (("ExecTimeUs", exec_us), ("InputWaitTimeUs", 0.06 * exec_us), ("OutputWaitTimeUs", 0.141))
    lines = (f"{name}, {m:.3f}, {0.97 * m:.3f}, {1.13 * m:.3f}, {0.016 * m:.3f}\n" for name, m in rows)
    return "Device Performance:\nMetric, Avg, Min, Max, Std\n" + "".join(lines)


def _trace(number: int, one: Requests, columns: dict[str, Floats], kept: slice) -> str:
    """Complete events of chrome://tracing: each request on the host and on the device."""
    events = []
    steps = zip(one.sent[kept], one.done[kept], columns["execToCompleteUs"][kept], strict=True)
    for sent, done, device in steps:
        events.append(_event("inference", number, "host", sent, done - sent))
        events.append(_event("execute", number, "device", done - device, device))
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ms"})


def _event(name: str, process: int, thread: str, start: float, length: float) -> dict[str, str | int | float]:
    return {
        "ph": "X", "pid": process, "tid": thread, "name": name, "ts": round(start, 3), "dur": round(length, 3)
    }  # fmt: skip
