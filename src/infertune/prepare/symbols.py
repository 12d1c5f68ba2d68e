"""Names for the dimensions of a model's inputs, and which of them is the batch. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from infertune.core.errors import UsageError, nearest, quoted

RawDim = int | str | None
"""A number, a symbol as the file names it, or None for a dynamic dimension without a name."""

Place = tuple[str, int]
"""The name of an input and an axis of it."""

Row = int | Place
"""How many rows there are to index: a number, or the size of a dimension of an input."""

_BATCH_NAMES = ("batch_size", "batch", "batchsize", "n", "b", "bs", "num_batch", "nbatch")
# names that exporters invent, a new one for each input: tf2onnx `unk__12`, torch `input_ids_dynamic_axes_1`,
# Paddle2ONNX `p2o.DynamicDimension.0`
_INVENTED = re.compile(
    r"unk__\d+|.*_?dynamic_axes_\d+|(p2o\.)?DynamicDimension\.\d+|\?|-1|none|unknown\w*", re.IGNORECASE
)
_NO_NAME = re.compile(r"\?|-1|none|unknown", re.IGNORECASE)  # Paddle2ONNX writes `?` for height and for width
_STATE = re.compile(r"state|hidden|cell|cache|^[hc]_?\d*$", re.IGNORECASE)
_LENGTH_LIKE = re.compile(
    r"seq|len|time|step|height|width|frame|token|past|dim|node|edge|vert|atom|graph|^[thwlsd]$", re.IGNORECASE
)
_PLAIN = re.compile(r"[A-Za-z_]\w*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """An input or output as the file states it; ``dims`` is None where not even the rank is known."""

    name: str
    dtype: str
    dims: tuple[RawDim, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Naming:
    """Ports with every dimension a number or a symbol, and the batch: its symbol, or the number it is fixed at."""

    inputs: tuple[tuple[int | str, ...], ...]
    outputs: tuple[tuple[int | str, ...], ...]
    batch_symbol: str | None
    fixed_batch: int

    @property
    def symbols(self) -> tuple[str, ...]:
        """Symbols of the inputs in order of appearance."""
        return tuple(dict.fromkeys(d for dims in self.inputs for d in dims if isinstance(d, str)))


def name_dims(
    inputs: Sequence[Port],
    outputs: Sequence[Port],
    batch_symbol: str | None = None,
    indexed: Mapping[str, frozenset[Row]] = MappingProxyType({}),
) -> Naming:
    """Name what has no name and find the batch.

    A dynamic dimension without a name becomes ``input_ids.1`` (the port and the axis), and so does one whose name says
    that it has none, where an input has it on several axes: they need not be equal. The batch is the symbol of
    axis 0 of the inputs, or one called so on another axis. Nameless ones of axis 0, and names that an exporter invented
    for each input, count as one and the same, and so does the nameless middle one of a recurrent state (layers x batch
    x width).
    There is none where an input's values count the rows of others (``indexed``) without being one of the rows: edges
    that name the nodes of a graph. A batch by name stays one where nothing else is counted: boxes name their picture.
    ``batch_symbol`` overrides what is found. Raises `UsageError` when no input has that symbol.
    """
    inputs, outputs = _without_repeated(inputs, outputs)
    found = _named_all(inputs, outputs, *_find_batch(inputs), batch_symbol)
    apart = set(_rows_of_others(found, inputs, indexed))
    stated = {dim for port in inputs for dim in port.dims or () if isinstance(dim, str) and "batch" in dim.lower()}
    told = found.batch_symbol in stated and (found.batch_symbol not in apart or len(apart) == 1)
    if batch_symbol is not None or told or not any(dims[0] in apart for dims in found.inputs if dims):
        return found
    return replace(_named_all(inputs, outputs, None, frozenset(), None), fixed_batch=1)


def _rows_of_others(
    naming: Naming, inputs: Sequence[Port], indexed: Mapping[str, frozenset[Row]]
) -> Iterator[int | str]:
    """The symbols that inputs count the rows of which have no dimension of that symbol themselves."""
    dims = {port.name: named for port, named in zip(inputs, naming.inputs, strict=True)}
    for name, rows in indexed.items():
        yield from (size for row in rows if isinstance(size := size_of(row, dims), str) and size not in dims[name])


def size_of(row: Row, dims: Mapping[str, Sequence[int | str]]) -> int | str:
    """Its number, or what stands at its place in the inputs' dimensions."""
    return row if isinstance(row, int) else dims[row[0]][row[1]]


def _named_all(
    inputs: Sequence[Port],
    outputs: Sequence[Port],
    batch: str | None,
    merged: frozenset[str],
    batch_symbol: str | None,
) -> Naming:
    rename = dict.fromkeys(merged, batch) if batch else {}
    named_in = tuple(_named(port, rename, batch) for port in inputs)
    named_out = tuple(_named(port, rename, None) for port in outputs)
    naming = Naming(inputs=named_in, outputs=named_out, batch_symbol=batch, fixed_batch=1)
    if batch_symbol is not None:
        if batch_symbol not in naming.symbols:
            raise unknown_symbol(batch_symbol, naming.symbols)
        return replace(naming, batch_symbol=batch_symbol)
    return naming if batch else replace(naming, fixed_batch=_fixed_batch(named_in))


def _without_repeated(inputs: Sequence[Port], outputs: Sequence[Port]) -> tuple[list[Port], list[Port]]:
    """The ports without names that say nothing and stand on several axes of one input."""
    counted = (item for port in inputs for item in Counter(port.dims or ()).items())
    gone = {dim for dim, count in counted if count > 1 and isinstance(dim, str) and _NO_NAME.fullmatch(dim)}

    def bare(port: Port) -> Port:
        return replace(port, dims=port.dims and tuple(None if dim in gone else dim for dim in port.dims))

    return [bare(port) for port in inputs], [bare(port) for port in outputs]


def _named(port: Port, rename: dict[str, str], nameless_batch: str | None) -> tuple[int | str, ...]:
    def name(axis: int, dim: RawDim) -> int | str:
        if dim is None:
            return nameless_batch if nameless_batch and axis == _batch_axis(port) else f"{port.name}.{axis}"
        return rename.get(dim, dim) if isinstance(dim, str) else dim

    return tuple(name(axis, dim) for axis, dim in enumerate(port.dims or ()))


def _batch_axis(port: Port) -> int:
    dims = port.dims or ()
    recurrent = len(dims) == 3 and isinstance(dims[0], int) and isinstance(dims[2], int)
    return 1 if recurrent and _STATE.search(port.name) else 0


def _find_batch(inputs: Sequence[Port]) -> tuple[str | None, frozenset[str]]:
    """(the batch symbol or None, the symbols of axis 0 that are renamed to it)."""
    first = [port.dims[0] for port in inputs if port.dims]
    dynamic = [dim for dim in first if not isinstance(dim, int)]
    known = [dim for dim in dynamic if dim is not None and not _INVENTED.fullmatch(dim)]
    invented = frozenset(dim for dim in dynamic if dim is not None and dim not in known)
    preferred = sorted((d for d in set(known) if _is_batch_name(d)), key=lambda d: (-known.count(d), _rank(d), d))
    if preferred:
        return preferred[0], invented
    inner = [dim for port in inputs for dim in (port.dims or ())[1:] if isinstance(dim, str) and "batch" in dim.lower()]
    if inner and len(known) == len(dynamic):
        return Counter(inner).most_common(1)[0][0], frozenset()  # sequences that are stacked with time first
    if known:
        return _shared(known), frozenset()
    if len(set(dynamic)) == 1 and dynamic[0] is not None:
        return dynamic[0], frozenset()
    return (_unused_name(inputs) if dynamic else None), invented


def _shared(known: Sequence[str]) -> str | None:
    """The symbol that all, or else most, of the inputs have on axis 0, unless its name speaks of a length."""
    likely = Counter(name for name in known if _PLAIN.fullmatch(name) and not _LENGTH_LIKE.search(name)).most_common(2)
    tied = len(likely) == 2 and likely[0][1] == likely[1][1]
    return likely[0][0] if likely and not tied else None


def _is_batch_name(name: str) -> bool:
    return bool(_PLAIN.fullmatch(name)) and (name.lower() in _BATCH_NAMES or "batch" in name.lower())


def _rank(name: str) -> int:
    return _BATCH_NAMES.index(name.lower()) if name.lower() in _BATCH_NAMES else len(_BATCH_NAMES)


def _unused_name(inputs: Iterable[Port]) -> str:
    taken = {dim for port in inputs for dim in port.dims or ()}
    return next(name for name in ("batch", "batch_size", "batch_axis_0") if name not in taken)


def _fixed_batch(inputs: Iterable[tuple[int | str, ...]]) -> int:
    """Axis 0 of the inputs of two dimensions and more where they agree on a number; else 1."""
    sizes = {dims[0] for dims in inputs if len(dims) > 1}
    size = sizes.pop() if len(sizes) == 1 else 1
    return size if isinstance(size, int) and size > 0 else 1


def unknown_symbol(name: str, known: Sequence[str]) -> UsageError:
    shown = f"its symbols: {quoted(', '.join(known))}" if known else "all its input dimensions are fixed numbers"
    message = f"the model has no symbol `{quoted(name)}`"
    return UsageError("unknown-symbol", message, hint=nearest(name, known) + shown)
