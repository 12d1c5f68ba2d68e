"""`infertune cache`: listing and pruning."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from infertune.build.cache import ArtifactCache
from infertune.cli.cache import Action, command
from infertune.core.errors import UsageError
from infertune.core.records import Failed, facts

KEY = "ab" * 32


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with one artifact of 5 kB and one failure, where the command looks for it."""
    with ArtifactCache(tmp_path) as cache:
        scratch = cache.scratch()
        (scratch / "blob").write_bytes(bytes(5000))
        cache.publish(KEY, scratch, 2.5, facts(tool="1.0"))
        cache.publish_failure("cd" * 32, Failed(stage="build", kind="illegal", message="no"))
    monkeypatch.setenv("INFERTUNE_CACHE", str(tmp_path))
    return tmp_path


def test_listing_as_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command(json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["folder"] == str(folder)
    artifact = next(entry for entry in told["entries"] if entry["what"] == "artifact")
    made_at, idle_s = artifact.pop("made_at"), artifact.pop("idle_s")
    assert made_at.startswith("20")
    assert idle_s >= 0
    assert artifact == {
        "key": KEY, "what": "artifact", "size_bytes": 5000, "build_s": 2.5, "in_use": False, "facts": {"tool": "1.0"},
    }  # fmt: skip
    assert {entry["what"] for entry in told["entries"]} == {"artifact", "failure"}


def test_listing_as_a_table(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command()
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0].split() == ["key", "what", "size", "built", "in", "used", "in", "use"]
    assert any(line.startswith("abababababab  artifact") and "4.9 KiB" in line for line in lines)
    assert err.startswith(f"2 entries in {folder}")


@pytest.mark.parametrize(
    ("limits", "removed"), [({"everything": True}, 2), ({"max_size": "1KB"}, 1), ({"older_than": "30d"}, 0)]
)
def test_pruning(folder: Path, capsys: pytest.CaptureFixture[str], limits: dict[str, object], removed: int) -> None:
    command(Action.prune, json=True, **limits)  # type: ignore[arg-type]
    told = json.loads(capsys.readouterr().out)
    assert len(told["entries"]) == removed
    with ArtifactCache(folder) as cache:
        assert len(cache.entries()) == 2 - removed


@pytest.mark.parametrize("limits", [{}, {"everything": True, "max_size": "1KB"}, {"max_size": "1", "older_than": "1d"}])
def test_pruning_needs_exactly_one_limit(folder: Path, limits: dict[str, object]) -> None:
    with pytest.raises(UsageError) as refused:
        command(Action.prune, **limits)  # type: ignore[arg-type]
    assert refused.value.id == "cache-option"
    with ArtifactCache(folder) as cache:
        assert len(cache.entries()) == 2


def test_listing_takes_no_limit(folder: Path) -> None:
    with pytest.raises(UsageError):
        command(Action.list, everything=True)


def test_an_empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("INFERTUNE_CACHE", str(tmp_path / "none"))
    command()
    assert capsys.readouterr() == ("", f"0 entries in {tmp_path / 'none'}, 0 B\n")
    assert not (tmp_path / "none").exists()
