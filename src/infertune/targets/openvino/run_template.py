"""Serve this model with OpenVINO alone: python run.py [seconds]. Settings and expectations: config.json."""

import json
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openvino as ov

HERE = Path(__file__).resolve().parent
CONFIG = json.loads((HERE / "config.json").read_text())


def load() -> ov.CompiledModel:
    core = ov.Core()
    model = core.read_model(HERE / CONFIG["files"][0])
    model.reshape({i["name"]: i["shape"] for i in CONFIG["inputs"]})
    return core.compile_model(model, "CPU", CONFIG["properties"])


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


def main(seconds: float) -> None:
    queue = ov.AsyncInferQueue(load(), CONFIG["in_flight"])
    pool = [inputs(i) for i in range(4)]
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
    if CONFIG["promise"]["samples"]:
        print("The promise was measured on samples of your own; these are seeded inputs of the same shape.")
    print(f"{rate:.1f} samples/s; expected {CONFIG['expected']['throughput_per_s']['value']:.1f}")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 5.0)
