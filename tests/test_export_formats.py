"""Every export format, read back by the parser or loader of what it is written for."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from runpy import run_path
from typing import Any

import numpy as np
import pytest
from onnx.helper import make_node

from infertune.core.errors import UsageError
from infertune.core.goal import parse_goal
from infertune.core.records import BuildJob, ExportJob, Feed, Interval, Model, TensorSpec
from infertune.core.space import Value
from infertune.edge.shell import LocalShell
from infertune.export import formats
from infertune.export.bundle import Bundle, Promise, complete_bundle, ours, readme
from infertune.export.pbtxt import queue_delay_us, text
from infertune.prepare.inputs import described, make_inputs
from infertune.prepare.load import describe
from infertune.prepare.samples import batch_axis
from infertune.targets import find_target, inputs_template
from infertune.targets.qaic.sim.install import install
from infertune.testing.records import a_model
from small_models import write_classifier

EXPLICIT: dict[str, dict[str, Value]] = {
    "onnxruntime": {"cores": 1, "instances": 2, "set_size": 1, "batch": 4, "spinning": "on", "weights": "shared"},
    "openvino": {"cores": 1, "instances": 2, "set_size": 2, "batch": 4, "precision": "f32", "pinning": "off"},
}


def promised(model: Model, target: str, **values: Value) -> Promise:
    found = find_target(target)
    device = replace(found.probe(LocalShell())[0], units=2)
    space = found.space(model, device, parse_goal("max throughput"))
    seed = space.seeds[0]
    point = seed.but(**values) if values else seed
    assert space.why_illegal(point) is None, space.why_illegal(point)
    return Promise(
        model=model,
        point=point,
        device=device,
        feed=Feed(seed=0),
        goal="max throughput",
        throughput=Interval(value=800.0, low=790.0, high=810.0),
        confirmed=True,
        launches=6,
        in_flight=max(1, point.number("instances", 1) * point.number("set_size", 1)),
    )


def made(folder: Path, promise: Promise) -> Bundle:
    """The bundle as the target itself writes it, without worker processes."""
    target = find_target(promise.point.target)
    artifact, into = folder / "artifact", folder / "bundle"
    artifact.mkdir()
    into.mkdir()
    target.build(BuildJob(model=promise.model, point=promise.point, into=str(artifact)), LocalShell())
    target.export(ExportJob(model=promise.model, point=promise.point, artifact=str(artifact), into=str(into)))
    return complete_bundle(into, promise)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return describe(str(write_classifier(tmp_path_factory.mktemp("model") / "my model.onnx")), shapes={})


@pytest.fixture(scope="module")
def onnxruntime_bundle(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return made(tmp_path_factory.mktemp("ort"), promised(model, "onnxruntime", **EXPLICIT["onnxruntime"]))


@pytest.fixture(scope="module")
def openvino_bundle(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return made(tmp_path_factory.mktemp("ov"), promised(model, "openvino", **EXPLICIT["openvino"]))


@pytest.fixture
def bundles(onnxruntime_bundle: Bundle, openvino_bundle: Bundle) -> dict[str, Bundle]:
    return {"onnxruntime": onnxruntime_bundle, "openvino": openvino_bundle}


def written(name: str, bundle: Bundle, into: Path) -> Path:
    one = formats.find_format(name, bundle.promise.point.target)
    (into / "README.md").write_text(readme(bundle, "a setting", one.write(bundle, into), outputs="not checked"))
    return into


# ---------------------------------------------------------------- the registry


def test_a_format_is_a_file() -> None:
    files = {p.stem for p in Path(formats.__file__).parent.glob("*.py")} - {"__init__"}
    assert {name.replace("-", "_") for name in formats.names()} == files
    assert formats.names()[0] == "python"
    assert all(one.title and isinstance(one.targets, frozenset) for one in formats.discover().values())


def test_every_target_with_a_deployment_has_formats() -> None:
    fitting = {t: [n for n, f in formats.discover().items() if formats.fits(f, t)] for t in ("openvino", "qaic")}
    assert fitting["openvino"] == ["python", "dockerfile", "openvino", "openvino-model-server", "triton"]
    assert fitting["qaic"] == ["python", "cloud-ai"]


def test_a_format_that_does_not_fit_says_which_do() -> None:
    with pytest.raises(UsageError) as caught:
        formats.find_format("openvino", "onnxruntime")
    assert caught.value.id == "format-does-not-fit"
    assert "python, dockerfile, onnxruntime, triton" in caught.value.hint


def test_an_unknown_format_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="not a format") as caught:
        formats.find_format("tritn", "openvino")
    assert caught.value.hint.startswith("did you mean `triton`?")


@pytest.mark.parametrize("target", ["onnxruntime", "openvino"])
def test_every_fitting_format_is_whole_and_known_as_ours(
    bundles: dict[str, Bundle], target: str, tmp_path: Path
) -> None:
    for name, one in formats.discover().items():
        if formats.fits(one, target):
            folder = tmp_path / name
            folder.mkdir()
            written(name, bundles[target], folder)
            assert ours(folder)
            page = (folder / "README.md").read_text()
            assert "800 (790 to 810) samples/s" in page and "None" not in page


# ---------------------------------------------------------------- runtimes


def test_onnxruntime_loads_with_the_options(onnxruntime_bundle: Bundle, tmp_path: Path) -> None:
    written("onnxruntime", onnxruntime_bundle, tmp_path)
    loaded = run_path(str(tmp_path / "load.py"))
    sessions = loaded["sessions"]()
    options = sessions[0].get_session_options()
    assert len(sessions) == 2 and sessions[0] is sessions[1]
    assert options.intra_op_num_threads == 1
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "1"


def test_openvino_loads_with_the_properties(openvino_bundle: Bundle, tmp_path: Path) -> None:
    written("openvino", openvino_bundle, tmp_path)
    loaded = run_path(str(tmp_path / "load.py"))
    compiled = loaded["compiled"]()
    assert compiled.get_property("NUM_STREAMS") == 2
    assert compiled.get_property("ENABLE_CPU_PINNING") is False
    assert compiled.input(0).shape == [4, 32]
    assert len(loaded["queue"]()) == 4


@pytest.mark.parametrize(("target", "name"), [("onnxruntime", "onnxruntime"), ("openvino", "openvino")])
def test_a_loader_runs_as_a_program(
    bundles: dict[str, Bundle], target: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(name, bundles[target], tmp_path)
    run_path(str(tmp_path / "load.py"), run_name="__main__")
    assert capsys.readouterr().out == "y (4, 32)\n"


def main_of(folder: Path) -> Callable[..., None]:
    """The bundle's program, found as if it was started."""
    sys.path.insert(0, str(folder))
    try:
        found: Callable[..., None] = run_path(str(folder / "run.py"))["main"]
    finally:
        sys.path.remove(str(folder))
    return found


@pytest.mark.parametrize("target", ["onnxruntime", "openvino"])
def test_run_py_is_short_and_prints_the_promise(
    bundles: dict[str, Bundle], target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written("python", bundles[target], tmp_path)
    assert len((tmp_path / "run.py").read_text().splitlines()) <= 75
    main_of(tmp_path)(0.05)
    printed = capsys.readouterr().out
    assert printed.endswith("samples/s; expected 800.0\n") and "samples of your own" not in printed


def test_run_py_draws_what_was_measured() -> None:
    specs = (
        TensorSpec(name="input_ids", dtype="int64", dims=("N", 6), below=1000),
        TensorSpec(name="attention_mask", dtype="int64", dims=("N", 6)),
        TensorSpec(name="token_type_ids", dtype="int64", dims=("N", 6), below=2),
        TensorSpec(name="position_ids", dtype="int64", dims=("N", 6), below=4),
        TensorSpec(name="lengths", dtype="int32", dims=("N",)),
        TensorSpec(name="raw", dtype="uint8", dims=("N", 3)),
        TensorSpec(name="flag", dtype="bool", dims=("N",)),
        TensorSpec(name="picture", dtype="float32", dims=("N", 3, 4, 4)),
        TensorSpec(name="x", dtype="float16", dims=("N", 500)),
        TensorSpec(name="scale", dtype="float32", dims=()),
    )
    asked = replace(a_model(), inputs=specs, batch_symbol="N")
    inputs = [
        {"name": s.name, "dtype": s.dtype, "shape": asked.dims(s, 2), "draw": described(s, asked, 2)} for s in specs
    ]
    config = {"inputs": inputs, "promise": {"feed": {"seed": -3}, "samples": False}}
    ours, measured = inputs_template.pool(config, "", 4)[3], make_inputs(asked, Feed(seed=-3), 2, 4)[3]
    assert ours.keys() == measured.keys()
    for name, array in measured.items():
        assert ours[name].dtype == array.dtype and np.array_equal(ours[name], array), name


@pytest.mark.parametrize("target", ["onnxruntime", "openvino"])
def test_run_py_takes_the_file_of_samples(
    bundles: dict[str, Bundle], target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written("python", bundles[target], tmp_path)
    np.savez(tmp_path / "own.npz", x=np.ones((3, 32), np.float32))
    np.savez(tmp_path / "other.npz", x=np.ones((3, 31), np.float32))
    np.savez(tmp_path / "nameless.npz", y=np.ones((3, 32), np.float32))

    def run(name: str) -> str:
        argv = [sys.executable, str(tmp_path / "run.py"), "0.05", str(tmp_path / name)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    assert run("own.npz").startswith("The promise was measured on seeded inputs, not on these.\n")
    assert run("own.npz").endswith("samples/s; expected 800.0\n")
    assert run("other.npz") == (
        "The promise was measured on seeded inputs, not on these.\n"
        "array `x` gives requests of shape (4, 31), not (4, 32): its first axis counts samples\n"
    )
    assert run("nameless.npz").endswith("nameless.npz has no array `x`; it has: y\n")


def test_run_py_feeds_what_a_study_on_the_same_file_was_fed(tmp_path: Path) -> None:
    specs = (
        TensorSpec(name="x", dtype="float32", dims=("N", 5)),
        TensorSpec(name="state", dtype="float32", dims=(2, "N", 3)),
        TensorSpec(name="rate", dtype="int64", dims=()),
        TensorSpec(name="table", dtype="float32", dims=(4, 2)),
    )
    asked = replace(a_model(), inputs=specs, batch_symbol="N")
    rng = np.random.default_rng(0)
    arrays = {
        "x": rng.random((7, 5), np.float32),
        "state": rng.random((7, 2, 3), np.float32),
        "rate": np.arange(7),
        "table": rng.random((4, 2), np.float32),
    }
    path = tmp_path / "own.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type]
    inputs = [
        {"name": s.name, "dtype": s.dtype, "shape": asked.dims(s, 2), "batch_axis": batch_axis(s, asked)} for s in specs
    ]
    config = {"inputs": inputs, "batch": 2, "promise": {"samples": True}}
    measured = make_inputs(asked, Feed(seed=0, path=str(path)), 2, 5)
    for fed, theirs in zip(inputs_template.pool(config, str(path), 5), measured, strict=True):
        assert [name for name in theirs if not np.array_equal(fed[name], theirs[name])] == []


def test_run_py_says_that_the_measurement_was_on_samples(
    onnxruntime_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written("python", onnxruntime_bundle, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["promise"]["samples"] = True
    (tmp_path / "config.json").write_text(json.dumps(config))
    main_of(tmp_path)(0.05)
    assert "measured on samples of your own; these are seeded inputs" in capsys.readouterr().out


@pytest.mark.parametrize("preset", ["explicit", "default"])
def test_a_served_model_does_not_warn_at_every_request(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], preset: str
) -> None:
    """ONNX Runtime warns whenever an output is not of the shape that the file declares, here one sample."""
    import tiny_graphs as tiny

    graph = tiny.model(
        [make_node("Add", ["x", "x"], ["y"]), make_node("Reshape", ["y", "shape"], ["z"])],
        [tiny.value("x", ("batch", 4))],
        [tiny.value("z", (1, 4))],
        [tiny.constant("shape", -1, 4)],
    )
    model = describe(tiny.save(graph, tmp_path / "m.onnx"), shapes={})
    left: dict[str, Value] = (
        {"preset": "default", "cores": 0, "instances": 0, "set_size": 0} if preset == "default" else {}
    )
    bundle = made(tmp_path, promised(model, "onnxruntime", batch=8, **left))
    capfd.readouterr()
    main_of(bundle.folder)(0.05)
    assert capfd.readouterr().err == ""


# ---------------------------------------------------------------- servers


def server_config(folder: Path) -> dict[str, Any]:
    """The one model of an OpenVINO Model Server configuration."""
    listed = json.loads((folder / "config.json").read_text())
    assert list(listed) == ["model_config_list"] and len(listed["model_config_list"]) == 1
    found = listed["model_config_list"][0]["config"]
    assert isinstance(found, dict)
    return found


def test_openvino_accepts_what_the_model_server_is_given(openvino_bundle: Bundle, tmp_path: Path) -> None:
    """The server hands ``plugin_config`` to the runtime as text, and ``shape`` to its reshape."""
    import openvino as ov

    written("openvino-model-server", openvino_bundle, tmp_path)
    config = server_config(tmp_path)
    assert config["name"] == "my-model" and config["nireq"] == 4
    assert all(isinstance(value, str) for value in config["plugin_config"].values())
    core = ov.Core()
    network = core.read_model(tmp_path / config["base_path"] / "1" / "model.xml")
    network.reshape({name: ov.PartialShape(shape.strip("()")) for name, shape in config["shape"].items()})
    compiled = core.compile_model(network, config["target_device"], config["plugin_config"])
    assert compiled.get_property("NUM_STREAMS") == 2
    assert compiled.input(0).shape == [4, 32]


def triton_config(path: Path) -> Any:
    from google.protobuf import text_format  # type: ignore[import-untyped]
    from tritonclient.grpc import model_config_pb2

    return text_format.Parse(path.read_text(), model_config_pb2.ModelConfig())


@pytest.mark.parametrize("target", ["onnxruntime", "openvino"])
def test_triton_reads_the_config(bundles: dict[str, Bundle], target: str, tmp_path: Path) -> None:
    written("triton", bundles[target], tmp_path)
    found = triton_config(tmp_path / "model_repository/my-model/config.pbtxt")
    assert (found.name, found.backend, found.max_batch_size) == ("my-model", target, 4)
    assert [(i.name, list(i.dims)) for i in (*found.input, *found.output)] == [("x", [32]), ("y", [32])]
    assert found.input[0].data_type == found.output[0].data_type == 11  # TYPE_FP32
    assert list(found.dynamic_batching.preferred_batch_size) == [4]
    assert found.dynamic_batching.max_queue_delay_microseconds == 5000  # 4 samples at 800 a second
    assert (tmp_path / "model_repository/my-model/1" / found.default_model_filename).is_file()


def test_triton_gets_the_threads_of_onnxruntime(onnxruntime_bundle: Bundle, tmp_path: Path) -> None:
    written("triton", onnxruntime_bundle, tmp_path)
    found = triton_config(tmp_path / "model_repository/my-model/config.pbtxt")
    told = {key: value.string_value for key, value in found.parameters.items()}
    assert told["intra_op_thread_count"] == "1" and told["share_session_between_instances"] == "true"
    assert found.optimization.graph.level == 2  # everything off: the file is optimised already
    assert found.instance_group[0].count == 2


def test_triton_gets_the_streams_of_openvino(openvino_bundle: Bundle, tmp_path: Path) -> None:
    written("triton", openvino_bundle, tmp_path)
    found = triton_config(tmp_path / "model_repository/my-model/config.pbtxt")
    told = {key: value.string_value for key, value in found.parameters.items()}
    assert told == {"NUM_STREAMS": "2", "INFERENCE_NUM_THREADS": "2"}
    assert found.instance_group[0].count == 4


def test_what_triton_cannot_take_is_said(model: Model, tmp_path: Path) -> None:
    bundle = made(tmp_path, promised(model, "openvino", **EXPLICIT["openvino"], denormals="zero"))
    start = formats.find_format("triton", "openvino").write(bundle, tmp_path / "out")
    assert "no parameter for CPU_DENORMALS_OPTIMIZATION=True" in start


def test_a_fixed_batch_is_not_batched_again(tmp_path: Path) -> None:
    fixed = describe(str(write_classifier(tmp_path / "m.onnx", batch=3)), shapes={})
    bundle = made(tmp_path, promised(fixed, "openvino", cores=1, instances=1, set_size=1))
    formats.find_format("triton", "openvino").write(bundle, tmp_path / "out")
    found = triton_config(tmp_path / "out/model_repository/m/config.pbtxt")
    assert found.max_batch_size == 0 and list(found.input[0].dims) == [3, 32]
    assert not found.HasField("dynamic_batching")


@pytest.mark.parametrize("name", ['a"b', "back\\slash", "new\nline", "\u202eabc", "x' } parameters {", "ÿ"])
def test_any_tensor_name_survives_in_a_pbtxt(name: str) -> None:
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2

    found = text_format.Parse(f"name: {text(name)}", model_config_pb2.ModelConfig())
    assert found.name == name


@pytest.mark.parametrize("name", ["../../etc", "a b", "<script>", "...", "名"])
def test_a_served_name_is_safe_everywhere(openvino_bundle: Bundle, name: str) -> None:
    promise = openvino_bundle.promise
    served = replace(openvino_bundle, promise=replace(promise, model=replace(promise.model, name=name))).served_name
    assert served and not served.startswith(".") and "/" not in served and served.isascii()


def test_the_queue_delay_is_the_time_of_a_batch(openvino_bundle: Bundle) -> None:
    assert queue_delay_us(openvino_bundle) == 5000


# ---------------------------------------------------------------- containers and cards


def test_the_dockerfile_pins_what_was_measured(openvino_bundle: Bundle, tmp_path: Path) -> None:
    from dockerfile_parse import DockerfileParser

    written("dockerfile", openvino_bundle, tmp_path)
    parsed = DockerfileParser(path=str(tmp_path))
    steps = [step["instruction"] for step in parsed.structure]
    assert steps == ["FROM", "WORKDIR", "COPY", "RUN", "COPY", "LABEL", "USER", "ENTRYPOINT"]
    assert parsed.baseimage.startswith("python:3.") and parsed.baseimage.endswith("-slim")
    assert parsed.labels["infertune.throughput_per_s"] == "800.0"
    pins = dict(line.split("==") for line in (tmp_path / "requirements.txt").read_text().splitlines())
    assert pins["openvino"] == openvino_bundle.version and {"numpy", "openvino-telemetry"} <= pins.keys()
    assert (tmp_path / "run.py").is_file() and (tmp_path / "config.json").is_file()


def test_a_card_gets_commands_and_triton_settings(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sdk = tmp_path / "sdk"
    install(sdk, card="pro", cards=1, time_scale=0.0, seed=7)
    monkeypatch.setenv("QAIC_ROOT", str(sdk))
    target = find_target("qaic")
    device = target.probe(LocalShell())[0]
    point = target.space(model, device, parse_goal("max throughput")).point(batch=4, cores=2, instances=3, set_size=2)
    promise = replace(promised(model, "openvino"), point=point, device=device, in_flight=6)
    bundle = made(tmp_path, promise)
    into = tmp_path / "out"
    into.mkdir()
    written("cloud-ai", bundle, into)
    assert "The card was simulated" in (into / "README.md").read_text()
    assert "-aic-num-cores=2" in (into / "compile.sh").read_text()
    found = triton_config(into / "model_repository/my-model/config.pbtxt")
    told = {key: value.string_value for key, value in found.parameters.items()}
    assert (told["set_size"], told["no_of_activations"], told["device_id"]) == ("2", "3", "0")
    assert found.backend == "qaic" and found.max_batch_size == 4
