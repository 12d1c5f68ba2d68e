"""Handing over: export a study's winner as a bundle, and verify that a bundle still keeps its promise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from infertune.build.cache import ArtifactCache
from infertune.build.pool import BuildTask, build_one
from infertune.core import audit, keys, stats
from infertune.core.errors import CreateError, DataError, NotFoundError, NothingFeasible
from infertune.core.records import (
    Artifact,
    Device,
    ExportJob,
    Failed,
    Interval,
    MeasureJob,
    Measurement,
    Plan,
    Question,
    Saved,
)
from infertune.core.seams import Executor
from infertune.core.space import Point
from infertune.edge.clock import MonotonicClock
from infertune.edge.files import ensure_folder, shown
from infertune.edge.shell import LocalShell
from infertune.edge.worker import LocalExecutor
from infertune.export.bundle import Promise, complete_bundle, promise, read_bundle
from infertune.study.bench import BUILD_TIMEOUT_S, LAUNCH_TIMEOUT_S
from infertune.study.question import probe
from infertune.study.study import Study
from infertune.targets import find_target

PLAN = Plan(warmup_s=0.5, min_time_s=2.0, min_count=20, cap_s=10.0)
TOLERANCE = 0.10
LAUNCHES = 5


def export(study: Study, into: str | Path) -> Path:
    """Write the bundle of the study's winner into the folder ``into`` (made; must be empty or a bundle).

    Raises `NothingFeasible` when the study has no winner, `NotFoundError` when the model file is gone and its
    artifact is not cached any more, `CreateError` when the folder cannot be written.
    """
    answer = study.answer
    if answer.winner is None or answer.figures is None:
        raise NothingFeasible(
            "nothing-to-export", "the study has no winner", hint="see why with `infertune report RUN`"
        )
    folder = ensure_folder(_free(Path(into)), "the bundle folder")
    executor = LocalExecutor(LocalShell())
    artifact = _artifact(executor, answer.question, answer.winner)
    job = ExportJob(model=answer.model, point=answer.winner, artifact=artifact.path, into=str(folder.resolve()))
    reply = executor.run(answer.winner.target, job, timeout_s=BUILD_TIMEOUT_S)
    if not isinstance(reply, Saved):
        raise CreateError("bundle-failed", f"the bundle was not written: {_why(reply)}", hint="check disk and folder")
    complete_bundle(folder, promise(answer, answer.figures), answer.words(answer.winner, answer.figures.in_flight))
    return folder


def _free(folder: Path) -> Path:
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "config.json").is_file():
        raise CreateError(
            "folder-not-empty", f"`{shown(folder)}` holds other files", hint="give a new or empty folder with -o"
        )
    return folder


def _why(reply: object) -> str:
    return reply.message if isinstance(reply, Failed) else type(reply).__name__


def _artifact(executor: Executor, question: Question, point: Point) -> Artifact:
    """The winner's artifact from the cache, built again when it was pruned."""
    key = keys.artifact_key(question, point)
    cache = ArtifactCache()
    found = cache.find(key)
    if isinstance(found, Artifact):
        return found
    path = Path(question.model.path)
    if not path.is_file():
        raise NotFoundError(
            "model-not-found", f"`{shown(path)}` is gone and its build is not cached any more", hint="put it back"
        )
    task = BuildTask(key=key, model=question.model, point=point, timeout_s=BUILD_TIMEOUT_S)
    built = build_one(task, executor, cache, MonotonicClock()).outcome
    if isinstance(built, Failed):
        raise DataError("build-failed", f"building the winner again failed: {built.message}", hint="tune again")
    return built


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What verifying a bundle found. ``ratio`` is measured / promised throughput."""

    promised: Promise
    measured: Interval | None
    ratio: float
    kept: bool
    changes: tuple[str, ...]
    flags: tuple[str, ...]


def verify(folder: str | Path, *, tolerance: float = TOLERANCE, launches: int = LAUNCHES) -> Verdict:
    """Measure a bundle again: kept when the median of fresh launches is not slower than promised by more than
    ``tolerance``. Raises what `read_bundle` raises."""
    promised = read_bundle(Path(folder))
    executor = LocalExecutor(LocalShell())
    job = MeasureJob(
        model=promised.model, point=promised.point, artifact=str(Path(folder).resolve()), plan=PLAN, feed=promised.feed
    )
    timeout_s = LAUNCH_TIMEOUT_S + 5 * PLAN.cap_s
    replies = [executor.run(promised.point.target, job, timeout_s=timeout_s) for _ in range(launches)]
    measured = [r for r in replies if isinstance(r, Measurement)]
    failed = tuple(f"a launch failed: {r.message}" for r in replies if isinstance(r, Failed))
    found = stats.median_interval([stats.throughput(m) for m in measured]) if measured else None
    ratio = found.value / promised.throughput.value if found else 0.0
    flags = tuple(sorted({flag for m in measured for flag in audit.flags(m, PLAN)}))
    changes = (*failed, *_changes(executor, promised))
    return Verdict(
        promised=promised,
        measured=found,
        ratio=ratio,
        kept=found is not None and ratio >= 1.0 - tolerance,
        changes=changes,
        flags=flags,
    )


def _changes(executor: Executor, promised: Promise) -> tuple[str, ...]:
    """What is different from the machine that made the promise."""
    here = next((d for d in probe(executor, find_target(promised.point.target))), None)
    if here is None:
        return (f"{promised.point.target} finds no device here",)
    return tuple(_device_changes(promised.device, here))


def _device_changes(then: Device, now: Device) -> Sequence[str]:
    pairs = {
        "device": (then.title, now.title),
        "CPUs": (str(then.units), str(now.units)),
        **{name: (value, dict(now.versions).get(name, "none")) for name, value in then.versions},
    }
    return [f"{what}: {a} then, {b} now" for what, (a, b) in pairs.items() if a != b]


__all__ = ["Verdict", "export", "verify"]
