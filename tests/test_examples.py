"""The notebooks in examples/, executed from a clean state on a simulated card; their outputs hold what they say."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def refresh() -> dict[str, Any]:
    """What `make notebooks` runs: the same execution, and the digest that it stores."""
    return runpy.run_path(str(EXAMPLES / "refresh.py"))


def stored(name: str) -> Any:
    """The notebook as it is kept, with the outputs that a reader sees without running it."""
    import nbformat

    read: Any = nbformat.read
    return read(EXAMPLES / f"{name}.ipynb", 4)


def printed(notebook: Any) -> str:
    return "".join(o.text for c in notebook.cells for o in c.get("outputs", []) if o.output_type == "stream")


def pictures(notebook: Any) -> int:
    return sum("image/png" in o.get("data", {}) for c in notebook.cells for o in c.get("outputs", []))


def kinds(notebook: Any) -> list[set[str]]:
    """What each code cell puts out: text, pictures."""
    cells = [c for c in notebook.cells if c.cell_type == "code"]
    return [{kind for o in c.outputs for kind in o.get("data", {o.output_type: ""})} for c in cells]


def check_bert(notebook: Any) -> None:
    text = printed(notebook)
    assert pictures(notebook) == 3
    assert "Cloud AI 100 Pro (simulated)" in text
    assert "1 values of 1 constants clipped" in text
    assert "as asked" in text
    latencies = [float(ms) for ms in re.findall(r"inf/s, +([\d.]+) ms; Little", text)]
    assert latencies[-1] > 8 * latencies[0]
    gains = re.search(r"second instance: \+(\d+)% inf/s, \+(\d+)% latency", text)
    assert gains is not None
    assert int(gains[1]) > int(gains[2])
    assert "error[" not in text


def check_resnet(notebook: Any) -> None:
    text = printed(notebook)
    assert pictures(notebook) == 2
    assert "as asked" in text
    one, ten = (float(us) for us in re.findall(r"set size +\d+: +[\d.]+ inf/s, +([\d.]+) us", text))
    assert ten > 5 * one
    assert "error[" not in text


CHECKS = {"cloud_ai_bert": check_bert, "cloud_ai_resnet": check_resnet}
HERE_ONLY = re.compile(r"/(tmp|home|root|work|Users|var|usr)/")


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", CHECKS)
def test_it_runs_from_a_clean_state(name: str, tmp_path: Path) -> None:
    notebook = refresh()["executed"](EXAMPLES / f"{name}.ipynb", str(tmp_path))
    CHECKS[name](notebook)
    assert kinds(notebook) == kinds(stored(name))


@pytest.mark.parametrize("name", CHECKS)
def test_stored_outputs_are_those_of_its_cells(name: str) -> None:
    """`make notebooks` stores them anew."""
    notebook, path = stored(name), EXAMPLES / f"{name}.ipynb"
    assert notebook.metadata.infertune[refresh()["KEY"]] == refresh()["digest"](notebook)
    cells = [c for c in notebook.cells if c.cell_type == "code"]
    assert [c.execution_count for c in cells] == list(range(1, len(cells) + 1))
    outputs = [o for c in cells for o in c.outputs]
    assert not any(o.output_type == "error" or o.get("name") == "stderr" for o in outputs)
    assert not HERE_ONLY.search(printed(notebook))
    assert path.stat().st_size < 500_000
    CHECKS[name](notebook)
