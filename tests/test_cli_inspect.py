"""`infertune inspect` and `infertune prepare`: what they print, what they write, how they refuse."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import tiny_graphs as tiny
from infertune.cli.app import main

Golden = Callable[[str, str], None]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Holds `ids.onnx`, a text model, and `mask.onnx`, with constants that fp16 cannot hold; the working folder."""
    tiny.save(tiny.embedding(), tmp_path / "ids.onnx")
    nodes = [
        helper.make_node("Mul", ["x", "lowest"], ["bias"]),
        helper.make_node("Add", ["bias", "w"], ["sum"]),
        helper.make_node("LayerNormalization", ["sum", "w"], ["y"], name="norm", epsilon=1e-12),
    ]
    weights = [tiny.scalar("lowest", float(np.finfo(np.float32).min))]
    weights.append(numpy_helper.from_array(np.array([-np.inf, 70_000, 1e-7, 1], np.float32), "w"))
    made = tiny.model(nodes, [tiny.value("x", ("N", 4))], [tiny.value("y", ("N", 4))], weights)
    tiny.save(made, tmp_path / "mask.onnx")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(arguments) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def refused(capsys: pytest.CaptureFixture[str], code: int, *arguments: str) -> str:
    assert main(arguments) == code
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == "" and len(lines) == 2 and lines[0].startswith("error[") and lines[1].startswith("hint: ")
    return err


def without_digest(text: str) -> str:
    return re.sub("sha256 [0-9a-f]{16}", "sha256 DIGEST", text)


def document(text: str) -> Any:
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def test_inspect_prints_tables(folder: Path, capsys: pytest.CaptureFixture[str], golden: Golden) -> None:
    golden("inspect.txt", without_digest(told(capsys, "inspect", "ids.onnx", "--shape", "sequence_length=16")))


def test_inspect_works_without_bindings(folder: Path, capsys: pytest.CaptureFixture[str], golden: Golden) -> None:
    golden("inspect-unbound.txt", without_digest(told(capsys, "inspect", "ids.onnx")))


def test_inspect_as_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = document(told(capsys, "inspect", "ids.onnx", "--shape", "sequence_length=16", "--json"))
    assert found["inputs"][0] == {
        "name": "input_ids", "dtype": "int64", "dims": ["batch_size", "sequence_length"], "shape": [1, 16],
        "below": 100,
    }  # fmt: skip
    assert found["parameters"] == 408 and found["macs"] == 0 and found["opsets"] == [["ai.onnx", 17]]
    assert document(told(capsys, "inspect", "ids.onnx", "--json"))["macs"] is None


def test_inspect_names_what_it_cannot_count(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nodes = [
        helper.make_node("NonZero", ["x"], ["places"], name="find"),
        helper.make_node("Cast", ["places"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["w", "f"], ["y"], name="dense"),
    ]
    made = tiny.model(nodes, [tiny.value("x", ("N", 4))], [tiny.value("y", (5, None))], [tiny.weight("w", 5, 2)])
    tiny.save(made, folder / "nonzero.onnx")
    lines = told(capsys, "inspect", "nonzero.onnx").splitlines()
    assert lines[-2].endswith("could not be worked out: MatMul `dense`")
    assert lines[-1] == "shapes become unknown at: NonZero `find`"


def test_inspect_says_where_the_batch_could_not_be_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny.save(tiny.relu("T", "B", 4), folder / "time_first.onnx")
    tiny.save(tiny.relu(1, "T", 4), folder / "one.onnx")
    unknown = "no symbol is known as the batch: a request counts as 1 sample unless --batch-symbol names one of T, B\n"
    named = ("time_first.onnx", "--batch-symbol", "B")
    assert unknown in told(capsys, "inspect", "time_first.onnx")
    assert unknown not in told(capsys, "inspect", *named)
    assert "the batch is fixed at 3\n" in told(capsys, "inspect", *named, "--shape", "B=3")
    assert "the batch is fixed at 1\n" in told(capsys, "inspect", "one.onnx")


def test_what_a_person_is_told_to_type_is_quoted_for_the_shell(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny.save(tiny.relu("batch", "Größe N"), folder / "spaced.onnx")
    assert "unbound: --shape 'Größe N=NUMBER'" in told(capsys, "inspect", "spaced.onnx")
    assert "--shape 'Größe N=128'" in refused(capsys, 2, "measure", "spaced.onnx", "-o", "r")
    hint = refused(capsys, 2, "prepare", "spaced.onnx", "-o", "my model.onnx").splitlines()[1]
    assert hint == "hint: `infertune prepare spaced.onnx --fp16-range clip -o 'my model.onnx'`"


def test_a_model_without_weights_as_tensors_is_not_said_to_hold_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny.save(tiny.relu("batch", 4), folder / "relu.onnx")
    assert "\nno weights but what nodes hold as attributes, as trees do\n" in told(capsys, "inspect", "relu.onnx")


def test_inspect_refuses_in_two_lines(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean `ids.onnx`" in refused(capsys, 66, "inspect", "idz.onnx")
    assert "error[shape-syntax]" in refused(capsys, 2, "inspect", "ids.onnx", "--shape", "16")
    assert "error[unknown-symbol]" in refused(capsys, 2, "inspect", "ids.onnx", "--shape", "seqence_length=16")
    (folder / "ids.onnx").write_bytes((folder / "ids.onnx").read_bytes()[:90])
    assert "error[model-truncated]" in refused(capsys, 65, "inspect", "ids.onnx")


def test_prepare_reports(folder: Path, capsys: pytest.CaptureFixture[str], golden: Golden) -> None:
    golden("prepare-report.txt", told(capsys, "prepare", "mask.onnx", "--fp16-range", "report"))
    assert sorted(os.listdir(folder)) == ["ids.onnx", "mask.onnx"]


def test_prepare_clips(folder: Path, capsys: pytest.CaptureFixture[str], golden: Golden) -> None:
    clip = ("prepare", "mask.onnx", "--fp16-range", "clip", "--infinities", "clip")
    golden("prepare-clip.txt", told(capsys, *clip, "-o", "safe.onnx"))
    assert "nothing written: -o PATH writes the model with 3 values clipped" in told(capsys, *clip)
    assert sorted(os.listdir(folder)) == ["ids.onnx", "mask.onnx", "safe.onnx"]
    assert "0 values of 0 constants clipped" in told(
        capsys, "prepare", "safe.onnx", "--fp16-range", "clip", "-o", "again.onnx"
    )


def test_prepare_as_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = document(told(capsys, "prepare", "mask.onnx", "--fp16-range", "report", "--json"))
    assert found["written"] is None and found["total"]["infinite"] == 1
    weight = next(f for f in found["findings"] if f["name"] == "w")
    assert weight["before"]["low"] == "-inf" and weight["low_after"] == "-inf" and weight["high_after"] == 65504.0
    clip = ("prepare", "mask.onnx", "--fp16-range", "clip", "--infinities", "clip", "-o", "safe.onnx", "--json")
    found = document(told(capsys, *clip))
    assert found["written"] == "safe.onnx" and sum(f["changed"] for f in found["findings"]) == 3


@pytest.mark.parametrize(
    ("code", "id_", "options"),
    [
        (2, "usage", ()),
        (2, "usage", ("--fp16-range", "report", "-o", "o.onnx")),
        (2, "usage", ("--fp16-range", "squash")),
        (2, "infinities-choice", ("--fp16-range", "clip", "-o", "o.onnx")),
        (2, "output-is-input", ("--fp16-range", "clip", "--infinities", "keep", "-o", "mask.onnx")),
        (73, "not-a-folder", ("--fp16-range", "clip", "--infinities", "keep", "-o", "ids.onnx/o.onnx")),
    ],
)
def test_prepare_refuses_in_two_lines(
    folder: Path, capsys: pytest.CaptureFixture[str], code: int, id_: str, options: tuple[str, ...]
) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert f"error[{id_}]" in refused(capsys, code, "prepare", "mask.onnx", *options)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
