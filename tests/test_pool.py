"""Builds side by side: each key once, within the limit, nothing lost when some of them fail."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from infertune.build.cache import ArtifactCache
from infertune.build.pool import RESERVE_BYTES, BuildTask, build_all, build_one
from infertune.core.errors import StorageError
from infertune.core.keys import digest
from infertune.core.records import Artifact, BuildJob, Built, Failed, Found, Job, Reply, Saved
from infertune.core.seams import Done
from infertune.core.space import Point
from infertune.edge.crew import ThreadCrew, beside
from infertune.edge.shell import LocalShell
from infertune.testing.clock import FakeClock
from infertune.testing.records import a_model, a_point

MODEL = replace(a_model(), weight_bytes=1000)
CRASHED = Failed(stage="build", kind="crash", message="the worker died of SIGSEGV")


class Builder:
    """Writes a file, after asking ``fails``; remembers what it built and how many were at it at once."""

    def __init__(self, fails: Callable[[Point, int], Reply | None] = lambda point, tries: None) -> None:
        self.built: Counter[Point] = Counter()
        self.most_at_once = 0
        self._fails = fails
        self._at_once = 0
        self._lock = threading.Lock()

    def run(self, target: str, job: Job, *, timeout_s: float) -> Reply:
        assert isinstance(job, BuildJob)
        with self._lock:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            self.built[job.point] += 1
        try:
            return self._fails(job.point, self.built[job.point]) or self._write(job)
        finally:
            with self._lock:
                self._at_once -= 1

    def _write(self, job: BuildJob) -> Saved:
        (Path(job.into) / "out").write_text(str(job.point))
        return Saved(files=("out",))


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[ArtifactCache]:
    with ArtifactCache(tmp_path / "cache") as opened:
        yield opened


def task(batch: int, key: str = "") -> BuildTask:
    point = a_point(batch=batch)
    return BuildTask(key=digest(key or batch), model=MODEL, point=point, timeout_s=60.0)


def run(tasks: list[BuildTask], builder: Builder, cache: ArtifactCache, workers: int = 2) -> dict[int, Built]:
    results = list(build_all(tasks, builder, cache, workers=workers, clock=FakeClock()))
    assert len(results) == len(tasks)
    return {built.point.number("batch"): built for built in results}


def test_everything_is_built_and_found_the_next_time(cache: ArtifactCache) -> None:
    tasks = [task(batch) for batch in (1, 2, 4, 8)]
    first = run(tasks, Builder(), cache)
    assert all(isinstance(built.outcome, Artifact) and not built.outcome.reused for built in first.values())
    builder = Builder()
    second = run(tasks, builder, cache)
    assert all(isinstance(built.outcome, Artifact) and built.outcome.reused for built in second.values())
    assert not builder.built
    assert not list(cache.root.glob("v1/scratch/*"))


def test_points_of_one_key_are_built_once_and_share_the_outcome(cache: ArtifactCache) -> None:
    builder = Builder()
    results = run([task(batch, "same") for batch in (1, 2, 4)], builder, cache)
    assert sum(builder.built.values()) == 1
    assert len({built.outcome for built in results.values()}) == 1


def test_as_many_builds_run_at_once_as_allowed_and_no_more(cache: ArtifactCache) -> None:
    """Each build waits until three are at it: with fewer at once this would never end, with more the count tells."""
    together = threading.Barrier(3, timeout=60)

    def meet(point: Point, tries: int) -> None:
        together.wait()

    builder = Builder(meet)
    run([task(batch) for batch in range(1, 7)], builder, cache, workers=3)
    assert builder.most_at_once == 3


def test_a_failure_is_an_outcome_like_any_other(cache: ArtifactCache) -> None:
    refused = Failed(stage="build", kind="compiler", message="no")
    results = run([task(1), task(2)], Builder(lambda p, _: refused if p["batch"] == 2 else None), cache)
    assert isinstance(results[1].outcome, Artifact)
    assert results[2].outcome == refused
    builder = Builder()
    assert run([task(2)], builder, cache)[2].outcome == refused  # remembered
    assert not builder.built


@pytest.mark.parametrize("kind", ["crash", "memory"])
def test_what_crowding_may_have_killed_is_tried_once_more_alone(cache: ArtifactCache, kind: str) -> None:
    failed = replace(CRASHED, kind=kind)  # type: ignore[arg-type]
    builder = Builder(lambda p, tries: failed if p["batch"] != 1 and (tries == 1 or p["batch"] == 3) else None)
    results = run([task(1), task(2), task(3)], builder, cache)
    assert isinstance(results[2].outcome, Artifact)
    assert results[3].outcome == failed
    assert {p["batch"]: n for p, n in builder.built.items()} == {1: 1, 2: 2, 3: 2}
    assert cache.find(task(3).key) is None  # and not remembered


def test_alone_nothing_is_tried_twice(cache: ArtifactCache) -> None:
    builder = Builder(lambda p, _: CRASHED)
    assert run([task(1)], builder, cache, workers=1)[1].outcome == CRASHED
    assert sum(builder.built.values()) == 1


def test_a_build_that_leaves_nothing_is_a_failure(cache: ArtifactCache) -> None:
    outcome = run([task(1)], Builder(lambda p, _: Saved(files=())), cache)[1].outcome
    assert isinstance(outcome, Failed)
    assert outcome.kind == "output"


def test_a_reply_of_the_wrong_kind_is_a_failure(cache: ArtifactCache) -> None:
    outcome = run([task(1)], Builder(lambda p, _: Found(devices=())), cache)[1].outcome
    assert outcome == Failed(stage="build", kind="crash", message="the worker replied with a Found")


def test_a_bug_in_a_worker_is_not_swallowed(cache: ArtifactCache) -> None:
    def bug(point: Point, tries: int) -> Reply | None:
        raise RuntimeError("bug in a worker")

    with pytest.raises(RuntimeError, match="bug in a worker"):
        run([task(batch) for batch in range(1, 30)], Builder(bug), cache)
    assert not list(cache.root.glob("v1/scratch/*"))


def test_stopping_early_starts_no_more_builds(cache: ArtifactCache) -> None:
    builder = Builder()
    results = build_all([task(batch) for batch in range(1, 300)], builder, cache, workers=1, clock=FakeClock())
    first = next(results)
    assert isinstance(results, Iterator)
    results.close()  # type: ignore[attr-defined]
    assert isinstance(first.outcome, Artifact)
    assert sum(builder.built.values()) < 299


class Endless:
    """Builds that are half done and then wait for a program that does not end; a quick one for batch 1."""

    def __init__(self) -> None:
        self.begun = threading.Event()

    def run(self, target: str, job: Job, *, timeout_s: float) -> Reply:
        assert isinstance(job, BuildJob)
        (Path(job.into) / "half").write_text("half")
        if job.point["batch"] == 1:
            assert self.begun.wait(60)
            return Saved(files=("half",))
        self.begun.set()
        done = LocalShell().run(["sleep", "30"], timeout_s=timeout_s, log=os.path.join(job.into, "log.txt"))
        return Failed(stage="build", kind="timeout", message="") if done.timed_out else Saved(files=("half",))


def test_stopping_early_ends_the_builds_that_run_and_leaves_nothing_of_them(cache: ArtifactCache) -> None:
    results = build_all([task(1), task(2)], Endless(), cache, workers=2, clock=FakeClock())
    assert isinstance(next(results).outcome, Artifact)
    assert isinstance(results, Iterator)
    results.close()  # type: ignore[attr-defined]
    assert cache.find(task(2).key) is None
    assert not list(cache.root.glob("v1/scratch/*"))


def test_a_crew_that_is_closed_ends_its_programs(tmp_path: Path) -> None:
    begun = threading.Event()

    def sleep() -> Done:
        begun.set()
        return LocalShell().run(["sleep", "30"], timeout_s=60.0, log=str(tmp_path / "log.txt"))

    crew = ThreadCrew(1)
    sleeping = crew.submit(sleep)
    assert begun.wait(60)
    crew.close()
    assert sleeping.result().timed_out


def test_a_disk_without_room_is_named_before_any_work(cache: ArtifactCache) -> None:
    huge = replace(task(1), model=replace(MODEL, weight_bytes=10**17))
    builder = Builder()
    with pytest.raises(StorageError) as told:
        list(build_all([huge], builder, cache, workers=2, clock=FakeClock()))
    assert told.value.id == "disk-full"
    assert "building needs 2000000" in told.value.message
    assert not builder.built
    assert RESERVE_BYTES > 0


def test_what_is_cached_needs_no_room(cache: ArtifactCache) -> None:
    run([task(1)], Builder(), cache)
    huge = replace(task(1), model=replace(MODEL, weight_bytes=10**17))
    assert isinstance(run([huge], Builder(), cache)[1].outcome, Artifact)


def test_wall_time_is_the_clocks(cache: ArtifactCache) -> None:
    clock = FakeClock()

    def slow(point: Point, tries: int) -> None:
        clock.advance(7.5)

    built = build_one(task(1), Builder(slow), cache, clock)
    assert built.wall_s == 7.5
    assert isinstance(built.outcome, Artifact)
    assert built.outcome.build_s == 7.5
    assert build_one(task(1), Builder(slow), cache, clock).wall_s == 0.0


def test_somebody_looks_beside_the_work() -> None:
    seen = threading.Event()

    def look() -> str:
        seen.set()
        return "seen"

    assert beside(lambda: seen.wait(60), look, 0.0) == (True, "seen")
    assert beside(lambda: "done", lambda: "seen", 1000.0) == ("done", None)


def test_a_look_is_ended_with_the_work(tmp_path: Path) -> None:
    looking = threading.Event()

    def look() -> Done:
        looking.set()
        return LocalShell().run(["sleep", "1000"], timeout_s=1000, log=str(tmp_path / "log"))

    _, seen = beside(lambda: looking.wait(60), look, 0.0)
    assert seen is not None and seen.timed_out
