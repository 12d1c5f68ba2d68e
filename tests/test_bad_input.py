"""What people get wrong, through the real command: two lines, the documented exit code, nothing recorded lost."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from commands import infertune
from infertune import Study
from infertune.core.records import Failed, Measurement
from plugins import install
from small_models import write_classifier


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bad")
    write_classifier(folder / "m.onnx")
    (folder / "empty.onnx").touch()
    (folder / "cut.onnx").write_bytes((folder / "m.onnx").read_bytes()[:300])
    (folder / "text.onnx").write_text("hello\n")
    (folder / "dir").mkdir()
    (folder / "lfs.onnx").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 12345\n")
    write_relu(folder / "symbols.onnx", ["batch", "seq", 8])
    write_oversized(folder / "huge.onnx")
    np.savez(folder / "wrong.npz", z=np.zeros((2, 3), np.float32))
    return folder


def write_relu(path: Path, dims: list[str | int]) -> None:
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", ports[:1], ports[1:])
    save(graph, path)


def write_oversized(path: Path) -> None:
    """Valid, and impossible to run: one request would need 4 TiB."""
    repeats = numpy_helper.from_array(np.array([1 << 18, 1 << 12], np.int64), "r")
    nodes = [helper.make_node("Tile", ["x", "r"], ["t"]), helper.make_node("ReduceSum", ["t"], ["y"], keepdims=1)]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 1024])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1])
    save(helper.make_graph(nodes, "g", [x], [y], [repeats]), path)


def save(graph: onnx.GraphProto, path: Path) -> None:
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))


CASES: list[tuple[str, int, str, str]] = [
    ("tune m.onnx --budget 0s", 2, "budget-zero", "--budget 90s"),
    ("tune m.onnx --budget -5s", 2, "duration-syntax", "5m"),
    ("tune none.onnx", 66, "model-not-found", "models in this folder"),
    ("tune empty.onnx", 65, "model-empty", "again"),
    ("tune cut.onnx", 65, "model-truncated", "again"),
    ("tune text.onnx", 65, "model-not-onnx", "name an .onnx file"),
    ("tune dir", 65, "model-is-directory", "name an .onnx file"),
    ("tune lfs.onnx", 65, "model-git-lfs", "git lfs pull"),
    ("tune symbols.onnx", 2, "unresolved-symbols", "--shape seq=128"),
    ("tune m.onnx --shape q=3", 2, "unknown-symbol", "batch"),
    ("tune m.onnx --knob btach=1", 2, "unknown-knob", "did you mean `batch`?"),
    ("tune m.onnx --knob batch=0", 2, "value-outside-space", "1..4096"),
    ("tune m.onnx --knob batch", 2, "assignment-syntax", "batch=1,2,4"),
    ("tune m.onnx --goal max_thruput", 2, "goal-syntax", "max throughput"),
    ("tune m.onnx --budget 10x", 2, "duration-syntax", "90s"),
    ("tune m.onnx --target opnvino", 2, "unknown-target", "did you mean `openvino`?"),
    ("tune m.onnx --strategy gird", 2, "unknown-strategy", "did you mean `grid`?"),
    ("tune m.onnx --inputs none.npz", 66, "inputs-not-found", ".npz"),
    ("tune m.onnx --inputs wrong.npz", 2, "inputs-missing", "x"),
    ("tune m.onnx --out m.onnx", 73, "not-a-folder", "another path"),
    ("tune m.onnx --out m.onnx/run", 73, "not-a-folder", "another path"),
    ("measure m.onnx --set cores=1,99", 2, "illegal-point", ""),
    ("tune m.onnx --out /proc/run", 73, "folder-unwritable", "in which you may create files"),
    ("report none", 66, "", ""),
    ("report dir", 66, "", ""),
    ("export dir -o b", 66, "", ""),
    ("verify dir", 66, "", ""),
    ("inspect cut.onnx", 65, "model-truncated", "again"),
    ("prepare cut.onnx --fp16-range report", 65, "model-truncated", "again"),
    ("space symbols.onnx", 2, "unresolved-symbols", "--shape seq=128"),
    ("model bert-bse -o b.onnx", 2, "", "bert-base"),
]


@pytest.mark.parametrize(("line", "code", "id_", "hint"), CASES, ids=[case[0] for case in CASES])
def test_two_lines_and_an_exit_code(work: Path, line: str, code: int, id_: str, hint: str) -> None:
    done = infertune(work, *line.split())
    said = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert len(said) == 2, done.stderr
    assert said[0].startswith(f"error[{id_}" if id_ else "error[")
    assert said[1].startswith("hint: ") and hint in said[1]


def test_a_mistyped_question_leaves_the_run_folder_free(work: Path) -> None:
    for wrong in (("--strategy", "gird"), ("--inputs", "none.npz"), ("--knob", "btach=1")):
        assert infertune(work, "tune", "m.onnx", "--out", "typo", *wrong).returncode != 0
    done = infertune(
        work,
        "tune",
        "m.onnx",
        "--accept-noise",
        "--out",
        "typo",
        "--target",
        "onnxruntime",
        "--trials",
        "1",
        "--budget",
        "4s",
    )
    assert done.returncode == 0, done.stderr


def test_nothing_feasible_says_which_limit_and_what_came_closest(work: Path) -> None:
    goal = ("--goal", "max throughput, p99 < 1 ns", "--target", "onnxruntime", "--budget", "6s", "--json")
    done = infertune(work, "tune", "m.onnx", "--accept-noise", "--out", "tight", *goal)
    said = done.stderr.splitlines()
    assert done.returncode == 69
    assert said[-2].startswith("error[nothing-feasible]: ") and "p99 < 1 ns" in said[-2]
    assert said[-1].startswith("hint: the closest misses `p99 < 1 ns` with ")
    assert json.loads(done.stdout)["status"] == "nothing_feasible"


@pytest.mark.parametrize(
    "command", [("tune", "--accept-noise", "--budget", "8s", "--out", "huge"), ("measure", "--launches", "1")]
)
def test_a_model_that_no_runtime_can_run(work: Path, command: tuple[str, ...]) -> None:
    done = infertune(work, command[0], "huge.onnx", *command[1:])
    said = done.stderr.splitlines()
    assert done.returncode == 69
    assert said[-2].startswith("error[nothing-ran]: none of ")
    assert said[-1].startswith("hint: reasons: ")
    assert "Traceback" not in done.stderr and "\\n" not in done.stderr


CRASHING = """
import ctypes, os, time
from infertune.core.records import Device, Saved, facts
from infertune.core.space import Knob, Space
from infertune.testing.spaces import a_window

name, title, automatic, open_loop, contends, requires = "crashing", "dies in many ways", False, False, frozenset(), {}
WAYS = ("well", "segfault", "abort", "exit", "raise", "memory")

def probe(shell):
    return (Device(name="cpu", target=name, title=title, units=1, memory_bytes=0, precisions=("f32",),
                   versions=facts(crashing="1")),)

def space(model, device, goal):
    knob = Knob(name="way", stage="run", default="well", values=WAYS, allowed=WAYS, doc="How.", spelling="how")
    return Space(target=name, device=device.name, knobs=(knob,))

def build(job, shell):
    open(f"{job.into}/model", "w").write("x")
    return Saved(files=("model",))

def measure(job, clock, shell):
    match job.point["way"]:
        case "segfault":
            ctypes.string_at(0)
        case "abort":
            os.abort()
        case "exit":
            os._exit(7)
        case "raise":
            raise RuntimeError("line one\\nline two")
        case "memory":
            raise MemoryError("a lot")
    return a_window(job.point, 100.0, 1)

def infer(job, shell):
    raise RuntimeError("nothing to compare")

def export(job):
    raise RuntimeError("nothing to deploy")
"""


def test_a_crashing_candidate_costs_only_itself(work: Path) -> None:
    env = {"PYTHONPATH": os.fspath(install(work, "crashing", CRASHING))}
    arguments = ("--target", "crashing", "--strategy", "grid", "--budget", "30s", "--trials", "6")
    done = infertune(work, "tune", "m.onnx", "--accept-noise", "--out", "crash", *arguments, env=env)
    assert "Traceback" not in done.stderr
    trials = {str(t.point["way"]): t for t in Study.open(work / "crash").trials}
    assert len(trials) == 6
    assert isinstance(trials["well"].launches[0].outcome, Measurement)
    found = {way: t.launches[0].outcome for way, t in trials.items() if way != "well"}
    told = {way: (o.kind, o.message) for way, o in found.items() if isinstance(o, Failed)}
    assert told["segfault"] == ("crash", "the worker died of SIGSEGV")
    assert told["abort"] == ("crash", "the worker died of SIGABRT")
    assert told["exit"] == ("crash", "the worker ended with exit code 7 and no result")
    assert told["raise"] == ("crash", "line one line two")
    assert told["memory"][0] == "memory"
