"""Stable digests: the names under which artifacts, points and questions are found again."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from infertune.core.records import Question, SpaceFact
from infertune.core.space import Point


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text on every machine."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def digest(value: Any) -> str:
    """SHA-256 (hex) of the canonical JSON of plain data."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def point_key(point: Point) -> str:
    """A short name for a point (12 hex digits): the same for the same settings everywhere."""
    return digest([point.target, point.device, point.settings])[:12]


def artifact_key(question: Question, point: Point) -> str:
    """Key of a built artifact: the model, the bound shapes, the target, its toolchain and the build-stage knobs.

    A calibrated artifact also depends on the person's inputs; seeded calibration is the same whatever the seed.
    """
    space = next(s for s in question.spaces if (s.target, s.device) == (point.target, point.device))
    device = next(d for d in question.devices if (d.target, d.name) == (point.target, point.device))
    build = {knob.name for knob in space.knobs if knob.stage == "build"}
    settings = [(name, value) for name, value in point.settings if name in build]
    model = question.model
    parts = [model.digest, model.batch_symbol, model.shapes, point.target, device.versions, settings]
    return digest([*parts, question.feed.digest] if calibrated(space, point) else parts)


def calibrated(space: SpaceFact, point: Point) -> bool:
    """Whether the point's artifact is calibrated on inputs."""
    return any(point.get(knob.name, knob.default) in knob.calibrated for knob in space.knobs)
