"""Every knob and rule of OpenVINO on a CPU, once."""

from __future__ import annotations

from collections.abc import Mapping

from infertune.core.records import Device, Model
from infertune.core.space import AUTO, Baseline, Knob, Point, Rule, Space, Value
from infertune.targets.cpu import EXPLICIT, batch_knob, diagonal, layout_knobs, layout_rules, only_explicit
from infertune.targets.int8 import INT8, can_quantise, quantisation_knob, quantisation_rules

MODEL_FILE = "model.xml"
SEED_BATCHES = (1, 8)
RUNTIME = "runtime"  # precision left to OpenVINO, as its presets do
FASTEST_FIRST = ("bf16", "f16", "f32")
TRANSFORMER, CONVOLUTION = "transformer", "convolution"
WAYS = (TRANSFORMER, CONVOLUTION)

PRESETS: Mapping[str, str | None] = {EXPLICIT: None, "default": None, "latency": "LATENCY", "throughput": "THROUGHPUT"}
"""Value of ``preset`` -> OpenVINO's PERFORMANCE_HINT."""

BASELINES = {
    "openvino default": "default",
    "openvino throughput hint": "throughput",
    "openvino latency hint": "latency",
}


def _switch(
    name: str,
    default: str,
    searched: tuple[str, ...],
    doc: str,
    spelling: str,
    allowed: tuple[str, ...] = ("off", "on"),
) -> Knob:
    return Knob(name=name, stage="run", default=default, values=searched, allowed=allowed, doc=doc, spelling=spelling)


def precisions(device: Device) -> tuple[str, ...]:
    """What the CPU computes in, the usually fastest first."""
    return tuple(p for p in FASTEST_FIRST if p in device.precisions)


def ways(model: Model, device: Device) -> tuple[str, ...]:
    """Ways of quantising that suit the model, where NNCF is here to do it."""
    if INT8 not in device.precisions or not can_quantise(model):
        return ()
    return (TRANSFORMER,) if "attention" in model.traits else (CONVOLUTION,)


def knobs(model: Model, device: Device) -> tuple[Knob, ...]:
    kinds = precisions(device)
    int8 = (INT8,) if INT8 in device.precisions else ()
    suited = ways(model, device)
    has_smt = dict(device.facts).get("smt") == "yes"
    return (
        Knob(
            name="preset",
            stage="run",
            default=EXPLICIT,
            values=tuple(PRESETS),
            allowed=tuple(PRESETS),
            doc="`latency` and `throughput` are OpenVINO's own hints, `default` sets nothing at all.",
            spelling="PERFORMANCE_HINT",
        ),
        Knob(
            name="precision",
            stage="run",
            default="f32",
            values=(*(int8 if suited else ()), *kinds, RUNTIME),
            allowed=(*int8, *kinds, RUNTIME),
            doc="Arithmetic inside the model. Only what this CPU has instructions for; `runtime` under a preset. "
            "What int8 leaves in floating point is OpenVINO's choice.",
            spelling="INFERENCE_PRECISION_HINT",
        ),
        quantisation_knob(
            WAYS if int8 else (),
            suited,
            WAYS,
            doc="Post-training int8 by NNCF, calibrated on `--inputs` or seeded ones: `transformer` evens out "
            "activations first (SmoothQuant), `convolution` suits everything else.",
            spelling="nncf.quantize(model_type)",
        ),
        batch_knob(model),
        *layout_knobs(device.units, cores="INFERENCE_NUM_THREADS / NUM_STREAMS", instances="NUM_STREAMS"),
        _switch(
            "pinning",
            "off",
            ("off", "on"),
            "Tie each stream's threads to their own cores.",
            "ENABLE_CPU_PINNING",
        ),
        _switch(
            "hyper_threading",
            "on",
            ("on", "off") if has_smt else ("on",),
            "Use both hardware threads of a core.",
            "ENABLE_HYPER_THREADING",
            ("on", "off") if has_smt else ("on",),
        ),
        Knob(
            name="execution_mode",
            stage="run",
            default="performance",
            values=("performance",),
            allowed=("performance", "accuracy"),
            doc="`accuracy` forbids every shortcut that may change results.",
            spelling="EXECUTION_MODE_HINT",
        ),
        Knob(
            name="denormals",
            stage="run",
            default="keep",
            values=("keep",),
            allowed=("keep", "zero"),
            doc="Treat denormal floats as zero.",
            spelling="CPU_DENORMALS_OPTIMIZATION",
        ),
    )


def _precision_belongs(values: Mapping[str, Value]) -> bool:
    return (values["precision"] == RUNTIME) == (values["preset"] != EXPLICIT)


def rules(units: int) -> tuple[Rule, ...]:
    return (
        *layout_rules(units),
        *quantisation_rules(),
        Rule(reason="precision is set exactly when preset is explicit", holds=_precision_belongs),
        only_explicit("pinning", "off"),
        only_explicit("hyper_threading", "on"),
        only_explicit("execution_mode", "performance"),
        only_explicit("denormals", "keep"),
    )


def space_for(model: Model, device: Device) -> Space:
    """Seeds are on the cores x instances = CPUs diagonal in the fastest precision; OpenVINO's presets are baselines."""
    bare = Space(target="openvino", device=device.name, knobs=knobs(model, device), rules=rules(device.units))
    batches = SEED_BATCHES if model.batch_symbol is not None else (model.fixed_batch,)
    kinds: list[dict[str, Value]] = [{"precision": precisions(device)[0]}]
    kinds += [{"precision": INT8, "quantisation": way} for way in ways(model, device)]
    seeds: list[Point] = [
        bare.point(**kind, batch=batch, cores=cores, instances=instances, set_size=1)
        for kind in kinds
        for batch in batches
        for cores, instances in diagonal(device.units)
    ]
    left = {"cores": AUTO, "instances": AUTO, "set_size": AUTO}
    baselines = tuple(
        Baseline(name=name, point=bare.point(preset=preset, precision=RUNTIME, batch=batches[0], **left))
        for name, preset in BASELINES.items()
    )
    return Space(
        target=bare.target,
        device=bare.device,
        knobs=bare.knobs,
        rules=bare.rules,
        seeds=tuple(seeds),
        baselines=baselines,
    )
