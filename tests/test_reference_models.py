"""Reference models: the published size, the same bytes for the same seed, and outputs that depend on the inputs."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from infertune.cli.app import main
from infertune.core.errors import CreateError, UsageError
from infertune.prepare.reference import REFERENCES, Reference, write_reference
from infertune.prepare.reference.draw import draw
from infertune.prepare.reference.encoders import Encoder, encoder
from infertune.prepare.reference.serial import onnx_chunks
from infertune.prepare.reference.sketch import Sketch, Weight
from infertune.prepare.reference.vit import Vision, vision_transformer

Arrays = dict[str, NDArray[Any]]

PUBLISHED = {
    # transformers, BertForQuestionAnswering of bert-base-cased: 107.7 M
    "bert-base": 107_721_218,
    # the same of bert-large-uncased; its model card's 336 M adds the pooler and the pre-training head
    "bert-large": 334_094_338,
    # transformers, DistilBertForQuestionAnswering of distilbert-base-uncased; arXiv:1910.01108 table 3: 66 M
    "distilbert": 66_364_418,
    # transformers, BertModel of sentence-transformers/all-MiniLM-L6-v2: 22.7 M
    "minilm-l6": 22_713_216,
    # torchvision documents it as num_params of ResNet50_Weights.IMAGENET1K_V1
    "resnet50": 25_557_032,
    # torchvision documents it as num_params of MobileNet_V2_Weights.IMAGENET1K_V1
    "mobilenet-v2": 3_504_872,
    # torchvision documents it as num_params of ViT_B_16_Weights.IMAGENET1K_V1
    "vit-base": 86_567_656,
}
LEFT_OUT = {
    "minilm-l6": 384 * 384 + 384,  # the pooler
    "resnet50": 26_560,  # scale and shift of BatchNormalization become one bias
    "mobilenet-v2": 17_056,
}
TINY_BERT = Encoder(vocabulary=99, layers=2, hidden=32, heads=4, intermediate=64, positions=40)
TINY_VIT = Vision(layers=2, hidden=32, heads=4, intermediate=64, patch=8, side=32, classes=10)


def file_of(sketch: Sketch, folder: Path, seed: int = 0) -> Path:
    path = folder / "tiny.onnx"
    path.write_bytes(b"".join(onnx_chunks(sketch, "tiny", seed)))
    return path


def text(batch: int, length: int, seed: int = 0) -> Arrays:
    return {
        "input_ids": np.random.default_rng(seed).integers(0, 99, (batch, length)),
        "attention_mask": np.ones((batch, length), np.int64),
        "token_type_ids": np.zeros((batch, length), np.int64),
    }


def images(batch: int, side: int, name: str, seed: int = 0) -> Arrays:
    return {name: np.random.default_rng(seed).standard_normal((batch, 3, side, side), dtype=np.float32)}


def by_onnxruntime(path: Path, feed: Arrays) -> list[NDArray[np.float32]]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return list(session.run(None, feed))


def by_openvino(path: Path, feed: Arrays, precision: str = "f32") -> list[NDArray[np.float32]]:
    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": precision})
    return list(compiled(feed).values())


def cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    x, y = a.ravel().astype(np.float64), b.ravel().astype(np.float64)
    return float(x @ y / np.linalg.norm(x) / np.linalg.norm(y))


@pytest.mark.parametrize("known", REFERENCES, ids=lambda known: known.name)
def test_parameters_are_the_published_ones_less_what_an_export_leaves_out(known: Reference) -> None:
    assert known.published == PUBLISHED[known.name]
    assert known.sketch().parameters == known.published - LEFT_OUT.get(known.name, 0)
    assert known.sketch().parameters == pytest.approx(known.published, rel=0.007)


def test_every_reference_has_a_published_count() -> None:
    assert {known.name for known in REFERENCES} == set(PUBLISHED)


def test_a_difference_from_the_published_count_is_explained() -> None:
    assert all(known.note for known in REFERENCES if known.name in LEFT_OUT)


@pytest.mark.parametrize("known", REFERENCES, ids=lambda known: known.name)
def test_names_of_weights_are_unique_and_used(known: Reference) -> None:
    sketch = known.sketch()
    names = [weight.name for weight in sketch.weights]
    used = {name for node in sketch.nodes for name in node.inputs}
    assert len(set(names)) == len(names)
    assert set(names) <= used


@pytest.fixture(scope="module")
def mobilenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mobilenet") / "m.onnx"
    write_reference("mobilenet-v2", path)
    return path


def test_the_same_seed_gives_the_same_bytes(mobilenet: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.onnx"
    write_reference("mobilenet-v2", again, seed=0)
    assert hashlib.sha256(again.read_bytes()).digest() == hashlib.sha256(mobilenet.read_bytes()).digest()


def test_another_seed_gives_other_weights_of_the_same_size(mobilenet: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.onnx"
    write_reference("mobilenet-v2", other, seed=1)
    assert other.stat().st_size == mobilenet.stat().st_size
    assert other.read_bytes() != mobilenet.read_bytes()


def test_what_is_written_is_told(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    written = write_reference("mobilenet-v2", path, seed=3)
    assert (written.name, written.seed, written.path) == ("mobilenet-v2", 3, str(path))
    assert written.parameters == PUBLISHED["mobilenet-v2"] - LEFT_OUT["mobilenet-v2"]
    assert written.size_bytes == path.stat().st_size > 4 * written.parameters


def test_the_file_holds_the_drawn_weights_and_says_where_it_comes_from(tmp_path: Path) -> None:
    sketch = encoder(TINY_BERT)
    model = onnx.load(file_of(sketch, tmp_path, seed=5))
    onnx.checker.check_model(model, full_check=True)
    held = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    assert list(held) == [weight.name for weight in sketch.weights]
    for weight in sketch.weights:
        np.testing.assert_array_equal(held[weight.name], draw(weight, 5))
    assert {p.key: p.value for p in model.metadata_props} == {"reference": "tiny", "seed": "5"}
    assert model.opset_import[0].version == 17


def test_text_models_have_the_inputs_and_outputs_of_an_export(tmp_path: Path) -> None:
    graph = onnx.load(file_of(encoder(TINY_BERT), tmp_path)).graph
    dims = [[d.dim_param for d in v.type.tensor_type.shape.dim] for v in (*graph.input, *graph.output)]
    assert [v.name for v in graph.input] == ["input_ids", "attention_mask", "token_type_ids"]
    assert [v.name for v in graph.output] == ["start_logits", "end_logits"]
    assert dims == [["batch_size", "sequence_length"]] * 5
    assert {v.type.tensor_type.elem_type for v in graph.input} == {onnx.TensorProto.INT64}


@pytest.mark.parametrize(("batch", "length"), [(1, 40), (3, 17), (2, 1)])
@pytest.mark.parametrize("types", [0, 2])
def test_both_runtimes_agree_on_text_at_any_shape(tmp_path: Path, batch: int, length: int, types: int) -> None:
    shape = Encoder(vocabulary=99, layers=2, hidden=32, heads=4, intermediate=64, positions=40, types=types)
    path = file_of(encoder(shape), tmp_path)
    feed = text(batch, length)
    if not types:
        del feed["token_type_ids"]
    feed["attention_mask"][0, length // 2 + 1 :] = 0
    ours, theirs = by_onnxruntime(path, feed), by_openvino(path, feed)
    for a, b in zip(ours, theirs, strict=True):
        assert a.shape == (batch, length)
        np.testing.assert_allclose(a, b, atol=1e-3)


@pytest.mark.parametrize("batch", [1, 3])
def test_both_runtimes_agree_on_images(tmp_path: Path, mobilenet: Path, batch: int) -> None:
    vit = file_of(vision_transformer(TINY_VIT), tmp_path)
    for path, feed in ((vit, images(batch, 32, "pixel_values")), (mobilenet, images(batch, 224, "input"))):
        (ours,), (theirs,) = by_onnxruntime(path, feed), by_openvino(path, feed)
        assert len(ours) == batch
        np.testing.assert_allclose(ours, theirs, atol=1e-3)


def test_masked_tokens_do_not_change_what_others_see(tmp_path: Path) -> None:
    path = file_of(encoder(TINY_BERT), tmp_path)
    feed = text(1, 12)
    feed["attention_mask"][0, 8:] = 0
    changed = feed | {"input_ids": feed["input_ids"].copy()}
    changed["input_ids"][0, 8:] += np.where(changed["input_ids"][0, 8:] > 50, -7, 7)
    before, after = by_onnxruntime(path, feed)[0], by_onnxruntime(path, changed)[0]
    np.testing.assert_allclose(before[:, :8], after[:, :8], atol=1e-6)
    assert not np.allclose(before[:, 8:], after[:, 8:], atol=1e-3)


@pytest.mark.parametrize("name", ["minilm-l6", "resnet50", "mobilenet-v2"])
def test_outputs_depend_on_the_inputs_and_survive_bf16(tmp_path: Path, name: str) -> None:
    path = tmp_path / "m.onnx"
    write_reference(name, path)
    feeds = [text(1, 24, s) if name == "minilm-l6" else images(1, 224, "input", s) for s in (0, 1)]
    first, second = (by_onnxruntime(path, feed)[0] for feed in feeds)
    assert np.all(np.isfinite(first))
    assert first.std() > 0.1
    assert cosine(first, second) < 0.9
    if "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        assert cosine(first, by_openvino(path, feeds[0], "bf16")[0]) > 0.99


@given(
    shape=st.lists(st.integers(1, 12), min_size=1, max_size=4).map(tuple),
    seed=st.integers(0, 2**32),
    std=st.floats(1e-3, 10.0),
    mean=st.floats(-5.0, 5.0),
)
def test_weights_are_bounded_and_repeat(shape: tuple[int, ...], seed: int, std: float, mean: float) -> None:
    weight = Weight(name="w", shape=shape, std=std, mean=mean)
    values = draw(weight, seed)
    assert values.shape == shape
    assert values.dtype == np.float32
    assert np.all(np.abs(values - np.float32(mean)) <= 2.28 * std + 1e-5)
    np.testing.assert_array_equal(values, draw(weight, seed))


def test_weights_have_the_deviation_they_say() -> None:
    values = draw(Weight(name="w", shape=(400, 500), std=0.02, mean=1.0), 0)
    assert values.std() == pytest.approx(0.02, rel=0.01)
    assert values.mean() == pytest.approx(1.0, abs=1e-3)


def test_centred_filters_sum_to_zero() -> None:
    values = draw(Weight(name="w", shape=(8, 16, 3, 3), std=0.1, centred=True), 0)
    np.testing.assert_allclose(values.sum(axis=(1, 2, 3)), 0.0, atol=1e-5)


def test_every_tensor_has_its_own_stream() -> None:
    one, two = (draw(Weight(name=name, shape=(64, 64), std=1.0), 0) for name in ("a", "b"))
    assert abs(float(np.mean(one * two))) < 5 / math.sqrt(one.size)


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        write_reference("bert-bas", Path("m.onnx"))
    assert caught.value.id == "unknown-reference"
    assert "did you mean `bert-base`?" in caught.value.hint


def test_a_missing_folder_is_made(tmp_path: Path) -> None:
    write_reference("mobilenet-v2", tmp_path / "new" / "folder" / "m.onnx")
    assert (tmp_path / "new" / "folder" / "m.onnx").is_file()


def test_a_file_where_the_folder_should_be_is_an_error_for_people(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("x")
    with pytest.raises(CreateError) as caught:
        write_reference("mobilenet-v2", tmp_path / "taken" / "m.onnx")
    assert caught.value.id == "not-a-folder"


def test_a_folder_in_the_way_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").mkdir()
    with pytest.raises(CreateError) as caught:
        write_reference("mobilenet-v2", tmp_path / "m.onnx")
    assert caught.value.id == "output-unwritable"
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


def test_an_older_file_is_replaced_whole(mobilenet: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"older")
    write_reference("mobilenet-v2", path)
    assert path.read_bytes() == mobilenet.read_bytes()
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(words)
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def test_command_writes_a_model_and_says_so(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    code, out, err = run(capsys, "model", "mobilenet-v2", "-o", str(path))
    assert (code, err) == (0, "")
    assert out == f"{path}: mobilenet-v2, 3,487,816 parameters, 14.0 MB, seed 0\n"
    assert path.is_file()


def test_command_tells_the_same_as_json(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    code, out, _ = run(capsys, "model", "mobilenet-v2", "-o", str(path), "--seed", "4", "--json")
    told = json.loads(out)
    assert code == 0
    assert (told["name"], told["seed"], told["parameters"]) == ("mobilenet-v2", 4, 3_487_816)
    assert told["size_bytes"] == path.stat().st_size


def test_command_lists_all_models(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "model", "--list")
    assert code == 0
    for name, count in PUBLISHED.items():
        line = next(line for line in out.splitlines() if line.startswith(name))
        assert f"{count:,}" in line
    _, out, _ = run(capsys, "model", "--list", "--json")
    assert {row["name"]: row["published"] for row in json.loads(out)} == PUBLISHED


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["model"], 2, "error[usage]: the command needs a model"),
        (["model", "bert-base"], 2, "error[usage]: the command needs a file to write"),
        (["model", "resnet-50", "-o", "m.onnx"], 2, "error[unknown-reference]: `resnet-50` is not a reference model"),
    ],
)
def test_command_answers_misuse(capsys: pytest.CaptureFixture[str], words: list[str], code: int, said: str) -> None:
    ended, out, err = run(capsys, *words)
    assert (ended, out) == (code, "")
    assert err.splitlines()[0] == said
    assert err.splitlines()[1].startswith("hint: ")
