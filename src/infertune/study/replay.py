"""`replay`: search strategies against recorded spaces. Nothing is built and nothing launched."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from infertune.core.errors import DataError, NotFoundError, UsageError, quoted
from infertune.core.goal import parse_goal
from infertune.core.replayed import Replayed
from infertune.edge.files import shown
from infertune.search import find_ending, find_strategy, names
from infertune.search.replay.judge import Terms, judged
from infertune.search.replay.recording import Recording, recording

_log = logging.getLogger(__name__)


def replay(
    data: str | Path | Sequence[str | Path],
    *,
    strategies: str | Sequence[str] = ("auto",),
    seeds: int = 20,
    trials: int = 40,
    goal: str | None = None,
    noise: float | None = None,
    invalid: float = 0.0,
    on_run: Callable[[Replayed], None] = lambda run: None,
) -> tuple[Replayed, ...]:
    """Play every recorded space in ``data`` (CSV files, each with a JSON document beside it) to every strategy.

    One file or strategy may be given alone; ``strategies`` may be ``all``. ``noise`` (0.1: launches differ by 10 %)
    replaces the recorded launches' own; ``invalid`` is a share of points that are made to fail. Raises `InfertuneError`
    for a file that is not there or does not say what is needed, and where there is nothing to play.
    """
    paths = [data] if isinstance(data, str | Path) else data
    wanted_names = [strategies] if isinstance(strategies, str) else strategies
    if not (paths and wanted_names and seeds >= 1 and trials >= 1):
        asked = f"{len(paths)} recordings, {len(wanted_names)} strategies, {seeds} seeds and {trials} trials"
        raise UsageError("nothing-to-play", f"{asked} play nothing", hint="give at least one of each")
    for name, value in (("noise", noise or 0.0), ("invalid", invalid)):
        if not 0.0 <= value < 1.0:
            raise UsageError("not-a-share", f"{name} cannot be {value}", hint="give 0 or more and less than 1")
    known = {name: find_strategy(name) for name in (names() if "all" in wanted_names else wanted_names)}
    terms = Terms(trials=trials, noise=noise, invalid=invalid)
    found = []
    for recorded in [load(Path(path)) for path in paths]:
        wanted = recorded.goal if goal is None else parse_goal(goal)
        for name, strategy in known.items():
            ours = replace(terms, ending=find_ending(name))
            runs = judged(name, strategy, recorded.landscape, wanted, ours, range(seeds), simulated=recorded.simulated)
            for run in runs:
                on_run(run)
                found.append(run)
    return tuple(found)


def load(path: Path) -> Recording:
    """A CSV and the document of the same name beside it, if there is one; a JSON path stands for its CSV."""
    table = path.with_suffix(".csv") if path.name else path
    if not table.is_file():
        raise NotFoundError(
            "recording-not-found", f"there is no `{quoted(str(table))}`", hint="give the CSV of a recorded space"
        )
    beside = table.with_suffix(".json")
    document = _text(beside) if beside.is_file() else None
    found = recording(table.stem, _text(table), document)
    for note in found.notes:
        _log.warning("%s: %s", shown(table), note)
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            "recording-unreadable", f"`{quoted(str(path))}` cannot be read: {error}", hint="save it as UTF-8 text"
        ) from error


def share(text: str) -> float:
    """``2%`` or ``0.02`` as 0.02. Raises `UsageError` (id ``not-a-share``) outside 0 to 1."""
    plain = text.strip()
    try:
        value = float(plain.removesuffix("%")) / (100.0 if plain.endswith("%") else 1.0)
    except ValueError:
        value = -1.0
    if not 0.0 <= value < 1.0:
        raise UsageError("not-a-share", f"`{quoted(text)}` is no share", hint="write 2% or 0.02")
    return value
