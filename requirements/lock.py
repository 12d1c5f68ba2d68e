"""Writes base.lock and dev.lock: every package, transitive ones included, at the versions pip resolves today.

    make lock        or        python requirements/lock.py

Nothing is installed. pip's own resolver is asked, with pip's own configuration, so a local wheel folder or index works.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent
CONSTRAINTS = HERE / "constraints.txt"
HEAD = """# Written by `make lock` from pyproject.toml. Do not edit.
# Install: pip install -r requirements/{name}
"""


def resolve(what: str, constraints: list[Path]) -> dict[str, str]:
    """Name -> version of everything that installing ``what`` would bring, the project itself left out."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        argv = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
        argv += ["--report", str(report), *(f"--constraint={c}" for c in constraints), what]
        subprocess.run(argv, check=True, cwd=PROJECT)
        found = json.loads(report.read_text())["install"]
    metadata = [item["metadata"] for item in found]
    # a local label (torch 2.13.0+cpu) names a build of one index; `==2.13.0` accepts it
    pins = {m["name"].lower().replace("_", "-"): m["version"].partition("+")[0] for m in metadata}
    pins.pop("infertune")
    return dict(sorted(pins.items()))


def write(name: str, pins: dict[str, str]) -> Path:
    """The lock file, refused when CUDA packages slipped in."""
    cuda = [pin for pin in pins if pin.startswith(("nvidia-", "cuda-")) or pin == "triton"]
    if cuda:
        raise SystemExit(f"{name} would hold CUDA packages ({', '.join(cuda)}): point pip at a CPU wheel of torch")
    path = HERE / name
    path.write_text(HEAD.format(name=name) + "".join(f"{pin}=={version}\n" for pin, version in pins.items()))
    return path


def main() -> None:
    base = write("base.lock", resolve(".", [CONSTRAINTS]))
    write("dev.lock", resolve(".[dev]", [CONSTRAINTS, base]))


if __name__ == "__main__":
    main()
