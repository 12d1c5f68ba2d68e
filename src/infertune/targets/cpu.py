"""What every target on the host's CPU shares: the common knobs, their rule, and their analytic seeds."""

from __future__ import annotations

from collections.abc import Mapping

from infertune.core.records import Model
from infertune.core.space import AUTO, IntRange, Knob, Rule, Value

EXPLICIT = "explicit"
BATCHES = (1, 2, 4, 8, 16, 32, 64)
LARGEST_BATCH = 4096
SET_SIZES = (1, 2)
LARGEST_SET_SIZE = 64


def split_values(units: int) -> tuple[int, ...]:
    """Powers of two up to ``units``, ``units`` itself and its halves and thirds: the useful ways to cut a CPU."""
    values = {1, units}
    power = 2
    while power < units:
        values.add(power)
        power *= 2
    values.update(units // part for part in (2, 3) if units % part == 0)
    return tuple(sorted(values))


def batch_knob(model: Model) -> Knob:
    """``batch``: searched over powers of two when the model's batch is free, else the one it was exported with."""
    free = model.batch_symbol is not None
    fixed = model.fixed_batch
    return Knob(
        name="batch",
        stage="run",
        default=1 if free else fixed,
        values=BATCHES if free else (fixed,),
        allowed=IntRange(low=1, high=LARGEST_BATCH) if free else (fixed,),
        doc="Samples in one request.",
        spelling="first dimension of the inputs",
    )


def layout_knobs(units: int, *, cores: str, instances: str) -> tuple[Knob, ...]:
    """``cores``, ``instances`` and ``set_size``; 0 means left to the runtime, as its presets do."""
    values = split_values(units)
    return (
        Knob(
            name="cores",
            stage="run",
            default=AUTO,
            values=(AUTO, *values),
            allowed=IntRange(low=0, high=units),
            doc="Threads that each instance gets; 0 leaves it to the runtime.",
            spelling=cores,
        ),
        Knob(
            name="instances",
            stage="run",
            default=AUTO,
            values=(AUTO, *values),
            allowed=IntRange(low=0, high=units),
            doc="Copies of the model served side by side; 0 leaves it to the runtime.",
            spelling=instances,
        ),
        Knob(
            name="set_size",
            stage="run",
            default=AUTO,
            values=(AUTO, *SET_SIZES),
            allowed=IntRange(low=0, high=LARGEST_SET_SIZE),
            doc="Requests queued per instance; in_flight is instances x set_size. 0 leaves it to the runtime.",
            spelling="requests outstanding",
        ),
    )


def layout_rules(units: int) -> tuple[Rule, ...]:
    """Thread counts are explicit or the runtime's, never half of each, and never more than the CPUs we have."""

    def whole(values: Mapping[str, Value]) -> bool:
        explicit = values["preset"] == EXPLICIT
        return all((values[name] != AUTO) == explicit for name in ("cores", "instances", "set_size"))

    def fits(values: Mapping[str, Value]) -> bool:
        cores, instances = values["cores"], values["instances"]
        return isinstance(cores, int) and isinstance(instances, int) and cores * instances <= units

    return (
        Rule(reason="cores, instances and set_size are set exactly when preset is explicit", holds=whole),
        Rule(reason=f"cores x instances must not exceed the {units} CPUs this process may use", holds=fits),
    )


def only_explicit(knob: str, otherwise: Value) -> Rule:
    """``knob`` keeps its neutral value under the runtime's own presets."""
    return Rule(
        reason=f"{knob} is {otherwise} unless preset is explicit",
        holds=lambda values: values["preset"] == EXPLICIT or values[knob] == otherwise,
    )


def diagonal(units: int) -> tuple[tuple[int, int], ...]:
    """(cores, instances) that use every CPU, from one wide instance to many narrow ones."""
    return tuple((units // n, n) for n in split_values(units) if units % n == 0)
