"""What runs inside a worker process: ``python -m infertune.targets.worker TARGET JOB.json REPLY.bin PARENT_PID``.

The only place that catches what a candidate does wrong. Runtime errors become `Failed`; errors meant for people
`Refused`; anything that smells of our own mistake `Broken`.
"""

from __future__ import annotations

import os
import re
import sys
import traceback
from pathlib import Path

from infertune.core import wire
from infertune.core.errors import InfertuneError, excerpt
from infertune.core.records import (
    Broken,
    BuildJob,
    DescribeJob,
    Examined,
    ExamineJob,
    ExportJob,
    Failed,
    FailureKind,
    Found,
    InferJob,
    Job,
    MeasureJob,
    Model,
    ProbeJob,
    Refused,
    WorkerReply,
)
from infertune.core.seams import CandidateFailed
from infertune.edge.clock import MonotonicClock
from infertune.edge.process import die_with_parent
from infertune.edge.shell import WorkerShell
from infertune.edge.worker import stage_of, write_frame
from infertune.targets import find_target

_OURS = (TypeError, AttributeError, NameError, LookupError, AssertionError, ImportError)
_PLACES = re.compile(r"Check '.*?' failed at \S+:\d+:|FrontEnd API failed with \w+:")
_MEMORY = re.compile(r"bad_alloc|out of memory|failed to allocate|cannot allocate|std::length_error", re.IGNORECASE)


def described(job: DescribeJob) -> Model:
    """The model; inputs that a person supplies are checked against it before anything else is done."""
    from infertune.prepare.load import describe

    model = describe(job.path, shapes=dict(job.shapes), batch_symbol=job.batch_symbol)
    if job.inputs is not None:
        from infertune.prepare.samples import read_samples

        read_samples(job.inputs, model)
    return model


def perform(target_name: str, job: Job) -> WorkerReply:
    """Do the job; lets every exception through."""
    if isinstance(job, DescribeJob | ExamineJob):
        return _read_or_examined(job)
    target = find_target(target_name)
    match job:
        case ProbeJob():
            return Found(devices=target.probe(WorkerShell()))
        case BuildJob():
            return target.build(job, WorkerShell())
        case MeasureJob():
            return target.measure(job, MonotonicClock(), WorkerShell())
        case InferJob():
            return target.infer(job, WorkerShell())
        case ExportJob():
            return target.export(job)


def _read_or_examined(job: DescribeJob | ExamineJob) -> Model | Examined:
    """Jobs about a model or the machine, which no target is needed for."""
    return _examined(job) if isinstance(job, ExamineJob) else described(job)


def _examined(job: ExamineJob) -> Examined:
    from infertune.measure.ceilings import cache_bytes, copy_rate, product_model
    from infertune.prepare.summary import summarise

    model = job.model
    counted = summarise(model.path, dict(model.shapes), model.batch_symbol).arithmetic
    return Examined(
        macs=counted.macs if counted else None,
        copy_bytes_per_s=copy_rate(MonotonicClock(), job.threads),
        cache_bytes=cache_bytes(),
        product_macs=product_model(job.product),
    )


def failure_kind(job: Job, error: BaseException) -> FailureKind:
    if isinstance(error, MemoryError) or _MEMORY.search(str(error)):
        return "memory"
    return "compiler" if isinstance(job, BuildJob) else "crash"


def told(error: BaseException) -> str:
    """A runtime's message on one line, without the places in its source that it came through."""
    lines = [" ".join(_PLACES.sub("", line).split()) for line in str(error).splitlines()]
    said = [line for line in lines if line and not re.match("(Caught exception: )?Exception from ", line)]
    return " ".join(said) or " ".join(str(error).split()) or type(error).__name__


def safely(target_name: str, job: Job) -> WorkerReply:
    """Do the job; every exception becomes a reply."""
    try:
        return perform(target_name, job)
    except InfertuneError as error:
        return Refused(family=type(error).__name__, id=error.id, message=error.message, hint=error.hint)
    except CandidateFailed as error:
        return error.failed
    except _OURS as error:
        return Broken(message=f"{type(error).__name__}: {error}", traceback=traceback.format_exc())
    except Exception as error:  # noqa: BLE001 - whatever a runtime raises is the candidate's failure
        message = excerpt(told(error), 500)
        return Failed(
            stage=stage_of(job), kind=failure_kind(job, error), message=message, log=traceback.format_exc()[-4000:]
        )


def main(argv: list[str]) -> None:
    target_name, question, answer, parent = argv
    die_with_parent(int(parent))
    job = wire.from_json(Path(question).read_text(), Job)
    write_frame(answer, wire.to_json(safely(target_name, job), WorkerReply).encode())
    sys.stdout.flush()
    os._exit(0)  # requests may still be outstanding in the runtime's threads; nobody waits for them


if __name__ == "__main__":
    main(sys.argv[1:])
