"""Numbers for a model's symbols: parsed, bound, and written into a copy of the model where a target needs that."""

from __future__ import annotations

import ast
import operator
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from infertune.core.errors import CreateError, UsageError, quoted
from infertune.core.records import Model
from infertune.edge import files
from infertune.prepare.symbols import Naming, unknown_symbol

if TYPE_CHECKING:
    from onnx import ModelProto, ValueInfoProto

LARGEST_DIM = 2**31 - 1
LONGEST_FORMULA = 200
FORMULAS = {"total_sequence_length": "past_sequence_length + sequence_length"}
"""What exporters of decoders mean by a name without saying so; a value that is given counts all the same."""

_EXAMPLE = "write SYMBOL=NUMBER, for example --shape sequence_length=128"


def parse_shapes(items: Sequence[str]) -> dict[str, int]:
    """``["sequence_length=128"]`` as a mapping. Raises `UsageError` with id ``shape-syntax``."""
    shapes: dict[str, int] = {}
    for item in items:
        symbol, sign, text = item.rpartition("=")
        symbol, text = symbol.strip(), text.strip()
        if not (sign and symbol and text):
            raise _syntax(f"`{quoted(item)}` is not a symbol and a number", _EXAMPLE)
        if not re.fullmatch(r"[0-9]{1,10}", text):
            raise _syntax(f"`{quoted(text)}` is not a whole number (in `{quoted(item)}`)", _EXAMPLE)
        if shapes.get(symbol, int(text)) != int(text):
            raise _syntax(f"`{quoted(symbol)}` is given twice: {shapes[symbol]} and {int(text)}", "give it once")
        shapes[symbol] = int(text)
    return shapes


def _syntax(message: str, hint: str) -> UsageError:
    return UsageError("shape-syntax", message, hint=hint)


def bind(naming: Naming, given: Mapping[str, int]) -> dict[str, int]:
    """A number for every symbol of the inputs but the batch; symbols that are formulas of others are computed.

    Raises `UsageError`: ``unknown-symbol``, ``shape-value``, ``unresolved-symbols`` (its hint lists what to give).
    """
    bound = bind_known(naming, given)
    if unresolved := [s for s in naming.symbols if s not in bound and s != naming.batch_symbol]:
        rest = {**bound, **dict.fromkeys(unresolved, 1)}
        follows = {s for s in unresolved if _computed(s, {k: v for k, v in rest.items() if k != s}) is not None}
        raise _unresolved([s for s in unresolved if s not in follows], naming)
    return bound


def _computed(symbol: str, bound: Mapping[str, int]) -> int | None:
    return evaluate(FORMULAS.get(symbol, symbol), bound)


def bind_known(naming: Naming, given: Mapping[str, int]) -> dict[str, int]:
    """`bind` without those that nothing binds. Raises `UsageError`: ``unknown-symbol``, ``shape-value``."""
    in_outputs = (dim for dims in naming.outputs for dim in dims if isinstance(dim, str))
    known = tuple(dict.fromkeys((*naming.symbols, *in_outputs)))
    for symbol, value in given.items():
        if symbol not in known:
            raise unknown_symbol(symbol, known)
        _check_value(symbol, value)
    bound = dict(given)
    for symbol in naming.symbols:
        if symbol not in bound and symbol != naming.batch_symbol:
            computed = _computed(symbol, bound)
            bound |= {} if computed is None else {symbol: computed}
    return bound


def _check_value(symbol: str, value: int) -> None:
    # decoders start from an empty cache, so a past length may be 0; anything else of size 0 computes nothing
    least = 0 if "past" in symbol.lower() else 1
    if not least <= value <= LARGEST_DIM:
        raise UsageError(
            "shape-value", f"`{quoted(symbol)}` cannot be {value}", hint=f"give a number from {least} to {LARGEST_DIM}"
        )


def _unresolved(symbols: Sequence[str], naming: Naming) -> UsageError:
    several = len(symbols) > 1
    decodes = any("past" in symbol.lower() for symbol in symbols)
    options = " ".join(option(f"{s}={_next_token(s) if decodes else _likely(s, naming)}") for s in symbols)
    return UsageError(
        "unresolved-symbols",
        f"{'these symbols have' if several else 'this symbol has'} no value: {quoted(', '.join(symbols), 400)}",
        hint=f"bind {'them' if several else 'it'}, for example: {quoted(options, 600)}",
    )


def option(assignment: str) -> str:
    """The option as a shell takes it."""
    return f"--shape {shlex.quote(assignment)}"


SIDE = 224
LENGTH = 128
_USUAL = {"graph|batch": 1, "channel": 3}


def _likely(symbol: str, naming: Naming) -> int:
    """A usual size, by the symbol's name or, of a side of an image, by its place; or else of a sequence."""
    for words, size in _USUAL.items():
        if re.search(words, symbol, re.IGNORECASE):
            return size
    named = re.search(r"height|width|^[hw]$", symbol, re.IGNORECASE)
    return SIDE if named or any(symbol in _sides(dims) for dims in naming.inputs) else LENGTH


def _sides(dims: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """The dimensions that are an image's height and width: beside one or three channels, in either order."""
    if len(dims) == 4 and dims[1] in (1, 3):
        return dims[2:]
    return dims[1:3] if len(dims) == 4 and dims[3] in (1, 3) else ()


def _next_token(symbol: str) -> int:
    """A decoder at its 128th token."""
    kinds = {"past": LENGTH - 1, "total": LENGTH, "seq": 1}
    return next((size for kind, size in kinds.items() if kind in symbol.lower()), LENGTH)


_OPERATORS: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Div: operator.floordiv,
}


def evaluate(formula: str, bound: Mapping[str, int]) -> int | None:
    """``past_length + 1`` as a number; None for a formula with an unknown symbol, or that is none."""
    if len(formula) > LONGEST_FORMULA:
        return None
    try:
        value = _value(ast.parse(formula, mode="eval").body, bound)
    except (SyntaxError, ValueError, RecursionError, MemoryError, ZeroDivisionError):
        return None
    return value if 0 <= value <= LARGEST_DIM else None


def _value(node: ast.expr, bound: Mapping[str, int]) -> int:
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_value(node.left, bound), _value(node.right, bound))
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return node.value
    if isinstance(node, ast.Name) and node.id in bound:
        return bound[node.id]
    raise ValueError("not a formula of known symbols")


def bind_batch(path: str, model: Model, batch: int, into: str) -> str:
    """Write the ONNX file ``into``: the model at ``path`` with every input dimension a number. Returns ``into``.

    For targets whose tools cannot bind symbols themselves. Large external data is never loaded: its files are copied
    beside ``into``, or just named again when ``into`` lies in the folder of the original.
    Raises `UsageError` for another batch than a fixed one, `CreateError` when the file cannot be written.
    """
    from infertune.prepare import external, source, weights

    if model.batch_symbol is None and batch != model.fixed_batch:
        raise UsageError(
            "batch-fixed",
            f"the model computes {model.fixed_batch} samples at a time, not {batch}",
            hint="export it with a dynamic batch dimension, or use that batch",
        )
    opened = source.read(path)
    proto = source.parse(path)
    weights.bring_small_in(proto, opened.weights)
    _make_static(proto, model, batch)
    folder = Path(into).absolute().parent
    files.ensure_folder(folder, "the folder of the bound model")
    try:
        if folder.resolve() != Path(path).absolute().parent.resolve():
            external.copy_files(opened.stretches, folder)
        files.write_bytes(Path(into), proto.SerializeToString())
    except OSError as error:
        raise unwritable(into, error) from None
    return into


def unwritable(path: str, error: OSError) -> CreateError:
    return CreateError(
        "output-unwritable",
        f"`{quoted(path)}` cannot be written: {error.strerror}",
        hint="give a path in a folder where you may write, on a disk with free space",
    )


def _make_static(proto: ModelProto, model: Model, batch: int) -> None:
    shapes = {spec.name: model.dims(spec, batch) for spec in model.inputs}
    for port in proto.graph.input:
        if port.name in shapes:
            _set_dims(port, shapes[port.name])
    bound: dict[str, int] = dict(model.shapes)
    if model.batch_symbol is not None:
        bound[model.batch_symbol] = batch
    outputs = {spec.name: spec.dims for spec in model.outputs}
    for port in proto.graph.output:
        if port.type.tensor_type.HasField("shape"):
            _set_dims(port, [bound.get(d) if isinstance(d, str) else d for d in outputs[port.name]])
    del proto.graph.value_info[:]  # stated for the old symbols; runtimes infer them again


def _set_dims(port: ValueInfoProto, dims: Sequence[int | None]) -> None:
    """Numbers where they are known; what is None keeps what the file says."""
    for stated, dim in zip(port.type.tensor_type.shape.dim, dims, strict=True):
        if dim is not None:
            stated.dim_value = dim
