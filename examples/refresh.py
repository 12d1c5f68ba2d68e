"""Execute the notebooks here from a clean state, each in an empty folder, and store their outputs: `make notebooks`.

What differs between runs for no reason a reader could care about is left out: times of execution, and the folder, which
becomes `ELSEWHERE`. The digest of the sources is stored beside, so that outputs of other sources are noticed
(`tests/test_examples.py`).
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbclient
import nbformat

HERE = Path(__file__).parent
KEY = "outputs_of"
ELSEWHERE = "/path/to"


def digest(notebook: Any) -> str:
    """Of the sources of all code cells."""
    sources = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256("\0".join(sources).encode()).hexdigest()


def executed(path: Path, folder: str) -> Any:
    """The notebook after all of its cells ran in the empty ``folder``; raises what a cell raises."""
    read: Any = nbformat.read
    notebook = read(path, 4)
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": folder}}).execute()
    return notebook


def refresh(path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        notebook = executed(path, folder)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):
            if output.output_type == "stream":
                output.text = output.text.replace(folder, ELSEWHERE).replace("\r\n", "\n")
    notebook.metadata["language_info"] = {"name": "python"}
    notebook.metadata["infertune"] = {KEY: digest(notebook)}
    write: Any = nbformat.write
    write(notebook, path)


if __name__ == "__main__":
    for found in [HERE / f"{name}.ipynb" for name in sys.argv[1:]] or sorted(HERE.glob("*.ipynb")):
        refresh(found)
        print(found.name)
