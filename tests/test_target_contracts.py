"""Every target keeps the contract, and every knob reaches its runtime."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from infertune.core.goal import parse_goal
from infertune.core.records import BuildJob, Failed, Feed, InferJob, MeasureJob, Model
from infertune.core.space import Space, Value
from infertune.edge.clock import MonotonicClock
from infertune.edge.shell import LocalShell
from infertune.edge.worker import LocalExecutor
from infertune.prepare.load import describe
from infertune.targets import discover, find_target, missing
from infertune.targets.inproc import input_pool, measure_session
from infertune.targets.onnxruntime.run import OrtSession
from infertune.testing.targets import QUICK, TargetContract
from small_models import write_classifier


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return describe(str(write_classifier(tmp_path_factory.mktemp("model") / "m.onnx")), shapes={})


class TestOnnxRuntime(TargetContract):
    target = find_target("onnxruntime")


class TestOpenVino(TargetContract):
    target = find_target("openvino")


class TestNull(TargetContract):
    target = find_target("null")

    def check_measurement(self, found: object, point: object) -> None:
        """In flight is the set size alone."""

    def test_outputs_do_not_depend_on_run_time_settings(self, model: Model, tmp_path: Path) -> None:
        """Nothing is computed."""


def test_every_target_here_is_under_contract() -> None:
    tested = {cls.target.name for cls in TargetContract.__subclasses__()}
    assert {name for name, target in discover().items() if target.automatic and not missing(target)} - {
        "qaic"
    } <= tested


def four_cpus(name: str, model: Model) -> Space:
    """The space of a machine with four CPUs, whatever this one has: rules then allow two instances of two threads."""
    from dataclasses import replace

    target = find_target(name)
    device = replace(target.probe(LocalShell())[0], units=4)
    return target.space(model, device, parse_goal("max throughput"))


def read_back(name: str, model: Model, folder: Path, **values: Value) -> dict[str, str]:
    space = four_cpus(name, model)
    point = space.seeds[0].but(cores=2, instances=1, set_size=1).but(**values)
    assert space.why_illegal(point) is None, space.why_illegal(point)
    target = find_target(name)
    target.build(BuildJob(model=model, point=point, into=str(folder)), LocalShell())
    job = MeasureJob(model=model, point=point, artifact=str(folder), plan=QUICK, feed=Feed(seed=0))
    return dict(target.measure(job, MonotonicClock(), LocalShell()).settings)


ORT_KNOBS: list[tuple[dict[str, Value], dict[str, str]]] = [
    ({"cores": 1, "spinning": "on"}, {"cores": "1"}),
    ({"cores": 2}, {"cores": "2"}),
    ({"instances": 2}, {"instances": "2", "sessions": "2"}),
    ({"instances": 2, "weights": "shared"}, {"instances": "2", "sessions": "1"}),
    ({"spinning": "off"}, {"spinning": "0"}),
    ({"spinning": "on"}, {"spinning": "1"}),
    ({"execution_mode": "parallel"}, {"execution_mode": "ORT_PARALLEL"}),
    ({"memory_pattern": "off"}, {"memory_pattern": "False"}),
    ({"arena": "off"}, {"arena": "False"}),
    ({"prepacking": "off"}, {"prepacking": "1"}),
    ({"denormals": "zero"}, {"denormals": "1"}),
]

OV_KNOBS: list[tuple[dict[str, Value], dict[str, str]]] = [
    ({"instances": 2}, {"instances": "2"}),
    ({"cores": 1}, {"threads": "1"}),
    ({"precision": "f32"}, {"precision": "f32"}),
    ({"execution_mode": "accuracy"}, {"execution_mode": "ACCURACY"}),
    ({"denormals": "zero"}, {"denormals": "True"}),
    ({"pinning": "on"}, {"pinning": "True"}),
    ({"pinning": "off"}, {"pinning": "False"}),
    (
        {"preset": "throughput", "cores": 0, "instances": 0, "set_size": 0, "precision": "runtime"},
        {"preset": "THROUGHPUT"},
    ),
    ({"preset": "latency", "cores": 0, "instances": 0, "set_size": 0, "precision": "runtime"}, {"preset": "LATENCY"}),
]


@pytest.mark.parametrize(("values", "told"), ORT_KNOBS, ids=str)
def test_knobs_reach_onnxruntime(model: Model, tmp_path: Path, values: dict[str, Value], told: dict[str, str]) -> None:
    assert read_back("onnxruntime", model, tmp_path, **values).items() >= told.items()


@pytest.mark.parametrize(("values", "told"), OV_KNOBS, ids=str)
def test_knobs_reach_openvino(model: Model, tmp_path: Path, values: dict[str, Value], told: dict[str, str]) -> None:
    assert read_back("openvino", model, tmp_path, **values).items() >= told.items()


def test_bf16_reaches_openvino_where_the_cpu_has_it(model: Model, tmp_path: Path) -> None:
    offered = find_target("openvino").probe(LocalShell())[0].precisions
    for precision in set(offered) - {"int8"}:
        folder = tmp_path / precision
        folder.mkdir()
        assert read_back("openvino", model, folder, precision=precision)["precision"] == precision


def test_the_optimisation_level_changes_what_is_built(model: Model, tmp_path: Path) -> None:
    import onnx

    counts = {}
    for level in ("off", "all"):
        folder = tmp_path / level
        folder.mkdir()
        read_back("onnxruntime", model, folder, optimisation=level)
        counts[level] = [node.op_type for node in onnx.load(str(folder / "model.onnx")).graph.node]
    assert counts["off"] != counts["all"]


def test_set_size_is_the_queue_at_each_instance(model: Model, tmp_path: Path) -> None:
    for name in ("onnxruntime", "openvino"):
        space, target = four_cpus(name, model), find_target(name)
        folder = tmp_path / name
        folder.mkdir()
        point = space.seeds[0].but(cores=1, instances=2, set_size=3)
        target.build(BuildJob(model=model, point=point, into=str(folder)), LocalShell())
        job = MeasureJob(model=model, point=point, artifact=str(folder), plan=QUICK, feed=Feed(seed=0))
        assert target.measure(job, MonotonicClock(), LocalShell()).in_flight == 6


def test_more_threads_than_cpus_are_illegal(model: Model) -> None:
    space = four_cpus("openvino", model)
    reason = space.why_illegal(space.seeds[0].but(cores=4, instances=2))
    assert reason == "cores x instances must not exceed the 4 CPUs this process may use"


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Inputs of several kinds: samples, a state with the batch on axis 1, and a scalar, as speech models have."""
    from onnx import TensorProto
    from onnx.helper import make_node

    import tiny_graphs as tiny

    nodes = [make_node("ReduceSum", ["state", "axis"], ["s"], keepdims=0), make_node("Cast", ["rate"], ["r"], to=1),
             make_node("MatMul", ["x", "w"], ["m"]), make_node("Add", ["m", "s"], ["a"]),
             make_node("Mul", ["a", "r"], ["y"])]  # fmt: skip
    inputs = [tiny.value("x", ("batch", 8)), tiny.value("state", (2, "batch", 4)),
              tiny.value("rate", (), TensorProto.INT64)]  # fmt: skip
    stored = [tiny.weight("w", 8, 4), tiny.constant("axis", 0)]
    made = tiny.model(nodes, inputs, [tiny.value("y", ("batch", 4))], stored)
    return describe(tiny.save(made, tmp_path_factory.mktemp("mixed") / "m.onnx"), shapes={})


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("batch", [1, 3])
def test_scalars_and_batches_on_other_axes_reach_the_runtime(
    mixed: Model, tmp_path: Path, name: str, batch: int
) -> None:
    target = find_target(name)
    point = four_cpus(name, mixed).seeds[0].but(batch=batch, precision="f32", cores=1, instances=1)
    target.build(BuildJob(model=mixed, point=point, into=str(tmp_path)), LocalShell())
    job = MeasureJob(model=mixed, point=point, artifact=str(tmp_path), plan=QUICK, feed=Feed(seed=0))
    assert target.measure(job, MonotonicClock(), LocalShell()).batch == batch
    saved = tmp_path / "out.npz"
    target.infer(InferJob(model=mixed, point=point, artifact=str(tmp_path), feed=Feed(seed=0), count=1,
                          into=str(saved)), LocalShell())  # fmt: skip
    assert np.load(saved)["y.0"].shape == (batch, 4)


def test_a_request_that_fails_in_openvino_ends_the_launch_with_its_reason(tmp_path: Path) -> None:
    """The numbers of a shape are drawn below 2, which no reshaping of 64 values fits."""
    from onnx.helper import make_node

    import tiny_graphs as tiny

    made = tiny.model(
        [make_node("Reshape", ["x", "shape"], ["r"]), make_node("Relu", ["r"], ["y"])],
        [tiny.value("x", ("batch", 64)), tiny.value("shape", (2,), tiny.INT64)],
        [tiny.value("y", None)],
    )
    model = describe(tiny.save(made, tmp_path / "m.onnx"), shapes={})
    point = four_cpus("openvino", model).seeds[0].but(precision="f32", cores=1, instances=1)
    find_target("openvino").build(BuildJob(model=model, point=point, into=str(tmp_path)), LocalShell())
    job = MeasureJob(model=model, point=point, artifact=str(tmp_path), plan=QUICK, feed=Feed(seed=0))
    found = LocalExecutor(LocalShell()).run("openvino", job, timeout_s=120.0)
    assert isinstance(found, Failed) and found.kind == "crash"
    assert "reshape pattern" in found.message and "Exception" not in found.message


def side_by_side(model: Model, folder: Path) -> MeasureJob:
    """Two instances of ONNX Runtime with two requests each."""
    point = four_cpus("onnxruntime", model).seeds[0].but(cores=1, instances=2, set_size=2)
    find_target("onnxruntime").build(BuildJob(model=model, point=point, into=str(folder)), LocalShell())
    return MeasureJob(model=model, point=point, artifact=str(folder), plan=QUICK, feed=Feed(seed=0), repeats=3)


def test_instances_side_by_side_take_their_next_requests_themselves(model: Model, tmp_path: Path) -> None:
    asked: list[int] = []

    class Noted(OrtSession):
        def start(self, slot: int) -> None:
            asked.append(slot)
            super().start(slot)

    job, clock = side_by_side(model, tmp_path), MonotonicClock()
    found = measure_session(job, clock, lambda pool: Noted(job, clock, pool))
    assert asked == [0, 0, 1, 2, 3] and len(found.latencies_ns) > len(asked)
    seen = sum(found.latencies_ns) / found.wall_ns
    assert seen == pytest.approx(4.0, abs=4 * 2 * max(found.latencies_ns) / found.wall_ns)
    assert found.repeats is not None


def test_an_instance_at_rest_has_served_everything_and_takes_no_more(model: Model, tmp_path: Path) -> None:
    job, clock = side_by_side(model, tmp_path), MonotonicClock()
    session = OrtSession(job, clock, input_pool(job))
    assert not session.rest(), "nothing was kept"
    assert session.keep()
    for slot in range(4):
        session.start(slot)
    assert all(slot in range(4) for _ in range(20) for slot, _ in session.wait())
    assert session.rest() and session.wait(0.0) == []
    session.start(3)
    assert [slot for slot, _ in session.wait()] == [3] and session.wait(0.0) == []
    session.close()


def test_what_an_instance_meets_while_it_keeps_itself_busy_ends_the_launch(model: Model, tmp_path: Path) -> None:
    job, clock = side_by_side(model, tmp_path), MonotonicClock()

    def load(pool: Sequence[Mapping[str, npt.NDArray[np.generic]]]) -> OrtSession:
        """Five are sent by the driving thread: the first alone, and one for each slot."""
        return OrtSession(job, clock, [*pool[:6], {name: array[:, :1] for name, array in pool[0].items()}])

    with pytest.raises(Exception, match="INVALID_ARGUMENT"):
        measure_session(job, clock, load)


@pytest.mark.parametrize(("set_size", "callers"), [(1, 0), (2, 1)])
def test_a_request_alone_in_flight_is_served_where_it_is_waited_for(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, set_size: int, callers: int
) -> None:
    from infertune.targets.onnxruntime import run

    started: list[threading.Thread] = []

    class Noted(run.Caller):
        def start(self) -> None:
            started.append(self)
            super().start()

    monkeypatch.setattr(run, "Caller", Noted)
    target, point = find_target("onnxruntime"), four_cpus("onnxruntime", model).seeds[0]
    point = point.but(cores=1, instances=1, set_size=set_size)
    target.build(BuildJob(model=model, point=point, into=str(tmp_path)), LocalShell())
    job = MeasureJob(model=model, point=point, artifact=str(tmp_path), plan=QUICK, feed=Feed(seed=0))
    assert target.measure(job, MonotonicClock(), LocalShell()).in_flight == set_size
    assert len(started) == callers
