"""Infer: real outputs of the card, one request at a time through raw files, for the check against the reference."""

from __future__ import annotations

import glob
import os
import tempfile
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from infertune.core.records import Failed, FailureKind, InferJob, Model, Saved, TensorSpec, facts
from infertune.core.seams import CandidateFailed, Shell
from infertune.prepare.inputs import make_inputs
from infertune.targets.qaic import parse, tools
from infertune.targets.qaic.build import program_of
from infertune.targets.qaic.probe import output_of, qid_of
from infertune.targets.qaic.sdk import Sdk, find_sdk
from infertune.targets.qaic.start import start

TIMEOUT_S = 120.0
Arrays = Mapping[str, npt.NDArray[np.generic]]


def save_outputs(job: InferJob, shell: Shell) -> Saved:
    """Run ``count`` input sets at the point's batch and save outputs as ``<output>.<i>`` in one ``.npz``."""
    sdk = find_sdk()
    batch = job.point.number("batch", 1)
    outputs: dict[str, npt.NDArray[np.generic]] = {}
    for i, inputs in enumerate(make_inputs(job.model, job.feed, batch, job.count)):
        outputs.update({f"{name}.{i}": array for name, array in _run(sdk, shell, job, inputs).items()})
    np.savez(job.into, allow_pickle=False, **outputs)
    return Saved(files=(job.into,), facts=facts(outputs=len(outputs)))


def _run(sdk: Sdk, shell: Shell, job: InferJob, inputs: Arrays) -> Arrays:
    with tempfile.TemporaryDirectory(prefix="infertune-qaic-") as scratch:
        into, log = os.path.join(scratch, "outputs"), os.path.join(scratch, "runner.txt")
        os.mkdir(into)
        paths = write_inputs(job.model, inputs, scratch)
        argv = tools.infer_argv(sdk, program_of(job.artifact), qid_of(job.point.device), paths, into)
        done = start(shell, argv, timeout_s=TIMEOUT_S, log=log, folder=scratch)
        if done.timed_out:
            raise _failed("timeout", f"no output within {TIMEOUT_S:.0f} s", done.tail)
        if done.code != 0:
            ended = f"qaic-runner ended with exit code {done.code}"
            kind, message = parse.failure(output_of(log, done), "crash", ended)
            raise _failed(kind, message, done.tail)
        return {spec.name: read_output(into, spec, job.point.number("batch", 1)) for spec in job.model.outputs}


def write_inputs(model: Model, inputs: Arrays, folder: str) -> Sequence[str]:
    """One raw little-endian file per input, in the model's order."""
    paths = []
    for place, spec in enumerate(model.inputs):
        path = os.path.join(folder, f"input{place}.raw")
        np.ascontiguousarray(inputs[spec.name]).tofile(path)
        paths.append(path)
    return paths


def read_output(folder: str, spec: TensorSpec, batch: int) -> npt.NDArray[np.generic]:
    """An output's raw file as an array; sizes that the model leaves open come from the file's length.

    Raises `CandidateFailed` when there is not exactly one file of a fitting size. File names hold the output's name,
    with characters that a file name cannot hold replaced.
    """
    safe = "".join(c if c.isalnum() or c in "._-" else "_" for c in spec.name)
    found = sorted(glob.glob(os.path.join(glob.escape(folder), f"{glob.escape(safe)}-activation-*.bin")))
    if len(found) != 1:
        raise _failed("output", f"{len(found)} files instead of one for the output `{spec.name}`", "")
    flat = np.fromfile(found[0], dtype=np.dtype(spec.dtype))
    dims = [d if isinstance(d, int) else -1 for d in spec.dims]
    if dims and dims[0] == -1:
        dims[0] = batch
    try:
        return flat.reshape(dims if dims.count(-1) <= 1 else [batch, -1])
    except ValueError:
        raise _failed("output", f"`{spec.name}` has {flat.size} values, which do not fit its shape", "") from None


def _failed(kind: FailureKind, message: str, log: str) -> CandidateFailed:
    return CandidateFailed(Failed(stage="verify", kind=kind, message=message, log=log))
