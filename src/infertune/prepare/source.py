"""Reading an ONNX file that nobody vouches for: parsed, checked, its weights counted and left on disk."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from infertune.core.errors import DataError, excerpt, nearest, quoted
from infertune.edge.scratch import Scratch
from infertune.prepare import external, graphs, sniff, weights

if TYPE_CHECKING:
    from google.protobuf.message import Message  # type: ignore[import-untyped]
    from onnx import ModelProto, NodeProto

# Operators that ONNX Runtime accepts in ONNX's own domain although no ONNX version defines them there (or only a
# later one does): its exporters and optimisers write them, so real models hold them.
_RUNTIME_OPS = frozenset(
    (
        "Affine", "Attention", "BiasGelu", "Crop", "DequantizeLinear", "DynamicSlice", "EmbedLayerNormalization",
        "FastGelu", "FusedConv", "FusedGemm", "FusedMatMul", "Gelu", "GivenTensorFill", "ImageScaler",
        "LayerNormalization", "ParametricSoftplus", "QuantizeLinear", "RotaryEmbedding", "ScaledTanh",
        "SimplifiedLayerNormalization", "SkipLayerNormalization",
    )
)  # fmt: skip
_RUNTIME_DOMAIN = "com.microsoft"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A checked ONNX file. ``proto`` is stripped: tensors above `weights.KEPT_BYTES` are left out of it."""

    path: str
    proto: ModelProto
    weights: tuple[weights.Weight, ...]
    opset: int

    @property
    def stretches(self) -> tuple[external.Stretch, ...]:
        return tuple(w.stretch for w in self.weights if w.stretch is not None)

    @property
    def parameters(self) -> int:
        return sum(w.parameters for w in self.weights)

    @property
    def weight_bytes(self) -> int:
        return sum(w.size_bytes for w in self.weights)

    def digest(self) -> str:
        """SHA-256 over the file and every external data file it names."""
        return external.digest(self.path, self.stretches)


def read(path: str) -> Source:
    """Open an ONNX file of any size without loading external data.

    Raises `NotFoundError` or `DataError` for everything that is not a sound model; no other exception.
    """
    from google.protobuf.message import DecodeError

    sniff.check_file(path)
    try:
        return _checked(os.path.abspath(path))
    except (DecodeError, UnicodeDecodeError) as error:
        raise sniff.damaged(path, str(error)) from None


def parse(path: str) -> ModelProto:
    """The file as a protobuf message, external data not loaded. Raises google's DecodeError."""
    import onnx

    model = onnx.ModelProto()
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        view = memoryview(content)
        try:
            model.ParseFromString(view)
        finally:
            view.release()
    return model


def _checked(path: str) -> Source:
    model = parse(path)
    check_text(model)
    opset = _check_versions(model, path)
    weighed = weights.weigh(model, os.path.dirname(path))
    weights.strip(model, weighed)
    _check_ports(model, path)
    check_structure(model)
    return Source(path=path, proto=model, weights=weighed, opset=opset)


def check_text(message: Message) -> None:
    """Raise `DataError` for a name that is no UTF-8 text: protobuf hands those out as bytes, unchecked."""
    import onnx

    tensor = isinstance(message, onnx.TensorProto)
    for field, value in message.ListFields():
        if tensor and field.name not in ("name", "doc_string", "external_data"):
            continue  # data may be large, and holds no text
        values = value if field.is_repeated else (value,)
        if field.type == field.TYPE_STRING and any(isinstance(text, bytes) for text in values):
            raise _invalid(f"a {field.name} in it is not UTF-8 text")
        if field.type == field.TYPE_MESSAGE:
            for inner in values:
                check_text(inner)


def opsets(model: ModelProto) -> dict[str, int]:
    """Operator set versions by domain; ONNX's own under the empty name."""
    found: dict[str, int] = {}
    for entry in model.opset_import:
        domain = "" if entry.domain in graphs.ONNX_DOMAINS else entry.domain
        found[domain] = max(entry.version, found.get(domain, 0))
    return found


def _check_versions(model: ModelProto, path: str) -> int:
    import onnx

    if model.ir_version > onnx.IR_VERSION:
        raise DataError(
            "ir-version-unknown",
            f"the model is written in ONNX IR version {model.ir_version}; onnx {onnx.__version__} here knows up to "
            f"{int(onnx.IR_VERSION)}",
            hint="upgrade onnx (pip install -U onnx), or export the model again",
        )
    found = opsets(model)
    if not found:
        raise DataError(
            "model-invalid", f"`{quoted(path)}` names no operator set: is it cut off?", hint="export the model again"
        )
    newest = onnx.defs.onnx_opset_version()
    opset = found.get("", 0)
    if not 1 <= found.get("", 1) <= newest:
        raise DataError(
            "opset-unknown",
            f"the model uses ONNX opset {opset}; onnx {onnx.__version__} here knows 1 to {newest}",
            hint=f"upgrade onnx (pip install -U onnx), or export the model with opset {newest} or older",
        )
    return opset


def _check_ports(model: ModelProto, path: str) -> None:
    if not model.graph.output:
        raise DataError(
            "model-no-outputs",
            f"`{quoted(path)}` has no outputs, so there is nothing to compute",
            hint="export it again",
        )
    for ports in (model.graph.input, model.graph.output):
        names = [port.name for port in ports]
        if repeated := next((n for n in names if names.count(n) > 1), None):
            raise _invalid(f"two inputs or two outputs are named `{quoted(repeated)}`")


def check_structure(stripped: ModelProto) -> None:
    """Pass a stripped model through `onnx.checker`. Raises `DataError`.

    The checker works on a copy in which what real models hold and runtimes accept is made lawful: operators of ONNX
    Runtime in ONNX's domain, runtime domains that are not imported, inputs and outputs without a shape, and what an old
    IR version forbids.
    """
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(stripped)
    _make_lawful(copy)
    with Scratch("check") as folder:
        path = os.path.join(folder, "model.onnx")
        with open(os.path.join(folder, weights.STUB), "wb"), open(path, "wb") as file:
            file.write(copy.SerializeToString())
        try:
            onnx.checker.check_model(path)
        except onnx.checker.ValidationError as error:
            raise _invalid(str(error)) from None


def _make_lawful(model: ModelProto) -> None:
    versions = opsets(model)
    used: set[str] = set()
    model.ir_version = max(model.ir_version, 4)  # older versions want stored tensors among the inputs; runtimes do not
    own = {(f.domain, f.name) for f in model.functions}
    for node in _nodes(model):
        if node.domain in graphs.ONNX_DOMAINS and (node.domain, node.op_type) not in own:
            _rename_runtime_op(node, versions.get("", 0))
        used.add(node.domain)
    for domain in sorted(used - set(versions) - set(graphs.ONNX_DOMAINS)):
        entry = model.opset_import.add()
        entry.domain, entry.version = domain, 1
    for port in (*model.graph.input, *model.graph.output):
        if port.type.HasField("tensor_type") and not port.type.tensor_type.HasField("shape"):
            port.type.tensor_type.shape.SetInParent()


def _rename_runtime_op(node: NodeProto, opset: int) -> None:
    from onnx import defs

    if opset == 0 or defs.has(node.op_type, opset, ""):
        return
    if node.op_type not in _RUNTIME_OPS:
        known = sorted({s.name for s in defs.get_all_schemas() if s.domain == ""})
        raise DataError(
            "operator-unknown",
            f"{quoted(graphs.title(node))} is not an operator of ONNX opset {opset}",
            hint=f"{nearest(node.op_type, known)}export the model again, with a newer opset if the operator is newer",
        )
    node.domain = _RUNTIME_DOMAIN


def _nodes(model: ModelProto) -> Iterator[NodeProto]:
    for scope in graphs.scopes(model):
        yield from scope.body.node


def _invalid(why: str) -> DataError:
    told = excerpt(why.strip().rstrip("."), 240)
    return DataError("model-invalid", f"the ONNX model is not valid: {told}", hint="export the model again")
