"""The page "Add a target in one folder" is true: its code, installed as a package would be, is a working target."""

from __future__ import annotations

import json
import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from commands import infertune
from infertune.core.records import Model
from infertune.prepare.load import describe
from infertune.targets import ENTRY_POINTS
from infertune.testing.targets import TargetContract
from plugins import install
from small_models import write_classifier

PAGE = Path(__file__).parent.parent / "docs" / "add-a-target.md"


def code(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


def installed(folder: Path) -> Path:
    """The page's target under the name and group that the page gives its entry point."""
    group, name, value = re.findall(r'entry-points\."(.*?)"\]\n(\w+) = "(.*?)"', code("toml"))[0]
    assert (group, value.rpartition(".")[2]) == (ENTRY_POINTS, f"{name}_target")
    return install(folder, name, code("python"))


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return describe(str(write_classifier(tmp_path / "m.onnx")), shapes={})


def loaded(folder: Path) -> object:
    spec = spec_from_file_location("numpy_target", installed(folder) / "numpy_target.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_s_target_keeps_the_contract(model: Model, tmp_path: Path) -> None:
    contract = type("Contract", (TargetContract,), {"target": loaded(tmp_path / "t")})()
    contract.check_measurement = lambda found, point: None  # it has neither instances nor set_size
    contract.test_names_itself()
    contract.test_devices_are_whole()
    contract.test_the_space_is_sound(model)
    contract.test_measures_what_was_asked(model, tmp_path)


def test_the_command_on_the_page_measures_it(tmp_path: Path) -> None:
    write_classifier(tmp_path / "model.onnx")
    command = re.search(r"`infertune (measure .*?)`", PAGE.read_text())
    assert command is not None
    site = str(installed(tmp_path))
    done = infertune(tmp_path, *command[1].split(), "--window", "0.1", "--json", env={"PYTHONPATH": site})
    assert done.returncode == 0, done.stderr
    assert sorted(row["batch"] for row in json.loads(done.stdout)["rows"]) == [1, 8]
    doctor = infertune(tmp_path, "doctor", env={"PYTHONPATH": site})
    assert "numpy" in doctor.stdout
