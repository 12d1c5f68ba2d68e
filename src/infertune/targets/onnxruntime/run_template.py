"""Serve this model with ONNX Runtime alone: python run.py [seconds] [inputs.npz]; see config.json."""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime as ort

from infertune.targets import inputs_template as inputs

HERE = Path(__file__).resolve().parent
CONFIG = json.loads((HERE / "config.json").read_text())


def session() -> ort.InferenceSession:
    options = ort.SessionOptions()
    for name, value in CONFIG["options"].items():
        kind = {"execution_mode": ort.ExecutionMode, "graph_optimization_level": ort.GraphOptimizationLevel}.get(name)
        setattr(options, name, getattr(kind, value) if kind else value)
    for name, value in CONFIG["entries"].items():
        options.add_session_config_entry(name, value)
    return ort.InferenceSession(HERE / CONFIG["files"][0], options, providers=["CPUExecutionProvider"])


def serve(own: ort.InferenceSession, pool: list[dict[str, np.ndarray]], until: float, done: list[float]) -> None:
    while time.perf_counter() < until:
        own.run(None, pool[len(done) % len(pool)])
        done.append(time.perf_counter())


def main(seconds: float, path: str = "") -> None:
    shared = session()
    sessions = [shared if CONFIG["shared"] or i == 0 else session() for i in range(CONFIG["instances"])]
    pool = inputs.pool(CONFIG, path, 4)
    done: list[float] = []
    for own in sessions:
        own.run(None, pool[0])
    began = time.perf_counter()
    with ThreadPoolExecutor(len(sessions)) as callers:
        list(callers.map(lambda own: serve(own, pool, began + seconds, done), sessions))
    rate = len(done) * CONFIG["batch"] / (time.perf_counter() - began)
    print(f"{rate:.1f} samples/s; expected {CONFIG['expected']['throughput_per_s']['value']:.1f}")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 5.0, *sys.argv[2:3])
