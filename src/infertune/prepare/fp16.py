"""Float constants that fp16 cannot hold: found, and clipped in a copy of the model.

Weights in fp16 beyond +-65504 become infinities, and infinities times zero NaN: masks of -3.4e38 are the usual case.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from infertune.core.errors import UsageError, quoted
from infertune.prepare import graphs, rewrite, source, spread, weights
from infertune.prepare.external import Stretch, is_external
from infertune.prepare.load import type_name
from infertune.prepare.spread import FLOATS, Infinities, Spread

if TYPE_CHECKING:
    from onnx import AttributeProto, ModelProto, TensorProto

UNTOUCHED_DOMAINS = frozenset(("ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview.training"))
"""Trees and other classical operators: their thresholds are compared in fp32 whatever the precision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A float constant with values that fp16 cannot hold, before and after clipping.

    ``changed`` values are (or would be) replaced. ``vanishes`` says that every value but zero turns to zero in fp16,
    as an epsilon of 1e-12 does.
    """

    name: str
    where: str
    dtype: str
    before: Spread
    changed: int
    low_after: float | None
    high_after: float | None
    vanishes: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeReport:
    """All float constants of a model: how many, their values summed up, and those worth telling."""

    constants: int
    total: Spread
    findings: tuple[Finding, ...]

    @property
    def edits(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.changed)


def examine(path: str, infinities: Infinities = "keep") -> RangeReport:
    """What `clip` would find and change, without writing. Raises what `source.read` raises."""
    opened = source.read(path)
    return _report(_surveyed(source.parse(path), opened), infinities)


def clip(path: str, into: str, infinities: Infinities | None = None) -> RangeReport:
    """Write to ``into`` a copy of the model whose float constants fp16 can hold; the original is only read.

    Infinities are kept or clipped as told; a model that has some wants to be told. External data is streamed, one
    tensor at a time, to ``<into>.data``. Raises `UsageError`, `CreateError`, and what `source.read` raises.
    """
    opened = source.read(path)
    rewrite.check_distinct(into, path, opened.stretches)
    model = source.parse(path)
    weights.bring_small_in(model, opened.weights)
    surveyed = list(_surveyed(model, opened))
    report = _report(surveyed, infinities or "keep")
    if infinities is None and report.total.infinite:
        raise UsageError(
            "infinities-choice",
            f"the model holds {report.total.infinite} infinite constants",
            hint="say what becomes of them: --infinities keep (masks often mean them) or --infinities clip",
        )
    edited = [constant for constant, found in surveyed if _changed(found, infinities or "keep")]
    for constant in edited:
        constant.clip(infinities or "keep")
    moved = {c.stretch for c in edited if isinstance(c, _Stored) and c.stretch}
    rewrite.publish(model, _outside(model, opened, moved, infinities or "keep"), into)
    return report


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    """A stored tensor; one with a ``stretch`` is clipped when its data is copied."""

    name: str
    where: str
    data_type: int
    tensor: TensorProto
    stretch: Stretch | None

    def pieces(self) -> Iterator[spread.Array]:
        return spread.pieces(self.tensor, self.stretch)

    def clip(self, infinities: Infinities) -> None:
        if self.stretch is None:
            parts = (spread.clipped(piece, self.data_type, infinities) for piece in self.pieces())
            raw = b"".join(spread.encoded(part, self.data_type) for part in parts)
            weights.put_inside(self.tensor, raw)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attribute:
    """A float attribute, or a list of them."""

    name: str
    where: str
    attribute: AttributeProto
    data_type: int = spread.FLOAT

    def pieces(self) -> Iterator[spread.Array]:
        single = self.attribute.type == self.attribute.FLOAT
        yield np.array([self.attribute.f] if single else self.attribute.floats, np.float32)

    def clip(self, infinities: Infinities) -> None:
        values = spread.clipped(next(self.pieces()), self.data_type, infinities).tolist()
        if self.attribute.type == self.attribute.FLOAT:
            self.attribute.f = values[0]
        else:
            self.attribute.floats[:] = values


_Constant = _Stored | _Attribute


def _constants(model: ModelProto, opened: source.Source) -> Iterator[_Constant]:
    """Float constants of every kind: initializers, tensor and float attributes, dense and sparse, at any depth.

    ``model`` may hold small tensors that are external in ``opened``.
    """
    for found, weight in zip(graphs.tensors(model), opened.weights, strict=True):
        if _is_float(found):
            stretch = weight.stretch if is_external(found.tensor) else None
            kind = found.tensor.data_type
            yield _Stored(name=found.name, where=found.where, data_type=kind, tensor=found.tensor, stretch=stretch)
    yield from (_Attribute(name=n, where=w, attribute=a) for n, w, a in _float_attributes(model))


def _is_float(found: graphs.Found) -> bool:
    untouched = found.node is not None and found.node.domain in UNTOUCHED_DOMAINS
    return found.tensor.data_type in FLOATS and not found.index and not untouched


def _float_attributes(model: ModelProto) -> Iterator[tuple[str, str, AttributeProto]]:
    """(name, where, attribute) of attributes of type float or floats, in nodes and as defaults of functions."""
    for scope in graphs.scopes(model):
        for node in scope.body.node:
            if node.domain not in UNTOUCHED_DOMAINS:
                for attribute in filter(_holds_floats, node.attribute):
                    where = scope.within(f"attribute {attribute.name} of {graphs.title(node)}")
                    yield graphs.attribute_label(node, attribute), where, attribute
        for attribute in filter(_holds_floats, getattr(scope.body, "attribute_proto", ())):
            yield attribute.name, f"default {attribute.name} of {scope.where}", attribute


def _holds_floats(attribute: AttributeProto) -> bool:
    return attribute.type in (attribute.FLOAT, attribute.FLOATS) and not attribute.ref_attr_name


def _surveyed(model: ModelProto, opened: source.Source) -> Iterator[tuple[_Constant, Spread]]:
    for constant in _constants(model, opened):
        yield constant, spread.survey(constant.pieces())


def _report(surveyed: Iterable[tuple[_Constant, Spread]], infinities: Infinities) -> RangeReport:
    count = 0
    total = Spread()
    findings: list[Finding] = []
    for constant, found in surveyed:
        count += 1
        total += found
        finding = _finding(constant, found, infinities)
        if finding.vanishes or found.outside or found.infinite or found.nan:
            findings.append(finding)
    return RangeReport(constants=count, total=total, findings=tuple(findings))


def _finding(constant: _Constant, found: Spread, infinities: Infinities) -> Finding:
    ends = [None if end is None else np.array([end]) for end in (found.low, found.high)]
    after = [None if end is None else spread.clipped(end, constant.data_type, infinities).item() for end in ends]
    return Finding(
        name=quoted(constant.name),
        where=quoted(constant.where),
        dtype=type_name(constant.data_type),
        before=found,
        changed=_changed(found, infinities),
        low_after=after[0],
        high_after=after[1],
        vanishes=found.nonzero > 0 and found.zeroed == found.nonzero,
    )


def _changed(found: Spread, infinities: Infinities) -> int:
    return found.outside + (found.infinite if infinities == "clip" else 0)


def _outside(
    model: ModelProto, opened: source.Source, edited: Container[Stretch], infinities: Infinities
) -> Iterator[rewrite.Outside]:
    """Every tensor whose data lies outside the model, with its data as it is to be copied."""
    for found, weight in zip(graphs.tensors(model), opened.weights, strict=True):
        place = weight.stretch
        if place is None or not is_external(found.tensor):
            continue
        changes = _is_float(found) and place in edited
        yield rewrite.Outside(
            tensor=found.tensor,
            source=(place, found.tensor.data_type if changes else None),
            size_bytes=place.length,
            chunks=_clipped_chunks(found.tensor.data_type, place, infinities) if changes else place.chunks,
        )


def _clipped_chunks(data_type: int, place: Stretch, infinities: Infinities) -> Callable[[], Iterator[bytes]]:
    def chunks() -> Iterator[bytes]:
        for piece in spread.stored_pieces(data_type, place):
            yield spread.encoded(spread.clipped(piece, data_type, infinities), data_type)

    return chunks
