"""Ablation: which knobs are put back, what their launches say, and that they neither choose nor confirm."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from infertune.core import ablation as reading
from infertune.core import history, wire
from infertune.core.ablated import Ablated, Variant
from infertune.core.answer import answer
from infertune.core.goal import parse_goal
from infertune.core.records import (
    Closed,
    Decided,
    Entry,
    Event,
    Failed,
    Interval,
    Job,
    Launch,
    MeasureJob,
    Opened,
    Reply,
    Round,
)
from infertune.core.space import Point, Space
from infertune.edge.shell import LocalShell
from infertune.report import json_text, markdown_text, plain_text, result_text
from infertune.report.page.write import html_text
from infertune.study import ablating
from infertune.study.loop import LEAST_LAUNCH_S
from infertune.study.tuning import run
from infertune.targets import find_target
from infertune.testing.executor import FakeExecutor, Neighbour
from infertune.testing.records import a_launch, a_model, a_point, a_study, recorded
from test_study_flow import Laboratory, plausible

WINNER = a_point(batch=8, precision="bf16", instances=2, cores=1)
NO_BATCH, NO_BF16, NO_INSTANCES = (
    WINNER.but(batch=1),
    WINNER.but(precision="f32"),
    WINNER.but(instances=1),
)
PUT_BACK = {"batch": NO_BATCH, "precision": NO_BF16, "instances": NO_INSTANCES}
ASKED = Ablated(
    winner=WINNER,
    variants=tuple(Variant(knobs=(knob,), point=point) for knob, point in PUT_BACK.items()),
    left_out=(("cores", "cores x instances must not exceed 2"),),
)


def ablated(speeds: Mapping[Point, Sequence[float | Failed]], flags: tuple[str, ...] = ()) -> list[Entry]:
    """A study whose winner reaches 200 samples/s, and launches of its ablation block by block."""
    events: list[Event] = [entry.event for entry in a_study({WINNER: 200.0})][:-1]
    launches = [
        a_launch(point, of[block], purpose="ablate", block=block, flags=flags)
        for block in range(3)
        for point, of in speeds.items()
        if block < len(of)
    ]
    return recorded([*events, ASKED, *launches, Closed(status="ok", why="budget spent")])


def whole() -> list[Entry]:
    """Batch brings 2x, bf16 nothing, and instances were not reached."""
    return ablated({WINNER: [200.0, 202.0, 198.0], NO_BATCH: [100.0, 100.0, 101.0], NO_BF16: [199.0, 201.0, 200.0]})


# ---------------------------------------------------------------- readings


def test_what_each_knob_brings() -> None:
    found = answer(whole()).ablation
    assert found is not None and not found.complete
    batch, precision = found.brought
    assert (batch.knobs, batch.values, batch.others, batch.effect) == (("batch",), (8,), (1,), "matters")
    assert batch.ratio is not None and batch.ratio.value == pytest.approx(2.0, rel=0.02)
    assert precision.effect == "no difference" and precision.launches == 3
    assert found.unreached == ("instances",) and found.left_out[0][0] == "cores"


@pytest.mark.parametrize(
    ("ratio", "effect"),
    [
        ((1.5, 1.4, 1.6), "matters"),
        ((0.7, 0.6, 0.8), "matters"),
        ((1.01, 0.9, 1.1), "no difference"),
        ((1.10, 0.9, 1.2), "too few"),
        (None, "too few"),
    ],
)
def test_an_effect_needs_an_interval_that_leaves_out_one(
    ratio: tuple[float, float, float] | None, effect: reading.Effect
) -> None:
    made = None if ratio is None else Interval(value=ratio[0], low=ratio[1], high=ratio[2])
    assert reading.effect(made) == effect


def test_disturbed_launches_tell_nothing() -> None:
    found = answer(ablated({WINNER: [200.0] * 3, NO_BATCH: [100.0] * 3}, flags=("foreign_cpu",))).ablation
    assert found is not None
    assert found.brought[0].effect == "too few" and found.brought[0].launches == 0


def test_launches_of_an_ablation_choose_and_confirm_nothing() -> None:
    faster = ablated({WINNER: [1.0] * 3, NO_BATCH: [900.0] * 3, NO_BF16: [900.0] * 3})
    found, before = answer(faster), answer(a_study({WINNER: 200.0}))
    assert found.winner == WINNER and found.figures == before.figures and found.rivals == before.rivals
    assert found.counts.trials == before.counts.trials
    assert found.counts.launches == before.counts.launches + 9
    assert {trial.point for trial in history.trials(faster)}.isdisjoint(PUT_BACK.values())
    assert len(history.confirmations(faster)) == 1


def test_the_ablation_of_another_winner_is_not_told() -> None:
    events: list[Event] = [e.event for e in whole()]
    other = a_point(batch=16)
    later: list[Event] = [e.event for e in a_study({other: 400.0})][2:]
    assert answer(recorded([*events, *later])).ablation is None


def test_a_limit_that_the_other_value_breaks_is_named() -> None:
    entries = ablated({WINNER: [200.0] * 3, NO_BATCH: [400.0] * 3})
    question = history.question(entries)
    limited = replace(question, goal="max throughput, batch >= 2")
    found = answer([replace(entries[0], event=limited), *entries[1:]]).ablation
    assert found is not None and found.brought[0].misses == "batch >= 2"
    assert "matters; the other value misses `batch >= 2`" in plain_text(
        [replace(entries[0], event=limited), *entries[1:]]
    )


def test_a_knob_that_the_runtime_reports_alike_is_ignored() -> None:
    made = [entry.event for entry in whole()]
    told = [
        replace(e, outcome=replace(e.outcome, settings=(("precision", "f32"),)))
        if isinstance(e, Launch) and e.purpose == "ablate" and not isinstance(e.outcome, Failed)
        else e
        for e in made
    ]
    found = answer(recorded(told)).ablation
    assert found is not None
    assert [one.ignored for one in found.brought] == [False, True]
    assert "ignored: the runtime reports the same value either way for precision" in plain_text(recorded(told))


def test_the_record_keeps_it() -> None:
    assert wire.from_json(wire.to_json(ASKED, Event), Event) == ASKED


# ---------------------------------------------------------------- reports


@pytest.mark.parametrize("render", [plain_text, markdown_text, html_text])
def test_every_report_shows_the_table(render: Callable[[Sequence[Entry]], str]) -> None:
    text = render(whole())
    for said in ("each knob", "2.00x", "makes no difference (within 3 %)", "not reached in time: instances", "matters"):
        assert said in text, said
    assert "cores cannot be put back alone: cores x instances must not exceed 2" in text
    assert "not reached in time" not in render(a_study({WINNER: 200.0}))


def test_the_document_has_it() -> None:
    found = json.loads(result_text(whole()))["ablation"]
    assert [one["verdict"] for one in found["knobs"]] == ["matters", "no difference"]
    assert found["knobs"][0]["value"] == 8 and found["knobs"][0]["default"] == 1
    assert found["unreached"] == ["instances"] and found["left_out"][0]["knob"] == "cores"
    assert json.loads(json_text(whole()))["ablation"] == found
    assert json.loads(result_text(a_study({WINNER: 200.0})))["ablation"] is None


def test_a_variant_that_failed_says_why() -> None:
    crash = Failed(stage="measure", kind="crash", message="the worker died of SIGSEGV")
    entries = ablated({WINNER: [200.0] * 3, NO_BATCH: [crash], NO_BF16: [100.0] * 3, NO_INSTANCES: [100.0] * 3})
    found = answer(entries).ablation
    assert found is not None and found.complete and found.brought[0].effect == "too few"
    assert "failed: the worker died of SIGSEGV" in plain_text(entries)


def test_a_variant_that_failed_once_has_not_failed() -> None:
    late = Failed(stage="measure", kind="timeout", message="no result within 120 s")
    found = answer(ablated({WINNER: [200.0] * 3, NO_BATCH: [100.0, late]})).ablation
    assert found is not None and not found.complete
    assert (found.brought[0].failed, found.brought[0].launches) == ("", 1)


# ---------------------------------------------------------------- which points


def a_cpu_space(target: str) -> Space:
    found = find_target(target)
    device = replace(found.probe(LocalShell())[0], units=4)
    model = replace(a_model(), traits=("matmul", "attention"))
    return found.space(model, device, parse_goal("max throughput"))


def test_a_knob_goes_to_its_default_or_as_near_as_the_rules_allow() -> None:
    space = a_cpu_space("onnxruntime")
    winner = space.seeds[0].but(cores=1, instances=2, set_size=2, batch=8, weights="shared")
    made = ablating.variants(space, winner, space.baselines[0].point)
    put_back = {v.knobs[0]: v.point[v.knobs[0]] for v in made.variants}
    assert put_back == {"batch": 1, "set_size": 1, "weights": "separate"}
    assert all(space.why_illegal(v.point) is None for v in made.variants)
    assert all(sum(v.point[k] != winner[k] for k in winner.values) == len(v.knobs) for v in made.variants)
    assert dict(made.left_out) == {
        "cores": "cores, instances and set_size are set exactly when preset is explicit",
        "instances": "cores, instances and set_size are set exactly when preset is explicit",
    }


def test_knobs_that_belong_together_are_put_back_together() -> None:
    space = a_cpu_space("onnxruntime")
    winner = next(seed for seed in space.seeds if seed["precision"] == "int8")
    pair = next(v for v in ablating.variants(space, winner, None).variants if len(v.knobs) == 2)
    assert pair.knobs == ("precision", "quantisation")
    assert (pair.point["precision"], pair.point["quantisation"]) == ("f32", "none")


# ---------------------------------------------------------------- in a study


class Ablating(Laboratory):
    """Studies that ask for an ablation."""

    def run(
        self,
        budget_s: float = 300.0,
        max_trials: int | None = None,
        stop_after: int | None = None,
        ablate: bool = True,
    ) -> list[Entry]:
        run(
            self.setting(), self.store, self.executor, self.clock, self.cache,
            budget_s=budget_s, max_trials=max_trials, stop=self.stopper(stop_after), ablate=ablate,
        )  # fmt: skip
        return self.entries


def of_ablation(entries: Sequence[Entry]) -> list[Launch]:
    return [e.event for e in entries if isinstance(e.event, Launch) and e.event.purpose == "ablate"]


def test_a_study_tells_what_each_knob_brings(tmp_path: Path) -> None:
    entries = Ablating(tmp_path).run(max_trials=40)
    found = answer(entries)
    assert found.confirmed and found.ablation is not None and found.ablation.complete
    told = {one.knobs: one for one in found.ablation.brought}
    assert told["precision",].effect == "matters" and told["batch",].effect == "matters"
    assert told["batch",].ratio is not None and told["batch",].ratio.value == pytest.approx(1.2, rel=0.01)
    assert all(one.launches == reading.BLOCKS for one in found.ablation.brought)
    decided = max(e.seq for e in entries if isinstance(e.event, Decided))
    assert all(e.seq > decided for e in entries if isinstance(e.event, Launch) and e.event.purpose == "ablate")


def test_every_block_has_the_winner_beside_its_variants_in_an_order_of_its_own(tmp_path: Path) -> None:
    entries = Ablating(tmp_path).run(max_trials=40)
    blocks = [[la.point for la in of_ablation(entries) if la.block == block] for block in range(reading.BLOCKS)]
    assert len({frozenset(block) for block in blocks}) == 1
    assert answer(entries).winner in blocks[0] and len({tuple(block) for block in blocks}) > 1


@pytest.mark.parametrize("budget_s", [20.0, 60.0, 120.0, 300.0])
def test_the_budget_holds_with_an_ablation(tmp_path: Path, budget_s: float) -> None:
    entries = Ablating(tmp_path).run(budget_s)
    assert entries[-1].at_s <= budget_s + 10.0
    assert answer(entries).confirmed


def test_time_is_kept_back_for_it_before_anything_is_searched(tmp_path: Path) -> None:
    entries = Ablating(tmp_path).run(300.0)
    found = answer(entries).ablation
    assert found is not None and found.complete and found.unreached == ()


class Hanging(FakeExecutor):
    """Every launch hangs once an ablation was begun."""

    def __init__(self, lab: Laboratory) -> None:
        super().__init__(lab.clock, plausible)
        self.lab = lab

    def run(self, target: str, job: Job, *, timeout_s: float) -> Reply:
        if not (isinstance(job, MeasureJob) and self.lab.events(Ablated)):
            return super().run(target, job, timeout_s=timeout_s)
        self.lab.clock.advance(timeout_s)
        return Failed(stage="measure", kind="timeout", message="no result")


def test_a_variant_that_hangs_does_not_take_the_study_far_beyond_its_budget(tmp_path: Path) -> None:
    lab = Ablating(tmp_path)
    lab.executor = Hanging(lab)
    entries = lab.run(120.0)
    assert of_ablation(entries)
    assert entries[-1].at_s <= 120.0 + LEAST_LAUNCH_S


def test_knobs_that_time_does_not_reach_are_named(tmp_path: Path) -> None:
    entries = Ablating(tmp_path).run(40.0)
    found = answer(entries).ablation
    assert found is not None and found.unreached
    assert f"not reached in time: {', '.join(found.unreached)}" in plain_text(entries)


def test_an_interrupted_ablation_goes_on_where_it_stopped(tmp_path: Path) -> None:
    whole = Ablating(tmp_path / "whole")
    launches = len(history.launches(whole.run(max_trials=12)))
    ablation = len(of_ablation(whole.entries))
    lab = Ablating(tmp_path / "broken")
    lab.run(max_trials=12, stop_after=launches - ablation // 2)
    assert lab.entries[-1].event.status == "interrupted"  # type: ignore[union-attr]
    before = len(lab.entries)
    lab.run(max_trials=12)
    kinds = {e.event.purpose for e in lab.entries[before:] if isinstance(e.event, Launch)}
    assert kinds == {"ablate"} and not [e for e in lab.entries[before:] if isinstance(e.event, Round | Decided)]
    assert len(of_ablation(lab.entries)) == ablation
    assert answer(lab.entries).ablation == answer(whole.entries).ablation
    assert answer(lab.entries).status == "ok"


def test_a_finished_study_can_be_asked_for_it_later(tmp_path: Path) -> None:
    lab = Ablating(tmp_path)
    lab.run(max_trials=12, ablate=False)
    before, winner = len(lab.entries), answer(lab.entries).winner
    lab.run(max_trials=12)
    added = [e.event for e in lab.entries[before:]]
    assert isinstance(added[0], Opened) and isinstance(added[1], Ablated) and isinstance(added[-1], Closed)
    found = answer(lab.entries)
    assert found.winner == winner and found.ablation is not None and found.ablation.complete
    done = len(lab.entries)
    assert len(lab.run(max_trials=12)) == done


def test_without_it_nothing_is_kept_back_and_nothing_launched(tmp_path: Path) -> None:
    entries = Ablating(tmp_path).run(max_trials=8, ablate=False)
    assert of_ablation(entries) == [] and answer(entries).ablation is None
    assert not [e for e in entries if isinstance(e.event, Ablated)]


def test_a_crash_of_a_variant_costs_only_its_own_line(tmp_path: Path) -> None:
    def fails(job: Job) -> Failed | None:
        crash = isinstance(job, MeasureJob) and job.point.number("batch") == 1 and job.point.number("instances") == 2
        return Failed(stage="measure", kind="crash", message="the worker died of SIGSEGV") if crash else None

    found = answer(Ablating(tmp_path, fails=fails).run(max_trials=40)).ablation
    assert found is not None and found.complete
    told = {one.knobs: one for one in found.brought}
    assert told["batch",].failed == "the worker died of SIGSEGV" and told["batch",].launches == 0
    assert told["precision",].launches == reading.BLOCKS


def test_a_variant_that_failed_once_is_launched_again(tmp_path: Path) -> None:
    def fails(job: Job) -> Failed | None:
        if not isinstance(job, MeasureJob) or job.point.number("batch") != 1:
            return None
        before = [launch for launch in of_ablation(lab.entries) if launch.point == job.point]
        return Failed(stage="measure", kind="timeout", message="no result") if len(before) == 1 else None

    lab = Ablating(tmp_path, fails=fails)
    found = answer(lab.run(max_trials=40)).ablation
    assert found is not None and found.complete
    told = {one.knobs: one for one in found.brought}
    assert (told["batch",].failed, told["batch",].launches) == ("", reading.BLOCKS)


def test_a_neighbour_costs_more_blocks_and_no_trust(tmp_path: Path) -> None:
    lab = Ablating(tmp_path, noise=0.01)
    lab.executor.neighbour = Neighbour(share=0.3, seen=1.0)
    found = answer(lab.run(600.0, max_trials=20))
    assert found.ablation is not None
    assert max(la.block for la in of_ablation(lab.entries)) < ablating.MOST_BLOCKS
    told = {one.knobs: one.effect for one in found.ablation.brought if one.launches >= reading.BLOCKS}
    assert told.get(("precision",), "matters") == "matters" and told
