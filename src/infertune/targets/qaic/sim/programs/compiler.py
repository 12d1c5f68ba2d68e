"""The simulated ``qaic-exec`` and ``qaic-compile``: strict about flags, quick about work, honest about time."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from infertune.core.errors import InfertuneError
from infertune.targets.qaic.knobs import PROGRAM_FILE
from infertune.targets.qaic.sim.forecast import compile_seconds, crowding
from infertune.targets.qaic.sim.programs.container import Program, pack_program
from infertune.targets.qaic.sim.programs.faults import Luck
from infertune.targets.qaic.sim.programs.flags import Line, Misuse, choice, flag, single_dash, usage
from infertune.targets.qaic.sim.programs.networks import Network, Undefined, network
from infertune.targets.qaic.sim.programs.world import Stop, World
from infertune.targets.qaic.sim.setting import Options, Setting

NAME = "qaic-exec"

_SHAPING = (
    flag("-m -model", "text", "the ONNX model"),
    flag("-onnx-define-symbol", "text", "value of a symbol of the model: <symbol>,<value>; repeatable"),
    flag("-batchsize", "whole", "batch of a model that has a fixed one", low=1, high=4096),
    flag("-stats-batchsize", "whole", "batch that rates are counted with", low=1, high=4096),
)
_TARGET = (
    flag("-aic-hw", says="compile for the card; needed"),
    choice("-aic-hw-version", "2.0 ai100", "which hardware"),
    flag("-aic-num-cores", "whole", "NSPs of each instance (default 1)", low=1, high=64),
    flag("-aic-binary-dir", "text", "output folder, without a program in it"),
    flag("-compile-only", says="do not run the program afterwards (it never is here)"),
)
_TUNING = (
    flag("-mos", "text", "cores that output channels are split over at most; one number per cluster"),
    flag("-ols", "whole", "how finely operations are cut to overlap", low=1, high=64),
    flag("-multicast-weights", says="read weights once for all cores"),
    flag("-convert-to-fp16", says="compute in float16; needed"),
    flag("-allocator-dealloc-delay", "whole", "how much longer buffers live", low=0, high=64),
    flag("-size-split-granularity", "whole", "largest tile in KiB", low=512, high=2048),
    flag("-vtcm-working-set-limit-ratio", "number", "share of fast memory for one instruction", low=0, high=1),
    flag("-aic-enable-depth-first", says="schedule depth first"),
    flag("-aic-depth-first-mem", "whole", "MiB for depth-first scheduling", low=8, high=32),
    flag("-sdp-cluster-sizes", "text", "cores of each cluster, one after the other"),
    flag("-use-producer-dma", "truth", "start transfers from the thread that made the data"),
    flag("-combine-inputs", "truth", "fewer buffers for inputs"),
    flag("-combine-outputs", "truth", "fewer buffers for outputs"),
    flag("-execute-nodes-in-fp16", "text", "taken as given: all of them are in float16"),
)
_TELLING = (
    flag("-h -help", says="this text"),
    flag("-u -usage", says="this text"),
    flag("-v -vv -vvv", says="accepted; nothing more is told"),
    choice("-aic-profiling-type", "stats trace latency", "stats and trace: runs are measured on the card, and slower"),
    *(
        flag(name, says="accepted; nothing is told")
        for name in ("-aic-perf-metrics", "-aic-perf-warnings", "-time-passes", "-ddr-stats")
    ),
    flag("-stats-level", "whole", "accepted; nothing is told", low=0, high=100),
)
_WITHOUT_EFFECT = "accepted; changes nothing here"
_HARMLESS = (
    flag("-compile-threads", "whole", _WITHOUT_EFFECT, low=1, high=1024),
    flag("-num-iter", "whole", _WITHOUT_EFFECT, low=1, high=10**9),
    flag("-aic-num-of-instances", "whole", _WITHOUT_EFFECT, low=1, high=64),
    flag("-profiling-threads", "whole", _WITHOUT_EFFECT, low=1, high=1024),
    flag("-io-crc", says=_WITHOUT_EFFECT),
    flag("-io-crc-stride", "whole", _WITHOUT_EFFECT, low=1, high=10**9),
    flag("-host-preproc", says=_WITHOUT_EFFECT),
)
_REFUSED = "not simulated"
_SCHEMAS = "symmetric asymmetric symmetric_with_uint8 symmetric_with_power2_scale"
_NOT_SIMULATED = (
    choice("-quantization-precision", "Int8 Int16", _REFUSED),
    *(
        flag(name, says=_REFUSED)
        for name in (
            "-convert-to-quantize", "-enable-channelwise", "-enable-rowwise", "-aic-preproc", "-d32-spatial-major",
            "-mxfp6-matmul", "-mxint8-kv-cache", "-retained-state", "-split-retained-state-io", "-user-tiled",
        )
    ),
    *(
        flag(name, "text", _REFUSED)
        for name in (
            "-load-profile", "-dump-profile", "-external-quantization", "-use-random-input-data",
            "-node-precision-info", "-keep-original-precision-for-nodes", "-custom-IO-list-file",
            "-register-custom-op", "-mdp-load-partition-config", "-network-specialization-config",
            "-aic-pmu-recipe", "-aic-pmu-events", "-operators-supported",
        )
    ),
    choice("-quantization-precision-bias", "Int8 Int32", _REFUSED),
    *(
        choice(f"-quantization-schema{of}", _SCHEMAS, _REFUSED)
        for of in ("", "-activations", "-constants")
    ),
    choice("-quantization-calibration", "None KLMinimization KLMinimizationV2 Percentile MSE SQNR", _REFUSED),
    flag("-percentile-calibration-value", "number", _REFUSED, low=90, high=100),
    flag("-num-histogram-bins", "whole", _REFUSED, low=1, high=10**6),
    flag("-mdts-mos", "whole", _REFUSED, low=1, high=64),
)  # fmt: skip
FLAGS = (*_SHAPING, *_TARGET, *_TUNING, *_TELLING, *_HARMLESS, *_NOT_SIMULATED)
COMPILER_MIB = 16  # of depth-first memory where the command line names none


def main(world: World, argv: list[str]) -> int:
    """Compile as told; the exit code."""
    line = single_dash(argv, FLAGS, NAME)
    if line.has("-h") or line.has("-u"):
        world.raw(f"USAGE: {NAME} [options]\n\nOPTIONS:\n{usage(FLAGS)}")
        return 0
    _check_line(line, world)
    how = _setting(line, world.settings.kind.nsps)
    found = _read(world, line)
    how = replace(how, batch=found.batch)
    world.say("Compile started ............... ")
    world.say("Compiling model with FP16 precision.")
    seconds = compile_seconds(found.workload, how)
    number = world.tree.count_compile()
    luck = world.luck(cores=how.cores, mos=how.mos, ols=how.ols, batch=how.batch, run=number)
    _misfortune(world, luck)
    with world.tree.compiling() as others:
        seconds *= crowding(others)
        world.wait(seconds)
    _note(world, how, found.digest, seconds)
    into = line.text("-aic-binary-dir")
    if not luck.has("no-program"):
        _write(into, _program(line, found, how, world.settings.release))
    world.say(f"Generated binary is present at {into}")
    return 0


def _check_line(line: Line, world: World) -> None:
    if line.words:
        raise Misuse(f"{NAME}: Too many positional arguments specified!\nCan specify at most 0 positional arguments")
    for name in ("-m", "-aic-binary-dir"):
        if not line.text(name):
            raise Misuse(f"{NAME}: for the {name} option: must be specified at least once!")
    if not line.has("-aic-hw"):
        raise Stop("Error: compiling for the host is not simulated; use -aic-hw")
    beyond = [f.names[0] for f in _NOT_SIMULATED if line.has(f.names[0])]
    if beyond:
        raise Stop(f"Error: {beyond[0]} is not simulated")
    if not line.has("-convert-to-fp16"):
        raise Stop("Error: floating point operations need -convert-to-fp16")
    _check_folder(Path(line.text("-aic-binary-dir")))


def _check_folder(into: Path) -> None:
    if (into / PROGRAM_FILE).exists():
        raise Stop(f"Error: output directory {into} already holds a compiled network")
    if into.exists() and not into.is_dir():
        raise Stop(f"Error: {into} is not a directory")


def _numbers(line: Line, name: str) -> tuple[int, ...]:
    text = line.text(name)
    if not text:
        return ()
    if not all(part.isdecimal() and int(part) > 0 for part in text.split(",")):
        raise Misuse(f"{NAME}: for the {name} option: '{text}' value invalid for integer list argument!")
    return tuple(int(part) for part in text.split(","))


def _setting(line: Line, nsps: int) -> Setting:
    """How to compile; the batch comes from the model."""
    cores, mos = line.whole("-aic-num-cores", 1), _numbers(line, "-mos")
    sizes = _numbers(line, "-sdp-cluster-sizes")
    if cores > nsps:
        raise Stop(f"Error: number of cores {cores} exceeds the {nsps} of the hardware")
    _check_clusters(cores, mos, sizes)
    depth_first = line.has("-aic-enable-depth-first")
    if line.has("-aic-depth-first-mem") and not depth_first:
        raise Stop("Error: -aic-depth-first-mem needs -aic-enable-depth-first")
    if sizes and depth_first:
        raise Stop("Error: depth first is not supported with single device partitioning")
    return Setting(
        cores=cores, batch=1, instances=1, set_size=1, mos=max(mos, default=0), ols=line.whole("-ols", 0),
        multicast=line.has("-multicast-weights"), options=_options(line, max(1, len(sizes))),
    )  # fmt: skip


def _check_clusters(cores: int, mos: tuple[int, ...], sizes: tuple[int, ...]) -> None:
    if sizes and sum(sizes) != cores:
        raise Stop(f"Error: cluster sizes {','.join(map(str, sizes))} do not add up to {cores} cores")
    if len(mos) not in (0, 1, len(sizes)):
        raise Stop("Error: -mos must have one value, or one per cluster")
    if any(split > limit for split, limit in zip(mos, sizes or (cores,), strict=False)):
        raise Stop(f"Error: max output split {max(mos)} exceeds number of cores")


def _options(line: Line, clusters: int) -> Options:
    depth_first = line.whole("-aic-depth-first-mem", COMPILER_MIB) if line.has("-aic-enable-depth-first") else 0
    return Options(
        dealloc_delay=line.whole("-allocator-dealloc-delay", 0),
        split_kib=line.whole("-size-split-granularity", 0),
        vtcm_percent=round(100 * line.number("-vtcm-working-set-limit-ratio", 0.0)),
        depth_first_mib=depth_first,
        producer_dma=_truth(line, "-use-producer-dma"),
        clusters=clusters,
        combine_inputs=_truth(line, "-combine-inputs"),
        combine_outputs=_truth(line, "-combine-outputs"),
    )


def _truth(line: Line, name: str) -> bool | None:
    return line.truth(name, "") if line.has(name) else None


def _symbols(line: Line) -> dict[str, int]:
    found: dict[str, int] = {}
    for text in line.texts("-onnx-define-symbol"):
        name, comma, value = text.rpartition(",")
        if not comma or not name or not value.isdecimal() or int(value) < 1:
            raise Misuse(f"{NAME}: for the -onnx-define-symbol option: '{text}' is not <symbol>,<value>")
        found[name] = int(value)
    return found


def _read(world: World, line: Line) -> Network:
    path = line.text("-m")
    if not os.path.isfile(path):
        raise Stop(f"Error: model file {path} does not exist")
    world.say(f"Reading ONNX Model from {path}")
    rebatched = line.whole("-batchsize", 0) or None
    try:
        found = network(world.tree, path, _symbols(line), rebatched)
    except Undefined as undefined:
        raise Stop(f"Error: {undefined}") from None
    except InfertuneError as error:
        raise Stop(f"Error: cannot load model: {error.message}") from None
    room = world.settings.kind.dram_mb << 20
    if found.workload.peak_bytes * found.batch + found.workload.weight_bytes > room:
        raise Stop("Error: Out of device memory: the network does not fit into DRAM")
    return found


def _misfortune(world: World, luck: Luck) -> None:
    if luck.has("compile-hang"):
        world.hang()
    if luck.has("compile-crash"):
        world.crash()
    if luck.has("compile-failure"):
        raise Stop("Error: compilation failed: unable to schedule network within VTCM constraints")


def _program(line: Line, found: Network, how: Setting, release: str) -> Program:
    return Program(
        model=found.digest,
        name=found.name,
        symbols=tuple(sorted(_symbols(line).items())),
        batch=line.whole("-stats-batchsize", found.batch),
        how=how,
        op_stats=line.text("-aic-profiling-type") in ("stats", "trace"),
        inputs=found.inputs,
        outputs=found.outputs,
        workload=found.workload,
        release=release,
    )


def _write(into: str, program: Program) -> None:
    try:
        os.makedirs(into, exist_ok=True)
        Path(into, PROGRAM_FILE).write_bytes(pack_program(program))
    except OSError as error:
        raise Stop(f"Error: cannot write {into}: {error.strerror}") from None


def _note(world: World, how: Setting, digest: str, seconds: float) -> None:
    world.tree.note(
        tool=NAME, simulated_s=round(seconds, 3), model=digest[:12], cores=how.cores, mos=how.mos, ols=how.ols,
        batch=how.batch,
    )  # fmt: skip
