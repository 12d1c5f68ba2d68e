"""How far the winner is from what the machine can do: arithmetic and memory traffic against measured ceilings.

A roofline for one point (Williams, Waterman and Patterson 2009): no run can be faster than its arithmetic at the rate
of a large matrix product, nor than the bytes it must move at the rate of a memory copy; the lower of the two binds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from infertune.core import history, words
from infertune.core.records import Ceilings, Model, TensorSpec
from infertune.report.inert import one_line
from infertune.report.page.bars import Bar, bars
from infertune.report.page.basis import Basis, Shown
from infertune.report.page.tables import Rows

WEIGHT_SHARE: Mapping[str, float] = {"f32": 1.0, "f16": 0.5, "bf16": 0.5, "i8": 0.25, "int8": 0.25, "i4": 0.125}
"""Bytes of a weight in this arithmetic, of those of a stored f32 one; precisions not listed count as stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Roof:
    """Ceilings of one point in samples per second; None where a part is not known.

    ``bytes_per_sample`` is the least that must move: every weight once per request, and inputs and outputs once.
    Activations between operators may stay in caches, so they are left out. ``precision`` is the winner's own.
    """

    measured: float
    compute: float | None
    memory: float | None
    bytes_per_sample: float
    weight_bytes: float
    ceilings: Ceilings
    precision: str

    @property
    def is_cached(self) -> bool:
        """Whether the weights fit into the largest cache, so that they need not come from memory each time."""
        return self.weight_bytes <= self.ceilings.cache_bytes

    @property
    def binds(self) -> str:
        """``compute`` or ``memory``, whichever ceiling is lower; empty where none is known."""
        known = {"compute": self.compute, "memory": None if self.is_cached else self.memory}
        found = {name: value for name, value in known.items() if value is not None}
        return min(found, key=lambda name: found[name]) if found else ""

    @property
    def share(self) -> float | None:
        lowest = {"compute": self.compute, "memory": self.memory}.get(self.binds)
        return self.measured / lowest if lowest else None


def roof(model: Model, winner: Shown, ceilings: Ceilings) -> Roof:
    batch = winner.point.number("batch", 1) or 1
    weights = model.weight_bytes * WEIGHT_SHARE.get(ceilings.precision, 1.0)
    moved = weights / batch + io_bytes(model, batch) / batch
    rate, copied = ceilings.macs_per_s, ceilings.copy_bytes_per_s
    return Roof(
        measured=winner.throughput or 0.0,
        compute=rate / ceilings.macs if rate and ceilings.macs else None,
        memory=copied / moved if copied and moved else None,
        bytes_per_sample=moved,
        weight_bytes=weights,
        ceilings=ceilings,
        precision=str(winner.point.get("precision", "")),
    )


def io_bytes(model: Model, batch: int) -> float:
    """Of the inputs and outputs of one request; what has no known shape or width is left out."""
    return float(sum(_tensor_bytes(model, tensor, batch) for tensor in (*model.inputs, *model.outputs)))


def _tensor_bytes(model: Model, tensor: TensorSpec, batch: int) -> int:
    try:
        return math.prod(model.dims(tensor, batch)) * np.dtype(tensor.dtype).itemsize
    except (KeyError, TypeError):
        return 0


# ---------------------------------------------------------------- on the page


def section(basis: Basis) -> Mapping[str, Any]:
    """Sentences, the bars and the account of the section; sentences alone where there is nothing to compare with."""
    ceilings, winner = history.ceilings(basis.entries), basis.winner
    why_not = _why_not(basis, winner, ceilings)
    if why_not or winner is None or ceilings is None:
        return {"said": (why_not,), "picture": None, "table": None}
    found = roof(basis.reading.question.model, winner, ceilings)
    return {"said": said(found), "picture": _picture(found), "table": _account(found)}


def _why_not(basis: Basis, winner: Shown | None, ceilings: Ceilings | None) -> str:
    if basis.found.simulated:
        return "The device is simulated: it has no physical limit, and none is claimed."
    if winner is None or not winner.is_measured:
        return "There is no winner to compare with the machine."
    if ceilings is None:
        return (
            "Not measured. `infertune tune` measures this machine's matrix product and memory copy at the end of a "
            "study whose budget is 45 s or more, when a winner is confirmed."
        )
    if ceilings.copy_bytes_per_s is None:
        return f"Not measured: {one_line(ceilings.why_not)}."
    return ""


def said(found: Roof) -> tuple[str, ...]:
    share = found.share
    if share is None:
        return (f"No ceiling is known: {one_line(found.ceilings.why_not) or 'the arithmetic could not be counted'}.",)
    return tuple(filter(None, (_reached(found, share), _memory(found), _beyond(found, share))))


def _reached(found: Roof, share: float) -> str:
    rate = found.compute if found.binds == "compute" else found.memory
    limits = {
        "compute": f"{found.ceilings.precision} arithmetic at the rate of a large matrix product",
        "memory": "moving weights, inputs and outputs at the rate of a memory copy",
    }
    return (
        f"The winner reaches {100 * share:.0f} % of what binds first, {limits[found.binds]}: "
        f"{words.three(found.measured)} of {words.three(rate or 0.0)} samples/s."
    )


def _memory(found: Roof) -> str:
    cache = found.ceilings.cache_bytes
    sizes = f"The weights ({found.weight_bytes / 1e6:.0f} MB) "
    if not cache:
        return ""
    if found.is_cached:
        return f"{sizes}fit into the largest cache ({cache / 1e6:.0f} MB), so memory need not bind."
    return f"{sizes}do not fit into the largest cache ({cache / 1e6:.0f} MB): each request reads them from memory."


def _beyond(found: Roof, share: float) -> str:
    measured = found.ceilings.precision
    if share > 1.0 and found.precision == "int8" != measured:
        return f"The winner computes in int8, whose products are faster; the ceiling is that of {measured}."
    if share > 1.0:
        return (
            "More than a ceiling is no miracle: the machine was busier when the ceiling was measured, or the runtime "
            "does less arithmetic than the model asks for."
        )
    return (
        "The rest is what products smaller than the large one lose, other operators, memory between them, and time "
        "outside the model."
    )


def _picture(found: Roof) -> Markup:
    rows = [Bar(name="measured", value=found.measured, said=f"{words.three(found.measured)} /s", kind="bar winner")]
    for name, value in (("compute", found.compute), ("memory", found.memory)):
        if value is not None:
            binds = "  binds" if found.binds == name else ""
            rows.append(
                Bar(name=f"{name} ceiling", value=value, said=f"{words.three(value)} /s{binds}", kind="bar soft")
            )
    return bars("Throughput and its ceilings in samples per second", rows)


def _account(found: Roof) -> Rows:
    ceilings = found.ceilings
    macs, rate, copied = ceilings.macs, ceilings.macs_per_s, ceilings.copy_bytes_per_s
    product = (
        f"large product, {one_line(ceilings.target, 40)} {one_line(ceilings.precision, 20)}, one instance, all CPUs"
    )
    rows = (
        (
            "arithmetic",
            f"{macs / 1e9:.3g} GMAC per sample" if macs else "not known",
            "multiply-accumulates of the model",
        ),
        (
            "product rate",
            f"{rate / 1e9:.3g} GMAC/s" if rate else "not known",
            product if rate else one_line(ceilings.why_not),
        ),
        (
            "bytes",
            f"{found.bytes_per_sample / 1e6:.3g} MB per sample",
            f"at least: weights in {one_line(ceilings.precision, 20)} once per request, inputs and outputs",
        ),
        ("copy rate", f"{(copied or 0.0) / 1e9:.3g} GB/s", "memory copy, all CPUs, bytes read and written"),
        ("intensity", _intensity(found), "multiply-accumulates for each byte; the machine's own balance beside it"),
    )
    return Rows(label="What the ceilings are made of", header=("part", "figure", "what it is"), rows=rows)


def _intensity(found: Roof) -> str:
    ceilings = found.ceilings
    if not ceilings.macs or not found.bytes_per_sample:
        return "not known"
    ours = f"{ceilings.macs / found.bytes_per_sample:.3g} MAC/byte"
    if not ceilings.macs_per_s or not ceilings.copy_bytes_per_s:
        return ours
    return f"{ours} against {ceilings.macs_per_s / ceilings.copy_bytes_per_s:.3g}"
