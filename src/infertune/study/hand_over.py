"""Handing over: export a study's winner as a bundle, or in the form that a server or a container wants."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from infertune.build.cache import ArtifactCache
from infertune.build.pool import BuildTask, build_one
from infertune.core import choice, keys, words
from infertune.core.errors import (
    CreateError,
    DataError,
    InfertuneError,
    NotFoundError,
    NothingFeasible,
    UsageError,
    quoted,
)
from infertune.core.findings import Answer, Figures
from infertune.core.goal import level_words
from infertune.core.records import Artifact, ExportJob, Failed, Launch, Question, Saved
from infertune.core.seams import Executor
from infertune.core.space import Point
from infertune.edge.clock import MonotonicClock
from infertune.edge.files import ensure_folder, shown, write_text
from infertune.edge.scratch import Scratch, is_scratch
from infertune.edge.shell import LocalShell
from infertune.edge.worker import LocalExecutor
from infertune.export.bundle import Bundle, Promise, complete_bundle, ours, promise, readme
from infertune.export.formats import DEFAULT, find_format
from infertune.study.builds import BUILD_TIMEOUT_S
from infertune.study.checking import is_exact
from infertune.study.study import Study

_log = logging.getLogger(__name__)
_OWN_INPUTS = (
    "figures are those of inputs that the bundle does not hold: `infertune verify` takes them with --inputs, "
    "and run.py after the seconds; without, it draws seeded ones"
)


def export(study: Study, into: str | Path, *, to: str = DEFAULT, level: str | None = None) -> Path:
    """Write the study's winner in the format ``to`` into the folder ``into`` (made; empty, or an earlier export).

    ``level`` (``p99 < 5 ms``, or ``5 ms`` alone where that is one) takes what is best at that level of a front instead.

    Raises `NothingFeasible` when the study has no winner, `UsageError` when the format does not fit it or the front was
    not asked at that level, `NotFoundError` when the model file is gone and its artifact is not cached any more,
    `CreateError` when the folder cannot be written.
    """
    answer = study.answer if level is None else _at_level(study.answer, level)
    if answer.winner is None or answer.figures is None:
        raise NothingFeasible(
            "nothing-to-export", "the study has no winner", hint="see why with `infertune report RUN`"
        )
    wanted, folder = find_format(to, answer.winner.target), Path(into)
    with _whole(folder) as stage, _bundle(answer, answer.winner, answer.figures, confirmed_launches(study)) as bundle:
        start = wanted.write(bundle, stage)
        spoken = answer.words(answer.winner, answer.figures.in_flight)
        write_text(stage / "README.md", readme(bundle, spoken, start, outputs=_outputs(answer, answer.winner)))
    doubts = _doubts(answer, answer.winner)
    if doubts:
        _log.warning("caveat: the winner's %s", " and its ".join(doubts))
    return folder


def _outputs(answer: Answer, winner: Point) -> str:
    """What is known of the winner's outputs."""
    found, feed = answer.fidelity, answer.question.feed
    if found is None:
        return "not checked; it computes in f32, as the reference does" if is_exact(winner) else "not checked"
    inputs = words.counted(found.inputs, "input")
    source = "drawn at random" if feed.path is None else f"of `{shown(feed.path)}`"
    return f"{found.words(answer.question.metric)} to the f32 reference over {inputs} {source}"


def _doubts(answer: Answer, winner: Point) -> list[str]:
    """What a study did not make sure of before its winner was handed over."""
    checked = answer.fidelity is not None or is_exact(winner)
    figures = [] if answer.confirmed else ["figures are not confirmed on fresh launches"]
    outputs = [] if checked else ["outputs were not checked against the f32 reference"]
    return figures + outputs + ([] if answer.question.feed.path is None else [_OWN_INPUTS])


@contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """A folder inside ``folder`` whose files move up once all are written; what fails leaves nothing new behind.

    Raises `CreateError` for what the file system refuses.
    """
    made = not folder.is_dir()
    ensure_folder(_free(folder), "the bundle folder")
    try:
        with Scratch("export", inside=folder) as scratch:
            yield Path(scratch)
            for entry in sorted(Path(scratch).iterdir()):
                there = folder / entry.name
                if there.is_dir():
                    shutil.rmtree(there)
                entry.replace(there)
    except OSError as error:
        raise CreateError(
            "output-unwritable",
            f"the bundle folder `{shown(folder)}` cannot be written: {_refusal(error)}",
            hint="free space there and in the folder for temporary files (TMPDIR), or give another folder with -o",
        ) from error
    finally:
        if made and not any(folder.iterdir()):
            folder.rmdir()


def _refusal(error: OSError) -> str:
    """Why, of the first file that could not be written."""
    if isinstance(error, shutil.Error) and isinstance(error.args[0], list):
        told = str(error.args[0][0][-1])  # [Errno 28] No space left on device: 'from' -> 'to'
        return told.rpartition("] ")[2].partition(": ")[0]
    return error.strerror or str(error)


def _at_level(answer: Answer, level: str) -> Answer:
    """The answer with what is best at a level in the winner's place."""
    wanted = _bare(level)
    fit = [at for at in answer.levels if wanted in map(_bare, (at.limit.text, level_words(at.limit)))]
    if len(fit) != 1:
        asked = ", ".join(at.limit.text for at in answer.levels)
        raise UsageError(
            "unknown-level",
            f"`{quoted(level)}` is not one level that the study was asked at",
            hint=f"it was asked at {asked}" if asked else "tune with `--goal 'pareto throughput, p99 at 5 ms'`",
        )
    at = fit[0]
    return replace(
        answer,
        question=replace(answer.question, goal=str(at.goal)),
        winner=at.winner,
        why=at.why,
        confirmed=at.confirmed,
        figures=at.figures,
        fidelity=at.fidelity,
    )


def _bare(text: str) -> str:
    return "".join(text.split())


def confirmed_launches(study: Study) -> tuple[Launch, ...]:
    """The launches that the answer's figures come from."""
    chosen = choice.choose(choice.read(study.entries)).confirmation
    return chosen.launches if chosen else ()


@contextmanager
def _bundle(answer: Answer, winner: Point, figures: Figures, confirmed: tuple[Launch, ...]) -> Iterator[Bundle]:
    """The `python` bundle in a scratch folder, from which every format is written."""
    executor = LocalExecutor(LocalShell())
    artifact = _artifact(executor, answer.question, winner)
    with Scratch("export") as scratch:
        job = ExportJob(model=answer.model, point=winner, artifact=artifact.path, into=scratch)
        reply = executor.run(winner.target, job, timeout_s=BUILD_TIMEOUT_S)
        if not isinstance(reply, Saved):
            raise CreateError(
                "bundle-failed", f"the bundle was not written: {_why(reply)}", hint="check disk and folder"
            )
        promised = promise(answer, figures, confirmed)
        yield complete_bundle(Path(scratch), _with_anchor(executor, answer.question, promised, Path(scratch)))


def _with_anchor(executor: Executor, question: Question, promised: Promise, folder: Path) -> Promise:
    """The promise, with the anchor's artifact in the bundle where it needs one; without anchor if there is none."""
    anchor = promised.anchor
    if anchor is None or not anchor.folder:
        return promised
    try:
        artifact = _artifact(executor, question, anchor.point)
    except InfertuneError as error:
        _log.warning("the bundle has no anchor: %s", error.message)
        return replace(promised, anchor=None)
    shutil.copytree(artifact.path, folder / anchor.folder)
    return promised


def _free(folder: Path) -> Path:
    if folder.is_dir() and not all(is_scratch(path.name) for path in folder.iterdir()) and not ours(folder):
        raise CreateError(
            "folder-not-empty", f"`{shown(folder)}` holds other files", hint="give a new or empty folder with -o"
        )
    return folder


def _why(reply: object) -> str:
    return reply.message if isinstance(reply, Failed) else type(reply).__name__


def _artifact(executor: Executor, question: Question, point: Point) -> Artifact:
    """A point's artifact from the cache, built again when it was pruned."""
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
    task = BuildTask(key=key, model=question.model, point=point, timeout_s=BUILD_TIMEOUT_S, feed=question.feed)
    built = build_one(task, executor, cache, MonotonicClock()).outcome
    if isinstance(built, Failed):
        raise DataError("build-failed", f"building {point} again failed: {built.message}", hint="tune again")
    return built
