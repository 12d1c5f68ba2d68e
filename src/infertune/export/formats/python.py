"""The folder that runs with the runtime alone: model, ``config.json``, ``run.py``. `infertune verify` reads it."""

from __future__ import annotations

from pathlib import Path

from infertune.export.bundle import Bundle, about_anchor, copy_bundle

title = "a folder that runs with the runtime alone; `infertune verify` measures it again"
targets: frozenset[str] = frozenset()


def write(bundle: Bundle, into: Path) -> str:
    copy_bundle(bundle, into)
    install = f"    pip install {bundle.runtime} numpy\n" if bundle.runtime != "qaic" else ""
    return f"""{install}    python run.py            # runs the model with these settings for some seconds

`config.json` holds the settings as the runtime spells them. `infertune verify .` measures the promise again and exits
with 1 when it is not kept.
{about_anchor(bundle)}"""
