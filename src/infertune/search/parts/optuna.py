"""Optuna's suggestions as points of our spaces: told the whole history, asked, and moved to the nearest legal point.

Optuna knows neither rules nor spaces of different targets. All spaces become one: a choice of the space, and the union
of their knobs (whole numbers by rank). Of a suggestion the knobs that its space has are kept; the nearest legal point
of that space that nobody asked for yet is the one proposed, so that nothing is measured twice. Limits are passed as
constraints (Optuna: feasible when none is above zero).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from infertune.core.errors import UsageError
from infertune.core.goal import Goal
from infertune.core.records import Trial
from infertune.core.space import Point, Space, Value
from infertune.search.parts.arrays import Floats, Mask
from infertune.search.parts.candidates import allowed
from infertune.search.parts.catalogue import Catalogue, catalogue
from infertune.search.parts.evidence import Evidence, read

if TYPE_CHECKING:
    import optuna

HOME = "space"
"""The choice of the space; knobs are called ``knob NAME``, so no knob can be mistaken for it."""
Sampler = Callable[[int], Any]
"""Makes one of Optuna's from a seed."""
Levels = Mapping[str, tuple[Value, ...]]


def load_optuna(package: str = "optuna") -> Any:
    """The package. Raises `UsageError` (id ``missing-package``) with the pip line."""
    import importlib

    try:
        found = importlib.import_module(package)
    except ImportError:
        raise UsageError(
            "missing-package", "the strategies tpe and gp need Optuna", hint='pip install "infertune[optuna]"'
        ) from None
    return found


def suggested(
    sampler: Sampler, spaces: Sequence[Space], history: Sequence[Trial], goal: Goal, n: int, seed: int
) -> tuple[Point, ...]:
    """Up to ``n`` points; the same for the same arguments."""
    optuna = load_optuna()
    everything = catalogue(tuple(spaces))
    evidence = tuple(trial for trial in read(history, goal) if everything.has(trial.point))
    left = allowed(everything, goal)
    left[everything.places([trial.point for trial in evidence])] = False
    levels = union(spaces)
    picks: list[Point] = []
    with _quiet():
        study = _told(optuna, sampler(_seed(seed, len(history))), everything, evidence, levels)
        while len(picks) < n and left.any():
            asked = study.ask(_distributions(optuna, levels, len(spaces)))
            place = nearest(everything, left, asked.params, levels)
            left[place] = False
            picks.append(everything.point(place))
    return tuple(picks)


def union(spaces: Sequence[Space]) -> Levels:
    """Every knob of any space with its values in order; those that never vary are left out."""
    found: dict[str, set[Value]] = {}
    for space in spaces:
        for knob in space.knobs:
            found.setdefault(knob.name, set()).update(knob.values)
    ordered = {name: tuple(sorted(values, key=_order)) for name, values in sorted(found.items())}
    return {name: values for name, values in ordered.items() if len(values) > 1}


def _order(value: Value) -> tuple[bool, int, str]:
    return isinstance(value, str), value if isinstance(value, int) else 0, str(value)


def _ranked(values: tuple[Value, ...]) -> bool:
    return all(isinstance(value, int) for value in values)


def _seed(seed: int, trials: int) -> int:
    """Another stream at every length of the history: a strategy is asked afresh each time."""
    return int(np.random.default_rng([seed, trials]).integers(2**31))


@contextmanager
def _quiet() -> Iterator[None]:
    """Optuna's own reports and warnings about features that may change are not ours to show."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(before)


def _distributions(optuna: Any, levels: Levels, spaces: int) -> dict[str, Any]:
    made = {
        f"knob {name}": optuna.distributions.IntDistribution(0, len(values) - 1)
        if _ranked(values)
        else optuna.distributions.CategoricalDistribution([str(value) for value in values])
        for name, values in levels.items()
    }
    if spaces > 1:
        made[HOME] = optuna.distributions.CategoricalDistribution(list(range(spaces)))
    return made


def _told(
    optuna: Any, sampler: Any, everything: Catalogue, evidence: Sequence[Evidence], levels: Levels
) -> optuna.Study:
    """A study in memory that has seen the history; a trial that failed is told as failed, one under way as running."""
    study = optuna.create_study(direction="maximize", sampler=sampler)
    spaces = [table.space for table in everything.tables]
    distributions = _distributions(optuna, levels, len(spaces))
    for trial in evidence:
        study.add_trial(_frozen(optuna, trial, _params(trial.point, spaces, levels), distributions))
    return study  # type: ignore[no-any-return]


def _params(point: Point, spaces: Sequence[Space], levels: Levels) -> dict[str, Any]:
    """A point in Optuna's terms; a knob that its space lacks, or a value that is not searched, is at the lowest."""
    params: dict[str, Any] = {}
    for name, values in levels.items():
        value = point.get(name, values[0])
        rank = values.index(value) if value in values else 0
        params[f"knob {name}"] = rank if _ranked(values) else str(values[rank])
    if len(spaces) > 1:
        params[HOME] = [(space.target, space.device) for space in spaces].index((point.target, point.device))
    return params


def _frozen(optuna: Any, trial: Evidence, params: dict[str, Any], distributions: dict[str, Any]) -> Any:
    state = optuna.trial.TrialState
    if trial.figures is None:
        under_way = trial.success is None
        return optuna.trial.create_trial(
            state=state.RUNNING if under_way else state.FAIL, params=params, distributions=distributions
        )
    return optuna.trial.create_trial(
        state=state.COMPLETE,
        value=trial.figures[0],
        params=params,
        distributions=distributions,
        system_attrs={"constraints": list(trial.figures[1:])},
    )


def constraints(frozen: Any) -> Sequence[float]:
    """What Optuna asks a finished trial for; here every finished trial already carries its own."""
    return tuple(frozen.system_attrs.get("constraints", ()))


def nearest(everything: Catalogue, left: Mask, params: Mapping[str, Any], levels: Levels) -> int:
    """The place among those ``left`` that is nearest to a suggestion, in its own space if any of it is left."""
    home = int(params.get(HOME, 0))
    inside = np.zeros(len(everything), dtype=bool)
    inside[everything.starts[home] : everything.starts[home + 1]] = True
    among = left & inside if (left & inside).any() else left
    places = np.flatnonzero(among)
    apart = np.zeros(len(places))
    for number, (table, start) in enumerate(zip(everything.tables, everything.starts, strict=False)):
        ours = everything.homes(places) == number
        apart[ours] = _apart(table.space, table.rows[places[ours] - start], params, levels)
    return int(places[np.argmin(apart)])


def _apart(space: Space, rows: Any, params: Mapping[str, Any], levels: Levels) -> Floats:
    """Squared distance of each row to the suggestion: ranks in units of a knob's whole range, 1 between choices."""
    total = np.zeros(len(rows))
    for column, knob in enumerate(space.knobs):
        values = levels.get(knob.name)
        if values is None:
            continue
        asked = params[f"knob {knob.name}"]
        if _ranked(values):
            steps = np.asarray([values.index(value) - asked for value in knob.values]) / (len(values) - 1)
        else:
            steps = np.asarray([float(str(value) != asked) for value in knob.values])
        total += steps[rows[:, column]] ** 2
    return total
