"""Outputs of the simulated card: the model in float16, also inside the bodies of control flow."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from onnx import ModelProto, TensorProto, helper

from infertune.targets.qaic.knobs import PROGRAM_FILE
from infertune.targets.qaic.sim.install import install
from infertune.targets.qaic.sim.programs import compiler, runner
from infertune.targets.qaic.sim.programs.container import read_program
from infertune.targets.qaic.sim.programs.half import in_half_precision
from infertune.targets.qaic.sim.programs.tree import Tree
from infertune.targets.qaic.sim.programs.world import Main, World, ended
from infertune.testing.clock import FakeClock
from tiny_graphs import branch, constant, model, save, scalar, value, weight

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def two_ways() -> ModelProto:
    """``y = 2 x`` where the sum of ``x`` is positive, else ``W x``; both bodies capture the input."""
    doubled = branch("doubled", [helper.make_node("Mul", ["x", "two"], ["a"])], "a", [scalar("two", 2.0)])
    product = branch("product", [helper.make_node("MatMul", ["x", "W"], ["b"])], "b")
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["s"], keepdims=0),
        helper.make_node("Greater", ["s", "zero"], ["c"]),
        helper.make_node("If", ["c"], ["y"], then_branch=doubled, else_branch=product),
    ]
    ports = ([value("x", ["batch", 8])], [value("y", ["batch", 8])])
    return model(nodes, *ports, [weight("W", 8, 8), scalar("zero", 0.0)])


def repeated() -> ModelProto:
    """Three steps of ``s = tanh(s W) + x``: a state in a body, and the input captured beside it."""
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["s", "W"], ["p"]),
            helper.make_node("Tanh", ["p"], ["t"]),
            helper.make_node("Add", ["t", "x"], ["after"]),
            helper.make_node("Identity", ["go"], ["on"]),
        ],
        "body",
        [value("i", [], INT64), value("go", [], BOOL), value("s", ["batch", 8])],
        [value("on", [], BOOL), value("after", ["batch", 8])],
    )
    loop = helper.make_node("Loop", ["n", "", "x"], ["y"], body=body)
    count = scalar("n", 3, np.int64)
    return model([loop], [value("x", ["batch", 8])], [value("y", ["batch", 8])], [weight("W", 8, 8), count])


def outputs(made: ModelProto, x: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("make", [two_ways, repeated])
def test_bodies_of_control_flow_compute_in_half_precision(make: object, sign: int) -> None:
    assert callable(make)
    x = sign * np.abs(np.random.default_rng(0).standard_normal((4, 8))).astype(np.float32)
    exact, half = outputs(make(), x), outputs(in_half_precision(make()), x)
    assert half.dtype == np.float32
    np.testing.assert_allclose(half, exact, rtol=1e-2, atol=1e-2)
    assert not np.array_equal(half, exact)


def test_a_name_that_a_body_makes_itself_is_its_own() -> None:
    """The exported name of the outer output may be an inner value's, too."""
    made = two_ways()
    inner = made.graph.node[2].attribute[0].g
    inner.node[0].output[0] = inner.output[0].name = "y"
    half = in_half_precision(made)
    assert half.graph.node[-2].output[0] == "y.half"
    assert half.graph.node[-2].attribute[0].g.node[0].output[0] == "y"


class Card:
    """A simulated SDK of one card, and what its programs said last."""

    def __init__(self, root: Path) -> None:
        install(root / "sdk", card="pro", time_scale=0.0)
        self.root, self.said = root, ""

    def call(self, main: Main, *argv: str) -> int:
        self.said = ""
        tree = Tree(self.root / "sdk")
        world = World(tree, tree.settings(), FakeClock(), (), self._hear, self._hear)
        return ended(main, world, list(argv))

    def _hear(self, text: str) -> None:
        self.said += text

    def compile(self, made: ModelProto, *more: str, into: str = "qpc") -> Path:
        path = save(made, self.root / "m.onnx")
        folder = self.root / into
        argv = ["-aic-hw", f"-m={path}", "-convert-to-fp16", "-aic-num-cores=2", f"-aic-binary-dir={folder}", *more]
        assert self.call(compiler.main, *argv) == 0, self.said
        return folder

    def run(self, program: Path, inputs: Mapping[str, np.ndarray]) -> int:
        """Of one activation; the outputs lie in ``out``."""
        files = []
        for name, array in inputs.items():
            array.tofile(self.root / f"{name}.raw")
            files += ["-i", str(self.root / f"{name}.raw")]
        (self.root / "out").mkdir()
        return self.call(
            runner.main, "-t", str(program), *files, "-n", "1", "--write-output-dir", str(self.root / "out")
        )

    def output(self, name: str) -> np.ndarray:
        return np.fromfile(self.root / "out" / f"{name}-activation-0-inf-0.bin", dtype=np.float32)


@pytest.fixture
def card(tmp_path: Path) -> Card:
    return Card(tmp_path)


def test_what_cannot_be_computed_ends_the_runner_with_one_line(card: Card) -> None:
    """Ids beyond the table: the compiler cannot know, the runner finds out."""
    gather = helper.make_node("Gather", ["E", "ids"], ["y"])
    made = model([gather], [value("ids", ["batch", 2], INT64)], [value("y", ["batch", 2, 8])], [weight("E", 4, 8)])
    program = card.compile(made, "-onnx-define-symbol=batch,1")
    assert card.run(program, {"ids": np.asarray([[0, 9]])}) == 1
    assert "Error: Failed to compute outputs: " in card.said


def scaled(first: list[int | str], *, scale_by: str) -> ModelProto:
    """An input that is no batch first, of these dimensions, and ``x`` (batch, 8) after it."""
    nodes = [helper.make_node("MatMul", ["x", "W"], ["h"]), helper.make_node(scale_by, ["h", "t"], ["y"])]
    return model(nodes, [value("t", first), value("x", ["batch", 8])], [value("y", ["batch", 8])], [weight("W", 8, 8)])


def stacked() -> ModelProto:
    """Sequences with time first."""
    product = helper.make_node("MatMul", ["x", "W"], ["y"])
    return model([product], [value("x", ["time", "batch", 8])], [value("y", ["time", "batch", 8])], [weight("W", 8, 8)])


@pytest.mark.parametrize(
    ("made", "symbols"),
    [
        (stacked(), ["-onnx-define-symbol=time,50"]),
        (scaled([8, 8], scale_by="MatMul"), []),
        (scaled([], scale_by="Mul"), []),
        (scaled([1], scale_by="Mul"), []),
    ],
)
def test_the_batch_is_not_just_any_first_dimension(card: Card, made: ModelProto, symbols: list[str]) -> None:
    found = []
    for batch in (1, 4):
        folder = card.compile(made, *symbols, f"-onnx-define-symbol=batch,{batch}", into=f"qpc{batch}")
        assert card.call(runner.main, "-t", str(folder), "-n", "1") == 0
        assert f" BatchSize {batch} " in card.said
        found.append(read_program((folder / PROGRAM_FILE).read_bytes()))
    assert [program.how.batch for program in found] == [1, 4]


def test_work_is_counted_per_sample_where_time_comes_first(card: Card) -> None:
    folder = card.compile(stacked(), "-onnx-define-symbol=time,50", "-onnx-define-symbol=batch,4")
    workload = read_program((folder / PROGRAM_FILE).read_bytes()).workload
    assert (workload.macs, workload.input_bytes) == (50 * 8 * 8, 4 * 50 * 8)


def test_a_model_of_one_sample_computes_each_of_a_larger_batch(card: Card) -> None:
    """With `-batchsize`; a constant shape inside the model keeps it from computing them at once."""
    nodes = [helper.make_node("MatMul", ["x", "W"], ["h"]), helper.make_node("Reshape", ["h", "flat"], ["y"])]
    ports = ([value("x", [1, 2, 8])], [value("y", [1, 16])])
    made = model(nodes, *ports, [weight("W", 8, 8), constant("flat", 1, 16)])
    x = np.random.default_rng(0).standard_normal((4, 2, 8)).astype(np.float32)
    assert card.run(card.compile(made, "-batchsize=4"), {"x": x}) == 0, card.said
    assert " BatchSize 4 " in card.said
    expected = np.concatenate([outputs(made, x[i : i + 1]) for i in range(4)])
    np.testing.assert_allclose(card.output("y").reshape(4, 16), expected, rtol=1e-2, atol=1e-2)


def test_a_batch_that_the_model_s_own_does_not_divide_is_one_line(card: Card) -> None:
    made = model([helper.make_node("Relu", ["x"], ["y"])], [value("x", [4, 8])], [value("y", [4, 8])])
    assert card.run(card.compile(made, "-batchsize=6"), {"x": np.zeros((6, 8), np.float32)}) == 1
    assert "takes 4 samples of x at a time, which do not make 6" in card.said
