"""Limits that the best point keeps by a hair: another that keeps them clearly is confirmed beside it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from infertune.core import history
from infertune.core.answer import answer
from infertune.core.goal import parse_goal
from infertune.core.records import Decided
from infertune.core.space import Point
from infertune.core.standing import is_clear
from infertune.testing.records import a_measurement, a_point
from test_study_flow import Laboratory


def steep(point: Point) -> float:
    """The larger the batch, and with two instances, the faster: the best point within a limit has the largest batch."""
    target = 1.0 if point.target == "openvino" else 0.8
    return 60.0 * target * math.pow(point.number("batch", 1), 0.3) * (1.5 if point.number("instances") == 2 else 1.0)


def p99_ms(point: Point) -> float:
    """By Little's law."""
    in_flight = max(1, point.number("instances") * point.number("set_size"))
    return 1e3 * point.number("batch", 1) * in_flight / steep(point)


LIMIT_MS = 1.04 * 1e3 * 16 / (60.0 * 8**0.3 * 1.5)
"""4 % more than two instances with one request of batch 8 each take."""


@pytest.mark.parametrize("seed", range(4))
def test_a_study_with_its_best_point_at_the_edge_of_a_limit_confirms_one_that_keeps_it(
    tmp_path: Path, seed: int
) -> None:
    lab = Laboratory(tmp_path, rate=steep, goal=f"max throughput, p99 < {LIMIT_MS:.3f} ms", noise=0.04, seed=seed)
    found = answer(lab.run(900.0, max_trials=20))
    assert found.status == "ok" and found.confirmed and found.winner is not None
    assert p99_ms(found.winner) < LIMIT_MS
    assert found.winner not in {point for space in found.question.spaces for _, point in space.baselines}


def test_where_all_finalists_break_a_limit_after_all_another_is_confirmed(tmp_path: Path) -> None:
    """Whoever is decided for first is slower from then on: 1.5 times, which nothing that was measured could tell."""

    def slowing(point: Point) -> float:
        decided = lab.events(Decided)
        first = decided[0].finalists if decided and isinstance(decided[0], Decided) else ()
        return steep(point) / (1.5 if point in first else 1.0)

    lab = Laboratory(tmp_path, rate=slowing, goal=f"max throughput, p99 < {LIMIT_MS:.3f} ms", noise=0.02)
    found = answer(lab.run(900.0, max_trials=20))
    first, second = (event.finalists for event in lab.events(Decided) if isinstance(event, Decided))
    assert not set(first).intersection(second)
    assert found.confirmed and found.winner in second
    assert p99_ms(found.winner) < LIMIT_MS


@pytest.mark.parametrize("number", [0, 1])
def test_who_broke_a_limit_before_the_command_was_killed_is_not_confirmed_again(tmp_path: Path, number: int) -> None:
    """Whoever is decided for first and second is slower from then on; the command is killed when one was refused."""

    def slowing(lab: Laboratory, point: Point) -> float:
        return steep(point) / (1.5 if any(point in finalists for finalists in decided(lab)[:2]) else 1.0)

    def decided(lab: Laboratory) -> list[tuple[Point, ...]]:
        return list(dict.fromkeys(e.finalists for e in lab.events(Decided) if isinstance(e, Decided)))

    def laboratory(name: str) -> Laboratory:
        goal = f"max throughput, p99 < {LIMIT_MS:.3f} ms"
        lab = Laboratory(tmp_path / name, rate=lambda point: slowing(lab, point), goal=goal, noise=0.02)
        return lab

    whole, lab = laboratory("whole"), laboratory("killed")
    expected = answer(whole.run(1800.0))
    places = [at for at, entry in enumerate(whole.entries) if isinstance(entry.event, Decided)]
    kept = whole.entries[: places[number + 1]]
    for entry in kept:
        lab.store.append(entry.event, entry.at_s)
    found = answer(lab.run(1800.0))
    assert {launch.purpose for launch in history.launches(lab.entries[len(kept) :])} == {"confirm"}
    assert found.confirmed and found.winner == expected.winner
    assert decided(lab) == decided(whole)


def test_without_time_for_another_the_study_keeps_its_budget_and_takes_a_baseline(tmp_path: Path) -> None:
    def slowing(point: Point) -> float:
        return steep(point) / (1.5 if lab.events(Decided) else 1.0)

    lab = Laboratory(tmp_path, rate=slowing, goal=f"max throughput, p99 < {LIMIT_MS:.3f} ms", noise=0.02)
    entries = lab.run(60.0)
    found = answer(entries)
    assert entries[-1].at_s <= 70.0
    assert len(lab.events(Decided)) == 1
    assert found.winner in {point for space in found.question.spaces for _, point in space.baselines}


def test_nobody_is_spared_where_nothing_is_limited(tmp_path: Path) -> None:
    lab = Laboratory(tmp_path)
    lab.run(900.0, max_trials=20)
    assert [len(event.finalists) for event in lab.events(Decided) if isinstance(event, Decided)] == [1]


@pytest.mark.parametrize(("launches", "clear"), [(1, False), (8, True)])
def test_a_limit_is_kept_clearly_beyond_the_prediction_interval_of_one_more_launch(launches: int, clear: bool) -> None:
    """1.645 standard deviations of 3 % times sqrt(2) for one launch are 7 %, times sqrt(9 / 8) for eight 5.2 %."""
    goal = parse_goal("max throughput, p99 < 100 ms, batch < 64")
    ran = a_measurement(latency_ms=100.0 * math.exp(-0.06) / 1.098)  # of 100 requests p99 is 1.098 times the middle
    assert is_clear(goal, a_point(batch=8), [ran] * launches, 0.03) is clear
    assert is_clear(parse_goal("max throughput, batch < 64"), a_point(batch=8), [ran] * launches, 0.03)


def test_memory_does_not_differ_as_speed_does() -> None:
    """1.645 standard deviations of 10 % times sqrt(2) are 26 %: of a latency that would be near."""
    goal = parse_goal("max throughput, memory < 510 MB")
    assert is_clear(goal, a_point(), [a_measurement()], 0.1)  # 500 MB
    assert not is_clear(parse_goal("max throughput, memory < 490 MB"), a_point(), [a_measurement()], 0.1)


def test_a_limit_from_below_is_kept_clearly_from_above() -> None:
    goal, ran = parse_goal("min p99, throughput > 100/s"), a_measurement(throughput=105.0)
    assert not is_clear(goal, a_point(), [ran], 0.03)
    assert is_clear(goal, a_point(), [ran], 0.02)
