"""`infertune inspect`: what a model is, without running it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infertune.cli.options import BatchSymbol, Json, ModelFile, Shapes
from infertune.core.errors import quoted

if TYPE_CHECKING:
    from rich.console import Console

    from infertune.prepare.arithmetic import Arithmetic, OperatorClass
    from infertune.prepare.summary import PortFact, Summary, SymbolFact

_MOST_OPERATORS = 6


def command(model: ModelFile, shape: Shapes = None, batch_symbol: BatchSymbol = None, json: Json = False) -> None:
    """Show a model's inputs, outputs, symbols, weights and arithmetic."""
    from infertune.cli.output import print_json, stdout_console
    from infertune.core import wire
    from infertune.prepare.shapes import parse_shapes
    from infertune.prepare.summary import summarise

    found = summarise(str(model), parse_shapes(shape or []), batch_symbol)
    if json:
        print_json({"format": 1, **wire.to_plain(found), "macs": found.arithmetic.macs if found.arithmetic else None})
        return
    console = stdout_console()
    _print_file(found, console)
    _print_ports(found, console)
    _print_symbols(found, console)
    _print_arithmetic(found, console)


def _print_file(found: Summary, console: Console) -> None:
    from infertune.cli.output import bytes_text
    from infertune.core.words import counted
    from infertune.edge import files

    data = f" and {quoted(', '.join(found.data_files))}" if found.data_files else ""
    made = f", made by {quoted(found.producer)}" if found.producer else ""
    opsets = ", ".join(f"{quoted(domain)} {version}" for domain, version in found.opsets)
    held = ", ".join(f"{w.dtype} {bytes_text(w.size_bytes)} ({counted(w.tensors, 'tensor')})" for w in found.weights)
    console.print(f"{files.shown(found.path)}: {bytes_text(found.file_bytes)}{data}, sha256 {found.digest[:16]}")
    console.print(f"opset {opsets}; IR version {found.ir_version}{made}; {counted(found.nodes, 'node')}")
    if not found.weights:
        console.print("no weights but what nodes hold as attributes, as trees do")
        return
    console.print(f"{found.parameters:,} parameters, {bytes_text(found.weight_bytes)} of weights: {held}")


def _print_ports(found: Summary, console: Console) -> None:
    from infertune.cli.output import table

    rows = [_port_row("input", port) for port in found.inputs]
    rows += [_port_row("output", port) for port in found.outputs]
    console.print()
    console.print(table(("port", "name", "type", "dimensions", f"at batch {found.batch}", "values below"), rows))


def _port_row(kind: str, port: PortFact) -> tuple[str, ...]:
    dims = "unknown" if port.dims is None else _times(port.dims)
    shape = "" if port.shape is None else _times(port.shape)
    return (kind, quoted(port.name), port.dtype, dims, shape, "" if port.below is None else str(port.below))


def _times(dims: tuple[int | str, ...]) -> str:
    return quoted(" x ".join(map(str, dims))) if dims else "scalar"


def _print_symbols(found: Summary, console: Console) -> None:
    from infertune.cli.output import table

    console.print()
    if found.symbols:
        rows = [(quoted(s.name), _bound(s), quoted(", ".join(s.places))) for s in found.symbols]
        console.print(table(("symbol", "is", "where (port.axis)"), rows))
    if found.is_batch_fixed:
        console.print(_fixed(found))


def _fixed(found: Summary) -> str:
    """Why no batch can be chosen; a first dimension that is open may be the batch under a name that does not tell."""
    from infertune.core.words import counted

    known = any(symbol.is_batch for symbol in found.symbols)
    if known or not any(port.dims and isinstance(port.dims[0], str) for port in found.inputs):
        return f"the batch is fixed at {found.batch}"
    names = quoted(", ".join(symbol.name for symbol in found.symbols))
    samples = counted(found.batch, "sample")
    return f"no symbol is known as the batch: a request counts as {samples} unless --batch-symbol names one of {names}"


def _bound(symbol: SymbolFact) -> str:
    if symbol.value is not None:
        return str(symbol.value)
    from infertune.prepare.shapes import option

    return "the batch" if symbol.is_batch else f"unbound: {quoted(option(f'{symbol.name}=NUMBER'))}"


def _print_arithmetic(found: Summary, console: Console) -> None:
    from infertune.cli.output import table

    console.print()
    counts = found.arithmetic
    if counts is None:
        console.print(f"multiply-accumulates not counted: {quoted(found.arithmetic_missing)}")
        return
    rows = [_class_row(c, counts.macs) for c in counts.classes]
    rows.append(("total", str(sum(c.nodes for c in counts.classes)), _figure(counts.macs), "", ""))
    console.print(table(("operators", "nodes", "MACs per sample", "share", "which"), rows))
    _print_gaps(counts, console)


def _class_row(found: OperatorClass, total: int | None) -> tuple[str, ...]:
    named = [f"{count} {quoted(name)}" for name, count in found.operators[:_MOST_OPERATORS]]
    more = ", ..." if len(found.operators) > _MOST_OPERATORS else ""
    share = f"{100 * found.macs / total:.1f} %" if total and found.macs is not None else ""
    return (found.name, str(found.nodes), _figure(found.macs), share, ", ".join(named) + more)


def _figure(macs: int | None) -> str:
    return "unknown" if macs is None else f"{macs:,}"


def _print_gaps(counts: Arithmetic, console: Console) -> None:
    if counts.uncounted:
        console.print(f"not counted, because a size in them could not be worked out: {_some(counts.uncounted)}")
    if counts.uncounted and counts.lost_at:
        console.print(f"shapes become unknown at: {_some(counts.lost_at)}")


def _some(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
