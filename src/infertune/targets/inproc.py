"""Measuring a runtime that lives in the worker process: inputs, host watching, the driven session."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from infertune.core.records import Conditions, Failed, InferJob, MeasureJob, Measurement, Recheck, Repeats, Saved, facts
from infertune.core.seams import Answering, CandidateFailed, Clock
from infertune.measure.closed_loop import drain
from infertune.measure.conditions import watch_host
from infertune.measure.drive import drive
from infertune.measure.repeats import LEAST, time_repeats
from infertune.prepare.inputs import make_inputs
from infertune.verify.outputs import distance

Arrays = Mapping[str, npt.NDArray[np.generic]]
_POOL = 16
_POOL_BYTES = 128_000_000


def input_pool(job: MeasureJob) -> list[Arrays]:
    """Up to 16 distinct input sets at the point's batch (fewer, but at least two, for large ones)."""
    return list(make_inputs(job.model, job.feed, job.point.number("batch", 1), _sets(job, _POOL)))


def _sets(job: MeasureJob, most: int) -> int:
    batch = job.point.number("batch", 1)
    size = sum(math.prod(job.model.dims(spec, batch)) * np.dtype(spec.dtype).itemsize for spec in job.model.inputs)
    return max(2, min(most, _POOL_BYTES // max(1, size)))


def measure_session(
    job: MeasureJob,
    clock: Clock,
    load: Callable[[Sequence[Arrays]], Answering],
    watch: Callable[[], Callable[[], Conditions]] = watch_host,
) -> Measurement:
    """Load a session on the job's inputs and drive it; set-up time covers the loading, not the making of inputs.

    Raises `CandidateFailed` when the timed session's outputs turn out wrong (see `Recheck`).
    """
    pool = input_pool(job)
    began = clock.now_ns()
    session = load(pool)
    setup_ns = clock.now_ns() - began
    try:
        batch = job.point.number("batch", 1)
        found = drive(session, batch=batch, plan=job.plan, clock=clock, setup_ns=setup_ns, watch=watch)
        if job.recheck is not None or job.repeats:
            drain(session, 0 if found.load.is_open else found.in_flight)
        if job.recheck is not None:
            check_again(job, job.recheck, session)
        if job.repeats:
            found = replace(found, repeats=repeats(job, session, clock))
        return found
    finally:
        session.close()


def check_again(job: MeasureJob, recheck: Recheck, session: Answering) -> None:
    """What was timed must also be right (after MLPerf's TEST01): one input set, answered by the timed session.

    Nothing may be outstanding.
    """
    batch = job.point.number("batch", 1)
    sets = make_inputs(job.model, job.feed, batch, recheck.number + 1)
    ours = session.answer(sets[recheck.number])
    with np.load(recheck.reference) as stored:
        end = f".{recheck.number}"
        theirs = {name.removesuffix(end): stored[name] for name in stored.files if name.endswith(end)}

        def others(name: str) -> list[npt.NDArray[np.generic]]:
            kept = (key for key in stored.files if key.rpartition(".")[0] == name)
            return [stored[key] for key in kept if key != f"{name}{end}"]

        wrong = distance(ours, theirs, recheck.floor, batch=batch, labels=job.model.labels, others=others)
    if wrong:
        raise CandidateFailed(Failed(stage="verify", kind="output", message=f"after timing, {wrong}"))


def repeats(job: MeasureJob, session: Answering, clock: Clock) -> Repeats | None:
    """Answers to one input again and again, and to inputs that the window did not hold. Nothing may be outstanding.

    Nothing is told where inputs are so large that there is no room for enough of them.
    """
    count, seen = _sets(job, 1 + job.repeats), _sets(job, _POOL)
    if count <= LEAST:
        return None
    fresh = make_inputs(job.model, job.feed, job.point.number("batch", 1), seen + count)[seen:]
    return time_repeats(session, fresh, clock)


def save_outputs(job: InferJob, run: Callable[[Arrays], Mapping[str, npt.NDArray[np.generic]]]) -> Saved:
    """Run ``count`` input sets at the point's batch and save outputs as ``<output>.<i>`` in one ``.npz``."""
    sets = make_inputs(job.model, job.feed, job.point.number("batch", 1), job.count)
    outputs: dict[str, npt.NDArray[np.generic]] = {}
    for i, inputs in enumerate(sets):
        outputs.update({f"{name}.{i}": array for name, array in run(inputs).items()})
    np.savez(job.into, allow_pickle=False, **outputs)
    if job.again:
        np.savez(job.again, allow_pickle=False, **{f"{name}.0": array for name, array in run(sets[0]).items()})
    return Saved(files=(job.into,), facts=facts(outputs=len(outputs)))
