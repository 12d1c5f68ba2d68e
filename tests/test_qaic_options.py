"""The configurator's options beside lists: each reaches the compiler, the runner or the search, or says why not."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import pytest

from infertune.cli.endings import exit_code_of
from infertune.cli.model_configurator import configure
from infertune.core.errors import InfertuneError
from infertune.core.seams import Shell
from infertune.targets.qaic.configurator.request import Request, parse_request
from infertune.targets.qaic.sim.programs.tree import Tree
from infertune.targets.qaic.sim.shell import SimulatedShell
from infertune.testing.shell import WatchedShell
from test_qaic_configurator import model, place, results, sdk, words  # noqa: F401
from test_qaic_request import SCHEMA_A, SCHEMA_B, write

ONE = ("-cores", "1", "-batchsize", "1", "-instances", "1")


def parsed(*more: str) -> Request:
    request = parse_request(["m.onnx", "onnx", "-convert-to-fp16", "-cores", "1", *more])
    assert request is not None
    return request


class Noting(WatchedShell):
    """The simulated tools, and every command line that they were started with."""

    def __init__(self) -> None:
        super().__init__(SimulatedShell(), self._note)
        self.lines: list[list[str]] = []

    def _note(self, argv: Sequence[str]) -> AbstractContextManager[None]:
        self.lines.append(list(argv))
        return nullcontext()

    def of(self, tool: str) -> list[list[str]]:
        return [argv for argv in self.lines if Path(argv[0]).name == tool]


@pytest.fixture
def tools() -> Noting:
    return Noting()


def run(argv: Sequence[str], shell: Shell | None = None) -> int:
    return exit_code_of(lambda: configure(["x", *argv], shell or SimulatedShell()), show_traceback=False)


# ---------------------------------------------------------------- to the compiler


def test_nodes_in_float16_reach_the_compiler(model: Path, tools: Noting) -> None:  # noqa: F811
    assert run([*words(model, *ONE, "-execute-nodes-in-fp16", "Softmax,Erf")], tools) == 0
    (compiled,) = tools.of("qaic-compile")
    assert "-execute-nodes-in-fp16=Softmax,Erf" in compiled


@pytest.mark.parametrize(
    ("more", "flag"),
    [
        (["-convert-to-fp16", "-device-processing"], "-aic-preproc"),
        (["-quantization-precision", "Int16", "-external-quantization", "p.yaml"], "-quantization-precision"),
        (["-convert-to-fp16", "-no-quant", "-num-histogram-bins=256"], "-num-histogram-bins"),
        (["-convert-to-fp16", "-d32-spatial-major"], "-d32-spatial-major"),
    ],
)
def test_what_a_real_compiler_takes_is_passed_on_and_the_simulated_one_says_that_it_cannot(
    model: Path,  # noqa: F811
    tools: Noting,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    flag: str,
) -> None:
    Path("p.yaml").write_text("ranges")
    argv = [str(model), "onnx", "-onnx-define-symbol-batch-size=batch", *ONE, *more]
    assert run(argv, tools) == 69
    (compiled,) = tools.of("qaic-compile")
    assert any(word.startswith(flag) for word in compiled)
    assert ("-external-quantization=p.yaml" in compiled) == ("p.yaml" in more)
    assert f"{flag} is not simulated" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("-convert-to-fp16 -quantization-precision Int8", "exclude each other"),
        ("-quantization-precision Int8", "needs a profile"),
        ("-quantization-precision Int8 -no-quant", "exclude each other"),
        ("-convert-to-fp16 -quant-num-inputs 8", "not supported by infertune yet because it makes no profile"),
        ("-convert-to-fp16 -input-list-generate -image-dir x", "not supported by infertune yet because"),
        ("-convert-to-fp16 -qdrive", "cards of this host alone"),
        ("-quantization-precision Int4", "it takes Int8, Int16"),
        ("-convert-to-fp16 -external-quantization p.yaml", "needs -quantization-precision"),
        ("-quantization-precision Int8 -external-quantization none.yaml", "no file `none.yaml`"),
        ("-convert-to-fp16 -iter 100 -time 5", "exclude each other"),
        ("-convert-to-fp16 -iter 0", "must be 1 to"),
        ("-convert-to-fp16 -input-list-file none.txt", "no file `none.txt`"),
        ("-convert-to-fp16 -input-list-file a.txt -load-pre-gen-files b.json", "exclude each other"),
        ("-convert-to-fp16 -test-depth-first-search -search vendor", "adds to what is searched"),
        ("-convert-to-fp16 -enable-single-device-partitioning -search vendor", "adds to what is searched"),
    ],
)
def test_options_that_do_not_go_together_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: str, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("p.yaml").write_text("ranges")
    with pytest.raises(InfertuneError) as caught:
        parse_request(["m.onnx", "onnx", "-config=s.json" if "vendor" in more else "-cores=1", *more.split()])
    assert says in f"{caught.value.message} {caught.value.hint}"


def test_flags_that_no_knob_spells_reach_the_compiler_as_they_are() -> None:
    flags = (
        "-quantization-precision-bias=Int32", "-quantization-schema-activations=symmetric",
        "-quantization-schema-constants=asymmetric", "-quantization-calibration=Percentile",
        "-percentile-calibration-value=99.9", "-num-histogram-bins=512", "-keep-original-precision-for-nodes=a,b",
        "-d32-spatial-major", "-register-custom-op=op.yaml",
    )  # fmt: skip
    assert parsed(*flags).passed == flags


# ---------------------------------------------------------------- to the search


def test_partitioning_adds_instances_of_two_clusters(model: Path) -> None:  # noqa: F811
    argv = words(model, "-cores", "1,4", "-batchsize", "1", "-instances", "1", "-enable-single-device-partitioning")
    assert run(argv) == 0
    assert {(r["cores"], r["sdpClusterSizes"]) for r in results()} == {("1", ""), ("4", ""), ("4", "2,2")}


def test_depth_first_sizes_are_searched_beside_none(model: Path) -> None:  # noqa: F811
    assert run([*words(model, *ONE, "-test-depth-first-search")]) == 0
    assert [r["depthFirstMem"] for r in results()] == ["", "8", "16", "32"]
    assert parsed("-test-depth-first-search", "-depth-first-mem", "24").added == ()


def test_infertune_s_own_search_has_what_options_add(model: Path, tmp_path: Path) -> None:  # noqa: F811
    told: Mapping[str, object] = {**SCHEMA_A, "max_func_eval": 12}
    argv = words(model, f"-config={write(tmp_path, told)}", "-test-depth-first-search")
    assert run(argv) == 0
    assert {r["depthFirstMem"] for r in results()} > {""}


# ---------------------------------------------------------------- to the runner


def test_a_number_of_requests_per_run_is_kept(model: Path, sdk: Path, tools: Noting) -> None:  # noqa: F811
    argv = [str(model), "onnx", "-convert-to-fp16", "-onnx-define-symbol-batch-size=batch", "-set-size", "1"]
    assert run([*argv, "-cores", "1", "-batchsize", "64", "-instances", "2", "-iter", "20000"], tools) == 0
    first, second = (float(line[line.index("--time") + 1]) for line in tools.of("qaic-runner"))
    assert first == 1
    assert second > 1
    last = [entry for entry in Tree(sdk).ledger() if entry["tool"] == "qaic-runner"][-1]
    assert last["simulated_s"] > second


def raw_inputs(batch: int, name: str) -> Path:
    np.ones((batch, 256), dtype=np.float32).tofile(name)
    return Path(name)


def test_a_list_of_inputs_feeds_every_run_of_its_one_batch(
    model: Path,  # noqa: F811
    tools: Noting,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("list.txt").write_text(f"\n{raw_inputs(3, 'a.raw')}\nanother.raw\n")
    argv = words(model, "-cores", "1", "-instances", "1", "-input-list-file", "list.txt")
    assert run([*argv, "-batchsize", "3"], tools) == 0
    (ran,) = tools.of("qaic-runner")
    assert ran[ran.index("-i") + 1] == str(Path("a.raw").resolve())
    assert run([*argv, "-batchsize", "2,3"], tools) == 2
    assert "-input-list-file is for one batch" in capsys.readouterr().err
    assert run([*argv, "-batchsize", "2"], tools) == 69
    assert "has 3072 bytes" in capsys.readouterr().err


def test_a_search_over_several_batches_takes_no_list_of_inputs(
    model: Path,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("list.txt").write_text(str(raw_inputs(1, "a.raw")))
    assert run([*words(model, f"-config={write(tmp_path, SCHEMA_B)}", "-input-list-file", "list.txt")]) == 2
    assert "one batch" in capsys.readouterr().err


def test_inputs_made_before_go_to_the_runs_of_their_batch(
    model: Path,  # noqa: F811
    tools: Noting,
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = {str(n): {"inputs": [str(raw_inputs(n, f"{n}.raw"))]} for n in (1, 4)}
    Path("made.json").write_text(json.dumps(told))
    argv = words(model, "-cores", "1", "-instances", "1", "-load-pre-gen-files", "made.json")
    assert run([*argv, "-batchsize", "1,4"], tools) == 0
    fed = {Path(line[line.index("-i") + 1]).name for line in tools.of("qaic-runner")}
    assert fed == {"1.raw", "4.raw"}
    assert run([*argv, "-batchsize", "2"], tools) == 2
    assert "no inputs for batch 2" in capsys.readouterr().err


def test_every_batch_is_compiled_with_its_own_profile(model: Path, tools: Noting) -> None:  # noqa: F811
    for n in (1, 4):
        Path(f"{n}.yaml").write_text(f"ranges {n}")
    Path("made.json").write_text(json.dumps({str(n): {"profile": f"{n}.yaml"} for n in (1, 4)}))
    argv = [str(model), "onnx", "-onnx-define-symbol-batch-size=batch", "-quantization-precision", "Int8"]
    run([*argv, "-cores", "1", "-batchsize", "1,4", "-instances", "1", "-load-pre-gen-files", "made.json"], tools)
    profiles = {
        next(w for w in line if w.startswith("-stats-batchsize")): next(
            w for w in line if w.startswith("-load-profile")
        )
        for line in tools.of("qaic-compile")
    }
    assert profiles == {"-stats-batchsize=1": "-load-profile=1.yaml", "-stats-batchsize=4": "-load-profile=4.yaml"}


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ("[", "no JSON object"),
        ("{}", "no JSON object"),
        ('{"x": {}}', "no batch"),
        ('{"1": {"input": []}}', "did you mean `inputs`"),
        ('{"1": {"inputs": "a"}}', "no list"),
        ('{"1": {"profile": "p.yaml"}}', "only -quantization-precision"),
    ],
)
def test_a_file_of_what_was_made_before_that_is_wrong_says_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("p.yaml").write_text("ranges")
    Path("made.json").write_text(told)
    with pytest.raises(InfertuneError) as caught:
        parsed("-load-pre-gen-files", "made.json")
    assert caught.value.id == "inputs-damaged"
    assert says in f"{caught.value.message} {caught.value.hint}"
