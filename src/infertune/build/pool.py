"""Building several artifacts at once: each key once, from the cache where it can be, in worker processes otherwise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, as_completed
from dataclasses import dataclass
from functools import partial

from infertune.build.cache import ArtifactCache
from infertune.core.errors import StorageError
from infertune.core.records import Artifact, BuildJob, Built, Failed, Feed, Model, Saved
from infertune.core.seams import Clock, Executor
from infertune.core.space import Point
from infertune.core.subjects import SEEDED
from infertune.edge.crew import ThreadCrew
from infertune.edge.files import ensure_folder, free_bytes

RESERVE_BYTES = 256 * 2**20
"""Left free beside the builds: the run record and everybody else on the disk need some too."""

PER_BUILD = 2.0
"""Room for one build, in units of the model's weights: the artifact holds them once, the compiler may once more."""

CROWDED = frozenset({"memory", "crash"})
"""Failures that builds side by side may have caused in each other: tried once more alone before they count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildTask:
    """Build ``model`` for ``point``; ``key`` is the artifact's (`keys.artifact_key`), ``feed`` for calibration."""

    key: str
    model: Model
    point: Point
    timeout_s: float
    feed: Feed = SEEDED


def build_one(task: BuildTask, executor: Executor, cache: ArtifactCache, clock: Clock) -> Built:
    """The task's artifact, found or built now, or why there is none.

    Raises `StorageError` (id ``disk-full``) when it is to be built and the disk has no room for that.
    """
    began = clock.now_ns()
    outcome = cache.find(task.key) or _build(task, executor, cache, clock)
    return Built(point=task.point, outcome=outcome, wall_s=(clock.now_ns() - began) / 1e9)


def _build(task: BuildTask, executor: Executor, cache: ArtifactCache, clock: Clock) -> Artifact | Failed:
    require_space([task], cache, 1)
    scratch = cache.scratch()
    began = clock.now_ns()
    try:
        job = BuildJob(model=task.model, point=task.point, into=str(scratch), feed=task.feed)
        reply = executor.run(task.point.target, job, timeout_s=task.timeout_s)
        build_s = (clock.now_ns() - began) / 1e9
        if isinstance(reply, Saved):
            return cache.publish(task.key, scratch, build_s, reply.facts)
    finally:
        cache.discard(scratch)
    failed = reply if isinstance(reply, Failed) else _unexpected(reply)
    if free_bytes(cache.root) >= RESERVE_BYTES:  # on a full disk any failure may be the disk's
        cache.publish_failure(task.key, failed)
    return failed


def _unexpected(reply: object) -> Failed:
    return Failed(stage="build", kind="crash", message=f"the worker replied with a {type(reply).__name__}")


def require_space(tasks: Sequence[BuildTask], cache: ArtifactCache, workers: int) -> None:
    """Raises `StorageError` (id ``disk-full``) when the disk has no room for ``workers`` builds side by side."""
    largest = sorted((task.model.weight_bytes for task in tasks), reverse=True)[:workers]
    needed, free = needed_bytes(largest), _free(cache)
    if free < needed:
        raise StorageError(
            "disk-full",
            f"the disk of the artifact cache has {free / 1e9:.1f} GB free, building needs {needed / 1e9:.1f} GB",
            hint="free space with `infertune cache prune`, or set INFERTUNE_CACHE to another disk",
        )


def has_space(task: BuildTask, cache: ArtifactCache, builds: int) -> bool:
    """Whether the disk has room for so many builds like ``task`` side by side."""
    return _free(cache) >= needed_bytes([task.model.weight_bytes] * builds)


def needed_bytes(weights: Sequence[int]) -> int:
    """What must be free before models of such weights are built side by side."""
    return RESERVE_BYTES + int(PER_BUILD * sum(weights))


def _free(cache: ArtifactCache) -> int:
    return free_bytes(ensure_folder(cache.root, "the artifact cache"))


def crowded_out(built: Built, workers: int) -> bool:
    """Whether a build failed in a way that others beside it may have caused: it deserves another try alone."""
    return workers > 1 and isinstance(built.outcome, Failed) and built.outcome.kind in CROWDED


def build_all(
    tasks: Sequence[BuildTask], executor: Executor, cache: ArtifactCache, *, workers: int, clock: Clock
) -> Iterator[Built]:
    """Build with at most ``workers`` at a time and yield each result as it comes.

    Tasks of equal key are built once: the first to come is yielded with its cost, the others with the same outcome at
    no cost. Failures that crowding explains (`CROWDED`) are tried again one at a time, after all others. Closing the
    iterator early starts no further builds and ends those that run.
    """
    by_key: dict[str, list[BuildTask]] = {}
    for task in tasks:
        by_key.setdefault(task.key, []).append(task)
    firsts = [same[0] for same in by_key.values()]
    if any(cache.find(task.key) is None for task in firsts):
        require_space(firsts, cache, workers)
    crowded: list[BuildTask] = []
    for task, built in _side_by_side(firsts, executor, cache, workers, clock):
        if crowded_out(built, workers):
            crowded.append(task)
        else:
            yield from _shared(built, by_key[task.key])
    for task in crowded:
        yield from _shared(build_one(task, executor, cache, clock), by_key[task.key])


def _side_by_side(
    tasks: Sequence[BuildTask], executor: Executor, cache: ArtifactCache, workers: int, clock: Clock
) -> Iterator[tuple[BuildTask, Built]]:
    crew = ThreadCrew(workers)
    try:
        running: dict[Future[Built], BuildTask] = {
            crew.submit(partial(build_one, task, executor, cache, clock)): task for task in tasks
        }
        for future in as_completed(running):
            yield running[future], future.result()
    finally:
        crew.close()


def _shared(built: Built, same: Sequence[BuildTask]) -> Iterator[Built]:
    yield built
    for task in same[1:]:
        yield Built(point=task.point, outcome=built.outcome, wall_s=0.0)
