"""The bundle: a folder with the model, ``config.json``, ``run.py``, the expected numbers and a README.

The target writes what its runtime reads (`seams.Target.export`); this module adds the promise: which point, on which
device, how fast with which interval. `read_bundle` is its reverse, for `infertune verify`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

from infertune.core import wire, words
from infertune.core.errors import DataError, NotFoundError
from infertune.core.findings import Answer, Figures
from infertune.core.records import Device, Feed, Interval, Model
from infertune.core.space import Point
from infertune.edge.files import shown, write_text

CONFIG = "config.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """What a bundle says of itself. ``throughput`` in samples per second."""

    model: Model
    point: Point
    device: Device
    feed: Feed
    goal: str
    throughput: Interval
    confirmed: bool
    launches: int
    in_flight: int


def promise(answer: Answer, figures: Figures) -> Promise:
    """The promise of a study's winner; paths of this machine stay out of it."""
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
    )


def complete_bundle(folder: Path, promised: Promise, spoken: str) -> None:
    """Add the promise to the target's ``config.json`` and write ``README.md``."""
    path = folder / CONFIG
    config = json.loads(path.read_text())
    config["in_flight"] = promised.in_flight
    config["expected"] = {
        "throughput_per_s": wire.to_plain(promised.throughput),
        "confirmed": promised.confirmed,
        "launches": promised.launches,
    }
    config["promise"] = wire.to_plain(promised)
    write_text(path, json.dumps(config, indent=2) + "\n")
    write_text(folder / "README.md", readme(promised, spoken, config["runtime"]))


def readme(promised: Promise, spoken: str, runtime: str) -> str:
    """The bundle's README in Markdown."""
    versions = ", ".join(f"{name} {value}" for name, value in promised.device.versions)
    evidence = "confirmed on fresh launches" if promised.confirmed else "not confirmed"
    simulated = " (simulated)" if promised.device.simulated else ""
    return f"""# {promised.model.name} on {runtime}

Setting: {spoken}

Expected: {words.interval(promised.throughput)} samples/s{simulated}, {evidence}
({words.counted(promised.launches, "launch")}), on {promised.device.title}
with {promised.device.units} CPUs, {versions}.

    pip install {runtime} numpy
    python run.py            # runs the model with these settings for five seconds

`config.json` holds the settings as the runtime spells them. The model file is prepared for this kind of machine:
tune again on another one. `infertune verify .` measures the promise again and exits with 1 when it is not kept.
"""


def read_bundle(folder: Path) -> Promise:
    """Raises `NotFoundError` when there is no bundle, `DataError` when it is damaged."""
    path = folder / CONFIG
    if not path.is_file():
        raise NotFoundError(
            "no-bundle", f"`{shown(folder)}` holds no {CONFIG}", hint="give a folder that `infertune export` wrote"
        )
    try:
        config = json.loads(path.read_text())
        found = wire.from_plain(config["promise"], Promise)
        main_file = str(config["files"][0])
    except Exception as error:
        raise DataError(
            "bundle-damaged", f"`{shown(path)}` cannot be read: {type(error).__name__}", hint="export the run again"
        ) from error
    return replace(found, model=replace(found.model, path=str(folder / main_file)))
