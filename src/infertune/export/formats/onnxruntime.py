"""ONNX Runtime's session options as JSON, and the few lines that load a session with them."""

from __future__ import annotations

from pathlib import Path

from infertune.edge.files import write_text
from infertune.export.bundle import Bundle, as_json, copy_model

title = "session options as JSON and a loader, for your own ONNX Runtime program"
targets = frozenset({"onnxruntime"})

LOADER = '''"""Sessions of this model as it was tuned: `from load import sessions`. As a program, sends one request."""

import json
from pathlib import Path

import numpy as np
import onnxruntime as ort

HERE = Path(__file__).resolve().parent
SETTINGS = json.loads((HERE / "session_options.json").read_text())
ENUMS = {"execution_mode": ort.ExecutionMode, "graph_optimization_level": ort.GraphOptimizationLevel}


def options() -> ort.SessionOptions:
    made = ort.SessionOptions()
    for name, value in SETTINGS["options"].items():
        setattr(made, name, getattr(ENUMS[name], value) if name in ENUMS else value)
    for name, value in SETTINGS["entries"].items():
        made.add_session_config_entry(name, value)
    return made


def session() -> ort.InferenceSession:
    return ort.InferenceSession(HERE / SETTINGS["model"], options(), providers=["CPUExecutionProvider"])


def sessions() -> list[ort.InferenceSession]:
    """One per instance, each for a caller of its own; the same object again where weights are shared."""
    first = session()
    return [first if i == 0 or SETTINGS["shared"] else session() for i in range(SETTINGS["instances"])]


if __name__ == "__main__":
    zeros = {i["name"]: np.zeros(i["shape"], i["dtype"]) for i in SETTINGS["inputs"]}
    for output, array in zip(session().get_outputs(), session().run(None, zeros)):
        print(output.name, array.shape)
'''


def write(bundle: Bundle, into: Path) -> str:
    copy_model(bundle, into)
    kept = ("options", "entries", "instances", "shared", "batch", "in_flight", "inputs")
    settings = {"model": bundle.main_file, **{key: bundle.config[key] for key in kept}}
    write_text(into / "session_options.json", as_json(settings))
    write_text(into / "load.py", LOADER)
    instances = bundle.config["instances"]
    return f"""    from load import sessions

`sessions()` gives the {instances} session(s) to serve side by side, each called from a thread of its own with
{bundle.config["batch"]} sample(s) per call. `session_options.json` names every setting as `SessionOptions` does.
"""
