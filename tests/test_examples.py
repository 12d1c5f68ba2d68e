"""The notebooks in examples/, executed from a clean state on a simulated card; their outputs hold what they say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def executed(name: str, folder: Path) -> Any:
    """The notebook after all of its cells ran in the empty ``folder``; raises what a cell raises."""
    import nbclient
    import nbformat

    read: Any = nbformat.read
    notebook = read(EXAMPLES / f"{name}.ipynb", 4)
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(folder)}}).execute()
    return notebook


def printed(notebook: Any) -> str:
    return "".join(o.text for c in notebook.cells for o in c.get("outputs", []) if o.output_type == "stream")


def pictures(notebook: Any) -> int:
    return sum("image/png" in o.get("data", {}) for c in notebook.cells for o in c.get("outputs", []))


@pytest.mark.timeout(1200)
def test_bert(tmp_path: Path) -> None:
    notebook = executed("cloud_ai_bert", tmp_path)
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


@pytest.mark.timeout(1200)
def test_resnet(tmp_path: Path) -> None:
    notebook = executed("cloud_ai_resnet", tmp_path)
    text = printed(notebook)
    assert pictures(notebook) == 2
    assert "as asked" in text
    one, ten = (float(us) for us in re.findall(r"set size +\d+: +[\d.]+ inf/s, +([\d.]+) us", text))
    assert ten > 5 * one
    assert "error[" not in text
