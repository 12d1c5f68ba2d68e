"""Run: sessions side by side, one caller thread each; latency phases are enqueue (waiting for it) and execute."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from infertune.core.records import InferJob, MeasureJob, Phase, RawNs
from infertune.core.seams import Clock
from infertune.core.space import Point
from infertune.targets.onnxruntime.build import bind_shapes
from infertune.targets.onnxruntime.knobs import MODEL_FILE, ORIGINAL
from infertune.targets.onnxruntime.outputs import numbers
from infertune.targets.onnxruntime.settings import CONFIG_ENTRIES, LOG_SEVERITY, entries, options

if TYPE_CHECKING:
    import onnxruntime as ort

Arrays = Mapping[str, npt.NDArray[np.generic]]


def session_options(point: Point) -> ort.SessionOptions:
    """Run-time settings of a point that is not a preset; the graph was optimised when it was built."""
    import onnxruntime as ort

    enums = {"execution_mode": ort.ExecutionMode, "graph_optimization_level": ort.GraphOptimizationLevel}
    settings = ort.SessionOptions()
    for name, value in options(point).items():
        setattr(settings, name, getattr(enums[name], str(value)) if name in enums else value)
    for entry, text in entries(point).items():
        settings.add_session_config_entry(entry, text)
    return settings


def default_options(shapes: tuple[tuple[str, int], ...]) -> ort.SessionOptions:
    """What a person gets without setting anything, the model's free dimensions bound as for every other point."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = LOG_SEVERITY
    bind_shapes(options, shapes)
    return options


def load(job: MeasureJob | InferJob) -> ort.InferenceSession:
    import onnxruntime as ort

    ort.disable_telemetry_events()
    providers = ["CPUExecutionProvider"]
    if job.point["preset"] == ORIGINAL:
        return ort.InferenceSession(job.model.path, default_options(job.model.shapes), providers=providers)
    path = os.path.join(job.artifact, MODEL_FILE)
    return ort.InferenceSession(path, session_options(job.point), providers=providers)


def read_back(session: ort.InferenceSession) -> tuple[tuple[str, str], ...]:
    """What the session says of its own settings, by knob name."""
    options = session.get_session_options()
    told = [
        ("cores", str(options.intra_op_num_threads)),
        ("execution_mode", options.execution_mode.name),
        ("memory_pattern", str(options.enable_mem_pattern)),
        ("arena", str(options.enable_cpu_mem_arena)),
    ]
    for knob, (entry, _) in CONFIG_ENTRIES.items():
        try:
            told.append((knob, options.get_session_config_entry(entry)))
        except RuntimeError:  # never set: the runtime's own default
            continue
    return tuple(told)


def runner(job: InferJob) -> Callable[[Arrays], Arrays]:
    """A function from inputs to named outputs."""
    return partial(_outputs, load(job))


def _outputs(session: ort.InferenceSession, inputs: Arrays) -> Arrays:
    names = [output.name for output in session.get_outputs()]
    return numbers(dict(zip(names, session.run(None, dict(inputs)), strict=True)))


_Request = tuple[int, int, Arrays]
_Completion = tuple[int, int, int, int]


def _served(session: ort.InferenceSession, clock: Clock, request: _Request) -> _Completion:
    """(slot, end, enqueue, execute) in ns of a request, once it is done."""
    slot, sent, inputs = request
    began = clock.now_ns()
    session.run(None, inputs)
    end = clock.now_ns()
    return slot, end, began - sent, end - began


class Caller(threading.Thread):
    """One instance: takes requests off its queue and serves them one at a time."""

    def __init__(self, session: ort.InferenceSession, clock: Clock, done: SimpleQueue[_Completion | BaseException]):
        super().__init__(daemon=True)
        self._serve = partial(_served, session, clock)
        self._done = done
        self.inbox: SimpleQueue[_Request | None] = SimpleQueue()

    def run(self) -> None:
        try:
            while (request := self.inbox.get()) is not None:
                self._done.put(self._serve(request))
        except BaseException as error:  # noqa: BLE001 - handed to the driving thread, which raises it
            self._done.put(error)


class _Callers:
    """Instances side by side, each with a thread and a queue of its own."""

    def __init__(self, sessions: Sequence[ort.InferenceSession], clock: Clock) -> None:
        self._done: SimpleQueue[_Completion | BaseException] = SimpleQueue()
        self._callers = [Caller(session, clock, self._done) for session in sessions]
        for caller in self._callers:
            caller.start()

    def send(self, request: _Request) -> None:
        self._callers[request[0] % len(self._callers)].inbox.put(request)

    def take(self, timeout_s: float | None) -> _Completion | None:
        try:
            done = self._done.get(timeout=timeout_s)
        except Empty:
            return None
        if isinstance(done, BaseException):
            raise done
        return done

    def close(self) -> None:
        for caller in self._callers:
            caller.inbox.put(None)


class _Alone:
    """One request at a time, served where it is waited for: handing it to another thread and back costs 50
    microseconds or more, several times what a small model takes."""

    def __init__(self, session: ort.InferenceSession, clock: Clock) -> None:
        self._serve = partial(_served, session, clock)
        self._request: _Request | None = None

    def send(self, request: _Request) -> None:
        self._request = request

    def take(self, timeout_s: float | None) -> _Completion | None:
        """Waits for the end whatever ``timeout_s``: nothing else can be sent before."""
        request, self._request = self._request, None
        return self._serve(request) if request is not None else None

    def close(self) -> None:
        self._request = None


class OrtSession:
    """`seams.Session`: ``instances`` callers, ``set_size`` requests queued at each."""

    def __init__(self, job: MeasureJob, clock: Clock, pool: Sequence[Arrays]) -> None:
        instances = max(1, job.point.number("instances"))
        self.in_flight = instances * max(1, job.point.number("set_size"))
        shared = load(job) if job.point["weights"] == "shared" else None
        self._sessions = [shared or load(job) for _ in range(instances)]
        alone = self.in_flight == 1
        self._service = _Alone(self._sessions[0], clock) if alone else _Callers(self._sessions, clock)
        self._now_ns = clock.now_ns
        self._pool = [dict(inputs) for inputs in pool]
        self._next = 0
        self._enqueue: list[int] = []
        self._execute: list[int] = []

    def start(self, slot: int) -> None:
        self._next = (self._next + 1) % len(self._pool)
        self._service.send((slot, self._now_ns(), self._pool[self._next]))

    def wait(self, timeout_s: float | None = None) -> Sequence[tuple[int, int]]:
        done = self._service.take(timeout_s)
        if done is None:
            return ()
        slot, end, enqueue, execute = done
        self._enqueue.append(enqueue)
        self._execute.append(execute)
        return ((slot, end),)

    def phases(self) -> tuple[Phase, ...]:
        told = (
            Phase(name="enqueue", samples_ns=RawNs(self._enqueue)),
            Phase(name="execute", samples_ns=RawNs(self._execute)),
        )
        self._enqueue, self._execute = [], []
        return told

    def answer(self, inputs: Arrays) -> Arrays:
        return _outputs(self._sessions[0], inputs)

    def settings(self) -> tuple[tuple[str, str], ...]:
        sessions = len({id(session) for session in self._sessions})
        return (*read_back(self._sessions[0]), ("instances", str(len(self._sessions))), ("sessions", str(sessions)))

    def close(self) -> None:
        self._service.close()
