"""The reference networks compute what the transformers library computes with the same weights."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from infertune.prepare.reference import REFERENCES, Reference
from infertune.prepare.reference.convolutional import mobilenet_v2, resnet50
from infertune.prepare.reference.draw import draw
from infertune.prepare.reference.encoders import Encoder, encoder
from infertune.prepare.reference.serial import onnx_chunks
from infertune.prepare.reference.sketch import Sketch
from infertune.prepare.reference.vit import Vision, vision_transformer

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

Arrays = dict[str, NDArray[Any]]
TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}


def ours(sketch: Sketch, folder: Path, feed: Arrays) -> list[NDArray[np.float32]]:
    path = folder / "m.onnx"
    path.write_bytes(b"".join(onnx_chunks(sketch, "m", 0)))
    return list(onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, feed))


def theirs(model: Any, weights: Arrays, feed: Arrays) -> list[NDArray[np.float32]]:
    model.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()}, strict=False)
    with torch.inference_mode():
        outputs = model.eval()(**{name: torch.from_numpy(array) for name, array in feed.items()})
    return [value.numpy() for value in outputs.to_tuple()]


def by_name(sketch: Sketch, model: Any) -> Arrays:
    """Our weights under the same names in transformers; linear layers there hold (out, in)."""
    drawn = {weight.name: draw(weight, 0) for weight in sketch.weights}
    assert set(drawn) == {name for name, _ in model.named_parameters()}
    linear = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    return {name: np.ascontiguousarray(array.T) if name in linear else array for name, array in drawn.items()}


def in_order(sketch: Sketch, model: Any, order: list[str]) -> Arrays:
    """Our convolutions for theirs, which are followed by a BatchNormalization: made to do nothing but add our bias."""
    drawn = {weight.name: draw(weight, 0) for weight in sketch.weights}
    convolutions = [name.removesuffix(".weight") for name, array in drawn.items() if array.ndim == 4]
    weights: Arrays = {}
    for mine, other in zip(convolutions, order, strict=True):
        normal = model.get_submodule(f"{other}.normalization")
        weights |= {
            f"{other}.convolution.weight": drawn[f"{mine}.weight"],
            f"{other}.normalization.bias": drawn[f"{mine}.bias"],
            f"{other}.normalization.running_var": np.full(normal.num_features, 1.0 - normal.eps, np.float32),
        }
    return weights


def test_bert(tmp_path: Path) -> None:
    sketch = encoder(Encoder(vocabulary=99, layers=2, hidden=32, heads=4, intermediate=64, positions=40))
    config = transformers.BertConfig(**TINY, vocab_size=99, max_position_embeddings=40)
    model = transformers.BertForQuestionAnswering(config)
    feed = {
        "input_ids": np.random.default_rng(0).integers(0, 99, (3, 17)),
        "attention_mask": np.tri(3, 17, 14, dtype=np.int64),
        "token_type_ids": np.eye(3, 17, dtype=np.int64),
    }
    for a, b in zip(ours(sketch, tmp_path, feed), theirs(model, by_name(sketch, model), feed), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_vit(tmp_path: Path) -> None:
    sketch = vision_transformer(Vision(layers=2, hidden=32, heads=4, intermediate=64, patch=8, side=32, classes=10))
    config = transformers.ViTConfig(**TINY, patch_size=8, image_size=32, num_labels=10)
    model = transformers.ViTForImageClassification(config)
    feed = {"pixel_values": np.random.default_rng(0).standard_normal((2, 3, 32, 32), dtype=np.float32)}
    np.testing.assert_allclose(
        ours(sketch, tmp_path, feed)[0], theirs(model, by_name(sketch, model), feed)[0], atol=1e-5
    )


def test_resnet50(tmp_path: Path) -> None:
    sketch = resnet50()
    model = transformers.ResNetForImageClassification(transformers.ResNetConfig(num_labels=1000))
    names = [name.removesuffix(".convolution") for name, _ in model.named_modules() if name.endswith(".convolution")]
    # theirs lists the projection of a block first, ours last
    order = sorted(names, key=lambda n: ("stages" in n, re.sub(r"shortcut$", "layer.9", n)))
    check_images(sketch, model, order, "fc", tmp_path)


def test_mobilenet_v2(tmp_path: Path) -> None:
    sketch = mobilenet_v2()
    config = transformers.MobileNetV2Config(num_labels=1000, tf_padding=False)
    model = transformers.MobileNetV2ForImageClassification(config)
    order = [name.removesuffix(".convolution") for name, _ in model.named_modules() if name.endswith(".convolution")]
    check_images(sketch, model, order, "classifier.1", tmp_path)


def check_images(sketch: Sketch, model: Any, order: list[str], last: str, folder: Path) -> None:
    images = np.random.default_rng(0).standard_normal((1, 3, 224, 224), dtype=np.float32)
    drawn = {weight.name: draw(weight, 0) for weight in sketch.weights}
    classifier = next(name for name in model.state_dict() if name.startswith("classifier") and name.endswith("weight"))
    weights = in_order(sketch, model, order) | {
        classifier: drawn[f"{last}.weight"],
        classifier.replace("weight", "bias"): drawn[f"{last}.bias"],
    }
    expected = theirs(model, weights, {"pixel_values": images})[0]
    found = ours(sketch, folder, {"input": images})[0]
    assert expected.std() > 0.1
    np.testing.assert_allclose(found, expected, atol=1e-3)


LARGE = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
SMALL = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
ORIGINALS = {
    "bert-base": ("BertForQuestionAnswering", "BertConfig", {"vocab_size": 28996}),
    "bert-large": ("BertForQuestionAnswering", "BertConfig", LARGE),
    "distilbert": ("DistilBertForQuestionAnswering", "DistilBertConfig", {}),
    "minilm-l6": ("BertModel", "BertConfig", SMALL),
    "resnet50": ("ResNetForImageClassification", "ResNetConfig", {"num_labels": 1000}),
    "mobilenet-v2": ("MobileNetV2ForImageClassification", "MobileNetV2Config", {"num_labels": 1000}),
    "vit-base": ("ViTForImageClassification", "ViTConfig", {"num_labels": 1000}),
}


@pytest.mark.parametrize("known", REFERENCES, ids=lambda known: known.name)
def test_the_published_count_is_that_of_the_original(known: Reference) -> None:
    model, config, settings = ORIGINALS[known.name]
    with torch.device("meta"):  # no memory for weights
        original = getattr(transformers, model)(getattr(transformers, config)(**settings))
    assert sum(parameter.numel() for parameter in original.parameters()) == known.published
