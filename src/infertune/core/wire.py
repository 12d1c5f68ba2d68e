"""Records to JSON text and back: one codec for worker messages and for the run record."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from cattrs import Converter
from cattrs.strategies import configure_tagged_union

from infertune.core import records
from infertune.core.space import IntRange, Value

T = TypeVar("T")


def _pack_ns(samples: Sequence[int]) -> str:
    return base64.b64encode(zlib.compress(np.asarray(samples, dtype="<i8").tobytes(), 1)).decode()


def _unpack_ns(text: str, _: object) -> records.RawNs:
    raw = zlib.decompress(base64.b64decode(text))
    return records.RawNs(np.frombuffer(raw, dtype="<i8").tolist())


def _plain(value: object, _: object) -> object:
    if not isinstance(value, int | str) or isinstance(value, bool):
        raise ValueError(f"expected a number or text, got {value!r}")
    return value


def _converter() -> Converter:
    conv = Converter(unstruct_collection_overrides={tuple: list})
    conv.register_unstructure_hook(records.RawNs, _pack_ns)
    conv.register_structure_hook(records.RawNs, _unpack_ns)
    conv.register_structure_hook(Value, _plain)
    conv.register_structure_hook(int | str, _plain)
    # inner unions first: a record's hook is made from the hooks known when the record is first met
    inner = (records.Outcome, records.Artifact | records.Failed)
    for union in (*inner, records.WorkerReply, records.Job, records.Event):
        configure_tagged_union(union, conv, tag_name="is")
    conv.register_structure_hook(
        tuple[Value, ...] | IntRange, lambda v, _: IntRange(**v) if isinstance(v, dict) else tuple(v)
    )
    return conv


_CONVERTER = _converter()


def to_plain(value: object, kind: Any = None) -> Any:
    """JSON-ready data. Give ``kind`` (a union such as `records.Event`) to have the variant's name written along."""
    return _CONVERTER.unstructure(value, unstructure_as=kind or type(value))


def from_plain(data: object, kind: type[T]) -> T:
    """The record again. Raises an exception of `cattrs` for data of another form."""
    return _CONVERTER.structure(data, kind)


def to_json(value: object, kind: Any = None) -> str:
    return json.dumps(to_plain(value, kind), separators=(",", ":"), allow_nan=False)


def from_json(text: str | bytes, kind: Any) -> Any:
    return from_plain(json.loads(text), kind)
