"""How the configurator writes points, rounds and results: the vendor's line forms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from infertune.core.space import Point
from infertune.targets.qaic.knobs import NONE, clusters

_BUILD = (("cores", "cores"), ("mos", "mos"), ("ols", "ols"), ("batch", "batchSize"))
COLUMNS: Mapping[str, str] = {
    "cores": "cores", "mos": "mos", "ols": "ols", "batch": "batchSize", "dealloc_delay": "deallocDelay",
    "split_size": "splitSize", "vtcm_ratio": "vtcmRatio", "sdp_cluster_sizes": "sdpClusterSizes",
    "instances": "instances", "set_size": "setSize", "depth_first_mem": "depthFirstMem",
}  # fmt: skip
"""Knob -> column of the search space's and the results' CSV; the last two are infertune's own."""
OPTIONS = ("dealloc_delay", "split_size", "vtcm_ratio", "sdp_cluster_sizes", "depth_first_mem")
"""What the vendor's line forms leave out; told where a point sets it."""
COMPILER_DEFAULT = "compiler-default"


def _named(point: Point, knob: str, name: str) -> str:
    return f"{name}={_shown(point, knob)}"


def compiler_params(point: Point) -> str:
    """``(cores=1, mos=[1], ols=1, batchSize=1)``, with the options that the point sets."""
    told = {COLUMNS[knob]: text for knob in OPTIONS if (text := cell(point, knob))}
    options = (f"{name}={f'[{text}]' if ',' in text else text}" for name, text in told.items())
    return "(" + ", ".join([*(_named(point, knob, name) for knob, name in _BUILD), *options]) + ")"


def search_point(point: Point, *, set_sizes: bool) -> str:
    """``(cores=1, mos=[1], ols=1, batchSize=1, instances=14)``, with ``setSize`` in the newer form."""
    run = f", instances={point.number('instances', 1)}" + (
        f", setSize={point.number('set_size', 1)}" if set_sizes else ""
    )
    return compiler_params(point)[:-1] + run + ")"


def binary_folder(point: Point) -> str:
    """The vendor's name of a compiled binary's folder."""
    mos = point.number("mos") or COMPILER_DEFAULT
    ols = point.number("ols") or COMPILER_DEFAULT
    return f"qpc-cores-{point.number('cores')}-mos-{mos}-ols-{ols}-bs-{point.number('batch')}{_options(point)}-output"


def _options(point: Point) -> str:
    """What the vendor's name leaves out, where a point sets it: binaries that differ get folders that differ."""
    told = ((knob, cell(point, knob)) for knob in OPTIONS)
    words = (f"-{COLUMNS[knob]}-{text}" for knob, text in told if text)
    return "".join(c if c.isalnum() or c in "-." else "_" for c in "".join(words))


def cell(point: Point, knob: str) -> str:
    """A CSV cell: mos is a list with one number per cluster, or the compiler's own."""
    value = point.get(knob, "")
    parts = clusters(str(point.get("sdp_cluster_sizes", NONE)))
    if knob == "sdp_cluster_sizes":
        return ",".join(str(size) for size, _ in parts)
    if knob == "mos" and any(split for _, split in parts):
        return f"[{', '.join(str(split or 1) for _, split in parts)}]"
    if knob == "mos":
        return COMPILER_DEFAULT if value == 0 else f"[{value}]"
    return "" if value in (0, "none", "default") else str(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the result table. Of a search that has no starts, ``status`` and ``start`` are empty."""

    point: Point
    objective: float
    status: str = ""
    start: str = ""


def result_table(rows: Sequence[Row], objective: str, *, set_sizes: bool, options: Sequence[str] = ()) -> str:
    """The table at the end, right-aligned like a printed data frame.

    After the vendor's columns one for each of the ``options`` (knobs).
    """
    searched = any(row.status for row in rows)
    knobs = ["cores", "mos", "ols", "batch", "instances", *(["set_size"] if set_sizes else [])]
    heads = [*(["OptimizerStatus", "InitialValue"] if searched else []), *(COLUMNS[knob] for knob in knobs)]
    heads += [f"Objective ({objective})", *(COLUMNS[knob] for knob in options)]
    lines = []
    for row in rows:
        found = [*([row.status, row.start] if searched else []), *(_shown(row.point, knob) for knob in knobs)]
        lines.append([*found, f"{row.objective:.2f}", *(_shown(row.point, knob) for knob in options)])
    sizes = [max(len(head), *(len(line[i]) for line in lines)) for i, head in enumerate(heads)]
    index = max(1, len(str(len(lines) - 1)))
    text = [" " * index + "".join(f" {head:>{size}}" for head, size in zip(heads, sizes, strict=True))]
    for place, line in enumerate(lines):
        text.append(f"{place:<{index}}" + "".join(f" {word:>{size}}" for word, size in zip(line, sizes, strict=True)))
    return "\n".join(text)


def _shown(point: Point, knob: str) -> str:
    return cell(point, knob) or COMPILER_DEFAULT


def clock_text(seconds: float) -> str:
    """``HH:MM:SS.mmm``."""
    millis = round(seconds * 1000)
    return f"{millis // 3_600_000:02d}:{millis // 60_000 % 60:02d}:{millis // 1000 % 60:02d}.{millis % 1000:03d}"
