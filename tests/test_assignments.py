"""Lists, ranges and durations as people write them."""

from __future__ import annotations

import math

import pytest

from infertune.core.assignments import parse_assignments
from infertune.core.duration import parse_duration
from infertune.core.errors import UsageError


@pytest.mark.parametrize(
    ("items", "found"),
    [
        (["batch=1,2,4"], {"batch": (1, 2, 4)}),
        (["batch=1..4"], {"batch": (1, 2, 3, 4)}),
        (["batch=1..64*4"], {"batch": (1, 4, 16, 64)}),
        (["batch=1..16384*2"], {"batch": tuple(2**k for k in range(15))}),
        (["batch=1,3..4,3"], {"batch": (1, 3, 4)}),
        (["spinning=on,off", "batch=2"], {"spinning": ("on", "off"), "batch": (2,)}),
        (["batch=1", "batch=8"], {"batch": (1, 8)}),
        ([], {}),
    ],
)
def test_assignments(items: list[str], found: dict[str, tuple[int | str, ...]]) -> None:
    assert parse_assignments(items) == found


@pytest.mark.parametrize("item", ["batch", "=1", "batch=", "batch=1,,2", "batch=4..1", "batch=0..8*2"])
def test_bad_assignments(item: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_assignments([item])
    assert caught.value.id == "assignment-syntax"


@pytest.mark.parametrize("item", ["batch=1..99999999", "batch=0..10000", "batch=1..999999999999999999*2,1..10001"])
def test_too_many_values(item: str) -> None:
    with pytest.raises(UsageError, match="more than 10,000 values"):
        parse_assignments([item])


def test_a_number_without_end_is_a_text() -> None:
    assert parse_assignments(["batch=" + "9" * 5000]) == {"batch": ("9" * 5000,)}


@pytest.mark.parametrize(
    ("text", "seconds"), [("5m", 300), ("90s", 90), ("1h30m", 5400), ("250ms", 0.25), ("12", 12), (7, 7)]
)
def test_durations(text: str | float, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "five", "5x", "m5", "5 m x", "-3s", "9" * 400, -3, -0.5, math.nan, math.inf, True]
)
def test_bad_durations(text: str | float) -> None:
    with pytest.raises(UsageError):
        parse_duration(text)
