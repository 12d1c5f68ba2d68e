"""What every bench prints with its figures: the machine, the versions, the load."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

from infertune.edge.host import host_facts
from infertune.edge.shell import LocalShell
from infertune.edge.worker import LocalExecutor
from infertune.prepare.reference import write_reference

MODELS = Path("models")
_SHOWN = ("cpu", "effective_cpus", "instructions", "memory_bytes", "load_average", "virtual")


def print_conditions() -> None:
    """One block: what the figures were measured on."""
    told = dict(host_facts())
    print("machine: " + "; ".join(f"{name} {told[name]}" for name in _SHOWN if name in told))
    versions = ", ".join(f"{p} {importlib.metadata.version(p)}" for p in ("onnxruntime", "openvino", "numpy"))
    print(f"software: python {sys.version.split()[0]}, {versions}")
    print()


def reference(name: str) -> Path:
    """A reference model's file, written once."""
    path = MODELS / f"{name}.onnx"
    if not path.exists():
        MODELS.mkdir(exist_ok=True)
        write_reference(name, path)
    return path


def local_executor() -> LocalExecutor:
    return LocalExecutor(LocalShell())
