"""int8 artifacts of real runtimes on small graphs of several kinds: built, near the reference, or refused as data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from infertune.core.goal import parse_goal
from infertune.core.records import BuildJob, Failed, Feed, InferJob, Model, Saved, Trial
from infertune.core.space import Point, Space
from infertune.edge.shell import LocalShell
from infertune.prepare.calibration import CHECKED, SETS, calibration_sets
from infertune.prepare.load import describe
from infertune.prepare.traits import traits
from infertune.search import find_strategy
from infertune.targets import find_target
from infertune.targets.worker import safely
from infertune.testing.records import a_launch
from infertune.verify.outputs import compare_outputs
from small_models import write_classifier
from tiny_graphs import constant, embedding, model, relu, save, value, weight

pytest.importorskip("nncf")


def attention(opset: int = 17, *, batch: int | str = "batch") -> onnx.ModelProto:
    """One head over ``x`` (batch, 8, 32) with a projection in front, a residual and a layer after it."""
    nodes = [
        helper.make_node("MatMul", ["x", "wq"], ["q"]),
        helper.make_node("MatMul", ["x", "wk"], ["k"]),
        helper.make_node("Transpose", ["k"], ["kt"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["q", "kt"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["p"], axis=-1),
        helper.make_node("MatMul", ["p", "x"], ["mixed"]),
        helper.make_node("Add", ["mixed", "x"], ["sum"]),
        helper.make_node("MatMul", ["sum", "wo"], ["y"]),
    ]
    ports = ([value("x", (batch, 8, 32))], [value("y", (batch, 8, 32))])
    weights = [weight("wq", 32, 32), weight("wk", 32, 32), weight("wo", 32, 32)]
    return model(nodes, *ports, weights, opset=opset)


def convolutional(opset: int = 13, *, batch: int | str = 1) -> onnx.ModelProto:
    """An image of fixed shape through a convolution, a pool and a classifier."""
    nodes = [
        helper.make_node("Conv", ["image", "kernel", "bias"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("Gemm", ["f", "head"], ["logits"]),
    ]
    ports = ([value("image", (batch, 3, 16, 16))], [value("logits", (batch, 10))])
    return model(nodes, *ports, [weight("kernel", 8, 3, 3, 3), weight("bias", 8), weight("head", 8, 10)], opset=opset)


def awkward() -> onnx.ModelProto:
    """A bias of 1 x n, and a softmax in float64: ONNX Runtime's own tool ends in an exception on either."""
    made = convolutional(17, batch="n")
    head = made.graph.node[-1]
    head.input.append("shift")
    head.output[0] = "wide"
    made.graph.initializer.append(weight("shift", 1, 10))
    made.graph.node.extend(
        [
            helper.make_node("Cast", ["wide"], ["wider"], to=onnx.TensorProto.DOUBLE),
            helper.make_node("Softmax", ["wider"], ["chances"]),
            helper.make_node("Cast", ["chances"], ["logits"], to=onnx.TensorProto.FLOAT),
        ]
    )
    return made


def two_inputs() -> onnx.ModelProto:
    """Ids looked up in a table, plus features, through a layer."""
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["e"]),
        helper.make_node("Add", ["e", "features"], ["s"]),
        helper.make_node("MatMul", ["s", "w"], ["y"]),
    ]
    ids, features = value("ids", ("n",), onnx.TensorProto.INT64), value("features", ("n", 32))
    return model(nodes, [ids, features], [value("y", ("n", 16))], [weight("table", 50, 32), weight("w", 32, 16)])


MODELS = {
    "attention": attention(),
    "attention-fixed-batch": attention(batch=2),
    "convolution-opset-13": convolutional(),
    "convolution-opset-11": convolutional(11, batch="n"),
    "awkward": awkward(),
    "two-inputs": two_inputs(),
}


def described(made: onnx.ModelProto, folder: Path) -> Model:
    return describe(save(made, folder / "m.onnx"), shapes={})


def space(target: str, subject: Model) -> Space:
    found = find_target(target)
    return found.space(subject, found.probe(LocalShell())[0], parse_goal("max throughput"))


def quantised_seed(target: str, subject: Model) -> Point:
    return next(p for p in space(target, subject).seeds if p["precision"] == "int8")


def built(point: Point, subject: Model, into: Path) -> object:
    into.mkdir()
    return safely(point.target, BuildJob(model=subject, point=point, into=str(into)))


@pytest.mark.parametrize("target", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("kind", MODELS)
def test_int8_is_near_the_reference(tmp_path: Path, target: str, kind: str) -> None:
    subject = described(MODELS[kind], tmp_path)
    seed = quantised_seed(target, subject)
    plain = space("onnxruntime", subject).seeds[0]
    outputs = []
    for name, point in (("int8", seed), ("f32", plain)):
        reply = built(point, subject, tmp_path / name)
        assert isinstance(reply, Saved), reply
        into = tmp_path / f"{name}.npz"
        job = InferJob(
            model=subject, point=point, artifact=str(tmp_path / name), feed=Feed(seed=0), count=4, into=str(into)
        )
        find_target(point.target).infer(job, LocalShell())
        outputs.append(into)
    found = compare_outputs(seed, *outputs, inputs=4)
    assert found.value > 0.97, found
    assert found.max_abs > 0.0, "quantising changed nothing"


@pytest.mark.parametrize("target", ["onnxruntime", "openvino"])
def test_a_model_without_anything_to_quantise_is_a_failed_candidate(tmp_path: Path, target: str) -> None:
    subject = described(relu("batch", 8), tmp_path)
    found = space(target, subject)
    assert found.knob("quantisation").values == ("none",) and "int8" not in found.knob("precision").values
    ways = found.knob("quantisation").allowed
    assert isinstance(ways, tuple)
    for way in ways[1:]:
        reply = built(found.seeds[0].but(precision="int8", quantisation=way), subject, tmp_path / str(way))
        assert isinstance(reply, Failed) and (reply.stage, reply.kind) == ("build", "compiler")
        assert "nothing to quantise" in reply.message


def test_precision_is_int8_exactly_when_quantised(tmp_path: Path) -> None:
    for target in ("onnxruntime", "openvino"):
        found = space(target, described(attention(), tmp_path))
        seed = next(p for p in found.seeds if p["precision"] == "int8")
        assert found.why_illegal(seed) is None
        assert (
            found.why_illegal(seed.but(quantisation="none")) == "precision is int8 exactly when the model is quantised"
        )
        assert found.why_illegal(seed.but(precision="f32")) == "precision is int8 exactly when the model is quantised"


def test_without_the_quantiser_int8_is_not_offered(tmp_path: Path) -> None:
    target = find_target("openvino")
    device = target.probe(LocalShell())[0]
    assert "int8" in device.precisions
    without = replace(device, precisions=tuple(p for p in device.precisions if p != "int8"))
    found = target.space(described(attention(), tmp_path), without, parse_goal("max throughput"))
    assert found.knob("precision").allowed == (*found.knob("precision").values,)
    assert found.knob("quantisation").allowed == ("none",)


WAYS = [
    (attention(), "transformer", "dynamic"),
    (convolutional(), "convolution", "static"),
    (two_inputs(), "convolution", "dynamic"),
]


@pytest.mark.parametrize(("made", "openvino", "onnxruntime"), WAYS, ids=["attention", "convolution", "matmul"])
def test_what_a_model_computes_with_decides_how_it_is_quantised(
    tmp_path: Path, made: onnx.ModelProto, openvino: str, onnxruntime: str
) -> None:
    subject = described(made, tmp_path)
    assert space("openvino", subject).knob("quantisation").values == ("none", openvino)
    assert space("onnxruntime", subject).knob("quantisation").values == ("none", onnxruntime)


def test_traits() -> None:
    assert traits(attention()) == ("attention", "matmul")
    assert traits(convolutional()) == ("convolution", "matmul")
    assert traits(embedding()) == ()
    held = [helper.make_node("DequantizeLinear", ["w", "s"], ["d"]), helper.make_node("MatMul", ["x", "d"], ["y"])]
    ports = ([value("x", (1, 4))], [value("y", (1, 4))])
    done = model(held, *ports, [weight("w", 4, 4, kind=np.int8), constant("s", 0.1, kind=np.float32)])
    assert traits(done) == ("matmul", "quantised")


def test_a_model_that_is_quantised_already_is_left_alone(tmp_path: Path) -> None:
    subject = replace(described(attention(), tmp_path), traits=("attention", "matmul", "quantised"))
    for target in ("onnxruntime", "openvino"):
        assert space(target, subject).knob("quantisation").values == ("none",)


def test_a_search_narrowed_to_int8_bears_with_baselines_outside_it(tmp_path: Path) -> None:
    """Baselines leave cores to the runtime, which no point of the narrowed space does."""
    narrowed = space("onnxruntime", described(attention(), tmp_path)).narrowed(
        {"precision": ("int8",), "quantisation": ("dynamic",)}
    )
    points = [*narrowed.seeds[:2], *(b.point for b in narrowed.baselines)]
    trials = [Trial(point=p, launches=(a_launch(p, 100.0 + i),)) for i, p in enumerate(points)]
    asked = find_strategy("auto")((narrowed,), trials, parse_goal("max throughput"), 2, 0)
    assert len(asked) == 2 and all(narrowed.why_illegal(p) is None and p["precision"] == "int8" for p in asked)


# ---------------------------------------------------------------- calibration inputs


def samples(folder: Path, count: int) -> Feed:
    path = folder / "x.npz"
    np.savez(path, x=np.arange(count * 32, dtype=np.float32).reshape(count, 32))
    return Feed(seed=0, path=str(path))


def first_values(sets: Sequence[dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]]) -> list[int]:
    return [int(inputs["x"][0, 0]) // 32 for inputs in sets]


def test_calibration_keeps_off_the_samples_that_outputs_are_checked_on(tmp_path: Path) -> None:
    subject = describe(str(write_classifier(tmp_path / "m.onnx")), shapes={})
    assert first_values(calibration_sets(subject, samples(tmp_path, 40))) == list(range(CHECKED, 40))
    assert first_values(calibration_sets(subject, samples(tmp_path, 20))) == list(range(20))  # too few to divide
    assert len(calibration_sets(subject, samples(tmp_path, 500))) == SETS


def test_seeded_calibration_does_not_depend_on_the_seed_of_the_study(tmp_path: Path) -> None:
    subject = describe(str(write_classifier(tmp_path / "m.onnx")), shapes={})
    one, other = (calibration_sets(subject, Feed(seed=seed)) for seed in (0, 1))
    assert all(np.array_equal(a["x"], b["x"]) for a, b in zip(one, other, strict=True))


def test_a_fixed_batch_takes_whole_batches(tmp_path: Path) -> None:
    subject = describe(str(write_classifier(tmp_path / "m.onnx", batch=4)), shapes={})
    sets = calibration_sets(subject, samples(tmp_path, 42))
    assert [inputs["x"].shape for inputs in sets] == [(4, 32)] * 6
