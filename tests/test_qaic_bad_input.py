"""What goes wrong with a card, an SDK or a search's JSON, through the real commands on a simulated card."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from commands import infertune
from infertune.study import doctor
from infertune.targets import find_target
from infertune.targets.qaic.sim.install import CONFIGURATOR, install
from infertune.targets.qaic.sim.programs.faults import VARIABLE
from small_models import write_classifier

COMMON = "m.onnx onnx -onnx-define-symbol-batch-size=batch -convert-to-fp16 -time 1 -output-dir out"
LISTS = "-cores 1 -batchsize 1 -instances 1-4"


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bad")
    write_classifier(folder / "m.onnx", width=64)
    install(folder / "sdk", card="pro", time_scale=0.0)
    (folder / "cut.csv").write_text("cores,batchSize,instances\n1,1,2\n1,")
    (folder / "list.csv").write_text("cores,batchSize,instances\n1,1,2\n")
    return folder


def told(
    work: Path, *argv: str, code: int, id_: str, sdk: str = "sdk", env: Mapping[str, str] | None = None
) -> tuple[str, str]:
    """Message and hint of a command that fails: always two lines."""
    done = infertune(work, *argv, env={"QAIC_ROOT": str(work / sdk), **(env or {})})
    said = done.stderr.splitlines()
    assert done.returncode == code, done.stderr
    assert len(said) == 2, done.stderr
    assert said[0].startswith(f"error[{id_}]: ")
    assert said[1].startswith("hint: ") and len(said[1]) > len("hint: ")
    return said[0], said[1]


def configurator(work: Path, words: str, *, code: int, id_: str, sdk: str = "sdk", fault: str = "") -> tuple[str, str]:
    argv = ("model-configurator", *COMMON.split(), *words.split())
    return told(work, *argv, code=code, id_=id_, sdk=sdk, env={VARIABLE: fault})


# ---------------------------------------------------------------- the search's JSON

A: Mapping[str, object] = {
    "objective": "maximize_inf_rate",
    "params": {"cores": {"min": 1, "max": 2}},
    "initial_values": [{"cores": 1}],
}
B: Mapping[str, object] = {
    "search-mode": "optimized",
    "objective": "max-throughput",
    "search-parameters": {"cores": {"min": 1, "max": 2}},
    "initial-values": [{"cores": 1}],
}
TEXTS: list[tuple[str | Mapping[str, object], int, str, str]] = [
    ('{"objective": "maximize_inf_rate", "par', 65, "config-syntax", "no JSON"),
    ("\x00\x01", 65, "config-syntax", "no JSON"),
    ({**A, "parms": {}}, 2, "config-key", "did you mean `params`?"),
    ({**B, "serach-mode": "optimized"}, 2, "config-key", "did you mean `search-mode`?"),
    ({"serach-mode": "optimized"}, 2, "config-key", "did you mean `search-mode`?"),
    ({**A, "params": {"cors": {"min": 1, "max": 2}}}, 2, "config-key", "did you mean `cores`?"),
    ({**A, "objective": "maximise_inf_rate"}, 2, "config-value", "did you mean `maximize_inf_rate`?"),
    ({**B, "search-mode": "optimised"}, 2, "config-value", "optimized"),
    ({**A, "initial_values": {"cores": 1}}, 2, "config-value", "initial_values"),
    ({**A, "initial_values": [{"cores": 3}]}, 2, "config-start", "outside 1 to 2"),
    ({**A, "params": {"cores": {"min": 17, "max": 17}}}, 2, "config-range", "16 NSPs"),
    ({**A, "static_params": {"bs": 99_999}}, 2, "value-outside-space", "1..4096"),
]


@pytest.mark.parametrize(("text", "code", "id_", "says"), TEXTS)
def test_a_wrong_search(work: Path, text: str | Mapping[str, object], code: int, id_: str, says: str) -> None:
    (work / "s.json").write_text(text if isinstance(text, str) else json.dumps(text))
    assert says in " ".join(configurator(work, "-config=s.json", code=code, id_=id_))


@pytest.mark.parametrize(
    ("words", "code", "id_", "says"),
    [
        ("-config=none.json", 66, "config-not-found", "none.json"),
        ("-cores 1-17", 2, "list-outside-card", "1..16"),
        ("-cores 1 -ols 65", 2, "list-outside-card", "1..64"),
        ("-cores 1 -instances 17", 2, "list-outside-card", "1..16"),
        ("-cores 16 -instances 2", 2, "no-combination", "16 NSPs"),
        ("-cores 1 -device-id 4", 69, "no-device", "/sdk: 0"),
        ("-cores 1 -coers 2", 2, "usage", "did you mean `-cores`?"),
        ("-cores 1 -save-config nowhere/s.csv", 73, "output-unwritable", "nowhere/s.csv"),
        ("-cores 1 -load-configs list.csv", 2, "usage", "exclude each other"),
        ("-config=s.json -save-config s.csv", 2, "usage", "exclude each other"),
        ("-load-configs none.csv", 66, "configs-not-found", "none.csv"),
        ("-load-configs cut.csv", 65, "configs-damaged", "line 3 has 2 columns instead of 3"),
        ("-cores 1 -output-dir m.onnx", 73, "not-a-folder", "m.onnx"),
    ],
)
def test_a_wrong_command_line(work: Path, words: str, code: int, id_: str, says: str) -> None:
    assert says in " ".join(configurator(work, words, code=code, id_=id_))


# ---------------------------------------------------------------- SDK and card


def version(root: Path) -> None:
    (root / "versions/apps.xml").write_text("<base_version>9.1</base_version>")


def says(tool: str, text: str, code: int = 1) -> Callable[[Path], None]:
    """A tool that prints something and ends."""

    def damage(root: Path) -> None:
        (root / tool).write_text(f"#!/bin/sh\nprintf '{text}'\nexit {code}\n")

    return damage


def broken(tool: str) -> Callable[[Path], None]:
    """A tool whose interpreter is not there, as one built for another machine."""

    def damage(root: Path) -> None:
        (root / tool).write_text("#!/no/such/python\n")

    return damage


DENIED = "Error: open /dev/accel/accel0: Permission denied\\n"
DAMAGES: list[tuple[str, Callable[[Path], None], int, str, str]] = [
    ("version", version, 65, "sdk-version-unknown", "1.10 to 1.21"),
    ("no runner", lambda root: (root / "exec/qaic-runner").unlink(), 66, "sdk-tool-missing", "exec/qaic-runner"),
    ("not executable", lambda root: (root / "exec/qaic-runner").chmod(0o644), 66, "sdk-tool-unusable", "group `qaic`"),
    ("broken util", broken("tools/qaic-util"), 69, "no-device", "qaic-util cannot be started"),
    ("no card", says("tools/qaic-util", "", 0), 69, "no-device", "lspci -d 17cb:"),
    ("no permission", says("tools/qaic-util", DENIED), 69, "no-device", "group `qaic`"),
]


@pytest.mark.parametrize(
    ("name", "damage", "code", "id_", "hint"), [pytest.param(*case, id=case[0]) for case in DAMAGES]
)
def test_an_sdk_or_a_card_that_cannot_be_used(
    work: Path, name: str, damage: Callable[[Path], None], code: int, id_: str, hint: str
) -> None:
    install(work / name, card="pro", time_scale=0.0)
    damage(work / name)
    assert hint in " ".join(configurator(work, LISTS, code=code, id_=id_, sdk=name))
    tune = ("tune", "m.onnx", "--target", "qaic", "--budget", "20s", "--accept-noise", "--out", f"run of {name}")
    refused = told(work, *tune, code=69, id_="no-device", sdk=name)[0]
    listed = infertune(work, "devices", env={"QAIC_ROOT": str(work / name)})
    assert (listed.returncode, listed.stderr) == (0, "")
    (health,) = [line.removeprefix("qid: ") for line in listed.stdout.splitlines() if line.startswith("qid: ")]
    assert hint in health and refused.endswith(f"qaic qid: {health}")


def test_a_card_of_which_half_is_told_is_unknown(work: Path) -> None:
    install(work / "half", card="pro", time_scale=0.0)
    says("tools/qaic-util", "QID 0\\n\\tStatus:Rea", 0)(work / "half")
    assert "state unknown" in configurator(work, LISTS, code=69, id_="device-not-ready", sdk="half")[0]
    tune = ("tune", "m.onnx", "--target", "qaic", "--budget", "20s", "--accept-noise", "--out", "run of half")
    assert "qaic qid0: unknown" in told(work, *tune, code=69, id_="no-device", sdk="half")[0]
    listed = infertune(work, "devices", env={"QAIC_ROOT": str(work / "half")})
    assert listed.returncode == 0 and "qid0: unknown: " in listed.stdout


@pytest.mark.parametrize(
    ("sdk", "fault", "why"), [("sdk", "card-error", "qid0 Cloud AI 100: error: "), ("none", "", "no Cloud AI SDK in")]
)
def test_doctor_says_why_a_card_cannot_be_used(
    work: Path, monkeypatch: pytest.MonkeyPatch, sdk: str, fault: str, why: str
) -> None:
    monkeypatch.setenv("QAIC_ROOT", str(work / sdk))
    monkeypatch.setenv(VARIABLE, fault)
    monkeypatch.setattr(doctor, "discover", lambda: {"qaic": find_target("qaic")})
    (found,) = [finding for finding in doctor.examine() if finding.area == "target"]
    assert found.state == "warning" and why in found.detail


def test_the_table_of_devices_tells_how_a_card_is(work: Path) -> None:
    listed = infertune(work, "devices", env={"QAIC_ROOT": str(work / "sdk")})
    (card,) = [line for line in listed.stdout.splitlines() if line.startswith("qaic ")]
    assert re.search(r"qid0 .*Cloud AI 100 Pro \(simulated\) +16 +32 GiB .* +ready", card)
    assert re.search(r"^qid0: firmware 1\.19\.2, [\d.]+ C, [\d.]+ W$", listed.stdout, re.MULTILINE)


def test_a_card_in_error_has_no_size_and_its_advice_is_below_the_table(work: Path) -> None:
    listed = infertune(work, "devices", env={"QAIC_ROOT": str(work / "sdk"), VARIABLE: "card-error"})
    lines = listed.stdout.splitlines()
    (card,) = [line for line in lines if line.startswith("qaic ")]
    assert re.search(r"qid0 .*\(simulated\) +- +- .* +error$", card.rstrip())
    assert any(line.startswith("qid0: error: check that you are in the group `qaic`") for line in lines)


def test_without_an_sdk(work: Path) -> None:
    assert "qaic-sim install" in configurator(work, LISTS, code=66, id_="sdk-not-found", sdk="none")[1]
    said, _ = told(work, "tune", "m.onnx", "--target", "qaic", "--out", "r", code=69, id_="no-device", sdk="none")
    assert str(work / "none") in said


def test_a_card_in_error(work: Path) -> None:
    message, hint = configurator(work, LISTS, code=69, id_="device-not-ready", fault="card-error")
    assert "state error" in message
    assert all(words in hint for words in ("group `qaic`", "soc_reset", "administrator"))


def test_the_installed_program_says_the_same(work: Path) -> None:
    program = str(work / "sdk" / CONFIGURATOR)
    argv = [program, *COMMON.split(), "-cores", "17"]
    done = subprocess.run(argv, cwd=work, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == ["error[list-outside-card]", "hint"]


# ---------------------------------------------------------------- while working


def rows(work: Path) -> list[dict[str, str]]:
    with open(work / "out" / "results.csv") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("fault", ["truncated-output", "missing-profile", "crash-after-print"])
def test_half_written_output_costs_its_point_only(work: Path, fault: str) -> None:
    env = {"QAIC_ROOT": str(work / "sdk"), VARIABLE: f"{fault}@instances=2"}
    done = infertune(work, "model-configurator", *COMMON.split(), *LISTS.split(), env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert [bool(row["failure"]) for row in rows(work)] == [False, True, False, False]
    assert all((float(row["infPerSec"] or 0) > 0) != bool(row["failure"]) for row in rows(work))


def test_nothing_but_half_written_output(work: Path) -> None:
    message, hint = configurator(work, LISTS, code=69, id_="nothing-ran", fault="truncated-output")
    assert "not whole" in message
    assert "results.csv" in hint
    assert all(row["failure"] for row in rows(work)) and len(rows(work)) == 4


@pytest.mark.parametrize(
    ("tool", "code", "id_"), [("qaic-runner", 75, "card-lost"), ("qaic-compile", 69, "nothing-ran")]
)
def test_a_tool_that_cannot_be_started(work: Path, tool: str, code: int, id_: str) -> None:
    name = f"broken {tool}"
    install(work / name, card="pro", time_scale=0.0)
    broken(f"exec/{tool}")(work / name)
    assert f"{tool} cannot be started" in configurator(work, LISTS, code=code, id_=id_, sdk=name)[0]
    assert (work / "out" / "results.csv").is_file()


def test_a_runner_without_permission_keeps_the_study(work: Path) -> None:
    install(work / "denied", card="pro", time_scale=0.0)
    whole = (work / "denied/exec/qaic-runner").read_text()
    says("exec/qaic-runner", DENIED)(work / "denied")
    argv = ("tune", "m.onnx", "--target", "qaic", "--trials", "1", "--accept-noise", "--out", "kept", "--budget")
    env = {"QAIC_ROOT": str(work / "denied"), "INFERTUNE_CACHE": str(work / "cache")}
    done = infertune(work, *argv, "60s", env=env)  # ends with the third refusal
    assert done.returncode == 75
    assert done.stderr.splitlines()[-2].startswith("error[device-lost]: ")
    assert "no permission" in done.stderr
    (work / "denied/exec/qaic-runner").write_text(whole)
    again = infertune(work, *argv, "60s", env=env)
    assert again.returncode == 0, again.stderr
    assert os.listdir(work / "kept")
