"""The artifacts of a study's points: known in this run, found in the cache, or built; builds are recorded."""

from __future__ import annotations

from collections.abc import Sequence

from infertune.build.cache import ArtifactCache
from infertune.build.pool import BuildTask, build_all, build_one, has_space
from infertune.core import keys
from infertune.core.records import Artifact, Built, Failed
from infertune.core.seams import Clock, Executor
from infertune.core.space import Point
from infertune.study.journal import Journal
from infertune.study.question import Setting

BUILD_TIMEOUT_S = 900.0
MOST_BUILDERS = 4  # side by side: more would only fight for memory


class Builds:
    """What was built, and building. Every build goes into the journal the moment it ends, unless it says otherwise."""

    def __init__(
        self, setting: Setting, journal: Journal, executor: Executor, cache: ArtifactCache, clock: Clock
    ) -> None:
        self._setting = setting
        self._journal = journal
        self._executor = executor
        self._cache = cache
        self._clock = clock
        self._artifacts: dict[str, Artifact | Failed] = {}

    def artifact(self, point: Point, *, most_s: float = BUILD_TIMEOUT_S) -> Artifact | Failed:
        """The point's artifact: known in this run, found in the cache, or built now."""
        key = self._key(point)
        if key not in self._artifacts:
            self.build([point], most_s=most_s)
        return self._artifacts[key]

    def knows(self, points: Sequence[Point]) -> bool:
        """Whether nothing has to be built for the points: this run knows their artifacts, or the cache does."""
        keys_ = {self._key(p) for p in points} - self._artifacts.keys()
        return all(self._cache.find(key) is not None for key in keys_)

    def build(self, points: Sequence[Point], *, most_s: float = BUILD_TIMEOUT_S) -> None:
        """Build what the points need and this run does not know yet, several artifacts side by side.

        A build that takes longer than ``most_s`` seconds has failed.
        """
        tasks = [self._task(p, most_s) for p in points if self._key(p) not in self._artifacts]
        workers = min(MOST_BUILDERS, max(device.units for device in self._setting.question.devices))
        for built in build_all(tasks, self._executor, self._cache, workers=workers, clock=self._clock):
            self.keep(built)

    def _task(self, point: Point, timeout_s: float) -> BuildTask:
        question = self._setting.question
        return BuildTask(
            key=self._key(point), model=question.model, point=point, timeout_s=timeout_s, feed=question.feed
        )

    def build_alone(self, point: Point, timeout_s: float) -> Built:
        """Build a point, recording nothing: `keep` does. May run in any thread.

        Raises `StorageError` (``disk-full``) when the disk has no room for it.
        """
        return build_one(self._task(point, timeout_s), self._executor, self._cache, self._clock)

    def has_space(self, point: Point, beside: int) -> bool:
        """Whether the disk has room for a build of the point ``beside`` so many others."""
        return has_space(self._task(point, BUILD_TIMEOUT_S), self._cache, beside + 1)

    def keep(self, built: Built) -> None:
        """Record a build; from now on its artifact is known in this run."""
        self._artifacts[self._key(built.point)] = built.outcome
        self._journal.append(built)

    def fetch(self, point: Point, *, most_s: float = BUILD_TIMEOUT_S) -> Artifact | Failed:
        """The artifact of a point that is no candidate of the search (yet): not recorded as work on it."""
        key = self._key(point)
        if key not in self._artifacts:
            self._artifacts[key] = self.build_alone(point, most_s).outcome
        return self._artifacts[key]

    def known(self, point: Point) -> Artifact | Failed | None:
        """The point's artifact where this run knows it; builds nothing."""
        return self._artifacts.get(self._key(point))

    def same_build(self, a: Point, b: Point) -> bool:
        return self._key(a) == self._key(b)

    def _key(self, point: Point) -> str:
        return keys.artifact_key(self._setting.question, point)

    def record_failed(self, point: Point, failed: Failed) -> None:
        """Points that share a failed build failed too, each under its own name."""
        if not any(isinstance(e.event, Built) and e.event.point == point for e in self._journal.entries):
            self._journal.append(Built(point=point, outcome=failed, wall_s=0.0))
