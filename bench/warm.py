"""What an earlier study is worth as a start: `python bench/warm.py [KIND ...] [--seeds 20] [--spaces NAME,...]`.

Per kind of earlier study (`KINDS`) and space: the trials until within 2 % of the best, median and 90th percentile, of
`auto`

* cold: without an earlier study;
* first: after the earlier study's best point (`--warm-start`);
* four: after its four best points.

and their ratio to cold, paired by seed: geometric mean and one standard error. A run that does not come there counts
as `NEVER`. The earlier study is `auto` itself, cold, with another seed and `EARLIER` trials. Recorded launches are
played at their mean, with made-up noise on top. Nothing is launched.
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np
from common import print_conditions
from landscapes import SHARED, others, recorded, simulated
from limits import bounds_ms

from infertune.core.goal import Goal, parse_goal
from infertune.core.records import Trial
from infertune.core.seams import Strategy
from infertune.search import auto
from infertune.search.replay.landscape import Landscape, best_score, play, steady
from infertune.search.replay.recording import Recording
from infertune.study.warm import best_points, warmed
from infertune.testing.records import recorded as record_of

TRIALS, NEVER, EARLIER, NOISE = 30, 45, 24, 0.03
WITHIN = -math.log1p(-0.02)
FOUR = 4
TIGHT, LOOSE = 1, 3
"""Which of the five p99 of a front limit the goal."""
PAIRS = {
    "bert-16core-pytorch-throughput": "resnet-16core-pytorch-throughput",
    "bert-16core-pytorch-latency": "resnet-16core-pytorch-latency",
    "minilm-l6-2cpu": "resnet50-2cpu",
    "card-bert-base": "card-resnet50",
}
OTHER = {**PAIRS, **{other: one for one, other in PAIRS.items()}}
Change = Literal["", "inverted", "shuffled"]


@dataclass(frozen=True, slots=True)
class Asked:
    """A study: of a space by name (``change``: with false figures), perhaps within a limit."""

    name: str
    limit: int | None = None
    change: Change = ""


@dataclass(frozen=True, slots=True)
class Case:
    """What was studied before and what now."""

    before: Asked
    now: Asked


def again(name: str) -> Iterator[Case]:
    yield Case(Asked(name), Asked(name))


def another_limit(name: str) -> Iterator[Case]:
    for before, now in ((TIGHT, LOOSE), (LOOSE, TIGHT)):
        yield Case(Asked(name, before), Asked(name, now))


def another_model(name: str) -> Iterator[Case]:
    yield Case(Asked(OTHER[name]), Asked(name))


def another_model_limited(name: str) -> Iterator[Case]:
    for limit in (TIGHT, LOOSE):
        yield Case(Asked(OTHER[name], limit), Asked(name, limit))


def misleading(name: str) -> Iterator[Case]:
    yield Case(Asked(name, change="inverted"), Asked(name))
    yield Case(Asked(name, change="shuffled"), Asked(name))


KINDS: Mapping[str, Callable[[str], Iterator[Case]]] = {
    "again": again,
    "another-limit": another_limit,
    "another-model": another_model,
    "another-model-limited": another_model_limited,
    "misleading": misleading,
}
STARTS = ("cold", "first", "four")


@lru_cache(maxsize=1)
def sets() -> Mapping[str, Recording]:
    """The data sets by name. Those measured by others name memory policies after the model: here both by the policy."""
    found = dict((*recorded(), *simulated()))
    for path in SHARED.glob("*.csv"):
        found[path.stem] = others(path, re.sub("(bert|resnet)_manual", "manual", path.read_text()))
    return found


@lru_cache(maxsize=64)
def landscape(asked: Asked) -> Landscape:
    """Played at its mean."""
    exact = replace(sets()[asked.name].landscape, ratios=steady)
    return falsified(exact, asked.change) if asked.change else exact


def falsified(true: Landscape, change: Change) -> Landscape:
    """The same space with its throughputs upside down, or dealt out anew."""
    points = [point for point in true.points() if true.fails(point) is None]
    rates = np.asarray([true.throughput(point) for point in points])
    mirrored = rates.min() * rates.max() / rates
    made = np.random.default_rng(0).permutation(rates) if change == "shuffled" else mirrored
    found = dict(zip(points, made.tolist(), strict=True))
    return replace(true, throughput=found.__getitem__, latencies_s=lambda point: None)


@lru_cache(maxsize=64)
def goal_of(asked: Asked) -> Goal:
    if asked.limit is None:
        return sets()[asked.name].goal
    return parse_goal(f"max throughput, p99 < {bounds_ms(landscape(asked))[asked.limit]:.4f} ms")


@lru_cache(maxsize=256)
def earlier(asked: Asked, seed: int) -> tuple[Trial, ...]:
    """The trials of an earlier study."""
    return play(auto.propose, landscape(asked), goal_of(asked), seed=1000 + seed, trials=EARLIER, noise=NOISE)


def strategies(case: Case, seed: int) -> Mapping[str, Strategy]:
    trials = earlier(case.before, seed)
    entries = record_of([launch for trial in trials for launch in trial.launches])
    best = best_points(entries, goal_of(case.now), landscape(case.now).spaces, most=FOUR)
    return {"cold": auto.propose, "first": warmed(auto.propose, best[:1]), "four": warmed(auto.propose, best)}


def needed(strategy: Strategy, asked: Asked, seed: int) -> int:
    """Trials until within 2 % of the best."""
    where, goal = landscape(asked), goal_of(asked)
    top, history = best(asked), list[Trial]()
    while len(history) < TRIALS:
        points = strategy(where.spaces, tuple(history), goal, 1, seed)
        if not points:
            break
        history.append(where.trial(points[0], noise=NOISE, seed=seed))
        score = where.score(points[0], goal)
        if score is not None and top - score <= WITHIN:
            return len(history)
    return NEVER


@lru_cache(maxsize=64)
def best(asked: Asked) -> float:
    return best_score(landscape(asked), goal_of(asked))


@lru_cache(maxsize=4096)
def cold(asked: Asked, seed: int) -> int:
    return needed(auto.propose, asked, seed)


def runs(case: Case, seeds: int) -> Mapping[str, list[int]]:
    """Per kind of start the trials that each seed needed."""
    found: dict[str, list[int]] = {name: [] for name in STARTS}
    for seed in range(seeds):
        found["cold"].append(cold(case.now, seed))
        for name, strategy in strategies(case, seed).items():
            if name != "cold":
                found[name].append(needed(strategy, case.now, seed))
    return found


def told(found: Mapping[str, list[int]], start: str) -> str:
    """Median and 90th percentile (45: never), and the ratio to cold with its standard error."""
    middle, most = (np.percentile(found[start], share, method="inverted_cdf") for share in (50, 90))
    if start == "cold":
        return f"{start} {middle:2.0f} {most:2.0f}"
    apart = np.log(found[start]) - np.log(found["cold"])
    ratio = float(np.exp(np.mean(apart)))
    error = ratio * float(np.std(apart, ddof=1)) / math.sqrt(len(apart)) if len(apart) > 1 else math.nan
    return f"{start} {middle:2.0f} {most:2.0f} x {ratio:4.2f} +- {error:4.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", help=f"of {', '.join(KINDS)}; default: all")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--spaces", default="", help="only those whose name contains one of these, separated by commas")
    asked = parser.parse_args()
    print_conditions()
    print(f"{asked.seeds} seeds, {100 * NOISE:g} % noise, at most {TRIALS} trials, {EARLIER} in the earlier study")
    for kind in asked.kinds or KINDS:
        total: dict[str, list[int]] = {name: [] for name in STARTS}
        print(kind)
        for case in cases(kind, asked.spaces.split(",")):
            found = runs(case, asked.seeds)
            print(f"  {named(case):56} {'  '.join(told(found, start) for start in STARTS)}", flush=True)
            total = {start: total[start] + found[start] for start in STARTS}
        print(f"  {'all':56} {'  '.join(told(total, start) for start in STARTS)}", flush=True)


def cases(kind: str, wanted: Sequence[str]) -> Iterator[Case]:
    limits = kind in ("another-limit", "another-model-limited")
    for name in sets():
        if any(part in name for part in wanted) and not (limits and name.endswith("latency")):
            yield from KINDS[kind](name)


def named(case: Case) -> str:
    limit = "" if case.now.limit is None else f", p99 level {case.before.limit} to {case.now.limit}"
    source = case.before.name if case.before.name != case.now.name else case.before.change
    return f"{case.now.name}{limit}{', after ' + source if source else ''}"


if __name__ == "__main__":
    main()
