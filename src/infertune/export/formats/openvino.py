"""OpenVINO's IR and compile properties, and the few lines that load them."""

from __future__ import annotations

from pathlib import Path

from infertune.edge.files import write_text
from infertune.export.bundle import Bundle, as_json, copy_model

title = "IR, compile properties as JSON and a loader, for your own OpenVINO program"
targets = frozenset({"openvino"})

LOADER = '''"""This model compiled as it was tuned: `from load import queue`. Run as a program, it sends one request."""

import json
from pathlib import Path

import numpy as np
import openvino as ov

HERE = Path(__file__).resolve().parent
SETTINGS = json.loads((HERE / "properties.json").read_text())


def compiled() -> ov.CompiledModel:
    core = ov.Core()
    model = core.read_model(HERE / SETTINGS["model"])
    model.reshape({i["name"]: i["shape"] for i in SETTINGS["inputs"]})
    return core.compile_model(model, "CPU", SETTINGS["properties"])


def queue() -> ov.AsyncInferQueue:
    """As many requests as were in flight when the model was tuned."""
    return ov.AsyncInferQueue(compiled(), SETTINGS["in_flight"])


if __name__ == "__main__":
    zeros = {i["name"]: np.zeros(i["shape"], i["dtype"]) for i in SETTINGS["inputs"]}
    for output, array in compiled()(zeros).items():
        print(output.get_any_name(), array.shape)
'''


def write(bundle: Bundle, into: Path) -> str:
    copy_model(bundle, into)
    kept = ("properties", "batch", "in_flight", "inputs")
    write_text(
        into / "properties.json", as_json({"model": bundle.main_file, **{key: bundle.config[key] for key in kept}})
    )
    write_text(into / "load.py", LOADER)
    return f"""    from load import queue

`queue()` gives an `AsyncInferQueue` of {bundle.config["in_flight"]} request(s) of {bundle.config["batch"]} sample(s)
each. The IR is kept rather than a compiled blob: it loads faster and holds weights once. `compile_model` reads the
properties from `properties.json`.
"""
