"""The vendor's configurator, command for command, on a simulated card."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from infertune.cli.app import main
from infertune.cli.endings import exit_code_of
from infertune.cli.model_configurator import configure, script
from infertune.core.errors import DataError, InfertuneError, NotFoundError, UsageError
from infertune.edge.shell import LocalShell
from infertune.targets.qaic.configurator.request import numbers, parse_request, separated
from infertune.targets.qaic.configurator.schema import read_search
from infertune.targets.qaic.configurator_log import parse_log
from infertune.targets.qaic.sim.install import install
from infertune.targets.qaic.sim.programs.faults import VARIABLE
from infertune.targets.qaic.sim.shell import SimulatedShell
from small_models import write_classifier

NOTEBOOK = """bert_base_cased_onnx/model_fix_outofrange_fp16.onnx onnx -onnx-define-symbol=sequence_length,128
-onnx-define-symbol-batch-size=batch_size -multicast-weights
-convert-to-fp16-optimized-config-search bert_base_dopt.json
-max-compilation-threads 8 -time 5 -device-id 15"""
NEWER = """-model resnet50.onnx -onnx-define-symbol-batch-size=batch -convert-to-fp16 -config=resnet50_dopt.json
-max-parallel-compilations 16 -time=5 -device-id=1 -search-set-size 1"""


def test_the_notebook_s_command_is_read_with_the_two_flags_that_its_shell_joins() -> None:
    request = parse_request(NOTEBOOK.split())
    assert request is not None
    assert request.model == "bert_base_cased_onnx/model_fix_outofrange_fp16.onnx"
    assert (request.symbols, request.batch_symbol) == ((("sequence_length", 128),), "batch_size")
    assert request.config == "bert_base_dopt.json"
    assert (request.threads, request.seconds, request.device, request.set_size) == (8, 5, 15, 10)
    assert dict(request.fixed) == {"precision": "f16", "multicast_weights": "on"}


def test_the_newer_command_is_read_too() -> None:
    request = parse_request(NEWER.split())
    assert request is not None
    assert (request.model, request.config) == ("resnet50.onnx", "resnet50_dopt.json")
    assert (request.threads, request.device, request.set_size) == (16, 1, 1)


def test_only_two_flags_are_taken_apart() -> None:
    assert separated(["-convert-to-fp16", "-a-b", "-multicast-weights-time=5"]) == [
        "-convert-to-fp16", "-a-b", "-multicast-weights", "-time=5",
    ]  # fmt: skip


@pytest.mark.parametrize(("text", "found"), [("1-4,8,12", (1, 2, 3, 4, 8, 12)), ("3", (3,)), ("2,2", (2,))])
def test_lists_have_ranges(text: str, found: tuple[int, ...]) -> None:
    assert numbers(text, "-cores") == found


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("m.onnx onnx -convert-to-fp16", "nothing to search"),
        ("onnx=1 -cores 1", "needs -convert-to-fp16"),
        ("m.onnx tensorflow -cores 1 -convert-to-fp16", "tensorflow"),
        ("-cores 1 -convert-to-fp16", "there is no model"),
        ("m.onnx onnx -cores 4-1 -convert-to-fp16", "no list"),
        ("m.onnx onnx -cores 1 -config=a.json -convert-to-fp16", "exclude each other"),
        ("m.onnx onnx -core 1 -convert-to-fp16", "did you mean `-cores`"),
        ("m.onnx onnx -cores 1 -convert-to-fp16 -time x", "not a value"),
        ("m.onnx onnx -cores 1 -convert-to-fp16 -onnx-define-symbol=a", "no symbol"),
    ],
)
def test_a_command_line_that_is_wrong_says_why(words: str, says: str) -> None:
    with pytest.raises(InfertuneError) as caught:
        parse_request(words.split())
    assert says in caught.value.message + caught.value.hint


SCHEMA_A: Mapping[str, object] = {
    "max_func_eval": 60,
    "objective": "maximize_inf_rate",
    "params": {n: {"min": 1, "max": m} for n, m in {"cores": 2, "mos": 1, "ols": 2, "bs": 2, "instances": 8}.items()},
    "initial_values": [
        {"cores": 1, "mos": 1, "ols": 1, "bs": 1, "instances": 8},
        {"cores": 2, "mos": 1, "ols": 1, "bs": 1, "instances": 7},
    ],
}
SCHEMA_B: Mapping[str, object] = {
    "search-mode": "optimized",
    "objective": "max-throughput",
    "search-parameters": {
        n: {"min": 1, "max": m} for n, m in {"cores": 2, "batch-size": 2, "instances": 4, "set-size": 3}.items()
    },
    "initial-values": [
        {"cores": 1, "batch-size": 1, "instances": 4, "set-size": 1},
        {"cores": 2, "batch-size": 1, "instances": 2, "set-size": 1},
    ],
}


def write(folder: Path, told: object) -> Path:
    path = folder / "search.json"
    path.write_text(told if isinstance(told, str) else json.dumps(told))
    return path


def test_both_published_forms_say_the_same_things(tmp_path: Path) -> None:
    a = read_search(str(write(tmp_path, SCHEMA_A)), 16)
    assert (a.goal, a.evaluations, a.lock_step) == ("max throughput", 60, False)
    assert ("batch", 1, 2) in a.ranges
    assert dict(a.starts[1])["instances"] == 7
    b = read_search(str(write(tmp_path, SCHEMA_B)), 16)
    assert b.lock_step
    assert ("set_size", 1, 3) in b.ranges


def changed(**changes: object) -> dict[str, object]:
    return {**SCHEMA_A, **changes}


def with_range(name: str, low: object, high: object) -> dict[str, object]:
    params = dict(SCHEMA_A["params"])  # type: ignore[call-overload]
    return changed(params={**params, name: {"min": low, "max": high}})


def with_start(**values: int) -> dict[str, object]:
    """Wide ranges, and one start in them."""
    params = {n: {"min": 1, "max": 16} for n in ("cores", "mos", "ols", "bs", "instances")}
    return changed(params=params, initial_values=[{"cores": 1, "mos": 1, "ols": 1, "bs": 1, "instances": 1, **values}])


OVER, WIDE, ODD = with_start(cores=4, instances=5), with_start(cores=2, mos=3), with_start(bs=3)


@pytest.mark.parametrize(
    ("told", "id_", "says"),
    [
        ("{", "config-syntax", "no JSON"),
        ("[1]", "config-syntax", "no JSON object"),
        ('{"params": {}, "params": {}}', "config-syntax", "twice"),
        ("[" * 100_000, "config-syntax", "no JSON"),
        (changed(objectiv="x"), "config-key", "did you mean `objective`"),
        (changed(objective="max_inf_rate"), "config-value", "maximize_inf_rate"),
        (changed(max_func_eval=0), "config-value", "max_func_eval"),
        (changed(params=None), "config-value", "params is missing"),
        (changed(initial_values=[]), "config-value", "initial_values"),
        (with_range("coers", 1, 2), "config-key", "did you mean `cores`"),
        (with_range("cores", 1, 20), "config-range", "the card has 16 NSPs"),
        (with_range("cores", 4, 1), "config-range", "min must not exceed max"),
        (with_range("bs", 1, 6), "config-range", "powers of two"),
        (with_range("ols", 1, 2.5), "config-value", "ols.max"),
        (with_range("ols", 1, True), "config-value", "ols.max"),
        (
            changed(initial_values=[{"cores": 9, "mos": 1, "ols": 1, "bs": 1, "instances": 1}]),
            "config-start",
            "outside",
        ),
        (OVER, "config-start", "16 NSPs"),
        (WIDE, "config-start", "mos exceeds cores"),
        (ODD, "config-start", "power"),
        (changed(initial_values=[{"cores": 1}]), "config-start", "lacks"),
    ],
)
def test_a_configuration_that_is_wrong_says_where(tmp_path: Path, told: object, id_: str, says: str) -> None:
    with pytest.raises((UsageError, DataError)) as caught:
        read_search(str(write(tmp_path, told)), 16)
    assert caught.value.id == id_
    assert says in f"{caught.value.message} {caught.value.hint}"


def test_a_configuration_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        read_search(str(tmp_path / "no.json"), 16)


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
    argv = words(model, "-cores", "1-2", "-mos", "2", "-batchsize", "3", "-instances", "2", "-list-configs")
    assert run(["model_configurator.py", *argv, "-save-config", "space.csv"]) == 0
    told = capsys.readouterr().out
    rows = results()
    assert {(r["cores"], r["mos"], r["instances"]) for r in rows} == {
        ("1", "compiler-default", "2"), ("2", "[2]", "2"), ("2", "compiler-default", "2"),
    }  # fmt: skip
    assert all(float(r["infPerSec"]) > 0 and r["simulated"] == "yes" for r in rows)
    assert "Simulated card" in told
    assert told.count("- [INFO]: Compiling :") == 1
    assert not Path("model_configurator_output/compiled_models").exists()
    saved = Path("space.csv").read_text()
    assert saved.splitlines()[0].startswith("cores,mos,ols,batchSize,deallocDelay,splitSize,vtcmRatio")
    assert len(saved.splitlines()) == 4


def test_saved_configurations_are_loaded_again(model: Path) -> None:
    Path("s.csv").write_text("cores,mos,ols,batchSize,instances\n2,[1],3,5,7\n1,compiler-default,1,1,4\n")
    assert run(["x", *words(model, "-load-configs", "s.csv", "-retain-binaries")]) == 0
    assert [(r["cores"], r["mos"], r["batchSize"]) for r in results()] == [
        ("2", "[1]", "5"),
        ("1", "compiler-default", "1"),
    ]
    kept = sorted(p.name for p in Path("model_configurator_output/compiled_models").iterdir() if p.is_dir())
    assert kept == ["qpc-cores-1-mos-compiler-default-ols-1-bs-1-output", "qpc-cores-2-mos-1-ols-3-bs-5-output"]


@pytest.mark.parametrize(
    ("text", "says"),
    [("", "columns"), ("cores,mos\n1,1\n", "columns"), ("cores,batchSize,instances\n1,1\n", "line 2"),
     ("cores,batchSize,instances\n9,1,9\n", "NSPs"), ("cores,batchSize,instances\nx,1,9\n", "holds `x`")],
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
    path = write(tmp_path, {**SCHEMA_A, "objective": "minimize_latency", "max_func_eval": 6})
    assert run(["x", *words(model, "-optimized-config-search", str(path))]) == 0
    log = parse_log(capsys.readouterr().out)
    assert 1 <= len(results()) <= 6
    best = min(float(row["latencyUs"]) for row in results())
    assert log.results[0].status == "SUCCESS"
    assert log.results[0].objective == pytest.approx(best, abs=0.01)


def test_points_that_do_not_compile_are_told_and_the_rest_is_measured(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(VARIABLE, "compile-failure@cores=2")
    assert run(["x", *words(model, "-cores", "1,2", "-batchsize", "1", "-instances", "2")]) == 0
    assert "Compilation failed for (cores=2" in capsys.readouterr().out
    assert [r["failure"].partition(":")[0] for r in results()] == ["", "compiler"] or len(results()) == 2


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


def test_help_lists_the_vendor_s_flags(capsys: pytest.CaptureFixture[str]) -> None:
    assert script(["model_configurator.py", "-h"]) == 0
    assert "-optimized-config-search" in capsys.readouterr().out


def test_the_installed_program_and_the_command_are_the_same(
    model: Path, sdk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = words(model, "-cores", "1", "-batchsize", "1", "-instances", "1", "-compile-only")
    assert main(["model-configurator", *argv]) == 0
    assert "Compiling : compilerParams=(cores=1" in capsys.readouterr().out
    program = sdk / "scripts/qaic-model-configurator/model_configurator.py"
    done = LocalShell().run([str(program), *argv], timeout_s=100, log=str(Path.cwd() / "log.txt"))
    assert done.code == 0
    assert "Compiling : compilerParams=(cores=1" in done.tail
