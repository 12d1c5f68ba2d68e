"""Where a bundle goes: whole, or nothing."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest

from infertune.core.errors import CreateError
from infertune.export.bundle import MARK
from infertune.study.hand_over import _whole

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
