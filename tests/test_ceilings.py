"""What the machine can do at most: measured on it, recorded, and told beside the winner without a claim too much."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from infertune.core import history, wire
from infertune.core.goal import parse_goal
from infertune.core.records import Ceilings, Closed, Entry, Event, Examined, Failed, Model
from infertune.edge.clock import MonotonicClock
from infertune.edge.shell import LocalShell
from infertune.edge.worker import LocalExecutor
from infertune.measure import ceilings as measuring
from infertune.prepare.summary import summarise
from infertune.report.page.basis import basis
from infertune.report.page.limits import io_bytes, roof, section
from infertune.study import ceilings as studying
from infertune.study.question import Setting
from infertune.targets import discover
from infertune.testing.records import a_model, a_point, a_question, a_study, recorded

POINT = a_point(batch=8)
FOUND = Ceilings(
    target="openvino", precision="bf16", macs=10**9, macs_per_s=4e11, copy_bytes_per_s=2e10, cache_bytes=32_000_000,
    why_not="", wall_s=4.0,
)  # fmt: skip


def with_ceilings(found: Ceilings | None, *, simulated: bool = False) -> list[Entry]:
    slower = {"openvino default": 50.0}
    made = a_study({POINT: 100.0}, baselines=slower, question=a_question(simulated=simulated))
    events: list[Event] = [entry.event for entry in made if not isinstance(entry.event, Closed)]
    return recorded([*events, *([found] if found else []), Closed(status="ok", why="")])


# ---------------------------------------------------------------- measuring


def test_the_product_model_is_what_it_says(tmp_path: Path) -> None:
    path = tmp_path / "product.onnx"
    macs = measuring.product_model(str(path))
    counted = summarise(str(path), {}).arithmetic
    assert counted is not None and counted.macs == macs
    onnx.checker.check_model(str(path))
    rows = np.random.default_rng(0).standard_normal((measuring.ROWS, measuring.INNER)).astype(np.float32)
    (result,) = ReferenceEvaluator(str(path)).run(None, {"x": rows})
    assert isinstance(result, np.ndarray) and 0.5 < float(np.std(result)) < 2.0


def test_the_cache_is_read_from_the_kernel(tmp_path: Path) -> None:
    for index, size in enumerate(("32K", "1024K", "32M")):
        folder = tmp_path / f"sys/devices/system/cpu/cpu0/cache/index{index}"
        folder.mkdir(parents=True)
        (folder / "size").write_text(size + "\n")
    assert measuring.cache_bytes(tmp_path) == 32 << 20
    assert measuring.cache_bytes(tmp_path / "nowhere") == 0


def test_ceilings_are_measured_in_workers_on_this_machine(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    measuring.product_model(str(path))
    executor = LocalExecutor(LocalShell())
    setting = a_setting(executor, path)
    point = (
        setting.targets["onnxruntime"].space(setting.question.model, setting.question.devices[0], setting.goal).seeds[0]
    )
    made = a_study({point: 100.0}, baselines={}, question=setting.question)
    found = studying.examine(setting, made, executor, MonotonicClock())
    assert found.why_not == "" and found.precision == "f32" and found.target == "onnxruntime"
    assert found.macs == measuring.product_model(str(path))
    assert found.macs_per_s is not None and found.macs_per_s > 1e8
    assert found.copy_bytes_per_s is not None and found.copy_bytes_per_s > 1e7


def a_setting(executor: LocalExecutor, path: Path) -> Setting:
    from infertune.study.question import described, make_setting

    return make_setting(
        executor, model=described(executor, str(path), {}, None), goal=parse_goal("max throughput"),
        targets={"onnxruntime": discover()["onnxruntime"]}, wanted={}, strategy="auto", seed=0, inputs=None,
        version="0",
    )  # fmt: skip


class Refusing:
    """An executor whose workers all fail."""

    def run(self, target: str, job: object, *, timeout_s: float) -> Failed:
        return Failed(stage="load", kind="crash", message="no worker today")


def test_what_cannot_be_measured_is_said() -> None:
    made = with_ceilings(None)
    question = made[0].event
    setting = Setting(question=question, goal=parse_goal("max throughput"), targets=discover(), spaces=())  # type: ignore[arg-type]
    found = studying.examine(setting, made, Refusing(), MonotonicClock())
    assert found.macs_per_s is None and found.why_not == "no worker today"


def test_a_short_budget_spares_no_time_for_it() -> None:
    assert studying.closing_s(44.0) == 0.0 and studying.closing_s(300.0) == studying.CLOSING_S


def test_ceilings_are_part_of_the_record() -> None:
    assert wire.from_json(wire.to_json(FOUND, Event), Event) == FOUND
    assert history.ceilings(with_ceilings(FOUND)) == FOUND and history.ceilings(with_ceilings(None)) is None
    examined = Examined(macs=1, copy_bytes_per_s=2.0, cache_bytes=3, product_macs=4)
    from infertune.core.records import WorkerReply

    assert wire.from_json(wire.to_json(examined, WorkerReply), WorkerReply) == examined


# ---------------------------------------------------------------- telling


def test_a_roof_is_arithmetic_over_rate() -> None:
    seen = basis(with_ceilings(FOUND))
    assert seen.winner is not None
    found = roof(a_model(), seen.winner, FOUND)
    assert found.compute == pytest.approx(400.0)
    assert found.bytes_per_sample == pytest.approx(430_800_000 / 2 / 8 + 128 * 8 + 2 * 4)
    assert found.memory == pytest.approx(2e10 / found.bytes_per_sample)
    assert found.binds == "compute" and found.share == pytest.approx(0.25, rel=0.02)


def test_memory_binds_where_it_is_lower_and_weights_do_not_fit_a_cache() -> None:
    seen = basis(with_ceilings(FOUND))
    assert seen.winner is not None
    slow = replace(FOUND, copy_bytes_per_s=5e9)
    assert roof(a_model(), seen.winner, slow).binds == "memory"
    assert roof(a_model(), seen.winner, replace(slow, cache_bytes=10**9)).binds == "compute"


def test_inputs_and_outputs_count_once_per_request() -> None:
    assert io_bytes(a_model(), 2) == 2 * (128 * 8 + 2 * 4)
    odd: Model = replace(a_model(), outputs=(replace(a_model().outputs[0], dtype="sequence"),))
    assert io_bytes(odd, 2) == 2 * 128 * 8


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        (with_ceilings(FOUND), "reaches 25 % of what binds first, bf16 arithmetic"),
        (with_ceilings(None), "Not measured."),
        (with_ceilings(FOUND, simulated=True), "simulated: it has no physical limit"),
        (
            with_ceilings(replace(FOUND, macs=None, copy_bytes_per_s=None, why_not="no worker")),
            "Not measured: no worker.",
        ),
        (
            with_ceilings(replace(FOUND, macs=10**8, macs_per_s=5e9, cache_bytes=10**9)),
            "More than a ceiling is no miracle",
        ),
    ],
)
def test_the_page_says_how_far(entries: list[Entry], words: str) -> None:
    assert words in " ".join(section(basis(entries))["said"])
