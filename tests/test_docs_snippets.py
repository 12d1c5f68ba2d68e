"""Every command and snippet of the documentation runs: fenced blocks of each page, in order, beside a small study.

A block labelled ``sh`` or ``python`` is executed as it stands, except that studies are given two seconds and one
runtime, and `verify` one short block (`shortened`), so that all pages take seconds. Two comments before a block say
otherwise:
``<!-- not executed: REASON -->`` (its syntax is checked) and ``<!-- ends with: CODE -->``.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from small_models import write_classifier

DOCS = Path(__file__).parent.parent / "docs"
REASONS = {"needs docker", "needs the network"}
ELSEWHERE = {"add-a-target.md": "test_add_a_target.py"}
FENCE = re.compile(r"((?:<!-- [^\n]* -->\n)*)^```(\w*)[^\n]*\n(.*?)^```$", re.DOTALL | re.MULTILINE)
COMMANDS = ("infertune", "make", "pip", "python", "docker")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One fenced block; ``code`` is the exit code it must end with, ``skipped`` why it is not executed."""

    language: str
    text: str
    code: int = 0
    skipped: str = ""


def blocks(page: Path) -> list[Block]:
    return list(_blocks(page.read_text()))


def _blocks(text: str) -> Iterator[Block]:
    for before, language, body in FENCE.findall(text):
        ends = re.search(r"ends with: (\d+)", before)
        skipped = re.search(r"not executed: (.*?) -->", before)
        yield Block(
            language=language,
            text=body,
            code=int(ends[1]) if ends else 0,
            skipped=skipped[1] if skipped else "",
        )


def shortened(block: Block) -> str:
    """The block with studies and checks that take seconds."""
    quick = re.sub(
        r"(infertune tune (?:[^\n]|\\\n)*?) --budget \S+",
        r"\1 --budget 2s --trials 1 --target onnxruntime --accept-noise",
        block.text,
    )
    quick = re.sub(r"--seeds \d+", "--seeds 1", quick)
    quick = re.sub(r"(infertune verify \S+[^\n;>|]*)", r"\1 --launches 1 --window 0.1 --tolerance 100 ", quick)
    return quick.replace('budget="5m"', 'budget="2s", trials=1, targets=["onnxruntime"], noise="accept"')


def environment(folder: Path) -> dict[str, str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "HOME": str(folder), "XDG_CACHE_HOME": str(folder / ".cache"), "NO_COLOR": "1"}


def run(argv: list[str], folder: Path, code: int = 0) -> str:
    done = subprocess.run(
        argv, cwd=folder, env=environment(folder), capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == code, f"{argv[-1]}\nended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def executed(block: Block, folder: Path, earlier: list[str]) -> None:
    """Run one block; ``earlier`` are the Python blocks of the page so far, whose names it may use."""
    text = shortened(block)
    if block.language == "sh":
        run(["sh", "-eu", "-n" if block.skipped else "-u", "-c", text], folder, block.code)
    elif block.language == "python":
        run([sys.executable, "-W", "error", "-c", "\n".join([*earlier, text])], folder, block.code)
        earlier.append(text)


PAGES = sorted(DOCS.rglob("*.md"))
RUNNABLE = [
    page
    for page in PAGES
    if page.name not in ELSEWHERE and any(block.language in ("sh", "python") for block in blocks(page))
]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a reader has it: a model, a study of it in ``runs/m``, its bundle in ``deploy/m``."""
    folder = tmp_path_factory.mktemp("reader")
    write_classifier(folder / "m.onnx")
    (folder / "bench").symlink_to(DOCS.parent / "bench")
    tune = "infertune tune m.onnx --target onnxruntime --trials 2 --budget 4s --accept-noise -o runs/m"
    run(["sh", "-eu", "-c", f"{tune} && infertune export runs/m -o deploy/m"], folder)
    return folder


@pytest.mark.parametrize("page", RUNNABLE, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_a_page_runs(page: Path, study: Path, tmp_path: Path) -> None:
    folder = tmp_path / "here"
    shutil.copytree(study, folder, symlinks=True)
    earlier: list[str] = []
    for block in blocks(page):
        executed(block, folder, earlier)


def test_the_gate_in_ci_is_the_one_documented(study: Path, tmp_path: Path) -> None:
    """The last step of the workflow, with a Python of its own in place of the environment of before."""
    import yaml  # type: ignore[import-untyped]

    (block,) = [b for b in blocks(DOCS / "guides" / "verify-in-ci.md") if b.language == "yaml"]
    workflow = yaml.safe_load(block.text)
    steps = workflow["jobs"]["verify"]["steps"]
    assert all(set(step) <= {"name", "run", "uses", "with"} for step in steps)
    folder = tmp_path / "here"
    shutil.copytree(study, folder, symlinks=True)
    before = folder / ".before" / "bin" / "python"
    before.parent.mkdir(parents=True)
    before.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    before.chmod(0o755)
    for step in steps[1:-1]:
        run(["sh", "-n", "-c", step["run"]], folder)
    told = run(["sh", "-eu", "-c", shortened(Block(language="sh", text=steps[-1]["run"]))], folder)
    assert "against the environment of before" in told and "kept" in told


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_commands_are_labelled(page: Path) -> None:
    """A block that looks like a command is labelled ``sh``, so that none escapes; reasons not to run one are few."""
    for block in blocks(page):
        first = block.text.split(maxsplit=1)[:1]
        assert block.language or not first or first[0] not in COMMANDS, block.text
        assert not block.skipped or block.skipped in REASONS


def test_shortening_keeps_the_rest_of_a_command() -> None:
    tune = shortened(Block(language="sh", text='infertune tune m.onnx --goal "max throughput" --budget 5m -o r\n'))
    assert tune.startswith('infertune tune m.onnx --goal "max throughput" --budget 2s ') and tune.endswith(" -o r\n")
    verify = shortened(Block(language="sh", text="infertune verify d > v.json\n"))
    assert verify.startswith("infertune verify d ") and verify.endswith(" > v.json\n")


def test_a_failing_block_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="ended with 2"):
        executed(Block(language="sh", text="infertune tnue\n"), tmp_path, [])
