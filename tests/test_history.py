"""Readings of the record: trials, time, and which confirmation launches count."""

from __future__ import annotations

import pytest

from infertune.core import history
from infertune.core.errors import DataError
from infertune.core.records import Closed, Decided, Event, Failed, Round
from infertune.testing.records import (
    a_baseline,
    a_build,
    a_check,
    a_confirmation,
    a_launch,
    a_measurement,
    a_point,
    a_question,
    a_search,
    opening,
    recorded,
)

FAST, SLOW = a_point(batch=8), a_point(batch=2)
FAILED = Failed(stage="build", kind="compiler", message="no kernel")


def decided(*points: object) -> Decided:
    return Decided(finalists=tuple(points), why="")  # type: ignore[arg-type]


def test_a_record_without_a_question_is_an_error_for_people() -> None:
    with pytest.raises(DataError) as caught:
        history.question([])
    assert caught.value.id == "record-without-question"


def test_trials_come_in_the_order_work_began_and_leave_out_what_was_only_asked() -> None:
    events: list[Event] = [
        *opening(a_question()),
        Round(points=(FAST, SLOW, a_point(batch=4)), think_s=0.0),
        a_build(SLOW, FAILED),
        a_launch(FAST),
        a_launch(FAST, purpose="race"),
    ]
    found = history.trials(recorded(events))
    assert [trial.point for trial in found] == [SLOW, FAST]
    assert [len(trial.launches) for trial in found] == [0, 2]
    assert history.failure(found[0]) == FAILED
    assert history.failure(found[1]) is None


def test_one_good_launch_makes_a_trial_a_success() -> None:
    crash = Failed(stage="measure", kind="crash", message="signal 11")
    once = history.trials(recorded([a_launch(FAST, crash), a_launch(FAST), a_launch(SLOW, crash)]))
    assert [history.failure(trial) for trial in once] == [None, crash]


def test_a_window_without_a_completed_request_is_no_figure() -> None:
    empty = a_launch(FAST, a_measurement(100.0, count=0))
    assert history.sample(FAST, [empty]).runs == ()


def test_time_is_split_by_what_it_was_spent_on() -> None:
    events = [*opening(a_question()), *a_search({FAST: 100.0}), decided(FAST)]
    events += [*a_confirmation({FAST: [100.0, 100.0]}), a_check(FAST), Closed(status="ok", why="")]
    entries = recorded(events)
    spent = history.spent(entries)
    assert (spent.search, spent.build, spent.measure, spent.confirm) == (0.2, 0.5, 1.0, 2.5)
    assert spent.total == pytest.approx(entries[-1].at_s)


def test_builds_beside_measuring_do_not_make_other_time_negative() -> None:
    entries = recorded([*opening(a_question()), a_launch(FAST)])
    overlapped = [e if e.seq < 3 else type(e)(seq=e.seq, at_s=0.3, event=e.event) for e in entries]
    assert history.spent(overlapped).other == 0.0


def test_launches_before_a_decision_do_not_confirm_it() -> None:
    events: list[Event] = [a_launch(FAST, purpose="race"), decided(FAST), *a_confirmation({FAST: [1.0, 2.0]})]
    (found,) = history.confirmations(recorded(events))
    assert [launch.purpose for launch in found.launches] == ["confirm", "confirm"]


def test_an_extended_study_starts_its_confirmation_anew() -> None:
    events: list[Event] = [decided(FAST), *a_confirmation({FAST: [1.0, 2.0]}), a_launch(SLOW)]
    events += [decided(SLOW), *a_confirmation({SLOW: [3.0]})]
    old, new = history.confirmations(recorded(events))
    assert (old.finalists, len(old.launches)) == ((FAST,), 2)
    assert (new.finalists, len(new.launches)) == ((SLOW,), 1)


def test_a_resumed_confirmation_goes_on_with_the_same_launches() -> None:
    events: list[Event] = [
        decided(FAST),
        *a_confirmation({FAST: [1.0, 2.0]}),
        *opening(a_question())[1:],
        decided(FAST),
    ]
    (found,) = history.confirmations(recorded([*events, *a_confirmation({FAST: [3.0]})]))
    assert len(found.launches) == 3


def test_measuring_single_points_beside_a_study_does_not_reopen_its_decision() -> None:
    events: list[Event] = [decided(FAST), *a_confirmation({FAST: [1.0]}), a_launch(SLOW, purpose="measure")]
    (found,) = history.confirmations(recorded([*events, decided(FAST)]))
    assert len(found.launches) == 1


def test_a_record_that_just_stops_was_not_closed() -> None:
    ended = recorded([*opening(a_question()), Closed(status="ok", why="")])
    assert history.closed(ended) == Closed(status="ok", why="")
    assert history.closed(ended[:-1]) is None
    assert history.closed([]) is None


def test_the_device_of_a_point_is_the_one_its_target_found() -> None:
    asked = a_question()
    device = history.device_of(asked, a_baseline("onnxruntime default"))
    assert device is not None and device.target == "onnxruntime"
    assert history.device_of(asked, None) == asked.devices[0]
    assert history.device_of(asked, a_point("elsewhere")) is None
