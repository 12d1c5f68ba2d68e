"""Deploy: the program, the exact commands that compile and run it, and a program that runs them."""

from __future__ import annotations

import json
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

from infertune.core.records import ExportJob, Model, Saved
from infertune.core.space import Point
from infertune.targets.deploy import FORMAT
from infertune.targets.qaic import tools
from infertune.targets.qaic.build import PROGRAM_FOLDER, program_of
from infertune.targets.qaic.probe import qid_of
from infertune.targets.qaic.sdk import Sdk, find_sdk

TEMPLATE = "run_template.py"
SECONDS = 20


def compile_command(sdk: Sdk, model: Model, point: Point) -> list[str]:
    """As in `build`, but into ./program and from the model's plain name: run it where the model lies."""
    return tools.compile_argv(sdk, replace(model, path=Path(model.path).name), point, f"./{PROGRAM_FOLDER}")


def run_command(sdk: Sdk, point: Point) -> list[str]:
    return tools.run_argv(sdk, f"./{PROGRAM_FOLDER}", qid_of(point.device), point, SECONDS)


def write_bundle(job: ExportJob) -> Saved:
    """The compiled program, ``compile.sh``, ``run.sh``, ``run.py`` and ``config.json``."""
    sdk, into = find_sdk(), Path(job.into)
    files = _copy_program(job.artifact, into)
    commands = {"compile": compile_command(sdk, job.model, job.point), "run": run_command(sdk, job.point)}
    for name, argv in commands.items():
        script = into / f"{name}.sh"
        script.write_text(f'#!/bin/sh\ncd "$(dirname "$0")" && exec {shlex.join(argv)} "$@"\n')
        script.chmod(0o755)
    shutil.copyfile(Path(__file__).with_name(TEMPLATE), into / "run.py")
    config = {
        "format": FORMAT,
        "runtime": job.point.target,
        "files": files,
        "batch": job.point.number("batch", 1),
        "inputs": _inputs(job.model, job.point.number("batch", 1)),
        "commands": commands,
        "simulated": sdk.simulated,
    }
    (into / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    return Saved(files=("config.json", "run.py", "compile.sh", "run.sh", *files))


def _copy_program(artifact: str, into: Path) -> list[str]:
    (into / PROGRAM_FOLDER).mkdir()
    names = sorted(path.name for path in Path(program_of(artifact)).iterdir() if path.is_file())
    for name in names:
        shutil.copyfile(Path(program_of(artifact), name), into / PROGRAM_FOLDER / name)
    return [f"{PROGRAM_FOLDER}/{name}" for name in names]


def _inputs(model: Model, batch: int) -> list[dict[str, object]]:
    return [
        {"name": s.name, "dtype": s.dtype, "shape": list(model.dims(s, batch)), "below": s.below} for s in model.inputs
    ]
