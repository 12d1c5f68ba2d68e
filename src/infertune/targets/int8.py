"""int8 on a CPU: the knob that says how an artifact was quantised, its rules, and what a refusal means.

``precision`` is the word for people and costs nothing to change at run time; ``quantisation`` is what has to be built.
They go together: int8 exactly when quantised, so f32, bf16 and the runtime's own precision share one artifact.
"""

from __future__ import annotations

from collections.abc import Mapping

from infertune.core.records import Failed, Model
from infertune.core.seams import CandidateFailed
from infertune.core.space import Knob, Rule, Value

INT8 = "int8"
NONE = "none"
PRECISION, QUANTISATION = "precision", "quantisation"


def quantisation_knob(
    offered: tuple[str, ...], searched: tuple[str, ...], calibrated: tuple[str, ...], *, doc: str, spelling: str
) -> Knob:
    """``offered`` ways besides none, ``searched`` those of them that suit the model."""
    return Knob(
        name=QUANTISATION,
        stage="build",
        default=NONE,
        values=(NONE, *(way for way in offered if way in searched)),
        allowed=(NONE, *offered),
        doc=doc,
        spelling=spelling,
        calibrated=tuple(way for way in offered if way in calibrated),
    )


def _belongs(values: Mapping[str, Value]) -> bool:
    return (values[PRECISION] == INT8) == (values[QUANTISATION] != NONE)


def quantisation_rules() -> tuple[Rule, ...]:
    return (Rule(reason="precision is int8 exactly when the model is quantised", holds=_belongs),)


def is_convolutional(model: Model) -> bool:
    """Attention decides: the convolution that cuts an image into patches does not make a network convolutional."""
    return "convolution" in model.traits and "attention" not in model.traits


def can_quantise(model: Model) -> bool:
    """Whether there is floating-point arithmetic to quantise, and nobody did it before."""
    return "quantised" not in model.traits and bool({"matmul", "convolution", "attention"} & set(model.traits))


def refused(tool: str, why: str) -> CandidateFailed:
    """A model that a quantiser cannot take is a fact about the candidate."""
    return CandidateFailed(Failed(stage="build", kind="compiler", message=f"{tool} cannot quantise the model: {why}"))
