"""A study whose winner is int8: its bundle runs with the runtime alone, and `verify` holds it to its anchor."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from commands import infertune
from infertune.core.goal import parse_goal
from infertune.core.records import Closed, Decided, Event
from infertune.core.space import Value
from infertune.edge.shell import LocalShell
from infertune.edge.worker import LocalExecutor
from infertune.export.bundle import ANCHOR, read_bundle
from infertune.store.sqlite import open_store
from infertune.study import Study
from infertune.study.hand_over import export
from infertune.study.question import Setting, described, make_setting
from infertune.study.verifying import Verdict, verify
from infertune.targets import discover
from infertune.targets.qaic.sim.install import install
from infertune.testing.records import a_check, a_confirmation, a_search, noisy, opening
from test_int8 import attention
from tiny_graphs import save

ONE_BLOCK = {"launches": 1, "window_s": 0.05, "tolerance": 1.0}


def a_setting(model: Path, target: str) -> Setting:
    executor = LocalExecutor(LocalShell())
    return make_setting(
        executor, model=described(executor, str(model), {}, None), goal=parse_goal("max throughput"),
        targets={target: discover()[target]}, wanted={}, strategy="auto", seed=0, inputs=None, version="0",
    )  # fmt: skip


def a_study_in(folder: Path, target: str, **wanted: Value) -> Path:
    """A record in which the first seed like ``wanted`` is twice as fast as every baseline; the model lies beside it."""
    folder.mkdir()
    setting = a_setting(Path(save(attention(), folder / "m.onnx")), target)
    seeds = setting.spaces[0].seeds
    winner = next(seed for seed in seeds if all(seed[name] == value for name, value in wanted.items()))
    speeds = {winner: noisy(200.0)} | {b.point: noisy(100.0) for b in setting.spaces[0].baselines}
    events: list[Event] = [
        *opening(setting.question),
        *a_search({winner: 200.0}),
        Decided(finalists=(winner,), why="the best of the race"),
        *a_confirmation(speeds),
        a_check(winner),
        Closed(status="ok", why="budget spent"),
    ]
    with open_store(folder / "run") as store:
        for place, event in enumerate(events):
            store.append(event, float(place))
    return folder / "run"


@pytest.fixture(scope="module", params=["onnxruntime", "openvino"])
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if request.param == "openvino":
        pytest.importorskip("nncf")
    folder = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        run = a_study_in(folder / "study", request.param, precision="int8")
        study = Study.open(run)
        assert study.answer.winner is not None and study.answer.winner["precision"] == "int8"
        return export(study, folder / "bundle")


def measured(bundle: Path) -> Verdict:
    return verify(bundle, executor=LocalExecutor(LocalShell()), **ONE_BLOCK)  # type: ignore[arg-type]


def test_the_bundle_holds_the_int8_model_and_its_anchors(bundle: Path) -> None:
    promised = read_bundle(bundle)
    assert promised.point["precision"] == "int8" and promised.anchor is not None
    assert promised.anchor.folder == ANCHOR and promised.anchor.point["quantisation"] == "none"
    main = json.loads((bundle / "config.json").read_text())["files"][0]
    assert (bundle / main).read_bytes() != (bundle / ANCHOR / main).read_bytes()
    told = (bundle / "README.md").read_text()
    assert f"`{ANCHOR}/`" in told
    assert "\nOutputs: cosine 0.99980 to the f32 reference over 2 inputs drawn at random.\n" in told


def test_the_bundle_runs_with_the_runtime_alone(bundle: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    shutil.copytree(bundle, alone)
    shutil.rmtree(alone / ANCHOR)
    done = subprocess.run(
        [sys.executable, str(alone / "run.py"), "0.1"], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.endswith("samples/s; expected 200.2\n"), done.stdout


def test_verify_measures_it_beside_its_anchor(bundle: Path) -> None:
    found = measured(bundle)
    assert found.basis == "anchor" and found.measured.value > 0.0
    assert found.promised.anchor is not None and found.promised.anchor.ratio.value == pytest.approx(2.0, rel=0.03)


def test_the_command_verifies_it(bundle: Path, tmp_path: Path) -> None:
    done = infertune(tmp_path, "verify", str(bundle), "--launches", "1", "--window", "0.05", "--tolerance", "100")
    assert done.returncode == 0, done.stderr
    assert "so the machine's own drift cancels" in done.stdout


def test_without_the_anchors_folder_the_throughput_decides(bundle: Path, tmp_path: Path) -> None:
    slim = tmp_path / "slim"
    shutil.copytree(bundle, slim)
    shutil.rmtree(slim / ANCHOR)
    found = measured(slim)
    assert found.basis == "throughput" and found.promised.anchor is None


def test_a_winner_that_shares_its_artifact_carries_nothing_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only an artifact of its own costs the bundle a second model."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = export(Study.open(a_study_in(tmp_path / "study", "onnxruntime", precision="f32")), tmp_path / "bundle")
    promised = read_bundle(folder)
    assert promised.anchor is not None and promised.anchor.folder == ""
    assert not (folder / ANCHOR).exists()


def test_an_anchor_that_cannot_be_built_any_more_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The winner's artifact is cached, the anchor's is not, and the model is gone."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    run = a_study_in(tmp_path / "study", "onnxruntime", precision="int8")
    first = export(Study.open(run), tmp_path / "first")
    (anchor_model,) = (first / ANCHOR).glob("model.onnx")
    cached = [p for p in (tmp_path / "cache").rglob("model.onnx") if p.read_bytes() == anchor_model.read_bytes()]
    for path in cached:
        shutil.rmtree(path.parent)
    (tmp_path / "study" / "m.onnx").unlink()
    second = export(Study.open(run), tmp_path / "second")
    assert cached and read_bundle(second).anchor is None
    assert not (second / ANCHOR).exists()


def test_a_program_for_a_card_is_verified_beside_the_program_of_its_anchor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path / "sdk", card="pro", cards=1, time_scale=0.0, seed=7)
    monkeypatch.setenv("QAIC_ROOT", str(tmp_path / "sdk"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    bundle = export(Study.open(a_study_in(tmp_path / "study", "qaic")), tmp_path / "bundle")
    promised = read_bundle(bundle)
    assert promised.anchor is not None and promised.anchor.folder == ANCHOR
    programs = [sorted((folder / "program").iterdir()) for folder in (bundle, bundle / ANCHOR)]
    assert programs[0] and [p.name for p in programs[0]] == [p.name for p in programs[1]]
    assert measured(bundle).basis == "anchor"
