"""Every knob and rule of ONNX Runtime on a CPU, once."""

from __future__ import annotations

from infertune.core.records import Device, Model
from infertune.core.space import AUTO, Baseline, Knob, Point, Rule, Space, Value
from infertune.targets.cpu import EXPLICIT, batch_knob, diagonal, layout_knobs, layout_rules, only_explicit
from infertune.targets.int8 import INT8, can_quantise, is_convolutional, quantisation_knob, quantisation_rules

SEED_BATCHES = (1, 8)
MODEL_FILE = "model.onnx"
DYNAMIC, STATIC = "dynamic", "static"
WAYS = (DYNAMIC, STATIC)
ORIGINAL = "default"  # the preset that loads the model exactly as a person would


def ways(model: Model) -> tuple[str, ...]:
    """What suits the model by the runtime's own advice: static for convolutions, dynamic for everything else."""
    if not can_quantise(model):
        return ()
    return (STATIC,) if is_convolutional(model) else (DYNAMIC,)


def knobs(model: Model, device: Device) -> tuple[Knob, ...]:
    return (
        Knob(
            name="preset",
            stage="run",
            default=EXPLICIT,
            values=(EXPLICIT, ORIGINAL),
            allowed=(EXPLICIT, ORIGINAL),
            doc="`default` leaves every thread setting to ONNX Runtime: what `InferenceSession(path)` gives.",
            spelling="SessionOptions()",
        ),
        Knob(
            name="optimisation",
            stage="build",
            default="all",
            values=("all",),
            allowed=("all", "extended", "basic", "off"),
            doc="Graph optimisations applied when the model is built.",
            spelling="SessionOptions.graph_optimization_level",
        ),
        Knob(
            name="precision",
            stage="run",
            default="f32",
            values=(INT8, "f32") if ways(model) else ("f32",),
            allowed=(INT8, "f32"),
            doc="`f32`: arithmetic of the model as exported, which this runtime does not change on a CPU.",
            spelling="the model's own types",
        ),
        quantisation_knob(
            WAYS,
            ways(model),
            (STATIC,),
            doc="int8 by ONNX Runtime's tools: `dynamic` finds the ranges of activations anew in every request, "
            "`static` was calibrated on `--inputs` or seeded ones.",
            spelling="onnxruntime.quantization",
        ),
        batch_knob(model),
        *layout_knobs(
            device.units,
            cores="SessionOptions.intra_op_num_threads",
            instances="InferenceSession objects, or callers of one (see weights)",
        ),
        Knob(
            name="weights",
            stage="run",
            default="separate",
            values=("separate", "shared") if device.units > 1 else ("separate",),
            allowed=("separate", "shared"),
            doc="`shared`: instances are concurrent callers of one session, so weights and their prepacked copies "
            "exist once; `separate`: one session each.",
            spelling="one InferenceSession with several callers of run()",
        ),
        Knob(
            name="spinning",
            stage="run",
            default="on",
            values=("on", "off"),
            allowed=("on", "off"),
            doc="Idle threads spin for new work instead of sleeping; costs CPU, and hurts when instances share cores.",
            spelling="session.intra_op.allow_spinning",
        ),
        Knob(
            name="execution_mode",
            stage="run",
            default="sequential",
            values=("sequential",),
            allowed=("sequential", "parallel"),
            doc="`parallel` runs independent operators of one request at the same time.",
            spelling="SessionOptions.execution_mode",
        ),
        Knob(
            name="memory_pattern",
            stage="run",
            default="on",
            values=("on",),
            allowed=("on", "off"),
            doc="Plan activation memory once per input shape.",
            spelling="SessionOptions.enable_mem_pattern",
        ),
        Knob(
            name="arena",
            stage="run",
            default="on",
            values=("on",),
            allowed=("on", "off"),
            doc="Keep activation memory between requests.",
            spelling="SessionOptions.enable_cpu_mem_arena",
        ),
        Knob(
            name="prepacking",
            stage="run",
            default="on",
            values=("on",),
            allowed=("on", "off"),
            doc="Keep a copy of weights in the layout that the kernels want: faster, more memory.",
            spelling="session.disable_prepacking",
        ),
        Knob(
            name="denormals",
            stage="run",
            default="keep",
            values=("keep",),
            allowed=("keep", "zero"),
            doc="Treat denormal floats as zero.",
            spelling="session.set_denormal_as_zero",
        ),
    )


def rules(units: int) -> tuple[Rule, ...]:
    return (
        *layout_rules(units),
        *quantisation_rules(),
        only_explicit("precision", "f32"),
        Rule(
            reason="weights can only be shared between several instances",
            holds=lambda v: v["weights"] == "separate" or (isinstance(v["instances"], int) and v["instances"] > 1),
        ),
        Rule(
            reason="spinning needs more than one thread per instance",
            holds=lambda v: v["spinning"] == "on" or v["cores"] != 1,
        ),
        only_explicit("spinning", "on"),
        only_explicit("execution_mode", "sequential"),
        only_explicit("memory_pattern", "on"),
        only_explicit("arena", "on"),
        only_explicit("prepacking", "on"),
        only_explicit("denormals", "keep"),
    )


def space_for(model: Model, device: Device) -> Space:
    """The space, with seeds on the cores x instances = CPUs diagonal and the runtime's default as baseline."""
    bare = Space(target="onnxruntime", device=device.name, knobs=knobs(model, device), rules=rules(device.units))
    batches = SEED_BATCHES if model.batch_symbol is not None else (model.fixed_batch,)
    kinds: list[dict[str, Value]] = [{}]
    kinds += [{"precision": INT8, "quantisation": way} for way in ways(model)]
    seeds: list[Point] = [
        bare.point(**kind, batch=batch, cores=cores, instances=instances, set_size=1)
        for kind in kinds
        for batch in batches
        for cores, instances in diagonal(device.units)
    ]
    default = bare.point(preset=ORIGINAL, batch=batches[0], cores=AUTO, instances=AUTO, set_size=AUTO)
    return Space(
        target=bare.target,
        device=bare.device,
        knobs=bare.knobs,
        rules=bare.rules,
        seeds=tuple(seeds),
        baselines=(Baseline(name="onnxruntime default", point=default),),
    )
