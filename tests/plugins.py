"""Targets installed the way another package installs them: found through their entry point, in every process."""

from __future__ import annotations

from pathlib import Path


def install(folder: Path, name: str, code: str) -> Path:
    """Lay out module ``NAME_target`` with its entry point below ``folder``; what to put on PYTHONPATH."""
    site = folder / f"site-{name}"
    site.mkdir(parents=True)
    (site / f"{name}_target.py").write_text(code)
    facts = site / f"{name}_plugin-1.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}_plugin\nVersion: 1\n")
    (facts / "entry_points.txt").write_text(f"[infertune.targets]\n{name} = {name}_target\n")
    return site
