"""Run: sessions side by side, one caller thread each; latency phases are enqueue (waiting for it) and execute."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import cycle
from operator import itemgetter
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
_PAUSE_S = 0.001  # between two looks of the driving thread at instances that need it for nothing


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
    """One instance: takes requests off its queue and serves them one at a time; each again while it is ``keeping``.

    An event on the queue ends that: it is set once everything is served.
    """

    def __init__(
        self,
        session: ort.InferenceSession,
        clock: Clock,
        pool: Iterator[Arrays],
        done: SimpleQueue[_Completion | BaseException],
    ) -> None:
        super().__init__(daemon=True)
        self._serve = partial(_served, session, clock)
        self._pool = pool
        self._done = done
        self.keeping = False
        self.inbox: SimpleQueue[_Request | threading.Event | None] = SimpleQueue()

    def run(self) -> None:
        rest: threading.Event | None = None
        try:
            while (request := self.inbox.get()) is not None:
                if isinstance(request, threading.Event):
                    self.keeping, rest = False, request
                else:
                    self._one(request)
                if rest is not None and self.inbox.empty():
                    rest.set()
                    rest = None
        except BaseException as error:  # noqa: BLE001 - handed to the driving thread, which raises it
            self._done.put(error)

    def _one(self, request: _Request) -> None:
        slot, end, enqueue, execute = self._serve(request)
        if self.keeping:
            self.inbox.put((slot, end, next(self._pool)))
        self._done.put((slot, end, enqueue, execute))


class _Callers:
    """Instances side by side, each with a thread and a queue of its own."""

    def __init__(self, sessions: Sequence[ort.InferenceSession], clock: Clock, pool: Iterator[Arrays]) -> None:
        self._done: SimpleQueue[_Completion | BaseException] = SimpleQueue()
        self._callers = [Caller(session, clock, pool, self._done) for session in sessions]
        self._pause = partial(clock.sleep, _PAUSE_S)
        self._kept = False
        for caller in self._callers:
            caller.start()

    def send(self, request: _Request) -> None:
        self._callers[request[0] % len(self._callers)].inbox.put(request)

    def take(self, timeout_s: float | None) -> list[_Completion]:
        """All that are done, in order; where nobody waits for the driving thread it wakes up less often."""
        try:
            done = [self._done.get(timeout=timeout_s)]
        except Empty:
            return []
        if self._kept:
            self._pause()
            done += [self._done.get() for _ in range(self._done.qsize())]
        return sorted((_whole(completion) for completion in done), key=itemgetter(1))

    def keep(self) -> bool:
        for caller in self._callers:
            caller.keeping = True
        self._kept = True
        return True

    def rest(self) -> bool:
        if not self._kept:
            return False
        self._kept = False
        events = [threading.Event() for _ in self._callers]
        for caller, event in zip(self._callers, events, strict=True):
            caller.inbox.put(event)
            while caller.is_alive() and not event.wait(_PAUSE_S):
                continue
        for _ in range(self._done.qsize()):
            _whole(self._done.get())
        return True

    def close(self) -> None:
        for caller in self._callers:
            caller.inbox.put(None)


def _whole(done: _Completion | BaseException) -> _Completion:
    if isinstance(done, BaseException):
        raise done
    return done


class _Alone:
    """One request at a time, served where it is waited for: handing it to another thread and back costs 50
    microseconds or more, several times what a small model takes."""

    def __init__(self, session: ort.InferenceSession, clock: Clock) -> None:
        self._serve = partial(_served, session, clock)
        self._request: _Request | None = None

    def send(self, request: _Request) -> None:
        self._request = request

    def take(self, timeout_s: float | None) -> list[_Completion]:
        """Waits for the end whatever ``timeout_s``: nothing else can be sent before."""
        request, self._request = self._request, None
        return [] if request is None else [self._serve(request)]

    def keep(self) -> bool:
        return False

    def rest(self) -> bool:
        return False

    def close(self) -> None:
        self._request = None


class OrtSession:
    """`seams.Session`: ``instances`` callers, ``set_size`` requests queued at each."""

    def __init__(self, job: MeasureJob, clock: Clock, pool: Sequence[Arrays]) -> None:
        instances = max(1, job.point.number("instances"))
        self.in_flight = instances * max(1, job.point.number("set_size"))
        shared = load(job) if job.point["weights"] == "shared" else None
        self._sessions = [shared or load(job) for _ in range(instances)]
        self._pool: Iterator[Arrays] = cycle([dict(inputs) for inputs in pool])
        alone = self.in_flight == 1
        self._service = _Alone(self._sessions[0], clock) if alone else _Callers(self._sessions, clock, self._pool)
        self._now_ns = clock.now_ns
        self._enqueue: list[int] = []
        self._execute: list[int] = []

    def start(self, slot: int) -> None:
        self._service.send((slot, self._now_ns(), next(self._pool)))

    def wait(self, timeout_s: float | None = None) -> Sequence[tuple[int, int]]:
        done = self._service.take(timeout_s)
        self._enqueue += [enqueue for _, _, enqueue, _ in done]
        self._execute += [execute for _, _, _, execute in done]
        return [(slot, end) for slot, end, _, _ in done]

    def keep(self) -> bool:
        return self._service.keep()

    def rest(self) -> bool:
        return self._service.rest()

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
