"""A goal of several figures as a round of goals: the middle of the front, its ends, one of its gaps, asked levels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from infertune.core.goal import Goal, Limit, more_is_better
from infertune.core.records import Trial
from infertune.search.parts.arrays import Floats, Mask
from infertune.search.parts.evidence import read


def sides(goal: Goal, history: Sequence[Trial], rng: np.random.Generator) -> tuple[Goal, ...]:
    """What to search for, in turn: ``goal`` itself unless it is a front.

    Of a front: the geometric mean of all figures, each figure alone, and the best of all but one within a limit on that
    one which cuts a gap of the present front in half. Every level that the front is asked at has its turn before each
    of these: the front between is then what time is left for.
    """
    if not goal.is_front:
        return (goal,)
    whole = replace(goal, levels=())
    alone = (replace(whole, metrics=(metric,)) for metric in goal.metrics)
    number = int(rng.integers(len(goal.metrics)))
    bound = halfway(_front(whole, history)[:, number], rng)
    gap = () if bound is None else (whole.within(_scoring(goal.metrics[number], bound)),)
    return tuple(side for part in (whole, *alone, *gap) for side in (*goal.at_levels, part))


def shares(sides: Sequence[Goal], trials: int, n: int) -> list[tuple[Goal, int]]:
    """``n`` points dealt out to the sides, from the one whose turn it is after so many trials."""
    count = len(sides)
    dealt = [(sides[(trials + turn) % count], len(range(turn, n, count))) for turn in range(count)]
    return [(side, share) for side, share in dealt if share]


def _scoring(metric: str, score: float) -> Limit:
    """A figure has to score that much."""
    more = more_is_better(metric)
    return Limit(metric=metric, below=not more, bound=math.exp(score if more else -score), text="")


def halfway(scores: Floats, rng: np.random.Generator) -> float | None:
    """The middle of a gap between neighbours, drawn with chances as the squares of their widths; None without a gap.

    The widest gap alone would be aimed at for ever where it is a cliff.
    """
    steps = np.unique(scores)
    widths = np.diff(steps) ** 2
    if not len(widths) or not widths.sum() > 0.0:
        return None
    gap = int(rng.choice(len(widths), p=widths / widths.sum()))
    return float(steps[gap] + steps[gap + 1]) / 2.0


def _front(goal: Goal, history: Sequence[Trial]) -> Floats:
    """(points, figures): the scores of those measured points within all limits that no other one beats."""
    each = [read(history, replace(goal, metrics=(metric,))) for metric in goal.metrics]
    rows = [[one.figures[0] for one in trial if one.figures is not None] for trial in zip(*each, strict=True)]
    inside = [row for row, trial in zip(rows, zip(*each, strict=True), strict=True) if trial[0].feasible]
    scores = np.asarray(inside, dtype=np.float64).reshape(len(inside), len(goal.metrics))
    return scores[_unbeaten(scores)]


def _unbeaten(scores: Floats) -> Mask:
    least = np.all(scores[:, None, :] >= scores[None, :, :], axis=2)
    more = np.any(scores[:, None, :] > scores[None, :, :], axis=2)
    return np.asarray(~np.any(least & more, axis=0))
