"""What infertune itself costs: `python bench/harness.py`.

* the closed loop on the null target: the bar is 10 microseconds per request;
* a model of microseconds through ONNX Runtime, through `infertune measure` and through a plain loop, interleaved;
* one OpenVINO point through `infertune measure` and through OpenVINO's own benchmark_app, interleaved: within 3 %;
* `infertune --help`: under 0.5 s; the coordinating process of a study: under 200 MB.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import onnx
from common import local_executor, print_conditions, reference
from onnx import TensorProto, helper

from infertune.core import stats
from infertune.core.records import Feed, MeasureJob, Measurement, Plan
from infertune.core.space import Point
from infertune.study.question import described

ROUNDS = 7
SECONDS = 5
BIN = Path(sys.executable).parent


def null_overhead() -> None:
    job = MeasureJob(
        model=described(local_executor(), str(reference("minilm-l6")), {"sequence_length": 128}, None),
        point=Point.of("null", "null", {"batch": 1, "set_size": 4}),
        artifact=".",
        plan=Plan(min_time_s=1.0),
        feed=Feed(seed=0),
    )
    costs = []
    for _ in range(ROUNDS):
        found = local_executor().run("null", job, timeout_s=60.0)
        assert isinstance(found, Measurement)
        costs.append(1e6 / stats.throughput(found))
    middle = statistics.median(costs)
    print(f"null target: {middle:.2f} us per request (bar: 10), {min(costs):.2f} to {max(costs):.2f}")
    print(f"             {middle / 1000:.2%} of requests of 1 ms (bar: 2 %)")


def through_infertune(model: Path, target: str, *more: str) -> float:
    argv = [
        str(BIN / "infertune"), "measure", str(model), "--target", target, *more,
        "--set", "batch=1", "--set", "instances=1", "--set", "cores=1", "--set", "set_size=1", "--set", "precision=f32",
        "--launches", "1", "--window", str(SECONDS), "--json",
    ]  # fmt: skip
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout)["rows"][0]["throughput"])


def through_benchmark_app(model: Path) -> float:
    with tempfile.NamedTemporaryFile("w", suffix=".json") as config:
        json.dump({"CPU": {"INFERENCE_NUM_THREADS": 1, "ENABLE_CPU_PINNING": False}}, config)
        config.flush()
        shape = ",".join(f"{name}[1,128]" for name in ("input_ids", "attention_mask", "token_type_ids"))
        argv = [
            str(BIN / "benchmark_app"), "-m", str(model), "-d", "CPU", "-hint", "none", "-nstreams", "1", "-nireq", "1",
            "-infer_precision", "f32", "-shape", shape, "-t", str(SECONDS), "-load_config", config.name,
        ]  # fmt: skip
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return float(re.findall(r"Throughput:\s+([\d.]+) FPS", done.stdout)[-1])


_PLAIN_LOOP = """
import sys, time, numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
inputs = {"x": numpy.ones((1, 64), numpy.float32)}
count, began = 0, time.perf_counter()
while time.perf_counter() < began + float(sys.argv[2]):
    session.run(None, inputs)
    count += 1
print(count / (time.perf_counter() - began))
"""


def through_plain_loop(model: Path) -> float:
    argv = [sys.executable, "-c", _PLAIN_LOOP, str(model), str(SECONDS)]
    return float(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)


def against_a_plain_loop() -> None:
    """One layer of 64 x 64: what is not the runtime's shows at once."""
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "layer.onnx"
        onnx.save(_layer(64), model)
        through_infertune(model, "onnxruntime")
        pairs = [(through_infertune(model, "onnxruntime"), through_plain_loop(model)) for _ in range(ROUNDS)]
    ratio = statistics.median(ours / theirs for ours, theirs in pairs)
    ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    apart = 1e6 / ours - 1e6 / theirs
    print(
        f"one small layer: infertune {ours:.0f}, plain loop {theirs:.0f} samples/s: {ratio:.2f}x, {apart:.1f} us apart"
    )


def _layer(width: int) -> onnx.ModelProto:
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    weights = helper.make_tensor("w", TensorProto.FLOAT, (width, width), [0.01] * width**2)
    given, made = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ("batch", width)) for name in "xy")
    graph = helper.make_graph([node], "layer", [given], [made], [weights])
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 17)])


def against_benchmark_app() -> None:
    model, shape = reference("minilm-l6"), ("--shape", "sequence_length=128")
    through_infertune(model, "openvino", *shape)  # the build is not part of the comparison
    pairs = [(through_infertune(model, "openvino", *shape), through_benchmark_app(model)) for _ in range(ROUNDS)]
    ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    both = f"infertune {ours:.1f}, benchmark_app {theirs:.1f} samples/s"
    print(f"{both}: {ours / theirs - 1:+.1%} (bar: 3 %), {ROUNDS} rounds")


def help_time() -> None:
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        subprocess.run([str(BIN / "infertune"), "--help"], capture_output=True, check=True)
        times.append(time.perf_counter() - began)
    print(f"infertune --help: {statistics.median(times):.2f} s (bar: 0.5), {min(times):.2f} to {max(times):.2f}")


def coordinator_memory() -> None:
    """From VmHWM: a program started by `subprocess` begins with its parent's peak in ``ru_maxrss``."""
    code = (
        "import pathlib, re, sys; from infertune import tune;"
        f"tune({str(reference('bert-base'))!r}, shapes={{'sequence_length': 128}}, budget='30s', out=sys.argv[1]);"
        "print(re.search(r'VmHWM:\\s+(\\d+)', pathlib.Path('/proc/self/status').read_text())[1])"
    )
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=True)
    print(f"coordinator of a BERT-base study: {int(done.stdout) / 1024:.0f} MB resident at most (bar: 200)")


def main() -> None:
    print_conditions()
    help_time()
    null_overhead()
    against_a_plain_loop()
    against_benchmark_app()
    coordinator_memory()


if __name__ == "__main__":
    main()
