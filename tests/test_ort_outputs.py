"""Outputs that are no plain tensors: a classical classifier gives a label and a sequence of maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from commands import infertune
from infertune.targets.onnxruntime.outputs import numbers


def classifier(path: Path, *, texts: bool) -> Path:
    """Three classes from eight features, as exporters of scikit-learn write them."""
    labels = {"classlabels_strings": ["a", "b", "c"]} if texts else {"classlabels_ints": [0, 1, 2]}
    names = {"classlabels_strings": ["a", "b", "c"]} if texts else {"classlabels_int64s": [0, 1, 2]}
    weights = np.random.default_rng(0).normal(size=(3, 8)).ravel().tolist()
    nodes = [
        helper.make_node(
            "LinearClassifier", ["x"], ["label", "scores"], domain="ai.onnx.ml", coefficients=weights,
            intercepts=[0.0, 0.1, 0.2], multi_class=1, post_transform="SOFTMAX", **labels,
        ),
        helper.make_node("ZipMap", ["scores"], ["probabilities"], domain="ai.onnx.ml", **names),
    ]  # fmt: skip
    kind = TensorProto.STRING if texts else TensorProto.INT64
    maps = helper.make_sequence_type_proto(
        helper.make_map_type_proto(kind, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    )
    graph = helper.make_graph(
        nodes,
        "classifier",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 8])],
        [helper.make_tensor_value_info("label", kind, ["N"]), helper.make_value_info("probabilities", maps)],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


@pytest.mark.parametrize("texts", [False, True])
def test_a_classical_classifier_is_tuned(tmp_path: Path, texts: bool) -> None:
    classifier(tmp_path / "m.onnx", texts=texts)
    tune = ("tune", "m.onnx", "--budget", "15s", "--trials", "2", "--accept-noise", "--target", "onnxruntime")
    done = infertune(tmp_path, *tune, "-o", "run")
    assert done.returncode == 0, done.stderr
    assert "samples/s" in done.stdout and "could not be checked" not in done.stdout


def test_everything_becomes_numbers() -> None:
    found = numbers(
        {
            "label": np.array([["a", "b"], ["a", "c"]], dtype=object),
            "probabilities": [{"b": 0.25, "a": 0.75}, {"b": 1.0, "a": 0.0}],
            "parts": [np.zeros(3), np.zeros((2, 2))],
            "one": {2: 0.5, 1: 0.25},
            "absent": None,
            "nothing": [],
        }
    )
    assert list(found) == ["label", "probabilities", "parts.0", "parts.1", "one"]
    label = found["label"]
    assert label.shape == (2, 2) and label[0, 0] == label[1, 0] != label[0, 1]
    assert found["probabilities"].tolist() == [[0.75, 0.25], [0.0, 1.0]]
    assert found["one"].tolist() == [0.25, 0.5]
