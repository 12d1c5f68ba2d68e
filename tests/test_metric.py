"""A person's own metric, and outputs checked again after timing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from infertune.core.answer import answer
from infertune.core.errors import UsageError
from infertune.core.goal import parse_goal
from infertune.core.records import (
    BuildJob,
    Checked,
    Conditions,
    Failed,
    Feed,
    InferJob,
    Job,
    Launch,
    MeasureJob,
    Measurement,
    Plan,
    Recheck,
    Reply,
)
from infertune.core.seams import CandidateFailed
from infertune.edge.shell import LocalShell
from infertune.prepare.load import describe
from infertune.study.metric import Metric, Outputs, judge, named, parse_metric
from infertune.study.question import Setting
from infertune.targets import find_target
from infertune.targets.inproc import measure_session
from infertune.targets.worker import safely
from infertune.testing.clock import FakeClock
from infertune.testing.executor import FakeExecutor
from infertune.testing.records import a_model, a_point
from infertune.testing.session import FakeAnswering
from infertune.testing.targets import QUICK
from infertune.verify.outputs import distance
from small_models import write_classifier
from test_study_flow import Laboratory, plausible


def same_answers(ours: Outputs, reference: Outputs) -> float:
    pairs = [(a, b) for name in reference for a, b in zip(ours[name], reference[name], strict=True)]
    return float(np.mean([np.argmax(a) == np.argmax(b) for a, b in pairs]))


class Judged(Laboratory):
    """A study whose outputs a metric judges."""

    metric: Metric = staticmethod(same_answers)

    def setting(self) -> Setting:
        made = super().setting()
        return replace(made, metric=self.metric, question=replace(made.question, metric=named(self.metric)))


def test_the_metric_counts_instead_of_the_cosine(tmp_path: Path) -> None:
    lab = Judged(tmp_path, error=lambda p: 0.05 if p.get("precision", "f32") != "f32" else 0.0)
    found = answer(lab.run(budget_s=60.0))
    assert found.fidelity is not None and found.fidelity.metric == 1.0
    assert found.question.metric.endswith(":same_answers")


def test_a_low_metric_is_a_wrong_output_even_at_a_high_cosine(tmp_path: Path) -> None:
    class Strict(Judged):
        metric: Metric = staticmethod(lambda ours, reference: float(all_equal(ours, reference)))

    lab = Strict(tmp_path, error=lambda p: 0.001 if p.get("precision", "f32") != "f32" else 0.0)
    found = answer(lab.run(budget_s=60.0))
    assert found.winner is not None and found.winner["precision"] == "f32"
    checks = [c.fidelity for c in lab.events(Checked) if isinstance(c, Checked)]
    assert any(c.cosine > 0.999 and c.metric == 0.0 for c in checks)


def test_the_metric_judges_outputs_of_another_shape(tmp_path: Path) -> None:
    class Shorter(FakeExecutor):
        """Every arithmetic but f32 finds one thing less, as a detector's suppression may."""

        def run(self, target: str, job: Job, *, timeout_s: float) -> Reply:
            reply = super().run(target, job, timeout_s=timeout_s)
            if isinstance(job, InferJob) and job.point.get("precision", "f32") != "f32":
                with np.load(job.into) as stored:
                    kept = {name: stored[name][..., 1:] for name in stored.files}
                np.savez(job.into, allow_pickle=False, **kept)
            return reply

    class Counted(Judged):
        metric: Metric = staticmethod(lambda ours, reference: 0.995)

    for lab, right in ((Counted(tmp_path), True), (Laboratory(tmp_path), False)):
        lab.executor = Shorter(lab.clock, plausible)
        found = answer(lab.run(budget_s=60.0))
        assert found.winner is not None and (found.winner.get("precision", "f32") != "f32") == right
        checks = [c.fidelity for c in lab.events(Checked) if isinstance(c, Checked)]
        assert {c.metric for c in checks} == {0.995 if right else None}
        assert any("shape" in c.reason for c in checks) != right


def all_equal(ours: Outputs, reference: Outputs) -> bool:
    return all(np.array_equal(a, b) for n in reference for a, b in zip(ours[n], reference[n], strict=True))


def test_metrics_are_found_by_name() -> None:
    assert parse_metric(None) is None
    assert parse_metric("math:hypot") is not None
    for text in ("nosuchmodule:f", "math:nosuch", "math", "math:pi"):
        with pytest.raises(UsageError) as raised:
            parse_metric(text)
        assert raised.value.id == "metric-not-found"


@pytest.mark.parametrize("broken", ["def near(:", "raise RuntimeError('no data')"])
def test_a_module_that_cannot_be_imported_is_the_persons_to_mend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "broken_metric.py").write_text(broken)
    with pytest.raises(UsageError) as raised:
        parse_metric("broken_metric:near")
    assert raised.value.id == "metric-not-found" and "\n" not in raised.value.message


@pytest.mark.parametrize("returned", [lambda a, b: float("nan"), lambda a, b: a["absent"], lambda a, b: "much"])
def test_a_metric_that_fails_is_the_persons_to_mend(tmp_path: Path, returned: Callable[..., float]) -> None:
    path = tmp_path / "o.npz"
    np.savez(path, allow_pickle=False, **{"y.0": np.ones(3), "y.1": np.ones(3)})
    with pytest.raises(UsageError) as raised:
        judge(returned, str(path), str(path))
    assert raised.value.id == "metric-failed"


# ---------------------------------------------------------------- checked again after timing


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_the_timed_session_answers_once_more(tmp_path: Path, name: str) -> None:
    subject, target = describe(str(write_classifier(tmp_path / "m.onnx")), shapes={}), find_target(name)
    device = target.probe(LocalShell())[0]
    point = target.space(subject, device, parse_goal("max throughput")).seeds[0]
    target.build(BuildJob(model=subject, point=point, into=str(tmp_path)), LocalShell())
    right, wrong, again = (tmp_path / f"{name}.npz" for name in ("right", "wrong", "again"))
    made = InferJob(
        model=subject, point=point, artifact=str(tmp_path), feed=Feed(seed=0), count=3, into=str(right),
        again=str(again),
    )  # fmt: skip
    target.infer(made, LocalShell())
    with np.load(right) as stored, np.load(again) as twice:
        assert twice.files == ["y.0"] and np.allclose(twice["y.0"], stored["y.0"])
        np.savez(wrong, allow_pickle=False, **{key: stored[key][:, ::-1] for key in stored.files})

    def timed(reference: Path) -> object:
        recheck = Recheck(reference=str(reference), number=2, floor=0.99)
        job = MeasureJob(
            model=subject, point=point, artifact=str(tmp_path), plan=QUICK, feed=Feed(seed=0), recheck=recheck,
            repeats=5,
        )  # fmt: skip
        return safely(name, job)

    found = timed(right)
    assert isinstance(found, Measurement) and found.repeats is not None
    assert 3 <= len(found.repeats.same_ns) == len(found.repeats.varied_ns) <= 5
    failed = timed(wrong)
    assert isinstance(failed, Failed) and (failed.stage, failed.kind) == ("verify", "output")
    assert "after timing" in failed.message


def test_confirmation_asks_for_the_check_and_a_failure_demotes(tmp_path: Path) -> None:
    asked: list[int] = []

    def fails(job: Job) -> Failed | None:
        if isinstance(job, MeasureJob) and job.recheck is not None:
            asked.append(job.recheck.number)
            if job.point.get("precision", "f32") == "bf16":
                return Failed(stage="verify", kind="output", message="after timing, y holds NaN or infinities")
        return None

    lab = Laboratory(tmp_path, fails=fails)
    found = answer(lab.run(budget_s=60.0))
    assert len(set(asked)) > 1, "another input in each block"
    assert found.winner is not None and found.winner.get("precision", "f32") != "bf16"
    confirmed = [x for x in lab.events(Launch) if isinstance(x, Launch) and x.purpose == "confirm"]
    assert len(asked) == len(confirmed)


def test_distance_in_words() -> None:
    one = {"y": np.array([[1.0, 2.0], [3.0, 4.0]])}
    assert distance(one, one, 0.99) == ""
    assert "cosine" in distance({"y": one["y"][:, ::-1]}, one, 0.99)
    assert "NaN" in distance({"y": np.array([[1.0, np.nan], [3.0, 4.0]])}, one, 0.99)
    assert "shape" in distance({"y": np.ones((2, 3))}, one, 0.99)
    holes = {"y": np.array([[1.0, np.inf], [3.0, 4.0]])}
    assert distance(holes, holes, 0.99) == ""
    assert "outputs are ['y'] instead of []" in distance(one, {}, 0.99)
    assert "outputs are [] instead of ['y']" in distance({}, one, 0.99)


def rechecked(reference: Path) -> Measurement:
    """A launch in virtual time whose session refuses to answer while requests are outstanding, and answers nothing."""
    clock = FakeClock()
    recheck = Recheck(reference=str(reference), number=0, floor=0.99)
    job = MeasureJob(
        model=a_model(), point=a_point(), artifact="", plan=Plan(min_count=20), feed=Feed(seed=0), recheck=recheck
    )
    session = FakeAnswering(clock, answer_ns=lambda inputs: 1_000_000)
    return measure_session(job, clock, lambda pool: session, lambda: Conditions)


def test_it_is_checked_again_once_nothing_is_outstanding(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", allow_pickle=False, **{"y.1": np.ones(3)})
    assert rechecked(tmp_path / "other.npz").latencies_ns


def test_outputs_that_are_missing_after_timing_are_wrong(tmp_path: Path) -> None:
    np.savez(tmp_path / "one.npz", allow_pickle=False, **{"y.0": np.ones(3)})
    with pytest.raises(CandidateFailed) as caught:
        rechecked(tmp_path / "one.npz")
    assert "outputs are [] instead of ['y']" in caught.value.failed.message
