"""Importance of knobs: known effects are found again, and nothing is claimed from too little data."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from infertune.core.space import Value
from infertune.report.importance import importance

WORTH: dict[str, dict[Value, float]] = {
    "precision": {"f32": 1.0, "bf16": 2.0},
    "cores": {1: 1.0, 2: 1.5},
    "pinning": {"off": 1.0, "on": 1.0},
}


def grid() -> list[dict[str, Value]]:
    combos = itertools.product(*(values for values in WORTH.values()), range(4))
    return [dict(zip((*WORTH, "batch"), combo, strict=True)) for combo in combos]


def truth(point: dict[str, Value], noise: float = 0.0) -> float:
    return math.log(math.prod(WORTH[knob][point[knob]] for knob in WORTH)) + noise


def test_known_effects_are_found_again() -> None:
    random = np.random.default_rng(1)
    found = importance(grid(), [truth(point, 0.01 * random.standard_normal()) for point in grid()])
    effects = {effect.knob: effect for effect in found.effects}
    assert found.why_not == "" and found.predicted > 0.95
    assert next(iter(effects)) == "precision" and effects["precision"].best == "bf16"
    assert effects["precision"].factor == pytest.approx(2.0, rel=0.1)
    assert effects["cores"].factor == pytest.approx(1.5, rel=0.1)
    shares = math.log(2.0) ** 2 / (math.log(2.0) ** 2 + math.log(1.5) ** 2)
    assert effects["precision"].share == pytest.approx(shares, abs=0.03)
    assert not effects["pinning"].matters and not effects["batch"].matters
    assert sum(effect.share for effect in found.effects) == pytest.approx(1.0)


def test_knobs_that_only_ever_changed_together_share_alike() -> None:
    points: list[dict[str, Value]] = [{"a": value, "b": value} for _ in range(6) for value in (1, 2)]
    found = importance(points, [math.log(2.0) * (int(point["a"]) - 1) for point in points])
    first, second = found.effects
    assert first.share == pytest.approx(0.5) and second.share == pytest.approx(0.5)


def test_nothing_is_claimed_from_noise() -> None:
    random = np.random.default_rng(2)
    found = importance(grid(), list(random.standard_normal(len(grid()))))
    assert found.effects == () and "predicts" in found.why_not


def test_nothing_is_claimed_from_too_few_trials() -> None:
    found = importance(grid()[:9], [truth(point) for point in grid()[:9]])
    assert found.effects == () and found.why_not.startswith("9 measured trials are too few")


def test_a_knob_at_one_value_is_named_and_not_weighed() -> None:
    points: list[dict[str, Value]] = [{"arena": "on", "batch": 1}] * 3
    found = importance(points, [1.0, 1.0, 1.0])
    assert found.fixed == ("arena", "batch") and found.effects == ()
    assert importance([], []).why_not != ""
