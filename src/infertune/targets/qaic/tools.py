"""The vendor's command lines: pure functions of a point. Only what a point sets is passed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from infertune.core.records import Model
from infertune.core.space import AUTO, Point
from infertune.targets.qaic.knobs import DEFAULT, F16, NONE, QUANTISED, clusters
from infertune.targets.qaic.sdk import Sdk

FILES = {
    "quantisation_file": "-load-profile",
    "external_quantisation_file": "-external-quantization",
    "mixed_precision_file": "-node-precision-info",
}
"""Knobs whose value is a file -> the compiler's flag."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Latency profile of a run: written into ``folder``, from each activation's request number ``start`` on."""

    folder: str
    start: int = 100
    samples: int = 99999


def query_argv(sdk: Sdk, qid: int | None = None) -> list[str]:
    return [sdk.query, "-q", *([] if qid is None else ["-d", str(qid)])]


def compile_argv(sdk: Sdk, model: Model, point: Point, into: str) -> list[str]:
    """Compile ``model`` for ``point`` into the folder ``into``, which must be empty or not there yet."""
    batch = point.number("batch", 1)
    return [
        sdk.compiler,
        "-v",
        "-aic-hw",
        *(["-convert-to-fp16"] if point.get("precision", F16) == F16 else []),
        *_splits(point),
        f"-aic-num-cores={point.number('cores', 1)}",
        f"-m={model.path}",
        *_symbols(model, batch),
        *(["-multicast-weights"] if point.get("multicast_weights", "on") == "on" else []),
        *_options(point),
        f"-stats-batchsize={batch}",
        f"-aic-binary-dir={into}",
        f"-aic-hw-version={sdk.hardware}",
        "-compile-only",
    ]


def _splits(point: Point) -> Iterator[str]:
    parts = clusters(str(point.get("sdp_cluster_sizes", NONE)))
    named = any(split for _, split in parts)
    mos, ols = point.number("mos"), point.number("ols")
    if named:
        yield "-mos=" + ",".join(str(split or 1) for _, split in parts)
    elif mos != AUTO:
        yield f"-mos={mos}"
    if ols != AUTO:
        yield f"-ols={ols}"


def _symbols(model: Model, batch: int) -> Iterator[str]:
    for symbol, value in model.shapes:
        yield f"-onnx-define-symbol={symbol},{value}"
    if model.batch_symbol is not None:
        yield f"-onnx-define-symbol={model.batch_symbol},{batch}"
    elif batch != model.fixed_batch:
        yield f"-batchsize={batch}"


def _options(point: Point) -> Iterator[str]:
    yield from _memory(point)
    if (dma := point.get("producer_dma", DEFAULT)) != DEFAULT:
        yield f"-use-producer-dma={int(dma == 'on')}"
    if point.get("device_processing", DEFAULT) == "on":
        yield "-aic-preproc"
    if parts := clusters(str(point.get("sdp_cluster_sizes", NONE))):
        yield "-sdp-cluster-sizes=" + ",".join(str(size) for size, _ in parts)
    for knob, flag in (("combine_inputs", "-combine-inputs"), ("combine_outputs", "-combine-outputs")):
        if (value := point.get(knob, DEFAULT)) != DEFAULT:
            yield f"{flag}={'true' if value == 'on' else 'false'}"
    yield from _files(point)


def _memory(point: Point) -> Iterator[str]:
    for knob, flag in (("dealloc_delay", "-allocator-dealloc-delay"), ("split_size", "-size-split-granularity")):
        if (value := point.number(knob)) != AUTO:
            yield f"{flag}={value}"
    if (percent := point.number("vtcm_ratio")) != AUTO:
        yield f"-vtcm-working-set-limit-ratio={percent / 100:g}"
    if (mebibytes := point.number("depth_first_mem")) != AUTO:
        yield "-aic-enable-depth-first"
        yield from [f"-aic-depth-first-mem={mebibytes}"] if mebibytes > 1 else []


def _files(point: Point) -> Iterator[str]:
    if (quantised := QUANTISED.get(str(point.get("precision", F16)))) is not None:
        yield f"-quantization-precision={quantised}"
    for knob, flag in FILES.items():
        if (value := str(point.get(knob, NONE))) != NONE:
            yield f"{flag}={named_file(value)[0]}"
    if (nodes := str(point.get("fp16_nodes", NONE))) != NONE:
        yield f"-execute-nodes-in-fp16={nodes}"


def named_file(value: str) -> tuple[str, str]:
    """(path, first digits of its SHA-256) of a knob's ``PATH@DIGEST``."""
    path, _, digest = value.rpartition("@")
    return path, digest


def run_argv(
    sdk: Sdk,
    program: str,
    qid: int,
    point: Point,
    seconds: int,
    profile: Profile | None = None,
    inputs: Sequence[str] = (),
) -> list[str]:
    """Run the compiled folder ``program`` on card ``qid`` for ``seconds``, with the point's instances and set size.

    ``inputs``: a raw file for each of the model's inputs, in its order; random ones without.
    """
    return [
        sdk.runner,
        "--test-data",
        program,
        "-d",
        str(qid),
        "-S",
        str(point.number("set_size", 1)),
        "-a",
        str(point.number("instances", 1)),
        *(word for path in inputs for word in ("-i", path)),
        *([] if profile is None else _profiling(profile)),
        "--time",
        str(seconds),
    ]


def _profiling(profile: Profile) -> list[str]:
    return [
        "--aic-profiling-type",
        "latency",
        "--aic-profiling-out-dir",
        profile.folder,
        "--aic-profiling-start-iter",
        str(profile.start),
        "--aic-profiling-num-samples",
        str(profile.samples),
    ]


def infer_argv(sdk: Sdk, program: str, qid: int, inputs: Sequence[str], into: str) -> list[str]:
    """Run one request on the raw files ``inputs`` (in the model's order) and have its outputs written to ``into``."""
    given = [word for path in inputs for word in ("-i", path)]
    one = ["-a", "1", "-S", "1", "-n", "1"]
    return [sdk.runner, "--test-data", program, "-d", str(qid), *one, *given, "--write-output-dir", into]
