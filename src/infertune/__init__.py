"""Finds the build-time and run-time settings that make a model fastest on a device, and how sure that is.

    import infertune

    study = infertune.tune("bert-base.onnx", goal="max throughput", shapes={"sequence_length": 128}, out="runs/bert")
    print(study.best.point)

Names are loaded when first used, so ``import infertune`` is quick and loads no runtime.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from infertune.core.errors import InfertuneError
    from infertune.core.goal import Goal
    from infertune.core.records import Device, Failed, Measurement, Model, Plan
    from infertune.core.space import Knob, Point, Space
    from infertune.study import Study, tune
    from infertune.study.replay import replay
    from infertune.targets import discover

__version__ = "0.1.0"

_HOMES = {
    "Device": "infertune.core.records",
    "Failed": "infertune.core.records",
    "Goal": "infertune.core.goal",
    "InfertuneError": "infertune.core.errors",
    "Knob": "infertune.core.space",
    "Measurement": "infertune.core.records",
    "Model": "infertune.core.records",
    "Plan": "infertune.core.records",
    "Point": "infertune.core.space",
    "Space": "infertune.core.space",
    "Study": "infertune.study",
    "discover": "infertune.targets",
    "replay": "infertune.study.replay",
    "tune": "infertune.study",
}

__all__ = [
    "Device",
    "Failed",
    "Goal",
    "InfertuneError",
    "Knob",
    "Measurement",
    "Model",
    "Plan",
    "Point",
    "Space",
    "Study",
    "__version__",
    "discover",
    "replay",
    "tune",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'infertune' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
