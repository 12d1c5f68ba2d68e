"""The contract that every target keeps. Subclass `TargetContract` in your tests, or call `check_space` alone.

class TestMine(TargetContract):
    target = my_target
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from infertune.core import stats
from infertune.core.goal import parse_goal
from infertune.core.records import (
    BuildJob,
    Device,
    Feed,
    InferJob,
    MeasureJob,
    Measurement,
    Model,
    Plan,
    Saved,
)
from infertune.core.seams import Target
from infertune.core.space import Point, Space
from infertune.edge.clock import MonotonicClock
from infertune.edge.shell import LocalShell

QUICK = Plan(warmup_s=0.01, warmup_count=2, min_time_s=0.05, min_count=5, cap_s=5.0)
_ENOUGH_POINTS = 500


def check_space(space: Space) -> None:
    """Knobs are documented and consistent; seeds, baselines and enumerated points are legal and distinct."""
    for knob in space.knobs:
        assert knob.doc and knob.spelling, f"{knob.name} needs a doc and a spelling"
        assert knob.default in knob.allowed, f"the default of {knob.name} is not allowed"
        assert knob.values and all(v in knob.allowed for v in knob.values), f"{knob.name} searches what is not allowed"
    for point in (*space.seeds, *(b.point for b in space.baselines)):
        assert space.why_illegal(point) is None, f"{point}: {space.why_illegal(point)}"
    seen = [point for point, _ in zip(space.points(), range(_ENOUGH_POINTS), strict=False)]
    assert len(set(seen)) == len(seen)
    assert all(space.why_illegal(point) is None for point in seen)


def some_points(space: Space, count: int = 4) -> Sequence[Point]:
    """Seeds, baselines, and a few others spread over the space."""
    named = [*space.seeds[:2], *(b.point for b in space.baselines)]
    every = list(space.points())
    spread = every[:: max(1, len(every) // count)][:count]
    return list(dict.fromkeys([*named, *spread]))


class TargetContract:
    """Tests of one target on this machine. ``model`` (an ONNX file, described) comes from a fixture of that name."""

    target: ClassVar[Target]

    def device(self) -> Device:
        return self.target.probe(LocalShell())[0]

    def space(self, model: Model) -> Space:
        return self.target.space(model, self.device(), parse_goal("max throughput"))

    def built(self, model: Model, point: Point, folder: Path) -> str:
        artifact = folder / "artifact"
        artifact.mkdir(exist_ok=True)
        saved = self.target.build(BuildJob(model=model, point=point, into=str(artifact)), LocalShell())
        assert isinstance(saved, Saved)
        assert all((artifact / name).is_file() for name in saved.files)
        return str(artifact)

    def measured(self, model: Model, point: Point, artifact: str) -> Measurement:
        job = MeasureJob(model=model, point=point, artifact=artifact, plan=QUICK, feed=Feed(seed=0))
        return self.target.measure(job, MonotonicClock(), LocalShell())

    def test_names_itself(self) -> None:
        assert self.target.name and self.target.title
        assert isinstance(self.target.automatic, bool)

    def test_devices_are_whole(self) -> None:
        for device in self.target.probe(LocalShell()):
            assert device.target == self.target.name
            assert device.units >= 1 and device.versions

    def test_the_space_is_sound(self, model: Model) -> None:
        check_space(self.space(model))

    def test_measures_what_was_asked(self, model: Model, tmp_path: Path) -> None:
        space = self.space(model)
        artifacts: dict[object, str] = {}
        for i, point in enumerate(some_points(space)):
            key = space.build_part(point)
            folder = tmp_path / str(i)
            folder.mkdir()
            artifacts[key] = artifacts.get(key) or self.built(model, point, folder)
            found = self.measured(model, point, artifacts[key])
            self.check_measurement(found, point)

    def check_measurement(self, found: Measurement, point: Point) -> None:
        assert found.batch == point.number("batch", 1)
        assert found.in_flight >= 1
        planned = point.number("instances") * point.number("set_size")
        assert planned in {0, found.in_flight}
        assert len(found.latencies_ns) == len(found.ends_ns) >= 3
        assert all(latency > 0 for latency in found.latencies_ns)
        assert list(found.ends_ns) == sorted(found.ends_ns)
        assert math.isfinite(stats.throughput(found)) and stats.throughput(found) > 0
        for phase in found.phases:
            assert len(phase.samples_ns) == len(found.latencies_ns)

    def test_outputs_do_not_depend_on_run_time_settings(self, model: Model, tmp_path: Path) -> None:
        """Points of one precision and batch agree; targets that compute nothing override this."""
        space = self.space(model)
        groups: dict[object, list[Point]] = {}
        for point in some_points(space):
            groups.setdefault((point.get("precision", "f32"), point["batch"], space.build_part(point)), []).append(
                point
            )
        for i, points in enumerate(groups.values()):
            folder = tmp_path / str(i)
            folder.mkdir()
            artifact = self.built(model, points[0], folder)
            outputs = [self.outputs(model, p, artifact, folder / f"{n}.npz") for n, p in enumerate(points)]
            for other in outputs[1:]:
                assert set(other) == set(outputs[0])
                for name, array in outputs[0].items():
                    np.testing.assert_allclose(other[name], array, rtol=2e-2, atol=2e-2)

    def outputs(self, model: Model, point: Point, artifact: str, into: Path) -> dict[str, npt.NDArray[np.float64]]:
        job = InferJob(model=model, point=point, artifact=artifact, feed=Feed(seed=0), count=2, into=str(into))
        self.target.infer(job, LocalShell())
        with np.load(into) as saved:
            return {name: np.asarray(saved[name], dtype=np.float64) for name in saved.files}
