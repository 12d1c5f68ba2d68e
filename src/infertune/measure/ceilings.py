"""Measuring what a machine can do at most: how fast it copies memory, and a model that is only matrix products."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from infertune.core.seams import Clock
from infertune.edge.host import ROOT, text_of

COPY_BYTES = 1 << 27
MOST_BYTES = 1 << 30
"""Of each array, far beyond any cache; and of all arrays together, on machines with many CPUs."""

COPIES = 6
ROWS, INNER, LAYERS = 1024, 1024, 4
_SEED = 0


def copy_rate(clock: Clock, threads: int) -> float:
    """Bytes read and written per second by the fastest of a few copies, all ``threads`` at once.

    Each thread copies arrays of its own, as STREAM's Copy does (McCalpin 1995): twice the array's size is counted.
    """
    size_bytes = min(COPY_BYTES, MOST_BYTES // (2 * threads))
    pairs = [(np.ones(size_bytes // 8), np.zeros(size_bytes // 8)) for _ in range(threads)]
    with ThreadPoolExecutor(threads) as pool:
        taken = [_timed_copy(clock, pool, pairs) for _ in range(COPIES)]
    return 2.0 * size_bytes * threads / (min(taken) / 1e9)


def _timed_copy(
    clock: Clock,
    pool: ThreadPoolExecutor,
    pairs: list[tuple[np.ndarray, np.ndarray]],
) -> int:
    began = clock.now_ns()
    list(pool.map(lambda pair: np.copyto(pair[1], pair[0]), pairs))
    return max(1, clock.now_ns() - began)


def cache_bytes(root: Path = ROOT) -> int:
    """The largest cache of the first CPU; 0 when the kernel does not tell."""
    found = [text_of(path) for path in (root / "sys/devices/system/cpu/cpu0/cache").glob("index*/size")]
    return max((_size(text) for text in found), default=0)


def _size(text: str) -> int:
    """``32768K`` as bytes."""
    scale = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(text[-1:], 0)
    return int(text[:-1]) * scale if scale and text[:-1].isdecimal() else 0


def product_model(path: str, rows: int = ROWS) -> int:
    """Write ``rows x inner`` times ``inner x inner``, a few layers deep; multiply-accumulates per row of it.

    Weights are scaled so that figures neither vanish nor grow.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(_SEED)
    names = ["x", *(f"h{layer}" for layer in range(1, LAYERS)), "y"]
    weights = [
        numpy_helper.from_array((random.standard_normal((INNER, INNER)) / INNER**0.5).astype(np.float32), f"w{layer}")
        for layer in range(LAYERS)
    ]
    nodes = [helper.make_node("MatMul", [names[i], f"w{i}"], [names[i + 1]]) for i in range(LAYERS)]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [rows, INNER]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "product", ports[:1], ports[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, path)
    return INNER * INNER * LAYERS
