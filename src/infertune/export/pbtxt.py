"""Triton's ``config.pbtxt`` (protobuf text form of `inference.ModelConfig`), written without protobuf."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from infertune.core.records import TensorSpec
from infertune.export.bundle import Bundle

_TYPES = {
    "bool": "BOOL", "uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64",
    "int8": "INT8", "int16": "INT16", "int32": "INT32", "int64": "INT64",
    "float16": "FP16", "bfloat16": "BF16", "float32": "FP32", "float64": "FP64", "object": "STRING", "str": "STRING",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What a back end of Triton needs beyond the model's inputs and outputs."""

    backend: str
    file: str
    instances: int
    kind: str
    parameters: tuple[tuple[str, str], ...]
    graph_level: str | None = None


def text(value: str) -> str:
    """A quoted string of the text form: everything but plain ASCII as octal bytes, so that any name survives."""
    shown = (chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\{b:03o}" for b in value.encode())
    return f'"{"".join(shown)}"'


def batched(bundle: Bundle) -> bool:
    """Whether Triton may cut and join requests: every input and output has the free batch as its first dimension."""
    model = bundle.promise.model
    symbol = model.batch_symbol
    return symbol is not None and all(
        t.dims and t.dims[0] == symbol and symbol not in t.dims[1:] for t in (*model.inputs, *model.outputs)
    )


def _tensor(bundle: Bundle, tensor: TensorSpec) -> str:
    model = bundle.promise.model
    bound = dict(model.shapes)
    if model.batch_symbol is not None:
        bound[model.batch_symbol] = bundle.config["batch"]
    dims = [d if isinstance(d, int) else bound.get(d, -1) for d in tensor.dims][int(batched(bundle)) :]
    kind = _TYPES[tensor.dtype]
    return f"{{ name: {text(tensor.name)} data_type: TYPE_{kind} dims: [ {', '.join(map(str, dims))} ] }}"


def _tensors(bundle: Bundle, field: str, tensors: tuple[TensorSpec, ...]) -> str:
    listed = ",\n".join(f"  {_tensor(bundle, tensor)}" for tensor in tensors)
    return f"{field} [\n{listed}\n]"


def queue_delay_us(bundle: Bundle) -> int:
    """How long requests may wait for company: the time one full batch takes at the confirmed throughput."""
    return max(1, round(1e6 * float(bundle.config["batch"]) / bundle.promise.throughput.value))


def _lines(bundle: Bundle, served: Served) -> Iterator[str]:
    batch = bundle.config["batch"]
    yield f"name: {text(bundle.served_name)}"
    yield f"backend: {text(served.backend)}"
    yield f"default_model_filename: {text(served.file)}"
    yield f"max_batch_size: {batch if batched(bundle) else 0}"
    yield _tensors(bundle, "input", bundle.promise.model.inputs)
    yield _tensors(bundle, "output", bundle.promise.model.outputs)
    yield f"instance_group [ {{ count: {served.instances} kind: {served.kind} }} ]"
    if batched(bundle) and batch > 1:
        delay = queue_delay_us(bundle)
        yield f"dynamic_batching {{ preferred_batch_size: [ {batch} ] max_queue_delay_microseconds: {delay} }}"
    if served.graph_level is not None:
        yield f"optimization {{ graph {{ level: {served.graph_level} }} }}"
    for key, value in served.parameters:
        yield f"parameters {{ key: {text(key)} value: {{ string_value: {text(value)} }} }}"


def model_config(bundle: Bundle, served: Served) -> str:
    """The whole file."""
    return "\n".join(_lines(bundle, served)) + "\n"
