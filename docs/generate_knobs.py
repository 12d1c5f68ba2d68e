"""Writes docs/knobs.md from every target's knobs: `python docs/generate_knobs.py`. A test checks that it is current.

Knobs are shown for an example machine (8 CPUs with two hardware threads per core, every precision) and an example model
with a free batch, so that the page is the same wherever it is made.
"""

from __future__ import annotations

from pathlib import Path

from infertune.core.goal import parse_goal
from infertune.core.records import Device, Model, TensorSpec, facts
from infertune.core.space import Knob, Space
from infertune.targets import discover

PAGE = Path(__file__).with_name("knobs.md")
_COLUMNS = "| knob | stage | default | searched | allowed | spelled | what it is |"
HEAD = """# Knobs per target

Made from the targets' own definitions by `docs/generate_knobs.py`, for an example machine with 8 CPUs and every
precision. `infertune space MODEL` shows the same for your model on your machine. *Searched* is what `tune` tries by
itself; anything *allowed* can be asked for with `--knob name=values`. A knob of the *build* stage needs a new artifact
for a new value, one of the *run* stage does not.
"""


def example_model() -> Model:
    ids = TensorSpec(name="input_ids", dtype="int64", dims=("batch_size", "sequence_length"), below=1000)
    return Model(
        path="model.onnx",
        digest="0" * 64,
        name="model",
        inputs=(ids,),
        outputs=(),
        batch_symbol="batch_size",
        fixed_batch=1,
        shapes=(("sequence_length", 128),),
        opset=17,
        parameters=1,
        weight_bytes=4,
    )


def example_device(target: str) -> Device:
    return Device(
        name="cpu",
        target=target,
        title="example",
        units=8,
        memory_bytes=2**34,
        precisions=("f32", "bf16", "f16"),
        versions=facts(example=1),
        facts=facts(smt="yes"),
    )


def allowed(knob: Knob) -> str:
    return ", ".join(map(str, knob.allowed)) if isinstance(knob.allowed, tuple) else str(knob.allowed)


def section(title: str, space: Space) -> str:
    """One target's table of knobs and list of rules."""
    rows = [
        f"| `{k.name}` | {k.stage} | {k.default} | {', '.join(map(str, k.values))} | {allowed(k)} "
        f"| `{k.spelling}` | {k.doc} |"
        for k in space.knobs
    ]
    rules = [f"* {rule.reason}" for rule in space.rules]
    baselines = [f"* {b.name}: `{b.point}`" for b in space.baselines]
    parts = [
        f"## `{space.target}`: {title}",
        "\n".join([_COLUMNS, "| --- " * _COLUMNS.count(" | ") + "| --- |", *rows]),
    ]
    if rules:
        parts.append("Rules:\n\n" + "\n".join(rules))
    if baselines:
        parts.append("Baselines, measured beside the winner:\n\n" + "\n".join(baselines))
    return "\n\n".join(parts)


def page() -> str:
    """The whole page."""
    goal = parse_goal("max throughput")
    sections = [
        section(target.title, target.space(example_model(), example_device(name), goal))
        for name, target in discover().items()
        if name != "null"
    ]
    return HEAD + "\n" + "\n\n".join(sections) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
