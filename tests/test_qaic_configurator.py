"""The vendor's configurator, command for command, on a simulated card."""

from __future__ import annotations

import csv
import os
import re
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from onnx import helper

import tiny_graphs as tiny
from infertune.cli.app import main
from infertune.cli.endings import exit_code_of
from infertune.cli.model_configurator import configure, script
from infertune.core.goal import parse_goal
from infertune.core.seams import Done
from infertune.edge.shell import LocalShell
from infertune.prepare.load import describe
from infertune.targets import find_target
from infertune.targets.qaic.configurator.combinations import configs_text, read_configs
from infertune.targets.qaic.configurator.request import FLAGS
from infertune.targets.qaic.configurator_log import parse_log
from infertune.targets.qaic.sim.install import install
from infertune.targets.qaic.sim.programs.faults import VARIABLE
from infertune.targets.qaic.sim.shell import SimulatedShell
from small_models import write_classifier
from test_qaic_request import SCHEMA_A, SCHEMA_B, write

# ---------------------------------------------------------------- on a simulated card


@pytest.fixture(scope="module")
def sdk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdk")
    install(folder, card="pro", time_scale=0.0, seed=2)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_classifier(tmp_path_factory.mktemp("model") / "m.onnx", width=256)


@pytest.fixture(autouse=True)
def place(sdk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QAIC_ROOT", str(sdk))
    monkeypatch.chdir(tmp_path)


def run(argv: Sequence[str]) -> int:
    """The program with the simulated tools in this process."""
    return exit_code_of(lambda: configure(argv, SimulatedShell()), show_traceback=False)


def words(model: Path, *more: str) -> list[str]:
    common = ["-onnx-define-symbol-batch-size=batch", "-convert-to-fp16", "-multicast-weights", "-time", "1"]
    return [str(model), "onnx", *common, "-set-size", "2", "-max-compilation-threads", "4", *more]


def results() -> Sequence[Mapping[str, str]]:
    with open("model_configurator_output/results.csv") as file:
        return list(csv.DictReader(file))


def test_brute_force_measures_every_legal_combination(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = words(model, "-cores", "1-2", "-mos", "2,4", "-batchsize", "3", "-instances", "2", "-list-configs")
    assert run(["model_configurator.py", *argv, "-save-config", "space.csv"]) == 0
    told = capsys.readouterr().out
    rows = results()
    assert {(r["cores"], r["mos"], r["instances"]) for r in rows} == {
        ("1", "compiler-default", "2"), ("2", "[2]", "2"), ("2", "compiler-default", "2"),
    }  # fmt: skip
    assert all(float(r["infPerSec"]) > 0 and r["simulated"] == "yes" for r in rows)
    assert "Simulated card" in told and told.rstrip().splitlines()[-2].endswith(" points on a simulated card")
    assert "No combination has mos 4: " in told and "mos 2:" not in told
    assert "ols=compiler-default" in told and "ols=0" not in told
    (row,) = parse_log(told).results
    assert (row.point.ols, row.point.batch) == (0, 3) and "[0]" not in told
    assert "Brute force search results:" in told and "OptimizerStatus" not in told and "InitialValue" not in told
    assert told.count("- [INFO]: Compiling :") == 1
    assert not Path("model_configurator_output/compiled_models").exists()
    saved = Path("space.csv").read_text()
    assert saved.splitlines()[0].startswith("cores,mos,ols,batchSize,deallocDelay,splitSize,vtcmRatio")
    assert len(saved.splitlines()) == 4


def test_the_log_tells_flags_apart_that_the_notebook_s_line_joined(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    joined = ["-convert-to-fp16-cores" if word == "-convert-to-fp16" else word for word in words(model)]
    joined.insert(joined.index("-convert-to-fp16-cores") + 1, "1")
    assert run(["model_configurator.py", *joined, "-compile-only"]) == 0
    assert " -convert-to-fp16 -cores 1 " in capsys.readouterr().out.splitlines()[0]


def test_a_model_of_a_fixed_batch_is_compiled_for_others(tmp_path: Path) -> None:
    product = helper.make_node("MatMul", ["x", "W"], ["y"])
    made = tiny.model([product], [tiny.value("x", [1, 8])], [tiny.value("y", [1, 8])], [tiny.weight("W", 8, 8)])
    path = tiny.save(made, tmp_path / "fixed.onnx")
    argv = [path, "onnx", "-convert-to-fp16", "-time", "1", "-cores", "2", "-batchsize", "1,4"]
    assert run(["model_configurator.py", *argv]) == 0
    assert [row["batchSize"] for row in results()] == ["1", "4"]


def test_saved_configurations_are_loaded_again(model: Path) -> None:
    Path("s.csv").write_text("cores,mos,ols,batchSize,instances\n2,[1],3,5,7\n1,compiler-default,1,1,4\n")
    assert run(["x", *words(model, "-load-configs", "s.csv", "-retain-binaries")]) == 0
    assert [(r["cores"], r["mos"], r["batchSize"]) for r in results()] == [
        ("2", "[1]", "5"),
        ("1", "compiler-default", "1"),
    ]
    kept = sorted(p.name for p in Path("model_configurator_output/compiled_models").iterdir() if p.is_dir())
    assert kept == ["qpc-cores-1-mos-compiler-default-ols-1-bs-1-output", "qpc-cores-2-mos-1-ols-3-bs-5-output"]


SPACE_CSV = """cores,mos,ols,batchSize,deallocDelay,splitSize,vtcmRatio,sdpClusterSizes,instances,setSize,depthFirstMem
2,[1],3,5,,,,,7,2,
4,compiler-default,1,1,2,1536,75,,1,2,
14,"[1, 7]",1,8,,,,"7,7",1,2,
8,[2],1,1,,,,"4,4",2,2,
1,compiler-default,1,1,,,,,4,2,16
"""


def test_a_space_is_saved_as_it_was_loaded(model: Path) -> None:
    Path("s.csv").write_text(SPACE_CSV)
    qaic = find_target("qaic")
    described = describe(str(model), shapes={})
    space = qaic.space(described, qaic.probe(LocalShell())[0], parse_goal("max throughput"))
    points = read_configs("s.csv", space, {})
    assert points[2]["sdp_cluster_sizes"] == "7:1+7:7" and points[2]["mos"] == 0
    assert (points[3]["sdp_cluster_sizes"], points[3]["mos"]) == ("4+4", 2)
    assert (points[1]["vtcm_ratio"], points[1]["split_size"]) == (75, 1536)
    assert configs_text(points) == SPACE_CSV


def test_binaries_that_differ_in_options_only_are_told_apart(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = words(
        model, "-cores", "1", "-batchsize", "1", "-instances", "1", "-dealloc-dly", "2,3", "-split-size", "1024"
    )
    assert run(["x", *argv, "-retain-binaries", "-list-configs"]) == 0
    told = capsys.readouterr().out
    for delay in (2, 3):
        assert told.count(f"batchSize=1, deallocDelay={delay}, splitSize=1024, instances=1)") == 1
    assert re.search(r"Objective \(inf/sec\) deallocDelay splitSize\n0 .* [23] +1024\n", told)
    kept = sorted(p.name for p in Path("model_configurator_output/compiled_models").iterdir() if p.is_dir())
    common = "qpc-cores-1-mos-compiler-default-ols-compiler-default-bs-1"
    assert kept == [f"{common}-deallocDelay-{n}-splitSize-1024-output" for n in (2, 3)]
    assert [row["deallocDelay"] for row in results()] == ["2", "3"]


def test_a_retained_binary_is_never_taken_for_one_of_another_model(model: Path, tmp_path: Path) -> None:
    argv = ["-cores", "1", "-batchsize", "1", "-instances", "1", "-retain-binaries"]
    program = "model_configurator_output/compiled_models"
    sizes = []
    for chosen in (model, write_classifier(tmp_path / "other.onnx", width=512)):
        assert run(["x", *words(chosen, *argv)]) == 0
        sizes.append([p.read_bytes() for p in Path(program).glob("*/programqpc.bin")])
    assert len(sizes[0]) == len(sizes[1]) == 1
    assert sizes[0] != sizes[1]


@pytest.mark.parametrize(
    ("text", "says"),
    [("", "columns"), ("cores,mos\n1,1\n", "columns"), ("cores,batchSize,instances\n1,1\n", "line 2"),
     ("cores,batchSize,instances\n9,1,9\n", "NSPs"), ("cores,batchSize,instances\nx,1,9\n", "holds `x`"),
     ("cores,batchSize,instances\n1,1,999999999999\n", "holds `999"),
     ("cores,batchSize,instances\n1,\"1,2\",1\n", "list"),
     ('cores,mos,batchSize,instances\n4,"[1, 2]",1,1\n', "2 clusters"),
     ("cores,batchSize,instances\n1,1,\x00\n", "line 2")],
)  # fmt: skip
def test_a_damaged_list_of_configurations_is_told(
    model: Path, capsys: pytest.CaptureFixture[str], text: str, says: str
) -> None:
    Path("s.csv").write_text(text)
    assert run(["x", *words(model, "-load-configs", "s.csv")]) == 65
    assert says in capsys.readouterr().err


def test_compile_only_leaves_binaries_and_runs_nothing(model: Path) -> None:
    assert run(["x", *words(model, "-cores", "1", "-batchsize", "1,2", "-compile-only")]) == 0
    made = list(Path("model_configurator_output/compiled_models").glob("*/programqpc.bin"))
    assert len(made) == 2
    assert results() == []


def test_compile_only_tells_what_does_not_compile(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["x", *words(model, "-cores", "1,2", "-batchsize", "1", "-instances", "1", "-compile-only")]
    monkeypatch.setenv(VARIABLE, "compile-failure@cores=2")
    assert run(argv) == 0
    assert "Compiled 1 binary, 1 point failed; they are in /" in capsys.readouterr().out
    assert [(row["cores"], row["failure"].partition(":")[0]) for row in results()] == [("2", "compiler")]
    monkeypatch.setenv(VARIABLE, "compile-failure")
    assert run(argv) == 69
    assert "error[nothing-ran]: none of 2 points could be compiled: compiler: " in capsys.readouterr().err
    assert len(results()) == 2


def test_the_vendor_s_search_reports_no_row_worse_than_what_it_measured(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, SCHEMA_A)
    assert run(["x", *words(model, "-optimized-config-search", str(path), "-search", "vendor")]) == 0
    log = parse_log(capsys.readouterr().out)
    assert [s.instances for s in log.starts] == [8, 7]
    assert [len(points) for points in log.rounds[:2]] == [1, 4]  # 7 instances, 2 cores, ols 2, batch 2
    asked = [point for points in log.rounds for point in points]
    assert len(asked) == len(set(asked)) == len(results())
    best = max(float(row["infPerSec"]) for row in results())
    assert [row.status for row in log.results] == ["SUCCESS", "SUCCESS"]
    assert all(row.objective == pytest.approx(best, abs=0.01) for row in log.results)


def test_the_newer_form_evaluates_all_starts_in_one_round(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, SCHEMA_B)
    assert run(["x", *words(model, f"-config={path}", "-search=vendor")]) == 0
    told = capsys.readouterr().out
    log = parse_log(told)
    assert "from initial values: [" in told
    assert [len(points) for points in log.rounds[:1]] == [2]
    assert all(point.set_size for points in log.rounds for point in points)
    assert log.results[0].point.set_size > 0


def test_infertune_s_own_search_is_the_default_and_takes_fewer_points(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, {**SCHEMA_A, "objective": "minimize_latency", "max_func_eval": 3})  # of each of two starts
    assert run(["x", *words(model, "-optimized-config-search", str(path))]) == 0
    log = parse_log(capsys.readouterr().out)
    assert 1 <= len(results()) <= 6
    best = min(float(row["latencyUs"]) for row in results())
    assert log.results[0].status == "EXCEED_MAX_EVAL"
    assert log.results[0].objective == pytest.approx(best, abs=0.01)


def test_a_command_with_a_mistake_leaves_what_an_earlier_one_wrote(model: Path) -> None:
    argv = ["x", *words(model, "-cores", "1", "-batchsize", "1", "-instances", "1")]
    assert run([*argv, "-retain-binaries"]) == 0
    kept, binaries = results(), sorted(Path("model_configurator_output/compiled_models").iterdir())
    assert kept and binaries
    assert run([*argv[:-1], "99"]) != 0
    assert run([*words_of_configs(argv), "-load-configs", "nowhere.csv"]) != 0
    assert results() == kept
    assert sorted(Path("model_configurator_output/compiled_models").iterdir()) == binaries


def words_of_configs(argv: list[str]) -> list[str]:
    """The same command without its lists."""
    return argv[: argv.index("-cores")]


def test_points_that_do_not_compile_are_told_and_the_rest_is_measured(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(VARIABLE, "compile-failure@cores=2")
    assert run(["x", *words(model, "-cores", "1,2", "-batchsize", "1", "-instances", "2")]) == 0
    told = capsys.readouterr().out
    assert "Compilation failed for (cores=2" in told
    assert "Compiled 1 binary, measured 1 point on a simulated card, 1 point failed\n" in told
    assert [r["failure"].partition(":")[0] for r in results()] == ["", "compiler"] or len(results()) == 2


def test_a_run_that_meets_a_busy_card_is_run_again(
    model: Path, sdk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from infertune.targets.qaic.sim.programs.tree import Tree

    runs = Tree(sdk).card(0).runs
    monkeypatch.setenv(VARIABLE, f"busy@after={runs},times=2")
    assert run(["x", *words(model, "-cores", "1", "-batchsize", "1", "-instances", "1")]) == 0
    assert capsys.readouterr().out.count("Run failed for ") == 2
    assert all(row["infPerSec"] and not row["failure"] for row in results())


def test_a_card_that_breaks_ends_the_search_and_keeps_what_was_measured(
    model: Path, sdk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from infertune.targets.qaic.sim.programs.tree import READY, Tree

    runs = Tree(sdk).card(0).runs
    monkeypatch.setenv(VARIABLE, f"card-error@after={runs + 2}")
    argv = words(model, "-cores", "1", "-batchsize", "1", "-instances", "1-8")
    assert run(["x", *argv]) == 75
    assert "error[card-lost]" in capsys.readouterr().err
    assert sum(1 for row in results() if row["infPerSec"]) == 2
    monkeypatch.delenv(VARIABLE)
    assert run(["x", *argv]) == 69
    assert "error[device-not-ready]" in capsys.readouterr().err
    Tree(sdk).set_status(0, READY)


def test_a_symbol_without_a_value_is_bound_by_the_configurator_s_own_flag(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    product = helper.make_node("MatMul", ["x", "W"], ["y"])
    value = tiny.value("x", ["batch", "some length", 8])
    made = tiny.model([product], [value], [tiny.value("y", ["batch", "some length", 8])], [tiny.weight("W", 8, 8)])
    path = tiny.save(made, tmp_path / "open.onnx")
    assert run(["x", path, "onnx", "-convert-to-fp16", "-cores", "1"]) == 2
    said = capsys.readouterr().err
    assert "for example: '-onnx-define-symbol=some length,128'\n" in said and "--shape" not in said


def test_what_is_measured_is_in_the_file_before_the_next_run(model: Path) -> None:
    class Watching(SimulatedShell):
        def run(self, argv: Sequence[str], **rest: Any) -> Done:
            if "runner" in argv[0]:
                rows.append([row["instances"] for row in results()])
            return super().run(argv, **rest)

    rows: list[list[str]] = []
    argv = ["x", *words(model, "-cores", "1", "-batchsize", "1", "-instances", "1-3")]
    configure(argv, Watching())
    assert rows == [[], ["1"], ["1", "2"]]


def test_sigterm_ends_the_search_with_its_code_and_nothing_left_behind(model: Path) -> None:
    class Terminating(SimulatedShell):
        def run(self, argv: Sequence[str], **rest: Any) -> Done:
            if "runner" in argv[0] and results():
                os.kill(os.getpid(), signal.SIGTERM)
            return super().run(argv, **rest)

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended:
        configure(["x", *words(model, "-cores", "1", "-batchsize", "1", "-instances", "1-3")], Terminating())
    assert ended.value.code == 143
    assert [row["instances"] for row in results()] == ["1"]
    assert not Path("model_configurator_output/compiled_models").exists()
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(
    ("root", "more", "code", "id_"),
    [("nowhere", [], 66, "sdk-not-found"), (None, ["-device-id", "5"], 69, "no-device")],
)
def test_without_sdk_or_card_it_is_two_lines(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    root: str | None, more: list[str], code: int, id_: str,
) -> None:  # fmt: skip
    if root:
        monkeypatch.setenv("QAIC_ROOT", root)
    assert run(["x", *words(model, "-cores", "1", *more)]) == code
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith(f"error[{id_}]: ")
    assert lines[1].startswith("hint: ")
    assert len(lines) == 2


def test_help_tells_every_flag_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert script(["model_configurator.py", "-h"]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()[1:]]
    told = list(zip(FLAGS, lines, strict=True))
    assert all(f.says and line.startswith(f.names[0]) and line.endswith(f.says) for f, line in told)


def test_the_installed_program_and_the_command_are_the_same(
    model: Path, sdk: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    argv = words(model, "-cores", "1", "-batchsize", "1", "-instances", "1", "-compile-only")
    assert main(["model-configurator", *argv]) == 0
    assert "Compiling : compilerParams=(cores=1" in capsys.readouterr().out
    program = sdk / "scripts/qaic-model-configurator/model_configurator.py"
    monkeypatch.setenv("QAIC_ROOT", "/nowhere")  # the installed one runs the tools beside it
    done = LocalShell().run([str(program), *argv], timeout_s=100, log=str(Path.cwd() / "log.txt"))
    assert done.code == 0
    assert "Compiling : compilerParams=(cores=1" in done.tail
