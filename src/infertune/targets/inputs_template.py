"""What `run.py` feeds: the inputs of the measurement, drawn from its seed, or your own from an .npz."""

import sys
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Config = Mapping[str, Any]
Arrays = dict[str, np.ndarray]

DRAW: dict[str, Callable[..., np.ndarray]] = {
    "whole": lambda rng, shape, low, high: rng.integers(low, high, shape),
    "positions": lambda rng, shape, period: np.broadcast_to(np.arange(shape[-1]) % period, shape),
    "uniform": lambda rng, shape: away_from_zero(rng.random(shape, np.float32)),
    "normal": lambda rng, shape: away_from_zero(rng.standard_normal(shape, np.float32)),
}


def away_from_zero(values: np.ndarray) -> np.ndarray:
    return np.where(np.abs(values) < 2**-10, np.copysign(np.float32(2**-10), values), values)


def drawn(config: Config, number: int) -> Arrays:
    """Input set ``number`` of the measurement's seeded ones."""
    made = {}
    for spec in config["inputs"]:
        seeds = [config["promise"]["feed"]["seed"] % 2**64, number, zlib.crc32(spec["name"].encode())]
        how, *ends = spec["draw"]
        made[spec["name"]] = DRAW[how](np.random.default_rng(seeds), spec["shape"], *ends).astype(spec["dtype"])
    return made


def given(config: Config, stored: Mapping[str, np.ndarray], number: int) -> Arrays:
    """Batch ``number`` of arrays whose first axis counts samples, round and round; others are the same every time."""
    taken = {}
    for spec in config["inputs"]:
        name, shape, axis = spec["name"], tuple(spec["shape"]), spec["batch_axis"]
        array = stored[name]
        if axis is not None:
            rows = np.arange(number * shape[axis], (number + 1) * shape[axis]) % len(array)
            array = np.moveaxis(array[rows], 0, axis)
        elif array.shape != shape:
            array = array[number * config["batch"] % len(array)]
        if array.shape != shape:
            sys.exit(
                f"array `{name}` gives requests of shape {array.shape}, not {shape}: its first axis counts samples"
            )
        taken[name] = np.array(array, spec["dtype"], order="C")
    return taken


def pool(config: Config, path: str, count: int) -> list[Arrays]:
    """``count`` input sets; an empty ``path`` draws them."""
    samples = config["promise"]["samples"]
    if not path:
        if samples:
            print("The promise was measured on samples of your own; these are seeded inputs of the same shape.")
        return [drawn(config, number) for number in range(count)]
    with np.load(path) as file:
        if missing := [spec["name"] for spec in config["inputs"] if spec["name"] not in file]:
            sys.exit(f"{path} has no array `{missing[0]}`; it has: {', '.join(file)}")
        stored = dict(file)
    if not samples:
        print("The promise was measured on seeded inputs, not on these.")
    return [given(config, stored, number) for number in range(count)]
