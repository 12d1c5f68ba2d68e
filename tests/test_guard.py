"""The fidelity guard: fast and wrong never wins, costs little, and is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from infertune.core import guard, verdict
from infertune.core.answer import answer
from infertune.core.goal import parse_goal
from infertune.core.records import Checked, Failed, Fidelity, InferJob, Job, Launch, Measurement, Reply
from infertune.core.space import Point, Space
from infertune.core.verdict import Terms
from infertune.report.rows import table
from infertune.study.bench import Bench
from infertune.study.journal import Journal
from infertune.study.question import space_fact
from infertune.testing.executor import FakeExecutor, Rate
from infertune.testing.spaces import a_knob
from test_study_flow import Laboratory, screened


def is_bf16(point: Point) -> bool:
    return point.get("precision", "f32") in ("bf16", "runtime")


def wrong_in(kind: str, by: float) -> Rate:
    return lambda point: by if point.get("precision", "f32") == kind else 0.0


def five_times_faster(point: Point) -> float:
    """Reduced precision looks like a bargain until its outputs are read."""
    batch = point.number("batch", 1)
    return (5.0 if is_bf16(point) else 1.0) * (60.0 if batch == 8 else 50.0)


def broken(point: Point) -> float:
    return 2.0 if is_bf16(point) else 0.0


def test_wrong_outputs_never_win_however_fast_they_come(tmp_path: Path) -> None:
    for seed in range(2):
        lab = Laboratory(tmp_path / str(seed), rate=five_times_faster, error=broken, seed=seed, noise=0.05)
        found = answer(lab.run())
        assert found.winner is not None and not is_bf16(found.winner)
        assert all(f.point != found.winner or f.cosine > 0.99 for f in checks(lab))


def checks(lab: Laboratory) -> list[Fidelity]:
    return [c.fidelity for c in lab.events(Checked) if isinstance(c, Checked)]


def test_an_arithmetic_with_wrong_outputs_is_tried_once(tmp_path: Path) -> None:
    lab = Laboratory(tmp_path, rate=five_times_faster, error=wrong_in("bf16", 2.0))
    entries = lab.run()
    tried = [p for p in screened(entries) if p.get("precision", "") == "bf16"]
    assert len(tried) == 1, "the check comes with the first lead, not after the search"
    later = [launch for launch in lab.events(Launch) if isinstance(launch, Launch) and launch.purpose == "confirm"]
    assert not any(launch.point.get("precision", "") == "bf16" for launch in later)


def test_a_right_arithmetic_is_checked_once_while_searching(tmp_path: Path) -> None:
    lab = Laboratory(tmp_path)
    entries = lab.run()
    winner = answer(entries).winner
    assert winner is not None and winner["precision"] == "bf16"
    decided = next(i for i, e in enumerate(entries) if isinstance(e.event, Launch) and e.event.purpose == "race")
    before = [e.event.fidelity.point for e in entries[:decided] if isinstance(e.event, Checked)]
    assert len({p["precision"] for p in before if p.target == "openvino"}) == len(before)


def test_what_was_wrong_is_told_as_a_failure(tmp_path: Path) -> None:
    lab = Laboratory(tmp_path, rate=five_times_faster, error=wrong_in("bf16", 2.0))
    groups = answer(lab.run()).failures
    told = next(group for group in groups if group.kind == "output")
    assert told.stage == "verify" and "fidelity" in told.message and "the limit is 0.99" in told.message
    assert told.example["precision"] == "bf16"


def test_baselines_of_one_wrong_arithmetic_fail_for_one_reason(tmp_path: Path) -> None:
    lab = Laboratory(tmp_path, rate=five_times_faster, error=wrong_in("runtime", 2.0))
    found = answer(lab.run())
    wrong = [group for group in found.failures if group.kind == "output"]
    assert len(wrong) == 1 and wrong[0].message.startswith("fidelity")
    assert {reason for _, reason in found.absent} <= {f"output at verify: {wrong[0].message}"}
    assert any("wrong outputs on seeded inputs" in caveat for caveat in found.caveats)


class Fickle(FakeExecutor):
    """Every answer is another one, also to the input that a reference is asked twice."""

    def run(self, target: str, job: Job, *, timeout_s: float) -> Reply:
        reply = super().run(target, job, timeout_s=timeout_s)
        if isinstance(job, InferJob) and job.again and not isinstance(reply, Failed):
            with np.load(job.into) as stored:
                np.savez(job.again, allow_pickle=False, **{"logits.0": stored["logits.0"][::-1]})
        return reply


def test_a_model_that_is_not_deterministic_is_told_and_only_f32_wins_unchecked(tmp_path: Path) -> None:
    lab = Laboratory(tmp_path, rate=five_times_faster)
    lab.executor = Fickle(lab.clock, five_times_faster)
    entries = lab.run()
    found = answer(entries)
    assert found.winner is not None and found.winner["precision"] == "f32" and found.confirmed
    assert found.fidelity is None
    (told,) = (caveat for caveat in found.caveats if caveat.startswith("outputs could not be checked"))
    assert "the model is not deterministic: it answered one input in two ways, with " in told
    assert not any("wrong outputs" in caveat for caveat in found.caveats)
    asked = [job for job in lab.executor.jobs if isinstance(job, InferJob)]
    assert len(asked) == 1 and asked[0].again, "nothing else is worth comparing"
    rows = {row["role"]: row["status"] for row in table(entries).dicts()}
    assert rows["winner"] == "ok"


def test_the_first_reference_that_works_is_asked_twice(tmp_path: Path) -> None:
    """One that gave no outputs, such as for want of memory at its batch, says nothing of the model."""
    lab = Laboratory(tmp_path)
    lab.executor = Fickle(lab.clock, five_times_faster, fails=too_large)
    setting = lab.setting()
    bench = Bench(setting, Journal(lab.store, lab.clock), lab.executor, lab.cache, lab.clock)
    bf16 = next(p for p in setting.space("openvino", "cpu").points() if is_bf16(p))
    reasons = [bench.checks.compared(bf16.but(batch=batch)).fidelity.reason for batch in (16, 8)]
    assert [reason[:32] for reason in reasons] == [
        "the reference gave no outputs: o",
        "the model is not deterministic: ",
    ]


def too_large(job: Job) -> Failed | None:
    large = isinstance(job, InferJob) and job.point["batch"] == 16
    return Failed(stage="verify", kind="memory", message="out of memory") if large else None


def test_a_steady_reference_is_asked_again_once(tmp_path: Path) -> None:
    lab = Laboratory(tmp_path)
    assert answer(lab.run()).winner is not None and len({check.point["batch"] for check in checks(lab)}) > 1
    assert sum(bool(job.again) for job in lab.executor.jobs if isinstance(job, InferJob)) == 1
    assert all(check.made for check in checks(lab))


def test_a_goal_may_ask_for_less(tmp_path: Path) -> None:
    lab = Laboratory(tmp_path, rate=five_times_faster, error=broken, goal="max throughput, fidelity > 0.1")
    found = answer(lab.run())
    assert found.winner is not None and is_bf16(found.winner)


def test_the_search_is_told_of_wrong_points_as_failures_and_not_offered_them_again(tmp_path: Path) -> None:
    from infertune.core import choice

    lab = Laboratory(tmp_path, rate=five_times_faster, error=wrong_in("bf16", 2.0))
    reading = choice.read(lab.run())
    spaces = lab.setting().spaces
    narrowed = guard.narrowed(spaces, reading.terms)
    again = guard.narrowed(spaces, reading.terms)
    assert [r.holds for s in again for r in s.rules] == [r.holds for s in narrowed for r in s.rules]
    wrong = guard.wrong_points(reading.terms)
    assert [p["precision"] for p in wrong] == ["bf16"]
    for space, left in zip(spaces, narrowed, strict=True):
        kept = set(left.points())
        gone = [p for p in space.points() if p not in kept]
        assert all(p["precision"] == "bf16" for p in gone) and bool(gone) == (space.target == "openvino")
    judged = {t.point: t for t in guard.judged(reading.trials, reading.terms)}
    for trial in reading.trials:
        outcomes = [launch.outcome for launch in judged[trial.point].launches]
        if trial.point.get("precision", "") == "bf16":
            assert outcomes and all(isinstance(o, Failed) and o.kind == "output" for o in outcomes)
        elif any(isinstance(launch.outcome, Measurement) for launch in trial.launches):
            assert judged[trial.point] == trial


SPACE = Space(
    target="t", device="d",
    knobs=(a_knob("precision", ("f32", "fp16")), a_knob("tiles", (1, 2, 3, 4), "build"), a_knob("batch", (1, 2))),
)  # fmt: skip


def judged_by(*cosines: float, inputs: int = 2) -> Terms:
    """Terms after checks of fp16 programs of 1, 2, ... tiles."""
    points = [SPACE.point(precision="fp16", tiles=tiles) for tiles in range(1, len(cosines) + 1)]
    checked = {
        p: Fidelity(point=p, cosine=cosine, max_abs=0.0, max_rel=0.0, top1=None, inputs=inputs, reason="NaN")
        for p, cosine in zip(points, cosines, strict=True)
    }
    return Terms(goal=parse_goal("max throughput"), spaces=(space_fact(SPACE),), fidelities=checked)


@pytest.mark.parametrize(
    ("terms", "given_up"),
    [
        (judged_by(0.0, 0.0), False),
        (judged_by(0.0, 0.0, 0.0), True),
        (judged_by(0.0, 0.0, 0.0, 1.0), False),
        (judged_by(0.0, 0.0, 0.0, inputs=0), False),  # checks that could not be made
    ],
)
def test_a_precision_is_given_up_when_three_programs_are_wrong_and_none_is_right(terms: Terms, given_up: bool) -> None:
    unseen = SPACE.point(precision="fp16", tiles=4, batch=2)
    exact = SPACE.point(precision="f32", tiles=4)
    assert verdict.faithful(terms, unseen) == (not given_up)
    assert verdict.faithful(terms, exact)
    (left,) = guard.narrowed((SPACE,), terms)
    assert ("fp16" in {p["precision"] for p in left.points()}) == (not given_up)
    assert "f32" in {p["precision"] for p in left.points()}
    if given_up:
        assert guard.wrong_output(unseen, terms).message == "NaN"
