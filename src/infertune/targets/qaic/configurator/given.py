"""What a command line gives beside lists: arithmetic, files of inputs and profiles, options that add to a search."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from infertune.core.errors import DataError, NotFoundError, UsageError, nearest, quoted
from infertune.core.space import AUTO, Rule, Space, Value
from infertune.edge.files import file_digest
from infertune.targets.qaic.build import DIGEST_DIGITS
from infertune.targets.qaic.knobs import DEPTHS, NONE
from infertune.targets.qaic.sim.programs.flags import Line, choice, flag

MOST_CLUSTERED = 16
"""NSPs of the largest card that a program runs on."""
_SCHEMAS = "symmetric asymmetric symmetric_with_uint8 symmetric_with_power2_scale"
PASSED = (
    choice("-quantization-precision-bias", "Int8 Int32", "to the compiler"),
    choice("-quantization-schema-activations", _SCHEMAS, "to the compiler"),
    choice("-quantization-schema-constants", _SCHEMAS, "to the compiler"),
    choice("-quantization-calibration", "None KLMinimization KLMinimizationV2 Percentile MSE SQNR", "to the compiler"),
    flag("-percentile-calibration-value", "number", "to the compiler", low=90, high=100),
    flag("-num-histogram-bins", "whole", "to the compiler", low=1, high=10**6),
    flag("-keep-original-precision-for-nodes", "text", "to the compiler"),
    flag("-d32-spatial-major", says="to the compiler"),
    flag("-register-custom-op", "text", "to the compiler"),
)
"""Flags that no knob spells: the compiler gets them as they are."""
_PROFILES = "it makes no profile of value ranges; give one made before by -external-quantization"
_INPUTS = "it generates no input files; name raw ones by -input-list-file or -load-pre-gen-files"
REFUSED = {
    flag("-quant-profile-threads", "whole", "not supported"): _PROFILES,
    flag("-quant-num-inputs", "whole", "not supported"): _PROFILES,
    flag("-input-list-generate", says="not supported"): _INPUTS,
    flag("-image-dir", "text", "not supported"): _INPUTS,
    flag("-height", "whole", "not supported"): _INPUTS,
    flag("-width", "whole", "not supported"): _INPUTS,
    flag("-image-type", "text", "not supported"): _INPUTS,
    flag("-reuse-single-file", says="not supported"): _INPUTS,
    flag("-qdrive", says="not supported"): "it uses cards of this host alone; run it on the host of the card",
}
"""Documented flags -> why infertune does not take them; and what to do instead."""
FLAGS = (
    choice("-quantization-precision", "Int8 Int16", "compute in integers, by a profile made before"),
    flag("-no-quant", says="compute in floating point, as without -quantization-precision"),
    flag("-external-quantization", "text", "the profile of value ranges"),
    flag("-execute-nodes-in-fp16", "text", "operations that stay in float16: A,B"),
    flag("-device-processing", says="transform inputs and outputs on the card"),
    flag("-input-list-file", "text", "raw input files of every run, for one batch"),
    flag("-load-pre-gen-files", "text", "JSON of inputs and profiles by batch"),
    flag("-enable-single-device-partitioning", says="search instances of two clusters of cores too"),
    flag("-test-depth-first-search", says="search depth-first memory of 8, 16 and 32 MiB too"),
    *PASSED,
    *REFUSED,
)
PRE_GENERATED = '{"8": {"inputs": ["a.raw"], "profile": "p.yaml"}, ...}'
"""The form of ``-load-pre-gen-files``: batch -> what was made for it. The vendor's own is not published."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feeding:
    """Raw input files of runs by batch (0: whatever the one batch is), and profiles (``PATH@DIGEST``) by batch."""

    inputs: tuple[tuple[int, tuple[str, ...]], ...] = ()
    profiles: tuple[tuple[int, str], ...] = ()

    def files(self, batch: int) -> tuple[str, ...]:
        given = dict(self.inputs)
        return given.get(batch, given.get(0, ()))

    def check(self, batches: Sequence[int]) -> None:
        """Raises `UsageError`: a list of inputs is for one batch, others are for those that they were made for."""
        given = dict(self.inputs)
        if 0 in given and len(batches) > 1:
            raise _usage(
                f"-input-list-file is for one batch, and {len(batches)} are asked for",
                "ask for one batch, or give the inputs of each in -load-pre-gen-files",
            )
        if missing := [batch for batch in batches if given and not self.files(batch)]:
            known = ", ".join(map(str, given))
            raise _usage(f"there are no inputs for batch {missing[0]}", f"batches with inputs: {known}")

    def profiled(self, space: Space) -> Space:
        """The space in which every batch takes the profile that was made for it."""
        rule = Rule(
            reason="a batch takes the profile that was made for it",
            holds=lambda v: (v["batch"], v["quantisation_file"]) in self.profiles,
        )
        return replace(space, rules=(*space.rules, rule)) if self.profiles else space


def arithmetic(line: Line) -> dict[str, Value]:
    """The knobs of precision and where it is computed. Raises `UsageError` and `NotFoundError`."""
    fixed: dict[str, Value] = {"precision": _precision(line)}
    for name, knob in (
        ("-node-precision-info", "mixed_precision_file"),
        ("-external-quantization", "external_quantisation_file"),
    ):
        if line.has(name):
            fixed[knob] = digested(line.text(name))
    if line.has("-execute-nodes-in-fp16"):
        fixed["fp16_nodes"] = line.text("-execute-nodes-in-fp16")
    if line.has("-device-processing"):
        fixed["device_processing"] = "on"
    return fixed


def passed(line: Line) -> tuple[str, ...]:
    """Words for the compiler. Raises `UsageError` for flags that infertune does not take."""
    for refused, why in REFUSED.items():
        if line.has(refused.names[0]):
            because, hint = why.split("; ")
            raise _usage(f"{refused.names[0]} is not supported by infertune yet because {because}", hint)
    given = ((f.names[0], value) for f in PASSED for value in line.texts(f.names[0]))
    return tuple(f"{name}={value}" if value else name for name, value in given)


def _precision(line: Line) -> str:
    quantised = line.text("-quantization-precision").lower()
    if quantised and line.has("-no-quant"):
        raise _usage("-quantization-precision and -no-quant exclude each other", "leave one of them out")
    if quantised and line.has("-convert-to-fp16"):
        raise _usage(
            "-quantization-precision and -convert-to-fp16 exclude each other",
            "leave -convert-to-fp16 out; -execute-nodes-in-fp16 names operations that are to stay in float16",
        )
    if quantised and not line.has("-external-quantization") and not line.has("-load-pre-gen-files"):
        raise _usage(
            "-quantization-precision needs a profile of value ranges, and infertune makes none for this compiler",
            "give one made before: -external-quantization FILE, or -load-pre-gen-files FILE.json",
        )
    if not quantised and line.has("-external-quantization"):
        raise _usage("-external-quantization needs -quantization-precision", "add -quantization-precision Int8")
    if not quantised and not line.has("-convert-to-fp16"):
        raise _usage("a floating-point model needs -convert-to-fp16", "add -convert-to-fp16 to the command")
    return quantised or "f16"


def _usage(what: str, hint: str) -> UsageError:
    return UsageError("usage", what, hint=hint)


def digested(path: str) -> str:
    """A knob's ``PATH@DIGEST``. Raises `NotFoundError` (``option-file-missing``)."""
    return f"{path}@{file_digest(_there(path))[:DIGEST_DIGITS]}"


def _there(path: str) -> Path:
    if not Path(path).is_file():
        raise NotFoundError("option-file-missing", f"there is no file `{quoted(path)}`", hint="check the path")
    return Path(path)


# ---------------------------------------------------------------- what adds to a search


def added(line: Line) -> dict[str, tuple[Value, ...]]:
    """Values of knobs that are searched beside what lists or a JSON name."""
    more: dict[str, tuple[Value, ...]] = {}
    if line.has("-enable-single-device-partitioning"):
        halves = (f"{n}+{n}" for n in range(1, MOST_CLUSTERED // 2 + 1))
        more["sdp_cluster_sizes"] = (NONE, *halves)
    if line.has("-test-depth-first-search") and not line.has("-depth-first-mem"):
        more["depth_first_mem"] = (AUTO, *DEPTHS)
    return more


# ---------------------------------------------------------------- files


def feeding(line: Line) -> Feeding:
    """Inputs and profiles of the runs. Raises `UsageError`, `NotFoundError` and `DataError` (``inputs-damaged``)."""
    if line.has("-load-pre-gen-files"):
        if line.has("-input-list-file"):
            raise _usage("-input-list-file and -load-pre-gen-files exclude each other", "leave one of them out")
        return _pre_generated(line.text("-load-pre-gen-files"), quantised=line.has("-quantization-precision"))
    listed = line.text("-input-list-file")
    return Feeding(inputs=((0, _first_set(listed)),)) if listed else Feeding()


def _first_set(path: str) -> tuple[str, ...]:
    """The raw files of the first line; a card's speed does not depend on values, so one set serves all requests."""
    lines = [line for line in _text(path).splitlines() if line.strip()]
    if not lines:
        raise _damaged(path, "it lists no file", "write one line per set of inputs: the raw file of each input")
    return _raw([word for word in re.split(r"[,\s]+", lines[0].strip()) if word])


def _raw(words: Sequence[object]) -> tuple[str, ...]:
    return tuple(str(_there(str(word)).resolve()) for word in words)


def _text(path: str) -> str:
    return _there(path).read_text(encoding="utf-8-sig", errors="replace")


def _damaged(path: str, why: str, hint: str) -> DataError:
    return DataError("inputs-damaged", f"`{quoted(path)}`: {why}", hint=hint)


def _pre_generated(path: str, *, quantised: bool) -> Feeding:
    try:
        told = json.loads(_text(path))
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict) or not told:
        raise _damaged(path, "it holds no JSON object", f"write {PRE_GENERATED}")
    made = dict(_of_batch(path, name, one) for name, one in told.items())
    inputs = {batch: _raw(one["inputs"]) for batch, one in made.items() if "inputs" in one}
    profiles = {batch: digested(str(one["profile"])) for batch, one in made.items() if "profile" in one}
    if bool(profiles) != quantised:
        what = "it names no profile" if quantised else "it names profiles, which only -quantization-precision uses"
        raise _damaged(path, what, f"write {PRE_GENERATED}, with profiles for Int8 and Int16")
    return Feeding(inputs=tuple(sorted(inputs.items())), profiles=tuple(sorted(profiles.items())))


def _of_batch(path: str, name: str, made: object) -> tuple[int, dict[str, Any]]:
    if not name.isdecimal() or int(name) < 1 or not isinstance(made, dict):
        raise _damaged(path, f"`{quoted(name)}` is no batch with what was made for it", f"write {PRE_GENERATED}")
    known = ("inputs", "profile")
    if wrong := next((key for key in made if key not in known), None):
        guess = nearest(wrong, known)
        raise _damaged(path, f"`{quoted(wrong)}` is no key of a batch", f"{guess}write {PRE_GENERATED}")
    if "inputs" in made and not isinstance(made["inputs"], list):
        raise _damaged(path, f"the inputs of batch {name} are no list", f"write {PRE_GENERATED}")
    return int(name), made
