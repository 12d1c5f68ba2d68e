"""Figures and points as a person reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infertune.core import words
from infertune.core.records import Interval
from infertune.core.space import Point
from infertune.testing.records import a_baseline, a_point, a_space

SPACES = (a_space("onnxruntime"), a_space("openvino"))


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (1234.5, "1230"), (99.96, "100"), (9.996, "10.0"), (0.01234, "0.0123"), (1e6, "1000000"), (7, "7.00")],
)
def test_three_digits_without_an_exponent(number: float, text: str) -> None:
    assert words.three(number) == text


@given(st.floats(1e-6, 1e9))
def test_three_digits_are_within_half_a_per_cent(number: float) -> None:
    assert float(words.three(number)) == pytest.approx(number, rel=0.005001)


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0.0, "0.0 s"),
        (1e-14, "0.0 s"),
        (35e-6, "35.0 us"),
        (0.85, "850 ms"),
        (0.99996, "1.0 s"),
        (4.21, "4.2 s"),
        (39.4, "39 s"),
        (119.7, "120 s"),
        (200.0, "3 min 20 s"),
        (3600.0, "60 min 0 s"),
    ],
)
def test_durations(amount: float, text: str) -> None:
    assert words.seconds(amount) == text


def test_ratios_tell_close_calls_apart() -> None:
    assert words.times(Interval(value=1.004, low=0.993, high=1.031)) == "1.004x (0.99 to 1.03)"
    assert words.times(Interval(value=1.05, low=1.002, high=1.0)) == "1.05x (1.002 to 1.00)"
    assert words.times(Interval(value=15.354, low=9.994, high=120.26)) == "15.4x (9.99 to 120)"
    assert words.interval(Interval(value=812.4, low=790.0, high=830.1)) == "812 (790 to 830)"


@pytest.mark.parametrize(
    ("found", "floor", "text"),
    [
        (0.93, 0.99, "0.9300"),
        (0.99997, 0.99999, "0.99997"),
        (0.9899999, 0.99, "0.9899999"),
        (0.99004, 0.99003, "0.99004"),
        (1.0, 0.99, "1.0000"),
    ],
)
def test_a_figure_never_seems_to_be_on_the_other_side_of_its_limit(found: float, floor: float, text: str) -> None:
    assert words.beside(found, floor) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0 launches"), (1, "1 launch"), (2, "2 launches")])
def test_plurals(count: int, text: str) -> None:
    assert words.counted(count, "launch") == text


@pytest.mark.parametrize(
    ("point", "in_flight", "text"),
    [
        (
            a_point(precision="bf16", batch=8, set_size=2),
            None,
            "openvino, bf16, batch 8, 1 instance x 2 cores, 2 requests in flight",
        ),
        (
            a_point("onnxruntime", instances=2, cores=1),
            None,
            "onnxruntime, f32, batch 1, 2 instances x 1 core, 2 requests in flight",
        ),
        (
            a_baseline("openvino throughput hint"),
            4,
            "openvino, f32, batch 1, cores left to the runtime, 4 requests in flight, preset throughput",
        ),
        (Point.of("openvino", "cpu", {"precision": "runtime"}), None, "openvino, runtime's own precision"),
        (Point.of("elsewhere", "card", {"mode": "fast"}), None, "elsewhere, mode fast"),
    ],
)
def test_points(point: Point, in_flight: int | None, text: str) -> None:
    assert words.point(point, SPACES, in_flight) == text


@pytest.mark.parametrize(
    ("percent", "requests", "text"),
    [(99.0, 84, "84 of 662"), (99.0, 662, ""), (90.0, 63, "63 of 64"), (90.0, 64, ""), (None, 1, "")],
)
def test_too_few_requests_for_a_percentile(percent: float | None, requests: int, text: str) -> None:
    assert words.too_few(percent, requests) == text
