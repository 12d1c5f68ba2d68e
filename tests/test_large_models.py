"""Models above 2 GB: their weights stay on disk. The data file is a hole of 2 GiB, never really written."""

from __future__ import annotations

import math
import os
import resource
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import tiny_graphs as tiny
from infertune.prepare import fp16, load, source
from infertune.prepare.arithmetic import count_macs

ROWS, COLUMNS = 262_400, 1024
TABLE_BYTES = ROWS * COLUMNS * 4
MOST_GROWTH_BYTES = 400_000_000


def outside(name: str, offset: int, *dims: int) -> TensorProto:
    made = TensorProto(name=name, data_type=tiny.FLOAT, dims=dims, data_location=TensorProto.EXTERNAL)
    for key, value in (("location", "weights.bin"), ("offset", offset), ("length", 4 * math.prod(dims))):
        entry = made.external_data.add()
        entry.key, entry.value = key, str(value)
    return made


@pytest.fixture
def large(tmp_path: Path) -> str:
    """A language model's first and last layer; one weight of the last is 3e38, all others 0."""
    data = tmp_path / "weights.bin"
    with open(data, "wb") as file:
        file.truncate(2 * TABLE_BYTES)
        file.seek(TABLE_BYTES + 400)
        file.write(np.array([3.0e38], np.float32).tobytes())
    if data.stat().st_blocks * 512 > 10_000_000:
        pytest.skip("this file system has no sparse files")
    nodes = [helper.make_node("Gather", ["table", "ids"], ["e"]), helper.make_node("MatMul", ["e", "last"], ["y"])]
    weights = [outside("table", 0, ROWS, COLUMNS), outside("last", TABLE_BYTES, COLUMNS, ROWS)]
    ports = ([tiny.value("ids", ("N", "S"), tiny.INT64)], [tiny.value("y", ("N", "S", ROWS))])
    return tiny.save(tiny.model(nodes, *ports, weights), tmp_path / "m.onnx")


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def test_a_model_above_two_gigabytes(large: str, tmp_path: Path) -> None:
    """Read, its vocabulary found, its arithmetic counted, its one bad weight clipped; never held in memory."""
    before = peak_bytes()
    opened = source.read(large)
    assert opened.weight_bytes == 2 * TABLE_BYTES > 2**31
    assert load.read_ports(opened.proto).indexed == {"ids": {ROWS}}
    assert count_macs(opened.proto, {"ids": (1, 8)}, 1).macs == 8 * ROWS * COLUMNS
    into = str(tmp_path / "clipped.onnx")
    report = fp16.clip(large, into)
    assert [(f.name, f.changed, f.high_after) for f in report.edits] == [("last", 1, 65504.0)]
    assert report.total.elements == 2 * ROWS * COLUMNS and os.path.getsize(f"{into}.data") == 2 * TABLE_BYTES
    onnx.checker.check_model(into)
    with open(f"{into}.data", "rb") as file:
        file.seek(TABLE_BYTES + 396)
        assert np.frombuffer(file.read(12), np.float32).tolist() == [0.0, 65504.0, 0.0]
    assert peak_bytes() - before < MOST_GROWTH_BYTES
