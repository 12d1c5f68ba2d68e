"""The habits of the code base, as figures: file length, function length, names, printing words of one machine."""

import ast
import statistics
import subprocess
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "src").rglob("*.py"))
VAGUE = ("Manager", "Context", "Handler", "Engine", "Helper", "Utils", "Common")


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from ``def`` to the end, the docstring left out."""
    first = function.body[0]
    documented = ast.get_docstring(function) is not None
    docstring = (first.end_lineno or 0) - first.lineno + 1 if documented else 0
    return (function.end_lineno or 0) - function.lineno + 1 - docstring


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT / "src").as_posix())
def test_a_file_is_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400


def test_functions_are_short() -> None:
    lengths = sorted(lines_of(function) for path in SOURCES for function in functions(path))
    assert statistics.median(lengths) < 12
    assert lengths[int(0.95 * len(lengths))] < 50


def test_names_say_what_a_thing_is() -> None:
    names = [
        f"{path.name}: {node.name}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    ]
    assert [name for name in names if name.endswith(VAGUE)] == []
    assert [path.name for path in SOURCES if path.stem in {v.lower() for v in VAGUE} | {"util", "misc"}] == []


def test_no_property_depends_on_how_fast_the_machine_is() -> None:
    assert hypothesis.settings().deadline is None


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split(
        "\n"
    )
    return [ROOT / name for name in listed if name]


def test_no_file_names_a_place_on_somebodys_machine() -> None:
    places = ["/" + name + "/" for name in ("work", "farm", "root")]
    files = [path for path in tracked() or SOURCES if path.is_file() and path.suffix != ".lock"]
    found = [
        f"{path.relative_to(ROOT)}: {place}"
        for path in files
        for place in places
        if place in path.read_text(encoding="utf-8", errors="replace")
    ]
    assert found == []
