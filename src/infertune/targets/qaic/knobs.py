"""Every knob and rule of a Cloud AI 100 card, once. Values left at 0 or `default` are not passed to the tools."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from infertune.core.goal import Goal, latency_percent
from infertune.core.records import Device, Model
from infertune.core.space import AUTO, Baseline, IntRange, Knob, Point, Rule, Space, TextForm, Value

PROGRAM_FILE = "programqpc.bin"
DEFAULT = "default"
NONE = "none"
F16 = "f16"
VENDOR_SET_SIZE = 10  # what qaic-runner takes when it is not told

BATCHES = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16)
LARGEST_BATCH = 4096
SPLITS = (1, 2, 4, 8)
OVERLAPS = (1, 2, 3, 4)
LARGEST_OVERLAP = 64
SET_SIZES = (1, 2, 3, 4, VENDOR_SET_SIZE)
LARGEST_SET_SIZE = 256
DEPTHS = (8, 16, 32)  # MiB for depth-first scheduling: both ends of what the compiler takes, and its middle
QUANTISED = {"int8": "Int8", "int16": "Int16"}
_EXACT_UNITS = 8  # every count of cores or instances up to here is searched, beyond it the even ones
_SEED_CORES = (1, 2, 4, 7, 14)  # the starts of the vendor's samples
_QUICK_CUTS = ((8, 8), (8, 1))
"""(cores, mos) of the vendor's published results for a single stream: of BERT, and of ResNet-50 and RetinaNet."""

_CLUSTERS = TextForm(
    pattern=rf"{NONE}|[1-9]\d*(:[1-9]\d*)?(\+[1-9]\d*(:[1-9]\d*)?)+",
    shown="none, or NSPs per cluster such as 7+7, or with an output split each such as 7:1+7:7",
)
_NODES = TextForm(pattern=rf"{NONE}|[^,\s]+(,[^,\s]+)*", shown="none, or operations such as Softmax,Erf")
_FILE = TextForm(
    pattern=rf"{NONE}|.+@[0-9a-f]{{12}}",
    shown="none, or PATH@DIGEST with the first 12 hex digits of the file's SHA-256",
)


def unit_values(units: int) -> tuple[int, ...]:
    """How many of ``units`` NSPs are worth trying: all counts up to eight, then the even ones, and all of them."""
    return tuple(n for n in range(1, units + 1) if n <= _EXACT_UNITS or n % 2 == 0 or n == units)


def _layout(units: int) -> tuple[Knob, ...]:
    values = unit_values(units)
    return (
        Knob(
            name="cores",
            stage="build",
            default=1,
            values=values,
            allowed=IntRange(low=1, high=units),
            doc="NSPs (AI compute cores) that one instance is compiled for.",
            spelling="qaic-compile -aic-num-cores",
        ),
        Knob(
            name="instances",
            stage="run",
            default=1,
            values=values,
            allowed=IntRange(low=1, high=units),
            doc="Activations: copies of the program that run side by side on the card.",
            spelling="qaic-runner -a",
        ),
        Knob(
            name="set_size",
            stage="run",
            default=VENDOR_SET_SIZE,
            values=SET_SIZES,
            allowed=IntRange(low=1, high=LARGEST_SET_SIZE),
            doc="Requests queued per instance: hides the host's work, and adds to latency. in_flight is instances x "
            "set_size.",
            spelling="qaic-runner -S",
        ),
    )


def _splitting(units: int) -> tuple[Knob, ...]:
    return (
        Knob(
            name="mos",
            stage="build",
            default=AUTO,
            values=tuple(n for n in SPLITS if n <= units),
            allowed=IntRange(low=AUTO, high=units),
            doc="Output channels (and their weights) are split over at most this many cores; 0: as the compiler likes.",
            spelling="qaic-compile -mos",
        ),
        Knob(
            name="ols",
            stage="build",
            default=AUTO,
            values=OVERLAPS,
            allowed=IntRange(low=AUTO, high=LARGEST_OVERLAP),
            doc="Overlap split: operations are cut finer so that tensor and vector units work at once; 0: as the "
            "compiler likes.",
            spelling="qaic-compile -ols",
        ),
    )


def batch_knob(model: Model) -> Knob:
    """Any batch, not only powers of two, where the model leaves it open; compiled into the program."""
    free = model.batch_symbol is not None
    fixed = model.fixed_batch
    return Knob(
        name="batch",
        stage="build",
        default=1 if free else fixed,
        values=BATCHES if free else (fixed,),
        allowed=IntRange(low=1, high=LARGEST_BATCH) if free else (fixed,),
        doc="Samples in one request.",
        spelling="qaic-compile -onnx-define-symbol=SYMBOL,N -stats-batchsize=N",
    )


Allowed = tuple[Value, ...] | IntRange | TextForm


def _option(name: str, doc: str, spelling: str, allowed: Allowed, default: Value) -> Knob:
    """A build option that is searched only when somebody names its values."""
    return Knob(
        name=name, stage="build", default=default, values=(default,), allowed=allowed, doc=doc, spelling=spelling
    )


def _arithmetic() -> tuple[Knob, ...]:
    return (
        _option(
            "precision",
            "Arithmetic of floating-point operations. int8 and int16 need a quantisation profile.",
            "qaic-compile -convert-to-fp16, or -quantization-precision=Int8",
            (F16, "f32", *QUANTISED),
            F16,
        ),
        _option(
            "mixed_precision_file",
            "Which operations run in which precision (YAML).",
            "qaic-compile -node-precision-info",
            _FILE,
            NONE,
        ),
        _option("quantisation_file", "Profile of value ranges for int8.", "qaic-compile -load-profile", _FILE, NONE),
        _option(
            "external_quantisation_file",
            "Profile of value ranges that another tool made.",
            "qaic-compile -external-quantization",
            _FILE,
            NONE,
        ),
        _option("fp16_nodes", "Operations that run in float16.", "qaic-compile -execute-nodes-in-fp16", _NODES, NONE),
    )


def _memory() -> tuple[Knob, ...]:
    return (
        _option(
            "multicast_weights",
            "Read shared weights from DDR once and send them to all cores of the instance. Off in the compiler unless "
            "asked for; on here, as in every command of the vendor's tuning notebooks.",
            "qaic-compile -multicast-weights",
            ("on", "off"),
            "on",
        ),
        _option(
            "dealloc_delay",
            "Buffers live longer, which cuts false dependencies; 0 leaves it to the compiler.",
            "qaic-compile -allocator-dealloc-delay",
            IntRange(low=0, high=64),
            AUTO,
        ),
        _option(
            "split_size",
            "KiB of the largest tile of an operation that does not fit into fast memory, 512 to 2048; 0: as the "
            "compiler likes.",
            "qaic-compile -size-split-granularity",
            IntRange(low=0, high=2048),
            AUTO,
        ),
        _option(
            "vtcm_ratio",
            "Percent of fast memory that one instruction may use (the compiler takes a ratio); 0: no limit.",
            "qaic-compile -vtcm-working-set-limit-ratio",
            IntRange(low=0, high=100),
            AUTO,
        ),
        _option(
            "depth_first_mem",
            "MiB for depth-first scheduling, 8 to 32; 1 turns it on with the compiler's own amount, 0 leaves it off.",
            "qaic-compile -aic-enable-depth-first -aic-depth-first-mem",
            IntRange(low=0, high=32),
            AUTO,
        ),
    )


def _scheduling() -> tuple[Knob, ...]:
    return (
        _option(
            "producer_dma",
            "Start transfers from the thread that made the data.",
            "qaic-compile -use-producer-dma",
            (DEFAULT, "on", "off"),
            DEFAULT,
        ),
        _option(
            "sdp_cluster_sizes",
            "Cut an instance's cores into a pipeline of clusters, optionally with an output split (mos) for each.",
            "qaic-compile -sdp-cluster-sizes",
            _CLUSTERS,
            NONE,
        ),
        _option(
            "device_processing",
            "Transform inputs and outputs on the card instead of on the host.",
            "qaic-compile -aic-preproc",
            (DEFAULT, "on"),
            DEFAULT,
        ),
        _option(
            "combine_inputs",
            "Send all inputs in one transfer.",
            "qaic-compile -combine-inputs",
            (DEFAULT, "on", "off"),
            DEFAULT,
        ),
        _option(
            "combine_outputs",
            "Fetch all outputs in one transfer.",
            "qaic-compile -combine-outputs",
            (DEFAULT, "on", "off"),
            DEFAULT,
        ),
    )


def knobs(model: Model, units: int) -> tuple[Knob, ...]:
    return (
        *_layout(units),
        *_splitting(units),
        batch_knob(model),
        *_arithmetic(),
        *_memory(),
        *_scheduling(),
    )


def clusters(text: str) -> tuple[tuple[int, int], ...]:
    """(NSPs, output split or 0) of every cluster of ``7:1+7:7``; none for ``none``."""
    if text == NONE:
        return ()
    pairs = (part.partition(":") for part in text.split("+"))
    return tuple((int(size), int(split or 0)) for size, _, split in pairs)


def _number(values: Mapping[str, Value], knob: str) -> int:
    value = values[knob]
    assert isinstance(value, int)
    return value


def _profiles(values: Mapping[str, Value]) -> int:
    return sum(values[knob] != NONE for knob in ("quantisation_file", "external_quantisation_file"))


def _clusters_fit(values: Mapping[str, Value]) -> bool:
    parts = clusters(str(values["sdp_cluster_sizes"]))
    whole = sum(size for size, _ in parts) == values["cores"] and all(split <= size for size, split in parts)
    named = any(split for _, split in parts)
    return not parts or (whole and (values["mos"] == AUTO or not named))


def rules(units: int) -> tuple[Rule, ...]:
    return (
        Rule(
            reason=f"cores x instances must not exceed the card's {units} NSPs",
            holds=lambda v: _number(v, "cores") * _number(v, "instances") <= units,
        ),
        Rule(reason="mos must not exceed cores", holds=lambda v: _number(v, "mos") <= _number(v, "cores")),
        Rule(
            reason="split_size is 0 or 512 to 2048 KiB",
            holds=lambda v: v["split_size"] == AUTO or _number(v, "split_size") >= 512,
        ),
        Rule(
            reason="depth_first_mem is 0, 1 or 8 to 32 MiB",
            holds=lambda v: v["depth_first_mem"] in (0, 1) or _number(v, "depth_first_mem") >= 8,
        ),
        Rule(
            reason="sdp_cluster_sizes must add up to cores; splits named there fit their size, and mos is 0",
            holds=_clusters_fit,
        ),
        Rule(
            reason="single-device partitioning and depth-first scheduling exclude each other",
            holds=lambda v: v["sdp_cluster_sizes"] == NONE or v["depth_first_mem"] == AUTO,
        ),
        Rule(
            reason="int8 and int16 need one quantisation profile, and nothing else takes one",
            holds=lambda v: (v["precision"] in QUANTISED) == (_profiles(v) == 1) and _profiles(v) <= 1,
        ),
    )


def _vendor_default(goal: Goal) -> tuple[str, dict[str, Value]]:
    """What the vendor's own script for language models takes for a model that it does not know."""
    if goal.maximise:
        return "vendor throughput default", {"batch": 8, "cores": 2, "instances": 7, "set_size": 4}
    return "vendor latency default", {"batch": 1, "cores": 12, "instances": 1, "set_size": 1}


def _seeds(bare: Space, goal: Goal, units: int, batches: tuple[int, ...]) -> tuple[Point, ...]:
    """The vendor's starts: the whole card cut into equal instances for throughput, one instance for latency.

    For latency also what it published of single streams: the starts of its samples never split output channels.
    Where a latency is asked for or limited nothing queues, as a queued request waits for the one before it.
    """
    if not goal.maximise:
        cuts = [(cores, mos) for cores, mos in (*((n, 1) for n in _SEED_CORES), *_QUICK_CUTS) if cores <= units]
        return tuple(bare.point(cores=n, mos=m, ols=1, instances=1, set_size=1, batch=batches[0]) for n, m in cuts)
    timed = any(latency_percent(name) is not None for name in (*goal.metrics, *(limit.metric for limit in goal.limits)))
    queued = 1 if timed else 2
    return tuple(
        bare.point(cores=cores, mos=1, ols=1, instances=units // cores, set_size=queued, batch=batch)
        for batch in reversed(batches)
        for cores in sorted((n for n in _SEED_CORES if n <= units), key=lambda n: abs(n - 2))
    )


def space_for(model: Model, device: Device, goal: Goal) -> Space:
    """The space of one card; its NSPs come from the card itself."""
    units = device.units
    bare = Space(target="qaic", device=device.name, knobs=knobs(model, units), rules=rules(units))
    batches = (1, 8) if model.batch_symbol is not None else (model.fixed_batch,)
    name, values = _vendor_default(goal)
    if model.batch_symbol is None:
        values = {**values, "batch": model.fixed_batch}
    start = bare.point(**values)
    return replace(
        bare,
        seeds=_seeds(bare, goal, units, batches),
        baselines=(Baseline(name=name, point=start),) if bare.why_illegal(start) is None else (),
        whole_samples=True,
    )
