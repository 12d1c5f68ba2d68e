"""Landscapes for tests: made-up CPUs, and how to play any landscape (see `infertune.search.replay.landscape`).

landscape = cpu_landscape(units=16, seed=1)
trials = play(find_strategy("auto"), landscape, parse_goal("max throughput"), seed=0, trials=20)
regrets(landscape, goal, trials)[-1]  # how far the best point found is from the best there is, as a log ratio
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial

import numpy as np

from infertune.core.keys import point_key
from infertune.core.space import AUTO, Baseline, IntRange, Knob, Point, Rule, Space, Value
from infertune.search.replay.landscape import Landscape, a_window, best_score, play, regrets

__all__ = ["Landscape", "a_cpu_space", "a_knob", "a_window", "best_score", "cpu_landscape", "play", "regrets"]


# ---------------------------------------------------------------- a made-up CPU with two runtimes


def a_knob(name: str, values: tuple[Value, ...], stage: str = "run") -> Knob:
    whole = [value for value in values if isinstance(value, int)]
    allowed = IntRange(low=min(whole), high=max(whole)) if len(whole) == len(values) else values
    return Knob(
        name=name,
        stage="build" if stage == "build" else "run",
        default=values[0],
        values=values,
        allowed=allowed,
        doc=name,
        spelling=name,
    )


BATCHES = (1, 2, 4, 8, 16, 32, 64)


def a_cpu_space(target: str, units: int, presets: tuple[str, ...], extra: tuple[Knob, ...]) -> Space:
    """cores, instances, batch and set_size of a runtime on ``units`` CPUs, its presets, and its own knobs."""
    splits = tuple(sorted({1, units, *(2**k for k in range(units.bit_length()) if 2**k <= units), max(1, units // 2)}))
    knobs = (
        a_knob("preset", ("explicit", *presets)),
        a_knob("batch", BATCHES),
        *(a_knob(name, (AUTO, *splits)) for name in ("cores", "instances")),
        a_knob("set_size", (AUTO, 1, 2)),
        *extra,
    )
    rules = (
        Rule(reason="sizes are set exactly when preset is explicit", holds=_whole),
        Rule(reason="cores x instances fit", holds=lambda v: _product(v) <= units),
        Rule(reason="other knobs need an explicit preset", holds=lambda v: _plain(v, extra)),
    )
    bare = Space(target=target, device="cpu", knobs=knobs, rules=rules)
    seeds = [
        bare.point(batch=batch, cores=units // split, instances=split, set_size=1)
        for batch in (1, 8)
        for split in splits
        if units % split == 0
    ]
    baselines = [Baseline(name=f"{target} {preset}", point=bare.point(preset=preset, batch=1)) for preset in presets]
    return Space(target=target, device="cpu", knobs=knobs, rules=rules, seeds=tuple(seeds), baselines=tuple(baselines))


def _whole(values: Mapping[str, Value]) -> bool:
    explicit = values["preset"] == "explicit"
    return all((values[name] != AUTO) == explicit for name in ("cores", "instances", "set_size"))


def _product(values: Mapping[str, Value]) -> int:
    cores, instances = values["cores"], values["instances"]
    return cores * instances if isinstance(cores, int) and isinstance(instances, int) else 0


def _plain(values: Mapping[str, Value], extra: tuple[Knob, ...]) -> bool:
    return values["preset"] == "explicit" or all(values[knob.name] == knob.default for knob in extra)


def cpu_landscape(*, units: int, seed: int) -> Landscape:
    """Two runtimes on a made-up CPU; the seed draws caches, hyper-threads, what the runtimes are good at."""
    rng = np.random.default_rng(seed)
    a = a_cpu_space(
        "alpha",
        units,
        ("default", "latency", "throughput"),
        (a_knob("precision", ("bf16", "f32"), "build"), a_knob("pinning", ("off", "on"))),
    )
    b = a_cpu_space("beta", units, ("default",), (a_knob("spinning", ("on", "off")),))
    machine = {
        name: float(rng.uniform(low, high))
        for name, (low, high) in {
            "serial": (0.0, 0.08),
            "half_batch": (0.1, 3.0),
            "bandwidth": (0.4, 3.0),
            "cache": (3.0, 9.0),
            "cliff": (0.02, 0.25),
            "threads": (0.9, 1.25),
            "host": (0.01, 0.1),
            "bf16": (0.8, 2.2),
            "beta": (0.5, 1.3),
            "pinned": (0.95, 1.08),
            "spinning": (0.97, 1.15),
            "hint": (0.75, 1.0),
        }.items()
    }
    smt = bool(rng.integers(2)) and units >= 4
    return Landscape(
        name=f"cpu-{units}-{seed}",
        spaces=(a, b),
        throughput=cache(partial(_cpu_throughput, units=units, machine=machine, smt=smt)),
        in_flight=partial(_cpu_in_flight, units=units),
    )


def _cpu_throughput(point: Point, *, units: int, machine: Mapping[str, float], smt: bool) -> float:
    """Amdahl's law, batch efficiency, a memory roof, a cache cliff, host time that queueing hides, 1 % of roughness."""
    cores, instances, set_size = _layout(point, units)
    batch = point.number("batch", 1)
    physical = units / 2 if smt else units
    used = cores * instances
    speed = min(used, physical) + max(0.0, used - physical) * (machine["threads"] - 1.0)
    speed /= 1.0 + machine["serial"] * (2.0 if point.target == "beta" else 1.0) * (cores - 1)
    speed *= batch / (batch + machine["half_batch"] * cores / physical**0.5)
    speed *= _own_factor(point, machine, spare=used < units)
    roof = machine["bandwidth"] * physical * min(1.0, 0.3 + batch / 8.0)
    speed = (speed**-4 + roof**-4) ** -0.25
    over = max(0.0, float(np.log2(batch * instances)) - machine["cache"])
    speed *= float(np.exp(-machine["cliff"] * over**1.5))
    speed *= 1.0 - machine["host"] / (set_size * (1 + batch / 8))
    rough = int(point_key(point), 16) % 1000 / 1000.0
    return float(100.0 * speed * (1.0 + 0.02 * (rough - 0.5)))


def _layout(point: Point, units: int) -> tuple[int, int, int]:
    """(cores, instances, set_size), also where a preset chooses them."""
    match point["preset"]:
        case "throughput":
            return max(1, units // 4), min(4, units), 2
        case "default" | "latency":
            return units, 1, 1
    return point.number("cores"), point.number("instances"), point.number("set_size")


def _cpu_in_flight(point: Point, *, units: int) -> int:
    _, instances, set_size = _layout(point, units)
    return instances * set_size


def _own_factor(point: Point, machine: Mapping[str, float], *, spare: bool) -> float:
    """What the runtime, its precision and its own knobs are good for."""
    factor = machine["beta"] if point.target == "beta" else 1.0
    factor *= machine["bf16"] if point.get("precision", "") == "bf16" else 1.0
    if point["preset"] != "explicit":
        return factor * machine["hint"]
    factor *= machine["pinned"] if point.get("pinning", "off") == "on" else 1.0
    if point.get("spinning", "off") == "on":
        factor *= machine["spinning"] if spare else 0.98
    return factor
