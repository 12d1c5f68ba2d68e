"""The space of a brute-force search: every legal combination of lists, and its CSV file."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

from infertune.core.errors import DataError, NotFoundError, quoted
from infertune.core.space import AUTO, Point, Space, Value
from infertune.targets.qaic.configurator.wording import COLUMNS, COMPILER_DEFAULT, cell

_KNOBS = {column: knob for knob, column in COLUMNS.items()}


def combinations(space: Space, lists: Mapping[str, Sequence[Value]], fixed: Mapping[str, Value]) -> tuple[Point, ...]:
    """Legal points over the lists. As the vendor's tool does, a list for mos gets the compiler's own choice added."""
    values = {**lists, **({"mos": (*lists["mos"], AUTO)} if "mos" in lists else {})}
    names = list(values)
    points = (
        space.point(**{**fixed, **dict(zip(names, combo, strict=True))})
        for combo in itertools.product(*values.values())
    )
    return tuple(dict.fromkeys(point for point in points if space.why_illegal(point) is None))


def configs_text(points: Sequence[Point]) -> str:
    """The points as a CSV that `read_configs` reads."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS.values())
    writer.writerows([cell(point, knob) for knob in COLUMNS] for point in points)
    return text.getvalue()


def read_configs(path: str, space: Space, fixed: Mapping[str, Value]) -> tuple[Point, ...]:
    """Raises `NotFoundError` (``configs-not-found``) and `DataError` (``configs-damaged``)."""
    if not Path(path).is_file():
        raise NotFoundError("configs-not-found", f"there is no file `{quoted(path)}`", hint="check -load-configs")
    rows = list(csv.reader(Path(path).read_text(errors="replace").splitlines()))
    heads = [head.strip() for head in rows[0]] if rows else []
    if not {"cores", "batchSize", "instances"} <= set(heads) or not set(heads) <= set(_KNOBS):
        raise _damaged(path, f"its columns are {', '.join(heads) or 'none'}")
    points = []
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(heads):
            raise _damaged(path, f"line {number} has {len(row)} columns instead of {len(heads)}")
        point = space.point(**{**fixed, **_values(path, number, dict(zip(heads, row, strict=True)))})
        if why := space.why_illegal(point):
            raise _damaged(path, f"line {number}: {why}")
        points.append(point)
    return tuple(dict.fromkeys(points))


def _damaged(path: str, why: str) -> DataError:
    return DataError(
        "configs-damaged", f"`{quoted(path)}`: {quoted(why)}", hint=f"columns: {', '.join(COLUMNS.values())}"
    )


def _values(path: str, number: int, row: Mapping[str, str]) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for column, text in row.items():
        bare = text.strip().strip("[]").strip()
        if not bare or bare == COMPILER_DEFAULT:
            continue
        if column == "sdpClusterSizes":
            found[_KNOBS[column]] = bare.replace(",", "+").replace(" ", "")
        elif bare.isdecimal():
            found[_KNOBS[column]] = int(bare)
        else:
            raise _damaged(path, f"line {number} holds `{text}` for {column}")
    return found
