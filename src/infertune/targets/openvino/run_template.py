"""Serve this model with OpenVINO alone: python run.py [seconds] [inputs.npz]; see config.json."""

import json
import sys
import time
from pathlib import Path

import openvino as ov

from infertune.targets import inputs_template as inputs

HERE = Path(__file__).resolve().parent
CONFIG = json.loads((HERE / "config.json").read_text())


def load() -> ov.CompiledModel:
    core = ov.Core()
    model = core.read_model(HERE / CONFIG["files"][0])
    model.reshape({i["name"]: i["shape"] for i in CONFIG["inputs"]})
    return core.compile_model(model, "CPU", CONFIG["properties"])


def main(seconds: float, path: str = "") -> None:
    queue = ov.AsyncInferQueue(load(), CONFIG["in_flight"])
    pool = inputs.pool(CONFIG, path, 4)
    done = [0]
    queue.set_callback(lambda request, data: done.__setitem__(0, done[0] + 1))
    for i in range(2 * CONFIG["in_flight"]):
        queue.start_async(pool[i % 4], share_inputs=True)
    queue.wait_all()
    done[0], began = 0, time.perf_counter()
    sent = 0
    while time.perf_counter() - began < seconds:
        queue.start_async(pool[sent % 4], share_inputs=True)
        sent += 1
    queue.wait_all()
    rate = done[0] * CONFIG["batch"] / (time.perf_counter() - began)
    print(f"{rate:.1f} samples/s; expected {CONFIG['expected']['throughput_per_s']['value']:.1f}")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 5.0, *sys.argv[2:3])
