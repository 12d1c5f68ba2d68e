"""Run: one compiled model, ``in_flight`` infer requests; latency phases are enqueue and execute."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from infertune.core.records import InferJob, MeasureJob, Phase, RawNs
from infertune.core.seams import Clock
from infertune.core.space import Point
from infertune.targets.cpu import EXPLICIT
from infertune.targets.int8 import INT8
from infertune.targets.openvino.build import bind
from infertune.targets.openvino.knobs import MODEL_FILE, PRESETS

if TYPE_CHECKING:
    import openvino as ov

Arrays = Mapping[str, npt.NDArray[np.generic]]
_LOOK_S = 0.5  # how often failed requests are looked for: OpenVINO never calls the Python callback of one
_YES = {"on": True, "off": False}
_READ_BACK = {
    "instances": "NUM_STREAMS",
    "threads": "INFERENCE_NUM_THREADS",
    "precision": "INFERENCE_PRECISION_HINT",
    "preset": "PERFORMANCE_HINT",
    "pinning": "ENABLE_CPU_PINNING",
    "hyper_threading": "ENABLE_HYPER_THREADING",
    "execution_mode": "EXECUTION_MODE_HINT",
    "denormals": "CPU_DENORMALS_OPTIMIZATION",
}


def properties(point: Point) -> dict[str, str | int | bool]:
    """A point as OpenVINO compile properties; a preset sets its hint and nothing else."""
    preset = str(point["preset"])
    if preset != EXPLICIT:
        hint = PRESETS[preset]
        return {} if hint is None else {"PERFORMANCE_HINT": hint}
    instances = point.number("instances")
    arithmetic = {} if point["precision"] == INT8 else {"INFERENCE_PRECISION_HINT": str(point["precision"])}
    return {
        "NUM_STREAMS": instances,
        "INFERENCE_NUM_THREADS": instances * point.number("cores"),
        **arithmetic,
        "ENABLE_CPU_PINNING": _YES[str(point["pinning"])],
        "ENABLE_HYPER_THREADING": _YES[str(point["hyper_threading"])],
        "EXECUTION_MODE_HINT": str(point["execution_mode"]).upper(),
        "CPU_DENORMALS_OPTIMIZATION": point["denormals"] == "zero",
    }


def load(job: MeasureJob | InferJob) -> ov.CompiledModel:
    """The artifact at the point's batch, compiled with the point's properties."""
    import openvino as ov

    core = ov.Core()
    network = core.read_model(os.path.join(job.artifact, MODEL_FILE))
    bind(network, job.model, job.point.number("batch", 1))
    return core.compile_model(network, "CPU", properties(job.point))


def read_back(compiled: ov.CompiledModel) -> tuple[tuple[str, str], ...]:
    """What the compiled model says of its own settings, by knob name."""
    told = []
    for knob, name in _READ_BACK.items():
        value = compiled.get_property(name)
        spelled = value.to_string() if hasattr(value, "to_string") else str(value).rpartition(".")[2]
        told.append((knob, spelled))
    return tuple(told)


def requests_for(compiled: ov.CompiledModel, point: Point) -> int:
    """``instances`` x ``set_size``; under a preset what OpenVINO itself calls optimal, one request by default."""
    if point["preset"] == EXPLICIT:
        return point.number("instances") * point.number("set_size")
    if point["preset"] == "default":
        return 1
    return int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))


def runner(job: InferJob) -> Callable[[Arrays], Arrays]:
    """A function from inputs to named outputs."""
    return answering(load(job), [spec.name for spec in job.model.outputs])


def answering(compiled: ov.CompiledModel, outputs: Sequence[str]) -> Callable[[Arrays], Arrays]:
    """The same, of a compiled model."""
    request = compiled.create_infer_request()

    def run(inputs: Arrays) -> Arrays:
        request.infer({name: array for name, array in inputs.items() if _has(compiled, name)})
        return {name: np.array(request.get_tensor(name).data) for name in outputs}

    return run


def _has(compiled: ov.CompiledModel, name: str) -> bool:
    return any(name in port.get_names() for port in compiled.inputs)


class OvSession:
    """`seams.Session` over infer requests; input tensors are made once and shared with the runtime, never copied."""

    def __init__(self, job: MeasureJob, clock: Clock, pool: Sequence[Arrays]) -> None:
        import openvino as ov

        self._compiled = load(job)
        self._outputs = [spec.name for spec in job.model.outputs]
        self._now_ns = clock.now_ns
        self.in_flight = requests_for(self._compiled, job.point)
        self._requests = [self._compiled.create_infer_request() for _ in range(self.in_flight)]
        self._sent = [0] * self.in_flight
        self._done: SimpleQueue[tuple[int, int]] = SimpleQueue()
        names = [next(n for n in port.get_names() if n in pool[0]) for port in self._compiled.inputs]
        self._tensors = [
            [ov.Tensor(np.asarray(inputs[name], order="C"), shared_memory=True) for name in names] for inputs in pool
        ]
        self._answer: Callable[[Arrays], Arrays] | None = None
        self._next = 0
        self._look_ns = 0
        self._enqueue: list[int] = []
        self._execute: list[int] = []
        for slot, request in enumerate(self._requests):
            request.set_callback(self._on_done, slot)

    def _on_done(self, slot: int) -> None:
        self._done.put((slot, self._now_ns()))

    def start(self, slot: int) -> None:
        self._next = (self._next + 1) % len(self._tensors)
        request = self._requests[slot]
        for port, tensor in enumerate(self._tensors[self._next]):
            request.set_input_tensor(port, tensor)
        self._sent[slot] = self._now_ns()
        request.start_async()

    def wait(self, timeout_s: float | None = None) -> Sequence[tuple[int, int]]:
        """Also raises, about every `_LOOK_S`, what a request failed of."""
        left = math.inf if timeout_s is None else timeout_s
        while True:
            self._look()
            try:
                return (self._completed(*self._done.get(timeout=min(left, _LOOK_S))),)
            except Empty:
                left -= _LOOK_S
                if left <= 0:
                    return ()

    def _look(self) -> None:
        now = self._now_ns()
        if now < self._look_ns:
            return
        self._look_ns = now + int(_LOOK_S * 1e9)
        for request in self._requests:
            request.wait_for(0)

    def _completed(self, slot: int, end: int) -> tuple[int, int]:
        request = self._requests[slot]
        request.wait()  # the callback comes a little before the request may be started again
        execute = int(request.latency * 1e6)
        self._execute.append(execute)
        self._enqueue.append(max(0, end - self._sent[slot] - execute))
        return slot, end

    def phases(self) -> tuple[Phase, ...]:
        told = (
            Phase(name="enqueue", samples_ns=RawNs(self._enqueue)),
            Phase(name="execute", samples_ns=RawNs(self._execute)),
        )
        self._enqueue, self._execute = [], []
        return told

    def answer(self, inputs: Arrays) -> Arrays:
        self._answer = self._answer or answering(self._compiled, self._outputs)
        return self._answer(inputs)

    def settings(self) -> tuple[tuple[str, str], ...]:
        return read_back(self._compiled)

    def close(self) -> None:
        """Nothing: cancelling waits for the running request, and the worker process is about to end anyway."""
