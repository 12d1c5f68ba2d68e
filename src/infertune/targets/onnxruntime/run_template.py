"""Serve this model with ONNX Runtime alone: python run.py [seconds]. Settings and expectations: config.json."""

import json
import sys
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime as ort

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


DRAW: dict[str, Callable[..., np.ndarray]] = {
    "whole": lambda rng, shape, low, high: rng.integers(low, high, shape),
    "positions": lambda rng, shape, period: np.broadcast_to(np.arange(shape[-1]) % period, shape),
    "uniform": lambda rng, shape: away_from_zero(rng.random(shape, np.float32)),
    "normal": lambda rng, shape: away_from_zero(rng.standard_normal(shape, np.float32)),
}


def away_from_zero(values: np.ndarray) -> np.ndarray:
    return np.where(np.abs(values) < 2**-10, np.copysign(np.float32(2**-10), values), values)


def inputs(number: int) -> dict[str, np.ndarray]:
    """Input set ``number`` of the measurement's seeded ones: replace them."""
    made = {}
    for spec in CONFIG["inputs"]:
        seeds = [CONFIG["promise"]["feed"]["seed"] % 2**64, number, zlib.crc32(spec["name"].encode())]
        how, *ends = spec["draw"]
        made[spec["name"]] = DRAW[how](np.random.default_rng(seeds), spec["shape"], *ends).astype(spec["dtype"])
    return made


def serve(own: ort.InferenceSession, pool: list[dict[str, np.ndarray]], until: float, done: list[float]) -> None:
    while time.perf_counter() < until:
        own.run(None, pool[len(done) % len(pool)])
        done.append(time.perf_counter())


def main(seconds: float) -> None:
    shared = session()
    sessions = [shared if CONFIG["shared"] or i == 0 else session() for i in range(CONFIG["instances"])]
    pool = [inputs(i) for i in range(4)]
    done: list[float] = []
    for own in sessions:
        own.run(None, pool[0])
    began = time.perf_counter()
    with ThreadPoolExecutor(len(sessions)) as callers:
        list(callers.map(lambda own: serve(own, pool, began + seconds, done), sessions))
    rate = len(done) * CONFIG["batch"] / (time.perf_counter() - began)
    if CONFIG["promise"]["samples"]:
        print("The promise was measured on samples of your own; these are seeded inputs of the same shape.")
    print(f"{rate:.1f} samples/s; expected {CONFIG['expected']['throughput_per_s']['value']:.1f}")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 5.0)
