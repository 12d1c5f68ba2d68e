"""The space of a brute-force search: every legal combination of lists, and its CSV file."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from infertune.core.errors import DataError, NotFoundError, UsageError, quoted
from infertune.core.space import AUTO, IntRange, Point, Space, Value
from infertune.targets.qaic.configurator.wording import COLUMNS, COMPILER_DEFAULT, cell
from infertune.targets.qaic.knobs import LARGEST_BATCH

FROM_ONE = ("cores", "mos", "ols", "batch", "instances")
"""Knobs whose lists begin at 1: what is left to the compiler is left out of the command line."""
_KNOBS = {column: knob for knob, column in COLUMNS.items()}


def combinations(space: Space, lists: Mapping[str, Sequence[Value]], fixed: Mapping[str, Value]) -> tuple[Point, ...]:
    """Legal points over the lists. As the vendor's tool does, a list for mos gets the compiler's own choice added.

    Raises `UsageError`: ``list-outside-card`` for what no point may have here (cores beyond the card's NSPs, say), and
    ``no-combination``.
    """
    for knob, wanted in lists.items():
        allowed = space.knob(knob).allowed
        if beyond := [value for value in wanted if value not in allowed]:
            shown = allowed if not isinstance(allowed, tuple) else ", ".join(map(str, allowed))
            if isinstance(allowed, IntRange) and knob in FROM_ONE:
                shown = replace(allowed, low=1)
            raise UsageError(
                "list-outside-card",
                f"the list for {knob} holds {beyond[0]}, which this card and model cannot have",
                hint=f"take {knob} from {shown}",
            )
    values = {**lists, **({"mos": (*lists["mos"], AUTO)} if "mos" in lists else {})}
    names = list(values)
    points = (
        space.point(**{**fixed, **dict(zip(names, combo, strict=True))})
        for combo in itertools.product(*values.values())
    )
    judged = {point: space.why_illegal(point) for point in points}
    legal = tuple(point for point, why in judged.items() if why is None)
    if not legal:
        why = next(iter(judged.values()))
        raise UsageError("no-combination", f"no combination of the lists is legal: {why}", hint="change the lists")
    return legal


def left_out(space: Space, lists: Mapping[str, Sequence[Value]], points: Sequence[Point]) -> Iterator[str]:
    """A line for every value of the lists that no point has, with the rule that it breaks beside the first point."""
    for knob, wanted in lists.items():
        for value in wanted:
            if all(point[knob] != value for point in points):
                why = space.why_illegal(points[0].but(**{knob: value}))
                yield f"No combination has {knob} {value}" + (f": {why}" if why else "")


def rebatched(space: Space) -> Space:
    """The space with any batch: the compiler takes a model of a fixed one by `-batchsize`."""
    anything = IntRange(low=1, high=LARGEST_BATCH)
    return replace(space, knobs=tuple(replace(k, allowed=anything) if k.name == "batch" else k for k in space.knobs))


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
    rows = _rows(path)
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


def _rows(path: str) -> list[list[str]]:
    try:
        text = Path(path).read_text(encoding="utf-8-sig", errors="replace")
        return list(csv.reader(text.splitlines()))
    except OSError as error:
        raise _damaged(path, f"it cannot be read: {error.strerror}") from None
    except csv.Error as error:
        raise _damaged(path, str(error)) from None


def _damaged(path: str, why: str) -> DataError:
    return DataError(
        "configs-damaged", f"`{quoted(path)}`: {quoted(why)}", hint=f"columns: {', '.join(COLUMNS.values())}"
    )


def _values(path: str, number: int, row: Mapping[str, str]) -> dict[str, Value]:
    lists = {column: found for column, text in row.items() if (found := _numbers(path, number, column, text))}
    sizes, splits = lists.pop("sdpClusterSizes", ()), lists.pop("mos", ())
    if len(splits) > 1 and len(splits) != len(sizes):
        raise _damaged(path, f"line {number}: mos is for {len(splits)} clusters, sdpClusterSizes for {len(sizes)}")
    if wrong := [column for column, found in lists.items() if len(found) > 1]:
        raise _damaged(path, f"line {number} holds a list for {wrong[0]}")
    return {**{_KNOBS[column]: found[0] for column, found in lists.items()}, **_clusters(sizes, splits)}


def _numbers(path: str, number: int, column: str, text: str) -> tuple[int, ...]:
    """``3`` and ``[1, 7]``; nothing for what is left to the compiler."""
    bare = text.strip().strip("[]").strip()
    if not bare or bare == COMPILER_DEFAULT:
        return ()
    words = [word.strip() for word in bare.split(",")]
    if not all(re.fullmatch(r"[0-9]{1,9}", word) for word in words):
        raise _damaged(path, f"line {number} holds `{text}` for {column}")
    return tuple(map(int, words))


def _clusters(sizes: Sequence[int], splits: Sequence[int]) -> dict[str, Value]:
    if len(splits) > 1:
        return {"sdp_cluster_sizes": "+".join(f"{a}:{b}" for a, b in zip(sizes, splits, strict=True))}
    told: dict[str, Value] = {"mos": splits[0]} if splits else {}
    return {**told, "sdp_cluster_sizes": "+".join(map(str, sizes))} if sizes else told
