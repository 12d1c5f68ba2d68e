"""The bundle: a folder with the model, ``config.json``, ``run.py``, the expected numbers and a README.

The target writes what its runtime reads (`seams.Target.export`); this module adds the promise: which point, on which
device, how fast with which interval, beside which anchor. `read_bundle` is its reverse, for `infertune verify`.
Other formats (`export.formats`) are written from a bundle.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from infertune.core import drift, keys, wire, words
from infertune.core.errors import DataError, NotFoundError, quoted
from infertune.core.findings import Answer, Figures
from infertune.core.goal import load_for, parse_goal
from infertune.core.load import Load
from infertune.core.records import Device, Feed, Interval, Launch, Model, Named
from infertune.core.space import Point
from infertune.edge.files import shown, write_text

CONFIG = "config.json"
ANCHOR = "anchor"
"""Folder of the artifact of an anchor that cannot run from the winner's own; deploying does not need it."""

MARK = "Written by `infertune export`."


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """What a bundle says of itself. ``throughput`` in samples per second; ``host`` is the machine that gave it.

    ``samples`` says that it was measured on a person's samples, which the bundle does not keep.
    """

    model: Model
    point: Point
    device: Device
    feed: Feed
    goal: str
    throughput: Interval
    confirmed: bool
    launches: int
    in_flight: int
    anchor: drift.Anchor | None = None
    host: Named = ()
    samples: bool = False

    @property
    def load(self) -> Load:
        """How its launches were driven."""
        return load_for(parse_goal(self.goal))

    @property
    def load_words(self) -> str:
        """How the samples came, to be put after the throughput; empty for the usual closed loop."""
        return f", arriving at random times (`{self.goal}`)" if self.load.is_open else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A bundle on disk: what the target wrote into ``config.json``, and the promise."""

    folder: Path
    config: Mapping[str, Any]
    promise: Promise

    @property
    def runtime(self) -> str:
        return str(self.config["runtime"])

    @property
    def version(self) -> str:
        """Release of the runtime that was measured; OpenVINO tells its build behind a dash."""
        versions = dict(self.promise.device.versions)
        return versions.get(self.runtime, next(iter(versions.values()), "unknown")).partition("-")[0]

    @property
    def main_file(self) -> str:
        """What the runtime loads, relative to the folder."""
        return str(self.config["files"][0])

    @property
    def served_name(self) -> str:
        """The model's name where only letters, digits, ``_``, ``-`` and ``.`` are safe: servers, images, folders."""
        return re.sub(r"[^A-Za-z0-9_.-]+", "-", self.promise.model.name).strip("-._") or "model"


def promise(answer: Answer, figures: Figures, confirmed: tuple[Launch, ...] = ()) -> Promise:
    """The promise of a study's winner; paths of this machine stay out of it.

    ``confirmed`` are its fresh launches.
    """
    assert answer.device is not None
    return Promise(
        model=replace(answer.model, path=Path(answer.model.path).name),
        point=figures.point,
        device=answer.device,
        feed=replace(answer.question.feed, path=None),
        goal=answer.question.goal,
        throughput=figures.throughput,
        confirmed=answer.confirmed,
        launches=figures.launches,
        in_flight=figures.in_flight,
        anchor=_anchor(answer, figures.point, confirmed),
        host=answer.question.host,
        samples=answer.question.feed.path is not None,
    )


def _anchor(answer: Answer, winner: Point, confirmed: tuple[Launch, ...]) -> drift.Anchor | None:
    """A baseline that runs from the winner's own artifact, which costs the bundle nothing; else one of its target.

    An int8 winner shares its artifact with no baseline: the bundle then holds the anchor's as well.
    """
    named = [(r.name, r.figures.point) for r in answer.rivals]
    own = keys.artifact_key(answer.question, winner)
    shared = [(name, point) for name, point in named if keys.artifact_key(answer.question, point) == own]
    found = drift.anchor(winner, shared, confirmed)
    if found is not None:
        return found
    alike = [(name, p) for name, p in named if (p.target, p.device) == (winner.target, winner.device)]
    found = drift.anchor(winner, alike, confirmed)
    return None if found is None else replace(found, folder=ANCHOR)


def complete_bundle(folder: Path, promised: Promise) -> Bundle:
    """Add the promise to the target's ``config.json``."""
    path = folder / CONFIG
    config = json.loads(path.read_text())
    config["in_flight"] = promised.in_flight
    config["expected"] = {
        "throughput_per_s": wire.to_plain(promised.throughput),
        "confirmed": promised.confirmed,
        "launches": promised.launches,
    }
    config["promise"] = wire.to_plain(promised)
    write_text(path, as_json(config))
    return Bundle(folder=folder, config=config, promise=promised)


def as_json(plain: object) -> str:
    return json.dumps(plain, indent=2) + "\n"


def copy_bundle(bundle: Bundle, into: Path) -> None:
    """Everything of the bundle, scripts with their permissions."""
    shutil.copytree(bundle.folder, into, dirs_exist_ok=True)


def copy_model(bundle: Bundle, into: Path) -> None:
    """The model files alone."""
    for name in bundle.config["files"]:
        shutil.copyfile(bundle.folder / name, into / Path(name).name)


def about_anchor(bundle: Bundle) -> str:
    """A line for README.md where the bundle holds a second artifact; empty otherwise."""
    if not (bundle.folder / ANCHOR).is_dir():
        return ""
    return f"`{ANCHOR}/` is what `infertune verify` measures beside it; the program does not need that folder.\n"


def readme(bundle: Bundle, spoken: str, start: str, *, outputs: str) -> str:
    """README.md of any format; ``start`` is the format's own part, ``outputs`` what is known of their fidelity."""
    promised = bundle.promise
    versions = ", ".join(f"{name} {value}" for name, value in promised.device.versions)
    evidence = "confirmed on fresh launches" if promised.confirmed else "not confirmed"
    simulated = " (simulated)" if promised.device.simulated else ""
    return f"""# {promised.model.name} on {bundle.runtime}

Setting: {spoken}

Expected: {words.interval(promised.throughput)} samples/s{promised.load_words}{simulated}, {evidence}
({words.counted(promised.launches, "launch")}), on {promised.device.title}
with {promised.device.units} {words.units(promised.device)}, {versions}.

Outputs: {outputs}.

{start}
The model file is prepared for this kind of machine: tune again on another one. {MARK}
"""


def ours(folder: Path) -> bool:
    """Whether `infertune export` wrote this folder, so that it may write it again."""
    path = folder / "README.md"
    return path.is_file() and MARK in path.read_text(encoding="utf-8", errors="replace")


def _run_or_any(folder: Path) -> str:
    """A run folder given in a bundle's place is what to export."""
    return quoted(str(folder)) if (folder / "study.db").is_file() else "RUN"


def read_bundle(folder: Path) -> Promise:
    """Raises `NotFoundError` when there is no bundle, `DataError` when it is damaged.

    An anchor whose folder was left behind is no anchor any more.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise NotFoundError(
            "no-bundle",
            f"`{shown(folder)}` holds no {CONFIG}",
            hint=f"give a folder that `infertune export {_run_or_any(folder)} --to python -o FOLDER` wrote",
        )
    try:
        config = json.loads(path.read_text())
        found = wire.from_plain(config["promise"], Promise)
        main_file = str(config["files"][0])
    except Exception as error:
        raise DataError(
            "bundle-damaged",
            f"`{shown(path)}` holds no promise: {type(error).__name__}",
            hint="`infertune export RUN --to python` writes a folder that can be verified",
        ) from error
    if found.anchor is not None and found.anchor.folder and not (folder / found.anchor.folder).is_dir():
        found = replace(found, anchor=None)
    return replace(found, model=replace(found.model, path=str(folder / main_file)))
