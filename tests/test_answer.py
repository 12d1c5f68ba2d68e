"""What a record says: confirmed winners, answers so far, nothing feasible, and the caveats that go with them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from infertune.core.answer import answer
from infertune.core.findings import Answer, Searched
from infertune.core.history import confirmations, sample
from infertune.core.records import Checked, Closed, Decided, Entry, Event, Failed, Fidelity, Launch, Opened
from infertune.core.space import Point
from infertune.report.closest import missed
from infertune.report.document import at_limit, baselines, measured, searched
from infertune.study.hand_over import confirmed_launches
from infertune.study.study import Study
from infertune.testing.records import (
    BASELINES,
    a_baseline,
    a_check,
    a_confirmation,
    a_launch,
    a_measurement,
    a_point,
    a_question,
    a_search,
    a_study,
    noisy,
    opening,
    recorded,
)

FAST, SLOW = a_point(batch=8, precision="bf16"), a_point(batch=2)
CRASH = Failed(stage="measure", kind="crash", message="signal 11 at 0x7f01")
DEFAULT = "openvino default"


def said(found: Answer) -> str:
    return "\n".join(found.caveats)


def without_end(entries: list[Entry]) -> list[Entry]:
    return [e for e in entries if not isinstance(e.event, Closed)]


def test_a_baseline_that_beats_an_unconfirmed_finalist_is_the_best_so_far() -> None:
    """A budget that ended in the middle of confirming: every point has one fresh launch at most."""
    slow = a_point(batch=2)
    record = a_study({slow: 27.0}, baselines={"openvino default": 24.0, "openvino latency hint": 211.0}, blocks=1)
    found = answer(record)
    assert not found.confirmed
    assert found.winner == a_baseline("openvino latency hint")


def test_a_confirmed_winner_with_its_figures_and_baselines() -> None:
    found = answer(a_study({FAST: 200.0, SLOW: 120.0}, baselines=dict.fromkeys(BASELINES, 100.0)))
    assert (found.status, found.winner, found.confirmed) == ("ok", FAST, True)
    assert found.figures is not None
    assert found.figures.throughput.value == pytest.approx(200.0, rel=0.01)
    assert (found.figures.launches, found.figures.requests, found.figures.in_flight) == (6, 1200, 1)
    assert [rival.name for rival in found.rivals] == list(BASELINES)
    for rival in found.rivals:
        assert rival.speedup is not None and rival.speedup.value == pytest.approx(2.0, rel=0.03)
    assert found.fidelity is not None and found.fidelity.cosine == 0.9998
    assert found.device is not None and found.device.target == "openvino"
    assert found.caveats == ()


def test_only_fresh_launches_are_reported() -> None:
    events = [*opening(a_question()), *a_search({FAST: 450.0}), a_launch(FAST, 450.0, purpose="race")]
    events += [Decided(finalists=(FAST,), why=""), *a_confirmation({FAST: noisy(200.0)}), Closed(status="ok", why="")]
    found = answer(recorded(events))
    assert found.figures is not None
    assert found.figures.throughput.value == pytest.approx(200.0, rel=0.01)
    assert "estimate of the winner was optimistic by 125 %" in said(found)


def test_percentiles_are_of_all_confirmation_requests_and_have_a_floor() -> None:
    assert (enough := answer(a_study({FAST: 200.0}, count=200)).figures) and enough.p99_ms is not None
    few = answer(a_study({FAST: 200.0}, count=20)).figures  # 6 x 20 = 120 requests
    assert few is not None and few.p90_ms is not None and few.p99_ms is None


def test_upper_bounds_of_percentiles_are_of_the_same_requests() -> None:
    record = a_study({FAST: 200.0}, count=200)
    found = answer(record)
    assert found.figures is not None and found.figures.p90_ms is not None and found.figures.p99_ms is not None
    fresh = confirmations(record)[-1].launches
    pooled = [ns for m in sample(FAST, fresh).measurements for ns in m.latencies_ns]
    assert len(pooled) == 1200
    for percent, value, bound in (
        (90.0, found.figures.p90_ms, found.figures.p90_at_most_ms),
        (99.0, found.figures.p99_ms, found.figures.p99_at_most_ms),
    ):
        assert bound is not None and bound > value
        below = sum(ns < bound * 1e6 for ns in pooled)
        assert binom.cdf(below, 1200, percent / 100) >= 0.99 > binom.cdf(below - 1, 1200, percent / 100)
    few = answer(a_study({FAST: 200.0}, count=20)).figures  # 120 requests: enough for p90 alone
    assert few is not None and few.p90_at_most_ms is not None and few.p99_at_most_ms is None


def test_the_answer_says_how_far_the_search_got() -> None:
    """Baselines that were only launched for confirmation were not tried."""
    entries = a_study({FAST: 200.0, SLOW: 100.0})
    assert answer(entries).searched == Searched(tried=2, points=240, ended="budget spent")
    under_way = [entry for entry in entries if not isinstance(entry.event, Decided | Closed)]
    found = answer(under_way).searched
    assert found is not None and found.ended == ""
    assert searched(found) == "2 of 240 points tried so far"


def test_the_default_is_recommended_when_nothing_separates_it() -> None:
    found = answer(a_study({FAST: 101.0}, baselines={DEFAULT: 100.0}))
    assert found.winner == a_baseline(DEFAULT)
    assert "the default is as good" in found.why
    assert found.challenger is not None and found.challenger.point == FAST
    assert found.best_rival == DEFAULT
    best = found.rival(DEFAULT)
    assert best is not None and best.speedup is not None
    assert (best.speedup.low, best.speedup.high) == (1.0, 1.0)


def test_a_latency_goal_compares_latencies() -> None:
    speeds = {FAST: 50.0, SLOW: 300.0}  # at batch 8 a request takes 160 ms, at batch 2 under 7 ms
    found = answer(a_study(speeds, finalists=[SLOW], question=a_question("min latency"), baselines={DEFAULT: 50.0}))
    best = found.rival(DEFAULT)
    assert found.winner == SLOW and best is not None and best.speedup is not None
    assert best.speedup.value == pytest.approx((1 / 50) / (2 / 300), rel=0.03)
    assert found.figures is not None and found.figures.value.value == pytest.approx(2 / 300, rel=0.03)


# ---------------------------------------------------------------- not confirmed


def test_an_interrupted_search_still_gives_the_best_so_far() -> None:
    closed = Closed(status="interrupted", why="stopped by Ctrl-C")
    found = answer(recorded([*opening(a_question()), *a_search({FAST: 200.0, SLOW: 120.0}), closed]))
    assert (found.status, found.winner, found.confirmed) == ("interrupted", FAST, False)
    assert found.why.startswith("unconfirmed")
    assert "interrupted: stopped by Ctrl-C" in said(found)
    assert "1 launch that also did the choosing" in said(found)
    assert all(rival.speedup is None for rival in found.rivals)


def test_what_is_not_confirmed_says_what_to_do_next() -> None:
    def ended(status: str, why: str, *flags: str) -> str:
        asked, opened = opening(a_question())
        assert isinstance(opened, Opened)
        launch = a_launch(FAST, 200.0, flags=flags)
        return said(answer(recorded([asked, replace(opened, noise="accept"), launch, Closed(status=status, why=why)])))

    assert "likely optimistic; a larger --budget goes on and confirms" in ended("ok", "the time is spent")
    told = ended("interrupted", "interrupted")
    assert "interrupted; the same command goes on from here" in told and "--budget" not in told
    assert "other programs disturbed" not in told
    told = ended("ok", "", "foreign_cpu", "psi")
    assert "other programs disturbed its only launch, which counts because of --accept-noise" in told


def test_a_killed_study_says_that_its_record_just_stops() -> None:
    found = answer(without_end(a_study({FAST: 200.0})))
    assert found.status == "interrupted" and found.confirmed
    assert "the command was killed or is still running" in said(found)


def test_the_answer_so_far_prefers_points_that_were_raced_over_one_lucky_launch() -> None:
    events = [*opening(a_question()), *a_search({FAST: 190.0, SLOW: 200.0})]
    events += [a_launch(FAST, 192.0, purpose="race"), a_launch(FAST, 188.0, purpose="race")]
    assert answer(recorded(events)).winner == FAST


def test_too_few_confirmation_launches_confirm_nothing() -> None:
    found = answer(a_study({FAST: 200.0}, blocks=2))
    assert found.winner == FAST and not found.confirmed


def test_few_launches_say_how_sure_their_interval_is() -> None:
    assert "covers the true median with 75.0 %" in said(answer(a_study({FAST: 200.0}, blocks=3)))


@given(st.integers(0, 60))
def test_every_beginning_of_a_record_has_an_answer(length: int) -> None:
    whole = a_study({FAST: 200.0, SLOW: 120.0, a_point(batch=4): CRASH})
    found = answer(whole[: 2 + length])
    assert found.status in ("ok", "interrupted")
    assert (found.winner is None) == (found.figures is None)
    assert not found.confirmed or (found.figures is not None and found.figures.evidence == "confirm")


def test_an_extension_that_was_not_confirmed_keeps_the_confirmed_answer() -> None:
    better = a_point(batch=16)
    events: list[Event] = [e.event for e in a_study({FAST: 200.0})]
    events += [*a_search({better: 300.0}), Decided(finalists=(better,), why="")]
    found = answer(recorded(events))
    assert found.winner == FAST and found.confirmed
    assert "a later search has no confirmed winner" in said(found)


# ---------------------------------------------------------------- nothing feasible


def test_the_limit_that_binds_and_the_closest_point() -> None:
    asked = a_question("max throughput, p99 < 5 ms, memory < 1 GB")
    events: list[Event] = [*opening(asked), *a_search({SLOW: 200.0, a_point(batch=16): 100.0})]
    found = answer(recorded([*events, Closed(status="nothing_feasible", why="")]))
    assert (found.status, found.winner, found.figures) == ("nothing_feasible", None, None)
    assert found.nearest is not None and found.nearest.point == SLOW
    assert (found.nearest.limit, found.nearest.measured) == ("p99 < 5 ms", "11.0 ms (100 of 662 requests)")


def test_fidelity_can_be_the_limit_that_binds() -> None:
    study = a_study({FAST: 200.0}, cosines={FAST: 0.93}, baselines={})
    found = answer(study)
    assert found.winner is None and found.status == "nothing_feasible"
    assert found.nearest is not None
    assert (found.nearest.limit, found.nearest.measured) == ("fidelity >= 0.99", "0.9300")


def test_a_fidelity_just_below_its_limit_is_not_rounded_up_to_it() -> None:
    asked = a_question("max throughput, fidelity > 0.99999")
    found = answer(a_study({FAST: 200.0}, cosines={FAST: 0.99997}, baselines={}, question=asked))
    assert found.nearest is not None and found.nearest.measured == "0.99997"
    assert [group.message for group in found.failures] == ["fidelity 0.99997; the limit is 0.99999"]


def test_when_everything_failed_there_is_no_closest_point() -> None:
    search = a_search({FAST: CRASH, SLOW: CRASH})
    found = answer(recorded([*opening(a_question()), *search, Closed(status="nothing_feasible", why="")]))
    assert found.winner is None and found.nearest is None
    assert (found.counts.trials, found.counts.failed) == (2, 2)


def test_an_unfaithful_winner_is_demoted_to_the_faithful_one() -> None:
    found = answer(a_study({FAST: 200.0, SLOW: 150.0}, finalists=[FAST, SLOW], cosines={FAST: 0.9}))
    assert found.winner == SLOW and found.confirmed


# ---------------------------------------------------------------- caveats and tallies


def test_failures_are_grouped_by_reason_with_numbers_left_out() -> None:
    other = replace(CRASH, message="signal 11 at 0x88ff")
    hang = Failed(stage="measure", kind="timeout", message="no answer within 120 s")
    speeds: dict[Point, float | Failed] = {FAST: 100.0, SLOW: CRASH, a_point(batch=1): hang, a_point(batch=4): other}
    groups = answer(recorded([*opening(a_question()), *a_search(speeds)])).failures
    assert [(g.kind, g.count, g.message) for g in groups] == [
        ("crash", 2, CRASH.message),
        ("timeout", 1, hang.message),
    ]


def test_disturbed_confirmation_launches_are_said_and_do_not_confirm() -> None:
    def flagged(event: Event) -> Event:
        if isinstance(event, Launch) and event.purpose == "confirm" and event.block == 2:
            return replace(event, flags=("foreign_cpu", "not_steady"))
        return event

    found = answer(recorded(flagged(e.event) for e in a_study({FAST: 200.0})))
    told = "other programs disturbed 5 of 30 confirmation launches, which are left out (foreign_cpu 5, not_steady 5)"
    assert told in said(found)
    assert found.confirmed and found.figures is not None and found.figures.launches == 5
    assert found.flags == (("foreign_cpu", 5), ("not_steady", 5))


def test_a_flag_of_confirmation_launches_says_what_it_means() -> None:
    def flagged(event: Event) -> Event:
        if isinstance(event, Launch) and event.purpose == "confirm" and event.block == 2:
            return replace(event, flags=("few_samples", "later"))
        return event

    assert answer(recorded(flagged(e.event) for e in a_study({FAST: 200.0}))).caveats == (
        (
            "5 of 30 confirmation launches: fewer requests completed than the plan asks for (few_samples); "
            "throughput is counted all the same, percentiles are rough"
        ),
        "5 of 30 confirmation launches: later",
    )


def test_a_crashed_confirmation_launch_is_said() -> None:
    values: dict[Point, list[float | Failed]] = {
        FAST: [200.0, 200.0, CRASH, 200.0],
        a_baseline(DEFAULT): [100.0] * 4,
    }
    events = [*opening(a_question()), *a_search({FAST: 200.0}), Decided(finalists=(FAST,), why="")]
    found = answer(recorded([*events, *a_confirmation(values), a_check(FAST), Closed(status="ok", why="")]))
    assert "1 of 8 confirmation launches failed" in said(found)
    assert found.figures is not None and found.figures.launches == 3


def test_a_limit_on_a_percentile_needs_its_requests() -> None:
    question = a_question("max throughput, p99 < 90 ms")
    enough, few = (answer(a_study({FAST: 200.0}, question=question, count=count)) for count in (50, 30))
    assert enough.winner == few.winner == FAST
    assert "not enough requests" not in said(enough)  # 300 of them, none over the limit: p99 needs 299 at 95 %
    assert "not enough requests to say whether `p99 < 90 ms` holds (180): about" in said(few)
    assert "more of measuring would tell" in few.why


def at_limits(count: int) -> list[str]:
    question = a_question("max throughput, p99 < 90 ms, throughput > 150/s, memory < 2 GB, batch <= 8, fidelity > 0.9")
    found = answer(a_study({FAST: 200.0}, question=question, count=count))
    assert found.winner == FAST and found.figures is not None
    return [at_limit(at, found.figures) for at in found.limits]


def test_how_the_winner_stands_to_each_limit() -> None:
    percentile, *others = at_limits(200)
    assert percentile == "`p99 < 90 ms` holds: 44.1 ms (44.0 to 44.2), 1200 requests"
    assert others == [
        "`throughput > 150 /s` holds: 200/s (198 to 202), 6 launches",
        "`memory < 2 GB` holds: 500 MB (500 to 500), 6 launches",
    ]


def test_a_percentile_without_enough_requests_is_not_known_at_its_limit() -> None:
    assert at_limits(50)[0] == "`p99 < 90 ms` holds: at most 44.4 ms, 300 requests"
    assert at_limits(20)[0] == "`p99 < 90 ms` not known: 120 requests, too few for p99"


def test_a_percentile_too_near_to_its_limit_is_not_known_either() -> None:
    near = a_measurement(200.0, latency_ms=90.0 / 1.098, count=200)
    events = [*opening(a_question("max throughput, p99 < 90 ms")), *a_search({FAST: 200.0}), a_check(FAST)]
    events += [Decided(finalists=(FAST,), why=""), *a_confirmation({FAST: [near] * 6}, 200)]
    found = answer(recorded([*events, Closed(status="ok", why="")]))
    assert found.figures is not None
    told = "`p99 < 90 ms` not known: 90.0 ms (89.9 to 90.1), 1200 requests, and so many exceed it"
    assert at_limit(found.limits[0], found.figures).startswith(told)


def test_the_best_baseline_is_one_that_surely_keeps_the_limits() -> None:
    """The hint is faster than the default, but two in a hundred of its 300 requests are over the limit."""
    hint = a_baseline("openvino throughput hint")
    near = a_measurement(127.0, latency_ms=90.0 / 1.098, count=50)
    events = [*opening(a_question("max throughput, p99 < 90 ms")), *a_search({FAST: 200.0}), a_check(FAST)]
    events.append(Decided(finalists=(FAST,), why=""))
    events += a_confirmation({FAST: noisy(200.0), a_baseline(DEFAULT): noisy(100.0), hint: [near] * 6}, 50)
    found = answer(recorded([*events, Closed(status="ok", why="")]))
    assert found.best_rival == DEFAULT and f"of the best baseline, {DEFAULT}" in found.why
    grid = baselines(found).grid
    assert grid is not None and f"{DEFAULT} (best within limits)" in [row[0] for row in grid.rows]


def test_the_best_baseline_is_the_one_that_the_verdict_compared_with() -> None:
    """The hint has the higher median, but it was clearly behind and left after three of eight blocks."""
    hint = a_baseline("openvino throughput hint")
    values = {FAST: noisy(200.0, 8), a_baseline(DEFAULT): noisy(100.0, 8), hint: [104.0] * 3}
    events = [*opening(a_question("max throughput")), *a_search({FAST: 200.0}), a_check(FAST)]
    events += [Decided(finalists=(FAST,), why=""), *a_confirmation(values), Closed(status="ok", why="")]
    found = answer(recorded(events))
    assert f"of the best baseline, {DEFAULT}" in found.why and found.best_rival == DEFAULT


def test_a_baseline_without_a_figure_is_named_with_its_reason() -> None:
    events: list[Event] = [e.event for e in a_study({FAST: 200.0}, baselines={DEFAULT: 100.0})]
    crashed = a_launch(a_baseline("openvino latency hint"), CRASH, purpose="confirm")
    found = answer(recorded([*events[:-1], crashed, events[-1]]))
    assert "no figure for openvino latency hint: crash at measure: signal 11 at 0x7f01" in said(found)
    assert "no figure for onnxruntime default, openvino throughput hint: not measured" in said(found)


def test_a_check_that_could_not_be_made_is_told_apart_from_wrong_outputs() -> None:
    reason = "onnxruntime gave no outputs: unsupported op"
    unmade = Fidelity(point=FAST, cosine=0.0, max_abs=0.0, max_rel=0.0, top1=None, inputs=0, reason=reason)
    events: list[Event] = [*opening(a_question()), *a_search({FAST: 200.0}), Checked(fidelity=unmade, wall_s=0.1)]
    found = answer(recorded(events))
    assert found.winner is None
    assert f"outputs could not be checked against the reference: {reason}" in said(found)
    assert found.nearest is not None
    assert missed(found.nearest) == "`fidelity >= 0.99`: its outputs could not be checked"
    assert "could not be checked" not in said(answer(a_study({FAST: 200.0}, cosines={FAST: 0.5})))
    beside = answer(recorded([*events, *a_search({SLOW: 100.0}), a_check(SLOW)]))
    assert beside.winner == SLOW
    assert f"outputs of others than the winner could not be checked against the reference: {reason}" in said(beside)


def test_launches_too_few_to_confirm_are_not_called_fresh() -> None:
    baseline = a_baseline(DEFAULT)
    launch = a_launch(baseline, a_measurement(100.0), purpose="confirm")
    events = [*opening(a_question()), Decided(finalists=(baseline,), why=""), launch, Closed(status="ok", why="")]
    found = answer(recorded(events))
    assert not found.confirmed and found.figures is not None
    assert measured(found.figures) == "100 samples/s, 1 launch"


def test_figures_of_a_simulated_device_are_marked() -> None:
    found = answer(a_study({FAST: 200.0}, question=a_question(simulated=True)))
    assert found.simulated
    assert "simulated: the figures do not come from a real device" in said(found)


def test_one_simulated_measurement_marks_the_study() -> None:
    launch = a_launch(FAST, a_measurement(200.0, simulated=True))
    assert answer(recorded([*opening(a_question()), launch])).simulated
    assert not answer(a_study({FAST: 200.0})).simulated


def test_the_device_is_the_winners() -> None:
    asked = a_question()
    other = replace(asked.devices[1], name="gpu", title="Another")
    found = answer(a_study({FAST: 200.0}, question=replace(asked, devices=(other, *asked.devices))))
    assert found.device is not None and found.device.name == "cpu"


def test_a_promise_rests_on_the_launches_of_the_answer(tmp_path: Path) -> None:
    better = a_point(batch=16)
    whole = a_study({FAST: 200.0})
    events: list[Event] = [*(e.event for e in whole), *a_search({better: 300.0}), Decided(finalists=(better,), why="")]
    finished, extended = (
        confirmed_launches(Study(folder=tmp_path, entries=tuple(e))) for e in (whole, recorded(events))
    )
    assert finished == extended == confirmations(whole)[-1].launches
