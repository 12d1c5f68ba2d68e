"""Reading what the vendor's model_configurator logs: the points it evaluated, in rounds, and its result table."""

from __future__ import annotations

import re
from dataclasses import dataclass

from infertune.targets.qaic.parse import complete_lines

_EVALUATING = "Evaluating the following SearchPoints: "
_STARTING = re.compile(r"Running optimization algorithm from initial values?: (.*)")
_LINE = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}) - \[(\w+)\]: (.*)")
_MOS, _OLS = r"(\[[\d, ]+\]|compiler-default)", r"(\d+|compiler-default)"
_OPTIONS = r"(?:, \w+=(?:\[[\d, ]+\]|\d+))*?"
_POINT = re.compile(
    rf"\(cores=(\d+), mos={_MOS}, ols={_OLS}, batchSize=(\d+){_OPTIONS}, instances=(\d+)(?:, setSize=(\d+))?\)"
)
_STATUS = "SUCCESS|CONSTRAIN_FAILURE|NUMERICAL_FAILURE|EXCEED_MAX_ITER|EXCEED_MAX_EVAL|UNKNOWN_ERROR"
_RESULT = re.compile(
    rf"\s*\d*\s*(?:({_STATUS})\s+(\(.*?\))\s+)?(\d+)\s+{_MOS}\s+{_OLS}\s+(\d+)\s+(\d+)"
    r"(?:\s+(\d+))?\s+(\d+(?:\.\d+)?)(?:\s.*)?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPoint:
    """A point in the configurator's own terms; ``set_size`` 0 where the tool does not tell it.

    ``mos`` and ``ols`` are 0 where they were left to the compiler.
    """

    cores: int
    mos: int
    ols: int
    batch: int
    instances: int
    set_size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultRow:
    """``status`` is empty where all combinations were run."""

    status: str
    point: SearchPoint
    objective: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """``rounds``: the points of each "Evaluating" line. ``starts``: what each optimisation began from."""

    starts: tuple[SearchPoint, ...]
    rounds: tuple[tuple[SearchPoint, ...], ...]
    results: tuple[ResultRow, ...]


def parse_log(text: str) -> Log:
    """Complete lines only; lines of other forms are passed over."""
    starts: list[SearchPoint] = []
    rounds: list[tuple[SearchPoint, ...]] = []
    results: list[ResultRow] = []
    for line in complete_lines(text):
        stamped = _LINE.fullmatch(line)
        told = stamped[3] if stamped else line
        if told.startswith(_EVALUATING):
            rounds.append(search_points(told))
        elif start := _STARTING.fullmatch(told):
            starts += search_points(start[1])
        elif result := _RESULT.fullmatch(told):
            results.append(_row(result))
    return Log(starts=tuple(starts), rounds=tuple(rounds), results=tuple(results))


def search_points(text: str) -> tuple[SearchPoint, ...]:
    """Every ``(cores=.., mos=[..], ols=.., batchSize=.., instances=..)`` in a text."""
    return tuple(_point(*match.groups()) for match in _POINT.finditer(text))


def _point(cores: str, mos: str, ols: str, batch: str, instances: str, set_size: str | None) -> SearchPoint:
    return SearchPoint(
        cores=int(cores),
        mos=_number(mos.strip("[]").split(",", maxsplit=1)[0]),
        ols=_number(ols),
        batch=int(batch),
        instances=int(instances),
        set_size=int(set_size or 0),
    )


def _number(text: str) -> int:
    """0 where it was left to the compiler."""
    return int(text) if text.isdecimal() else 0


def _row(match: re.Match[str]) -> ResultRow:
    cores, mos, ols, batch, instances, set_size = (match[i] for i in range(3, 9))
    return ResultRow(
        status=match[1] or "", point=_point(cores, mos, ols, batch, instances, set_size), objective=float(match[9])
    )
