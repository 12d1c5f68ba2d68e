"""A container image: the `python` bundle, a Dockerfile, and every package at the version that was measured."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from infertune.edge.files import write_text
from infertune.export.bundle import ANCHOR, Bundle, copy_bundle

title = "the python bundle with a Dockerfile, every package at the version that was measured"
targets = frozenset({"onnxruntime", "openvino"})


def pins(package: str, measured: str) -> dict[str, str]:
    """The package at its measured version, and what it needs at the versions installed here."""
    found: dict[str, str] = {package: measured}
    waiting = [package, "numpy"]
    while waiting:
        current = waiting.pop()
        try:
            found.setdefault(current, version(current))
        except PackageNotFoundError:
            continue
        waiting += [name for name in _needs(current) if name not in found]
    return dict(sorted(found.items()))


def _needs(package: str) -> list[str]:
    from packaging.requirements import Requirement

    wanted = [Requirement(line) for line in requires(package) or ()]
    return [r.name.lower() for r in wanted if r.marker is None or r.marker.evaluate({"extra": ""})]


def write(bundle: Bundle, into: Path) -> str:
    copy_bundle(bundle, into)
    needed = pins(bundle.runtime, bundle.version)
    write_text(into / "requirements.txt", "".join(f"{package}=={pinned}\n" for package, pinned in needed.items()))
    write_text(into / "Dockerfile", _dockerfile(bundle))
    write_text(into / ".dockerignore", f"{ANCHOR}\n")
    units = bundle.promise.device.units
    return f"""    docker build -t {bundle.served_name.lower()} .
    docker run --rm --cpuset-cpus=0-{units - 1} {bundle.served_name.lower()}

The confirmed number belongs to {units} CPU(s): give the container as many.
`infertune verify .` works on this folder too.
"""


def _dockerfile(bundle: Bundle) -> str:
    return f"""FROM python:{platform.python_version()}-slim
WORKDIR /bundle
COPY requirements.txt ./
RUN pip install --no-cache-dir -r requirements.txt
COPY . ./
LABEL infertune.throughput_per_s="{bundle.promise.throughput.value:.1f}" infertune.cpus="{bundle.promise.device.units}"
USER nobody
ENTRYPOINT ["python", "run.py"]
"""
