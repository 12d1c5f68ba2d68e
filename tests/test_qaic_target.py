"""The target on a simulated card, through the installed programs: the contract, and every fault told apart."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from infertune.build.cache import ArtifactCache
from infertune.build.pool import crowded_out
from infertune.core import audit, stats
from infertune.core.goal import parse_goal
from infertune.core.records import (
    BuildJob,
    Built,
    Device,
    ExportJob,
    Failed,
    Feed,
    InferJob,
    MeasureJob,
    Measurement,
    Model,
    Plan,
)
from infertune.core.seams import CandidateFailed, Done
from infertune.core.space import Point, Value
from infertune.edge.clock import MonotonicClock
from infertune.edge.shell import LocalShell
from infertune.prepare.load import describe
from infertune.study.question import alike
from infertune.targets import find_target
from infertune.targets.qaic.probe import condition, under_load
from infertune.targets.qaic.run import looked, measure_point
from infertune.targets.qaic.sdk import find_sdk
from infertune.targets.qaic.sim.install import install
from infertune.targets.qaic.sim.programs.faults import VARIABLE
from infertune.targets.qaic.sim.programs.tree import Load, Tree
from infertune.testing.clock import FakeClock
from infertune.testing.targets import check_space
from small_models import write_classifier

QAIC = find_target("qaic")
PLAN = Plan(warmup_count=2, min_time_s=0.5, min_count=20, cap_s=4.0)
WIDTH = 256  # wide enough that a request takes longer on the card than on its way there


@pytest.fixture(scope="module")
def sdk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdk")
    install(folder, card="pro", cards=2, time_scale=0.0, seed=7)
    return folder


@pytest.fixture(autouse=True)
def at_the_simulated_sdk(sdk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QAIC_ROOT", str(sdk))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return describe(str(write_classifier(tmp_path_factory.mktemp("model") / "m.onnx", width=WIDTH)), shapes={})


def devices() -> tuple[Device, ...]:
    return QAIC.probe(LocalShell())


def point_of(model: Model, **values: Value) -> Point:
    space = QAIC.space(model, devices()[0], parse_goal("max throughput"))
    point = space.point(**{"cores": 2, "mos": 1, "ols": 1, "batch": 4, "set_size": 2, "instances": 3, **values})
    assert space.why_illegal(point) is None
    return point


def test_a_launch_tells_how_the_card_was_before_and_after(model: Model, tmp_path: Path) -> None:
    point = point_of(model)
    job = MeasureJob(
        model=model, point=point, artifact=built(model, point, tmp_path / "b"), plan=PLAN, feed=Feed(seed=0)
    )
    settings = dict(QAIC.measure(job, MonotonicClock(), LocalShell()).settings)
    for moment in ("before", "after"):
        assert 20 < float(settings[f"temperature_{moment}_c"]) < 100
        assert 5 < float(settings[f"power_{moment}_w"]) < 80
        assert float(settings[f"nsp_{moment}_mhz"]) == 825


def test_a_card_under_load_tells_what_it_takes(sdk: Path) -> None:
    tools, shell = find_sdk(str(sdk)), LocalShell()
    assert under_load(tools, shell, 0) == ()
    with Tree(sdk).holding(Load(qid=0, nsps=16, memory_mb=1)):
        told = dict(under_load(tools, shell, 0))
        assert under_load(tools, shell, 1) == ()
    idle = dict(condition(tools, shell, 0, "before"))
    assert float(told["power_during_w"]) > 2 * float(idle["power_before_w"])
    assert float(told["nsp_during_mhz"]) > float(idle["nsp_before_mhz"])


@pytest.mark.parametrize(("late_s", "told"), [(0.5, (("power_during_w", "61.5"),)), (1.5, ())])
def test_what_a_card_tells_counts_while_the_run_cannot_be_over(
    sdk: Path, late_s: float, told: tuple[tuple[str, str], ...]
) -> None:
    clock = FakeClock()

    class Answering:
        def run(self, argv: Sequence[str], *, log: str, **rest: object) -> Done:
            clock.sleep(late_s)
            card = "QID 0\n\tStatus:Ready\n\tNsp Total:16\n\tNsp Free:2\n\tBoard power(Watts):61.50\n"
            Path(log).write_text(card)
            return Done(code=0, timed_out=False, tail="", wall_s=late_s)

    assert looked(find_sdk(str(sdk)), Answering(), 0, clock, 10**9) == told


def test_the_card_is_asked_while_the_run_is_under_way(model: Model, tmp_path: Path) -> None:
    asked = threading.Event()

    class Meeting(LocalShell):
        """The runner does not end before somebody asked the card."""

        def run(self, argv: Sequence[str], **rest: Any) -> Done:
            if argv[0].endswith("qaic-util"):
                asked.set()
            elif argv[0].endswith("qaic-runner"):
                assert asked.wait(100)
            return super().run(argv, **rest)

    point = point_of(model)
    artifact = built(model, point, tmp_path / "b")
    measure_point(find_sdk(), Meeting(), f"{artifact}/program", point, PLAN)
    assert asked.is_set()


def test_starts_queue_nothing_where_a_latency_matters(model: Model) -> None:
    def queued(goal: str) -> set[Value]:
        return {p["set_size"] for p in QAIC.space(model, devices()[0], parse_goal(goal)).seeds}

    assert queued("max throughput") == queued("max throughput, batch < 9") == {2}
    assert queued("max throughput, p99 < 30 ms") == queued("pareto throughput, p99") == queued("min latency") == {1}


def test_starts_for_latency_split_output_channels_too(model: Model) -> None:
    def cuts(goal: str) -> set[tuple[Value, Value]]:
        return {(p["cores"], p["mos"]) for p in QAIC.space(model, devices()[0], parse_goal(goal)).seeds}

    assert cuts("min latency") == {(cores, 1) for cores in (1, 2, 4, 7, 14)} | {(8, 8), (8, 1)}
    assert {mos for _, mos in cuts("max throughput")} == {1}


def built(model: Model, point: Point, folder: Path) -> str:
    folder.mkdir(exist_ok=True)
    QAIC.build(BuildJob(model=model, point=point, into=str(folder)), LocalShell())
    return str(folder)


def measured(model: Model, point: Point, artifact: str) -> Measurement:
    job = MeasureJob(model=model, point=point, artifact=artifact, plan=PLAN, feed=Feed(seed=0))
    return QAIC.measure(job, MonotonicClock(), LocalShell())


@pytest.fixture(scope="module")
def artifact(sdk: Path, model: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QAIC_ROOT", str(sdk))
        yield built(model, point_of(model), tmp_path_factory.mktemp("artifact"))


def test_cards_are_found_and_known_as_simulated(model: Model) -> None:
    found = devices()
    assert [d.name for d in found] == ["qid0", "qid1"]
    assert all(d.simulated and d.health == "ready" and d.units == 16 for d in found)
    assert found[0].precisions == ("f16",)  # its compiler takes no profile, which int8 needs
    assert dict(found[0].facts)["sku"] == "PCIe Pro"
    assert "simulation" in dict(found[0].versions)
    check_space(QAIC.space(model, found[0], parse_goal("min latency")))


def test_a_simulated_tree_is_itself_after_it_was_installed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []
    for name in ("one", "one", "other"):
        install(tmp_path / name, card="pro", time_scale=0.0)
        monkeypatch.setenv("QAIC_ROOT", str(tmp_path / name))
        told.append(dict(devices()[0].versions)["simulation"])
    assert told[0] == told[1] != told[2]


@pytest.mark.parametrize(
    ("card", "sku", "names", "units", "memory_mb"),
    [("standard", "PCIe", 2, 14, 16308), ("pro", "PCIe Pro", 2, 16, 32692), ("ultra", "PCIe Ultra", 8, 16, 32692)],
)
def test_every_kind_of_card_tells_its_own_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Model, card: str, sku: str, names: int, units: int,
    memory_mb: int,
) -> None:  # fmt: skip
    install(tmp_path / "sdk", card=card, cards=2, time_scale=0.0)
    monkeypatch.setenv("QAIC_ROOT", str(tmp_path / "sdk"))
    found = devices()
    assert [d.name for d in found] == [f"qid{i}" for i in range(names)]
    assert {(d.units, d.memory_bytes >> 20, dict(d.facts)["sku"]) for d in found} == {(units, memory_mb, sku)}
    assert all(alike(found[0], other) for other in found)
    space = QAIC.space(model, found[-1], parse_goal("max throughput"))
    assert space.why_illegal(space.point(cores=units, instances=1, batch=4)) is None
    assert str(units) in str(space.why_illegal(space.point(cores=units, instances=2, batch=4)))


def test_a_launch_is_measured_as_asked(model: Model, artifact: str) -> None:
    point = point_of(model)
    found = measured(model, point, artifact)
    assert found.simulated
    assert (found.batch, found.in_flight) == (4, 6)
    assert len(found.latencies_ns) >= PLAN.min_count
    assert list(found.ends_ns) == sorted(found.ends_ns)
    assert {p.name for p in found.phases} == {"application", "runtime", "kernel driver", "device"}
    whole = np.sum([list(p.samples_ns) for p in found.phases], axis=0)
    np.testing.assert_allclose(whole, list(found.latencies_ns), atol=4)
    told = dict(found.settings)
    assert stats.throughput(found) == pytest.approx(float(told["samples_per_s"]), rel=1e-3)
    assert not set(audit.flags(found, PLAN)) & {"little_law", "not_steady", "bimodal", "few_samples"}


@pytest.mark.parametrize("instances", [1, 3])
def test_a_device_that_waits_for_the_host_breaks_no_law(model: Model, artifact: str, instances: int) -> None:
    """A short request with nothing queued behind it: the slot is empty for more than a tenth of the time."""
    found = measured(model, point_of(model).but(instances=instances, set_size=1), artifact)
    assert sum(found.latencies_ns) < 0.9 * instances * found.wall_ns
    assert "little_law" not in audit.flags(found, PLAN)


def test_one_artifact_serves_every_run_time_setting_and_runs_differ_a_little(model: Model, artifact: str) -> None:
    rates = [stats.throughput(measured(model, point_of(model), artifact)) for _ in range(2)]
    other = measured(model, point_of(model, instances=1, set_size=1), artifact)
    assert rates[0] != rates[1]
    assert rates[0] == pytest.approx(rates[1], rel=0.06)
    assert other.in_flight == 1


def test_outputs_are_real_and_in_half_precision(model: Model, artifact: str, tmp_path: Path) -> None:
    import onnxruntime as ort

    from infertune.prepare.inputs import make_inputs

    into = str(tmp_path / "o.npz")
    job = InferJob(model=model, point=point_of(model), artifact=artifact, feed=Feed(seed=3), count=1, into=into)
    QAIC.infer(job, LocalShell())
    inputs = next(iter(make_inputs(model, Feed(seed=3), 4, 1)))
    expected = ort.InferenceSession(model.path).run(None, dict(inputs))[0]
    with np.load(tmp_path / "o.npz") as saved:
        assert saved["y.0"].dtype == np.float32
        np.testing.assert_allclose(saved["y.0"], expected, rtol=5e-3, atol=5e-3)
        assert not np.array_equal(saved["y.0"], expected)


def test_the_bundle_holds_the_exact_commands(model: Model, artifact: str, tmp_path: Path) -> None:
    saved = QAIC.export(ExportJob(model=model, point=point_of(model), artifact=artifact, into=str(tmp_path)))
    assert all((tmp_path / name).is_file() for name in saved.files)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["simulated"] is True
    assert config["commands"]["run"][1:5] == ["--test-data", "./program", "-d", "0"]
    assert "-aic-num-cores=2" in (tmp_path / "compile.sh").read_text()
    assert config["files"] == ["program/programqpc.bin"]


def bundled(model: Model, artifact: str, folder: Path) -> Path:
    """The program that runs a bundle, the promise that every bundle holds beside it."""
    QAIC.export(ExportJob(model=model, point=point_of(model), artifact=artifact, into=str(folder)))
    config = json.loads((folder / "config.json").read_text())
    promise = {"expected": {"throughput_per_s": {"value": 100.0}}}
    (folder / "config.json").write_text(json.dumps({**config, **promise}))
    return folder / "run.py"


@pytest.mark.parametrize(
    ("fault", "says"),
    [("busy", "Device busy"), ("truncated-output", "no whole result; the runner ended with exit code 0")],
)
def test_a_bundle_that_cannot_run_says_what_the_runner_said(
    model: Model, artifact: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, says: str
) -> None:
    program = bundled(model, artifact, tmp_path)
    monkeypatch.setenv(VARIABLE, fault)
    done = subprocess.run([sys.executable, program, "1"], check=False, capture_output=True, text=True)
    assert done.returncode == 1 and says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_bundle_whose_runner_is_elsewhere_names_its_path(model: Model, artifact: str, tmp_path: Path) -> None:
    program = bundled(model, artifact, tmp_path)
    config = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(config.replace("exec/qaic-runner", "nowhere/qaic-runner"))
    done = subprocess.run([sys.executable, program, "1"], check=False, capture_output=True, text=True)
    assert done.returncode == 1 and "nowhere/qaic-runner cannot be started: No such file" in done.stderr


class Ending:
    """`seams.Shell` whose programs print a text and end with a code."""

    def __init__(self, code: int, text: str) -> None:
        self._code, self._text = code, text

    def run(self, argv: Sequence[str], *, log: str, **rest: object) -> Done:
        Path(log).write_text(self._text)
        return Done(code=self._code, timed_out=False, tail=self._text, wall_s=0.1)


@pytest.mark.parametrize(
    ("code", "text", "kind", "crowded"),
    [
        (-9, "Reading ONNX Model\n", "memory", True),
        (137, "Killed\n", "memory", True),
        (1, "Error: Cannot allocate memory\n", "memory", True),
        (1, "Error: Out of device memory: the network does not fit into DRAM\n", "device-memory", False),
    ],
)
def test_a_compiler_that_the_host_s_memory_ended_may_be_tried_again_and_a_full_card_not(
    model: Model, tmp_path: Path, code: int, text: str, kind: str, crowded: bool
) -> None:
    point, cache = point_of(model), ArtifactCache(tmp_path / "cache")
    with pytest.raises(CandidateFailed) as caught:
        QAIC.build(BuildJob(model=model, point=point, into=str(tmp_path)), Ending(code, text))
    failed = caught.value.failed
    cache.publish_failure("0" * 32, failed)
    assert failed.kind == kind
    assert crowded_out(Built(point=point, outcome=failed, wall_s=1.0), 2) == crowded
    assert (cache.find("0" * 32) is None) == crowded


def failure_of(fault: str, monkeypatch: pytest.MonkeyPatch, work: object) -> Failed:
    monkeypatch.setenv(VARIABLE, fault)
    with pytest.raises(CandidateFailed) as caught:
        work()  # type: ignore[operator]
    return caught.value.failed


@pytest.mark.parametrize(
    ("fault", "kind", "says"),
    [
        ("busy", "device", "busy"),
        ("out-of-memory", "memory", "memory"),
        ("run-crash", "crash", "exit code -6"),
        ("crash-after-print", "crash", "after it had printed"),
        ("truncated-output", "output", "not whole"),
        ("missing-profile", "output", "no latency profile"),
        ("stale-profile", "output", "no latency profile"),
    ],
)
def test_a_run_that_fails_says_how(
    model: Model, artifact: str, monkeypatch: pytest.MonkeyPatch, fault: str, kind: str, says: str
) -> None:
    point = point_of(model)
    failed = failure_of(fault, monkeypatch, lambda: measured(model, point, artifact))
    assert (failed.stage, failed.kind) == ("measure", kind)
    assert says in failed.message


@pytest.mark.parametrize("words", ["Error: Device busy: 18 NSPs needed, 16 of 16 free\n", ""])
def test_a_point_that_no_such_card_can_run_is_illegal_and_the_card_not_busy(
    model: Model, artifact: str, words: str
) -> None:
    class Told(LocalShell):
        def run(self, argv: Sequence[str], *, log: str, **how: Any) -> Done:
            done = super().run(argv, log=log, **how)
            if words and argv[0].endswith("qaic-runner"):
                Path(log).write_text(words)
            return done

    point = point_of(model).but(instances=9)
    job = MeasureJob(model=model, point=point, artifact=artifact, plan=PLAN, feed=Feed(seed=0))
    with pytest.raises(CandidateFailed) as caught:
        QAIC.measure(job, MonotonicClock(), Told())
    assert (caught.value.failed.kind, caught.value.failed.message) == ("illegal", "18 NSPs are needed, card 0 has 16")


def test_a_cut_profile_loses_its_last_line_only(model: Model, artifact: str, monkeypatch: pytest.MonkeyPatch) -> None:
    point = point_of(model)
    monkeypatch.setenv(VARIABLE, "cut-profile")
    assert dict(measured(model, point, artifact).settings)["cut_lines"] == "3"


@pytest.mark.parametrize(
    ("fault", "kind"),
    [("compile-failure@cores=2,batch=4", "compiler"), ("compile-crash", "compiler"), ("no-program", "output")],
)
def test_a_build_that_fails_says_how(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, kind: str
) -> None:
    point = point_of(model)
    failed = failure_of(fault, monkeypatch, lambda: built(model, point, tmp_path / "a"))
    assert (failed.stage, failed.kind) == ("build", kind)


def test_a_card_that_breaks_stays_broken_until_it_is_reset(
    model: Model, artifact: str, sdk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    point = Point.of("qaic", "qid1", point_of(model).values)
    failed = failure_of("card-error@qid=1", monkeypatch, lambda: measured(model, point, artifact))
    assert failed.kind == "device"
    monkeypatch.delenv(VARIABLE)
    first, second = devices()
    assert first.health == "ready"
    assert second.health.startswith("error: ")
    assert second.simulated
    LocalShell().run([str(sdk / "tools/qaic-util"), "-s"], timeout_s=30, log=str(sdk / "reset.log"))
    assert [d.health for d in devices()] == ["ready", "ready"]


def test_wrong_outputs_are_wrong(model: Model, artifact: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    point = point_of(model)
    arrays = []
    for name, fault in (("right", ""), ("wrong", "wrong-output")):
        monkeypatch.setenv(VARIABLE, fault)
        into = str(tmp_path / f"{name}.npz")
        job = InferJob(model=model, point=point, artifact=artifact, feed=Feed(seed=1), count=1, into=into)
        QAIC.infer(job, LocalShell())
        with np.load(into) as saved:
            arrays.append(saved["y.0"])
    assert not np.allclose(arrays[0], arrays[1])


def test_without_an_sdk_nothing_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QAIC_ROOT", raising=False)
    monkeypatch.setattr("infertune.targets.qaic.sdk.USUAL_ROOT", str(tmp_path / "nowhere"))
    assert devices() == ()
    monkeypatch.setenv("QAIC_ROOT", str(tmp_path / "typed wrongly"))
    (found,) = devices()
    assert str(tmp_path / "typed wrongly") in found.health


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda root: (root / "exec" / "qaic-runner").unlink(), "no exec/qaic-runner"),
        (lambda root: (root / "exec" / "qaic-runner").chmod(0o644), "may not be executed"),
        (lambda root: (root / "versions" / "apps.xml").write_text("<base_version>9.1</base_version>"), "no version"),
        (lambda root: (root / "simulated.json").write_text("{"), "cannot be used"),
    ],
)
def test_an_sdk_that_cannot_be_used_is_told_as_a_device_that_is_not_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: object, says: str
) -> None:
    install(tmp_path, time_scale=0.0)
    damage(tmp_path)  # type: ignore[operator]
    monkeypatch.setenv("QAIC_ROOT", str(tmp_path))
    (found,) = devices()
    assert says in found.health
    assert (found.units, found.simulated, found.precisions) == (0, True, ("f16",))
