"""Runtimes leave nothing in the home folder and use no telemetry sender."""

import os
import subprocess
import sys
from pathlib import Path

from infertune.edge.quiet import QUIET_ENVIRONMENT

USE_BOTH = """
import numpy, onnx, onnxruntime, openvino
from onnx import TensorProto, helper
value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in "xy"]
graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", value[:1], value[1:])
opset = helper.make_opsetid("", 17)
model = helper.make_model(graph, opset_imports=[opset], ir_version=9).SerializeToString()
onnxruntime.InferenceSession(model).run(None, {"x": numpy.ones((1, 4), numpy.float32)})
openvino.Core().compile_model(openvino.Core().read_model(model), "CPU")
"""
HUSH = "from infertune.edge.quiet import hush; hush()\n"
ASK_SENDER = "import openvino.tools.ovc.telemetry_utils as used; print(used.tm.__name__)"


def run(code: str, home: Path, **extra: str) -> str:
    # the children must see no variable that would silence them anyway
    env = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": os.pathsep.join(sys.path), **extra}
    return subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stdout


def test_a_worker_environment_leaves_the_home_folder_empty(tmp_path: Path) -> None:
    run(USE_BOTH, tmp_path, **QUIET_ENVIRONMENT)
    assert list(tmp_path.rglob("*")) == []


def test_hush_does_the_same_inside_a_process(tmp_path: Path) -> None:
    assert run(HUSH + USE_BOTH + ASK_SENDER, tmp_path).strip() == "openvino.tools.ovc.telemetry_stub"
    assert list(tmp_path.rglob("*")) == []
