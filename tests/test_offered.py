"""What a study offers was compared with the reference, whatever came of its favourites."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from infertune.core.answer import answer
from infertune.core.records import Failed, InferJob, Job, Launch
from infertune.core.space import Point
from infertune.report.document import baselines
from infertune.study.question import Setting
from test_study_flow import Laboratory


class OnlyF32(Laboratory):
    """f32 needs no check to enter the race."""

    def setting(self) -> Setting:
        made = super().setting()
        return replace(made, spaces=tuple(space.narrowed({"precision": ("f32",)}) for space in made.spaces))


def confirmed(lab: Laboratory) -> set[Point]:
    return {la.point for la in lab.events(Launch) if isinstance(la, Launch) and la.purpose == "confirm"}


def openvino_leads(point: Point) -> float:
    """By so much that nothing of ONNX Runtime races."""
    if point.target == "openvino":
        return 400.0
    return 50.0 if point["preset"] == "default" else 100.0


def default_nearly_leads(point: Point) -> float:
    if point.target == "openvino":
        return 50.0
    return 100.0 if point["preset"] == "default" else 102.0


def openvino_is_wrong(point: Point) -> float:
    return float(point.target == "openvino")


def test_where_no_outputs_are_right_nothing_is_offered(tmp_path: Path) -> None:
    def fails(job: Job) -> Failed | None:
        return Failed(stage="verify", kind="crash", message="Boom") if isinstance(job, InferJob) else None

    lab = Laboratory(tmp_path, rate=openvino_leads, fails=fails)
    found = answer(lab.run(max_trials=8))
    assert found.status == "nothing_feasible" and found.winner is None
    assert not confirmed(lab), "what is wrong is not launched again"


def test_who_is_too_slow_to_race_is_confirmed_once_all_others_are_wrong(tmp_path: Path) -> None:
    lab = OnlyF32(tmp_path, rate=openvino_leads, error=openvino_is_wrong)
    found = answer(lab.run(max_trials=8))
    assert found.winner is not None and (found.winner.target, found.winner["preset"]) == ("onnxruntime", "explicit")
    assert found.confirmed and found.fidelity is not None and found.fidelity.value == 1.0


def test_baselines_with_wrong_outputs_are_named_and_not_launched_for_confirmation(tmp_path: Path) -> None:
    lab = Laboratory(tmp_path, rate=openvino_leads, error=openvino_is_wrong)
    found = answer(lab.run(max_trials=8))
    assert {point.target for point in confirmed(lab)} == {"onnxruntime"}
    assert {name for name, reason in found.absent if "fidelity" in reason} == {
        "openvino default", "openvino throughput hint", "openvino latency hint",
    }  # fmt: skip
    grid = baselines(found).grid
    assert grid is not None
    told = {row[0]: row[-1] for row in grid.rows}
    assert told["openvino default"].startswith("output at verify: fidelity 0.")
    (measured,) = found.rivals
    grid = baselines(replace(found, rivals=(replace(measured, faithful=False),))).grid
    assert grid is not None and grid.rows[0][-1] == "wrong outputs"


def test_a_baseline_that_wins_was_compared_too(tmp_path: Path) -> None:
    """It is 2 % behind in the race, which the verdict calls equal."""
    lab = Laboratory(tmp_path, rate=default_nearly_leads)
    found = answer(lab.run(max_trials=4))
    assert found.winner is not None and (found.winner.target, found.winner["preset"]) == ("onnxruntime", "default")
    assert found.fidelity is not None and found.fidelity.value >= found.fidelity_floor
