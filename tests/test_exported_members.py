"""The public names are the documented ones, and importing the package stays light."""

import subprocess
import sys
from pathlib import Path

import pytest

import infertune

PUBLIC = """Device Failed Goal InfertuneError Knob Measurement Model Plan Point Space Study __version__
discover replay tune"""
HEAVY = {"numpy", "scipy", "onnx", "onnxruntime", "openvino", "torch", "rich", "typer", "cattrs", "psutil"}


def test_all_names_the_public_members() -> None:
    assert infertune.__all__ == PUBLIC.split()
    assert dir(infertune) == sorted(PUBLIC.split())


@pytest.mark.parametrize("name", infertune.__all__)
def test_each_public_name_resolves_to_itself(name: str) -> None:
    found = getattr(infertune, name)
    assert name in {"__version__", getattr(found, "__name__", None)}


def test_every_public_name_is_documented() -> None:
    page = (Path(__file__).parent.parent / "docs" / "library.md").read_text()
    shown = {line.rpartition(".")[2] for line in page.splitlines() if line.startswith("::: ")}
    assert set(infertune.__all__) - {"__version__"} <= shown


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'tnue'"):
        infertune.tnue  # noqa: B018


def test_import_loads_no_other_package() -> None:
    code = "import sys, infertune; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert HEAVY.isdisjoint(loaded)
    assert [name for name in loaded if name.startswith("infertune.")] == []
