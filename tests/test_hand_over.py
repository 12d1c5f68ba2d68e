"""Where a bundle goes, whole or nothing, and what is said of a winner that nobody made sure of."""

from __future__ import annotations

import errno
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from infertune.core.answer import answer
from infertune.core.errors import CreateError
from infertune.core.records import Closed, Feed
from infertune.edge.scratch import PREFIX, sweep
from infertune.export.bundle import MARK
from infertune.study.hand_over import _doubts, _outputs, _whole
from infertune.testing.records import a_point, a_question, a_search, a_study, opening, recorded

FULL = "[Errno 28] No space left on device: '/tmp/x/m.onnx' -> 'b/m.onnx'"


def _half(folder: Path, error: Exception) -> None:
    with _whole(folder) as stage:
        (stage / "README.md").write_text("half")
        raise error


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), shutil.Error([("a", "b", FULL)])])
@pytest.mark.parametrize("existed", [True, False])
def test_what_the_disk_refuses_is_told_and_leaves_nothing(tmp_path: Path, error: OSError, existed: bool) -> None:
    folder = tmp_path / "bundle"
    if existed:
        folder.mkdir()
    with pytest.raises(CreateError) as told:
        _half(folder, error)
    assert told.value.id == "output-unwritable"
    assert told.value.message == "the bundle folder `bundle` cannot be written: No space left on device"
    assert [p.name for p in tmp_path.rglob("*")] == ["bundle"] * existed


def test_an_earlier_export_is_replaced_by_a_whole_one_only(tmp_path: Path) -> None:
    for content in ("first", "second"):
        with _whole(tmp_path) as stage:
            (stage / "served").mkdir()
            (stage / "served/m.onnx").write_text(content)
            (stage / "README.md").write_text(MARK)
    with pytest.raises(KeyError):
        _half(tmp_path, KeyError())
    assert (tmp_path / "served/m.onnx").read_text() == "second"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["README.md", "served"]
    assert (tmp_path / "README.md").read_text() == MARK


def test_an_export_that_was_killed_is_no_other_file(tmp_path: Path) -> None:
    left = tmp_path / f".{PREFIX}export-1"
    left.mkdir()
    with _whole(tmp_path) as stage:
        (stage / "README.md").write_text(MARK)
    assert (tmp_path / "README.md").read_text() == MARK
    sweep(tmp_path, older_s=0.0)
    assert not left.exists()


def test_what_was_not_made_sure_of_is_told() -> None:
    fast = a_point(precision="bf16")
    search = [*opening(a_question()), *a_search({fast: 200.0})]
    unsure = answer(recorded([*search, Closed(status="interrupted", why="")]))
    assert _doubts(unsure, fast) == [
        "figures are not confirmed on fresh launches",
        "outputs were not checked against the f32 reference",
    ]
    assert _outputs(unsure, fast) == "not checked"
    assert len(_doubts(unsure, a_point(precision="f32"))) == 1
    sure = answer(a_study({fast: 200.0}, baselines={"onnxruntime default": 1.0}, cosines={fast: 0.9998}))
    assert _outputs(sure, fast) == "cosine 0.99980 to the f32 reference over 2 inputs drawn at random"
    assert _doubts(sure, fast) == []


def test_inputs_that_the_bundle_does_not_hold_are_told() -> None:
    fast = a_point(precision="bf16")
    question = replace(a_question(), feed=Feed(seed=0, path="mine.npz"))
    found = answer(recorded([*opening(question), *a_search({fast: 200.0})]))
    assert [doubt for doubt in _doubts(found, fast) if "`infertune verify` takes them with --inputs" in doubt]
