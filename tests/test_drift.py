"""Is a promise kept: anchors, what may decide, what changed, and `verify` in virtual time."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from infertune.cli.verify import as_json, reasons
from infertune.cli.verify import told as said
from infertune.core import drift, wire
from infertune.core.answer import answer
from infertune.core.errors import DataError, NotFoundError, NothingFeasible
from infertune.core.history import confirmations
from infertune.core.records import Conditions, Failed, Feed, Found, Interval, Job, MeasureJob, Reply, facts
from infertune.core.space import Point
from infertune.export.bundle import Promise, complete_bundle, promise
from infertune.study.verifying import Verdict, verify
from infertune.testing.clock import FakeClock
from infertune.testing.executor import FakeExecutor
from infertune.testing.records import (
    a_baseline,
    a_confirmation,
    a_device,
    a_launch,
    a_measurement,
    a_model,
    a_point,
    a_study,
    noisy,
)

WINNER = a_point(batch=8, instances=2, cores=1, set_size=1)
HINT, DEFAULT = "openvino throughput hint", "openvino default"
HOST = facts(governor="performance", effective_cpus=2)


def exactly(value: float) -> Interval:
    return Interval(value=value, low=value, high=value)


def a_promise(anchor_speed: float | None = 100.0) -> Promise:
    """200 samples/s, beside an anchor of 100."""
    anchor = None
    if anchor_speed is not None:
        anchor = drift.Anchor(
            name=HINT, point=a_baseline(HINT), throughput=exactly(anchor_speed), ratio=exactly(200.0 / anchor_speed)
        )
    return Promise(
        model=a_model(),
        point=WINNER,
        device=a_device(),
        feed=Feed(seed=0),
        goal="max throughput",
        throughput=exactly(200.0),
        confirmed=True,
        launches=6,
        in_flight=2,
        anchor=anchor,
        host=HOST,
    )


def a_bundle(folder: Path, promised: Promise) -> Path:
    (folder / "config.json").write_text(json.dumps({"runtime": "openvino", "files": ["model.xml"], "batch": 8}))
    complete_bundle(folder, promised)
    return folder


def machine(
    winner: float, anchor: float, noise: float = 0.0, fails: Callable[[Job], Failed | None] = lambda job: None
) -> FakeExecutor:
    rate = {WINNER: winner, a_baseline(HINT): anchor}
    return FakeExecutor(FakeClock(), lambda point: rate[point], noise=noise, fails=fails)


class Upgraded(FakeExecutor):
    """The same machine with another release of the runtime."""

    def run(self, target: str, job: Job, *, timeout_s: float) -> Reply:
        reply = super().run(target, job, timeout_s=timeout_s)
        if isinstance(reply, Found):
            return Found(devices=(replace(a_device(target), versions=facts(openvino="2.0")),))
        return reply


def upgraded(winner: float, anchor: float) -> FakeExecutor:
    rate = {WINNER: winner, a_baseline(HINT): anchor}
    return Upgraded(FakeClock(), lambda point: rate[point])


def verdict(folder: Path, executor: FakeExecutor, promised: Promise | None = None, **more: object) -> Verdict:
    bundle = a_bundle(folder, promised or a_promise())
    return verify(bundle, executor=executor, host=HOST, **more)  # type: ignore[arg-type]


# ---------------------------------------------------------------- anchors


def test_several_launches_in_one_block_count_by_their_median() -> None:
    speeds = {WINNER: 200.0, a_baseline(HINT): 100.0}
    launches = [a_launch(point, speed, block=block) for block in range(3) for point, speed in speeds.items()]
    again = [a_launch(WINNER, speed, block=0) for speed in (200.0, 50.0)]
    found = drift.anchor(WINNER, [(HINT, a_baseline(HINT))], [*launches, *again])
    assert found is not None and found.ratio.low == pytest.approx(2.0, rel=1e-3)


def test_the_anchor_is_the_steadiest_baseline() -> None:
    launches = a_confirmation(
        {WINNER: noisy(200.0), a_baseline(HINT): noisy(100.0), a_baseline(DEFAULT): noisy(50.0, phase=2)}
    )
    found = drift.anchor(WINNER, [(n, a_baseline(n)) for n in (DEFAULT, HINT)], launches)  # type: ignore[arg-type]
    assert found is not None and found.name == HINT
    assert found.ratio.low == pytest.approx(2.0, rel=1e-3) and found.ratio.high == pytest.approx(2.0, rel=1e-3)


def test_a_baseline_that_left_the_confirmation_early_is_no_anchor() -> None:
    """Its three ratios lie nearer together than the six of another, whose first three lie as near."""
    speeds = {HINT: (100.0, 101.0, 102.0, 103.0, 104.0, 105.0), DEFAULT: (50.0, 50.5, 51.0)}
    launches = [a_launch(WINNER, 200.0, block=block) for block in range(6)]
    launches += [a_launch(a_baseline(n), speed, block=b) for n, of in speeds.items() for b, speed in enumerate(of)]
    found = drift.anchor(WINNER, [(n, a_baseline(n)) for n in (DEFAULT, HINT)], launches)
    assert found is not None and found.name == HINT


def test_no_anchor_without_three_shared_blocks() -> None:
    launches = a_confirmation({WINNER: noisy(200.0, 2), a_baseline(HINT): noisy(100.0, 2)})
    assert drift.anchor(WINNER, [(HINT, a_baseline(HINT))], launches) is None  # type: ignore[arg-type]


def test_a_winner_is_not_its_own_anchor() -> None:
    launches = a_confirmation({a_baseline(HINT): noisy(100.0)})
    assert drift.anchor(a_baseline(HINT), [(HINT, a_baseline(HINT))], launches) is None  # type: ignore[arg-type]


# ---------------------------------------------------------------- what decides


def test_a_quiet_machine_keeps_the_promise_at_once(tmp_path: Path) -> None:
    found = verdict(tmp_path, machine(200.0, 100.0))
    assert found.kept and found.settled and found.blocks == 6 and found.basis == "anchor"
    assert found.ratio.value == pytest.approx(1.0, abs=0.01) and found.changes == ()


def test_launches_take_the_inputs_that_the_bundle_does_not_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    here = machine(200.0, 100.0)
    found = verdict(tmp_path, here, inputs="mine.npz")
    paths = {job.feed.path for job in here.jobs if isinstance(job, MeasureJob)}
    assert paths == {str(tmp_path / "mine.npz")}, "workers run in folders of their own"
    assert found.promised.feed.path is None


def test_a_slow_spell_of_the_machine_cancels(tmp_path: Path) -> None:
    found = verdict(tmp_path, machine(140.0, 70.0))
    assert found.kept and found.relative.value == pytest.approx(1.0, abs=0.01)
    assert found.ratio.value == pytest.approx(0.7, abs=0.01)
    assert any("the anchor runs at 0.70x of its speed then" in change for change in found.changes)


def test_a_bundle_slower_than_its_anchor_allows_is_broken(tmp_path: Path) -> None:
    found = verdict(tmp_path, machine(180.0, 100.0))
    assert not found.kept and found.settled and found.relative.value == pytest.approx(0.9, abs=0.01)


def test_a_faster_machine_does_not_excuse_a_bundle_slower_than_its_anchor_allows(tmp_path: Path) -> None:
    found = verdict(tmp_path, machine(300.0, 225.0))
    assert found.ratio.value == pytest.approx(1.5, abs=0.01) and found.relative.value == pytest.approx(0.67, abs=0.01)
    assert not found.kept and found.settled


def test_a_promise_that_was_uncertain_itself_settles_nothing(tmp_path: Path) -> None:
    """And more launches now do not make it less so: there are no more than six blocks."""
    promised = a_promise()
    assert promised.anchor is not None
    unsure = replace(promised.anchor, ratio=Interval(value=2.0, low=1.8, high=2.2))
    found = verdict(tmp_path, machine(190.0, 100.0), replace(promised, anchor=unsure))
    assert found.relative.value == pytest.approx(0.95, abs=0.01) and found.blocks == 6
    assert found.relative.low == pytest.approx(0.864, abs=0.01) and found.relative.high == pytest.approx(
        1.056, abs=0.01
    )
    assert not found.kept and not found.settled
    assert reasons(found)[0] == "not settled: the interval goes up to 1.06x"
    sure = verdict(tmp_path, machine(190.0, 100.0))
    assert sure.settled and sure.relative.high < 0.97 and "not settled" not in reasons(sure)[0]


def test_the_text_says_which_figure_decides(tmp_path: Path) -> None:
    assert said(verdict(tmp_path, machine(200.0, 100.0)))[-1] == "kept: `relative` decides"
    assert said(verdict(tmp_path, upgraded(200.0, 100.0)))[-1] == "kept: `ratio` decides"


def test_a_slower_release_does_not_hide_behind_its_anchor(tmp_path: Path) -> None:
    found = verdict(tmp_path, upgraded(140.0, 70.0))
    assert not found.kept and found.basis == "throughput"
    assert "openvino: 1.0 then, 2.0 now" in found.changes


def test_the_environment_of_before_tells_machine_from_release(tmp_path: Path) -> None:
    slow_machine = verdict(tmp_path, upgraded(140.0, 70.0), before="python", other=machine(140.0, 70.0))
    assert slow_machine.kept and slow_machine.basis == "before"
    assert slow_machine.changes == ("openvino: 1.0 then, 2.0 now",)
    slow_release = verdict(tmp_path, upgraded(140.0, 70.0), before="python", other=machine(200.0, 100.0))
    assert not slow_release.kept and slow_release.relative.value == pytest.approx(0.7, abs=0.01)


def test_a_faster_machine_does_not_hide_a_slower_release(tmp_path: Path) -> None:
    found = verdict(tmp_path, upgraded(210.0, 105.0), before="python", other=machine(300.0, 150.0))
    assert not found.kept and found.ratio.value > 1.0


def test_an_open_verdict_takes_more_blocks_and_names_the_noise(tmp_path: Path) -> None:
    found = verdict(tmp_path, machine(194.0, 100.0, noise=0.1))
    assert found.blocks == 18
    assert any(change.startswith("noise: launches spread") for change in found.changes)


def test_without_an_anchor_the_throughput_decides(tmp_path: Path) -> None:
    bare = a_promise(anchor_speed=None)
    assert verdict(tmp_path, machine(195.0, 1.0), bare).kept
    broken = verdict(tmp_path, machine(190.0, 1.0), bare)
    assert not broken.kept and broken.basis == "throughput"


def test_sides_take_turns_in_going_first(tmp_path: Path) -> None:
    executor = machine(200.0, 100.0)
    verdict(tmp_path, executor)
    points: list[Point] = [job.point for job in executor.jobs if isinstance(job, MeasureJob)]
    assert [p == WINNER for p in points[:4]] == [True, False, False, True]


def test_a_launch_that_fails_ends_it(tmp_path: Path) -> None:
    crash = Failed(stage="measure", kind="crash", message="the worker died of SIGILL")
    executor = machine(200.0, 100.0, fails=lambda job: crash if isinstance(job, MeasureJob) else None)
    with pytest.raises(NothingFeasible, match="SIGILL"):
        verdict(tmp_path, executor)


def test_a_python_without_infertune_is_told(tmp_path: Path) -> None:
    gone = Failed(stage="load", kind="crash", message="exit code 1")
    other = machine(1.0, 1.0, fails=lambda job: gone)
    with pytest.raises(NotFoundError) as caught:
        verdict(tmp_path, machine(200.0, 100.0), before="/opt/old/bin/python", other=other)
    assert caught.value.id == "no-infertune-there"


def test_a_server_configuration_is_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_config_list": []}')
    with pytest.raises(DataError) as caught:
        verify(tmp_path)
    assert "--to python" in caught.value.hint


def test_a_promise_of_an_older_bundle_has_no_anchor() -> None:
    plain = wire.to_plain(a_promise())
    del plain["anchor"], plain["host"]
    assert wire.from_plain(plain, Promise).anchor is None


def test_a_run_folder_in_a_bundles_place_is_to_be_exported(tmp_path: Path) -> None:
    (tmp_path / "study.db").touch()
    with pytest.raises(NotFoundError) as caught:
        verify(tmp_path)
    assert f"`infertune export {tmp_path} --to python -o FOLDER`" in caught.value.hint


# ---------------------------------------------------------------- what changed


def test_reasons_say_flags_in_words_and_what_to_do(tmp_path: Path) -> None:
    found = replace(verdict(tmp_path, machine(100.0, 100.0)), changes=(), flags=("foreign_cpu", "not_steady"))
    first, second, *_, last = reasons(found)
    assert first == "nothing else changed"
    assert second == "the first and second half of the window differ by more than 10 %"
    assert last == "run it again when the machine is quieter"


def test_one_launch_promises_no_interval(tmp_path: Path) -> None:
    found = verdict(tmp_path, machine(200.0, 100.0), replace(a_promise(), launches=1))
    assert said(found)[0].startswith("promised  200 samples/s")


def test_changes_of_the_device() -> None:
    now = replace(a_device(), units=4, versions=facts(openvino="2.0"))
    assert drift.device_changes(a_device(), now) == ("CPUs: 2 then, 4 now", "openvino: 1.0 then, 2.0 now")
    card = replace(now, name="qid0")
    assert drift.device_changes(a_device(), card)[0] == "compute units: 2 then, 4 now"


def test_changes_of_the_host_that_matter() -> None:
    then = facts(governor="performance", load_average="0.1", turbo="on")
    now = (*facts(governor="powersave", load_average="9"), ("env OMP_NUM_THREADS", "1"))
    told = drift.host_changes(then, now)
    assert told == ("governor: performance then, powersave now", "env OMP_NUM_THREADS: not set then, 1 now")


def test_foreign_load_and_withheld_time_are_told() -> None:
    disturbed = replace(a_measurement(), conditions=Conditions(foreign_cpu=0.4, steal=0.1))
    told = drift.machine_changes([disturbed], exactly(1.0), None)
    assert told == (
        "foreign load: other programs used 40% of the CPUs",
        "the hypervisor withheld 10% of the CPU time",
    )


def test_faster_is_kept() -> None:
    assert drift.kept(exactly(1.3), 0.03) and drift.kept(exactly(0.97), 0.03)
    assert not drift.kept(exactly(0.969), 0.03)


# ---------------------------------------------------------------- from a study to its promise


def test_a_promise_names_an_anchor_of_the_same_artifact() -> None:
    found = answer(a_study({WINNER: 200.0}))
    assert found.figures is not None
    launches = confirmations(a_study({WINNER: 200.0}))[-1].launches
    made = promise(found, found.figures, launches)
    assert made.anchor is not None and made.anchor.point.target == "openvino"
    assert made.anchor.ratio.value == pytest.approx(2.0, rel=0.02)
    assert made.model.path == "bert-base.onnx" and dict(made.host)["cpu"] == "Example CPU"


# ---------------------------------------------------------------- the document

DOCS = Path(__file__).parent.parent / "docs"
SCHEMA = json.loads((DOCS / "verdict.schema.json").read_text())
EXAMPLE = json.loads((DOCS / "verdict.example.json").read_text())


def test_the_documented_example_is_what_verify_prints(tmp_path: Path) -> None:
    found = as_json(verdict(tmp_path, machine(180.0, 100.0)))
    assert within(EXAMPLE, found) and EXAMPLE.keys() == found.keys()
    page = (DOCS / "json.md").read_text()
    assert json.dumps(EXAMPLE, indent=2) in page


def within(told: object, whole: object) -> bool:
    """Whether every key of ``told`` is in ``whole`` with that value."""
    if isinstance(told, dict) and isinstance(whole, dict):
        return all(key in whole and within(value, whole[key]) for key, value in told.items())
    return told == whole


@pytest.mark.parametrize("bare", [False, True])
def test_verdicts_keep_the_published_schema(tmp_path: Path, bare: bool) -> None:
    Draft202012Validator.check_schema(SCHEMA)
    promised = a_promise(anchor_speed=None) if bare else a_promise()
    found = as_json(verdict(tmp_path, machine(195.0, 100.0, noise=0.05), promised))
    plain = json.loads(json.dumps(found))
    assert [error.message for error in Draft202012Validator(SCHEMA).iter_errors(plain)] == []
    assert list(found) == SCHEMA["required"]
    for broken in ({**plain, "kept": "yes"}, {**plain, "more": 1}, {k: v for k, v in plain.items() if k != "basis"}):
        assert not Draft202012Validator(SCHEMA).is_valid(broken)
