"""Ablation: the winner beside the same point with one knob put back, to see what each of its knobs brings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

from infertune.core import choice, history
from infertune.core.ablated import Ablated, Variant
from infertune.core.ablation import BLOCKS, begun, failure, shared
from infertune.core.answer import answer
from infertune.core.records import Closed, Entry, Failed, Launch
from infertune.core.space import Knob, Point, Space, Value
from infertune.measure import race as racing
from infertune.study.loop import LEAST_BUILD_S, LEAST_LAUNCH_S, Loop

SHARE = 0.15
LEAST_S = 20.0
MOST_SHARE = 0.2
"""Of the budget, kept back for it: more of a short one, where even a few launches take long."""

MOST_BLOCKS = 3 * BLOCKS
"""Blocks beyond the first ones make up for launches that other programs disturbed."""


def reserve_s(budget_s: float) -> float:
    """Seconds of the budget kept back for an ablation."""
    return min(MOST_SHARE * budget_s, max(SHARE * budget_s, LEAST_S))


def confirmed_winner(entries: Sequence[Entry]) -> Point | None:
    """Whose knobs can be looked at: a confirmed winner that is no baseline (whose knobs are what a person starts from).

    None as well where a search went on after the confirmation.
    """
    reading = choice.read(entries)
    chosen = choice.choose(reading)
    if chosen.decision is None or chosen.confirmation is None or chosen.confirmation != reading.confirmations[-1]:
        return None
    winner = chosen.decision.winner
    return None if any(winner == point for _, point in reading.baselines) else winner


def is_all_that_is_left(entries: Sequence[Entry]) -> bool:
    """Whether search and confirmation are done, and the confirmed winner's ablation was not begun or not ended."""
    if not entries or confirmed_winner(entries) is None:
        return False
    found, ended = answer(entries).ablation, history.closed(entries)
    done = found is not None or (ended is not None and ended.status == "ok")
    return done and (found is None or not found.complete)


def closed_before(entries: Sequence[Entry]) -> Closed:
    """How the study ended before its ablation."""
    return Closed(status="ok", why=history.why_decided(entries))


def ablate(loop: Loop, until_s: float) -> None:
    """Launch the winner and its variants in interleaved blocks until each shares `BLOCKS` with it, or ``until_s``.

    An ablation that was interrupted goes on where it stopped. Variants that time does not reach stay unmeasured.
    """
    winner = confirmed_winner(loop.journal.entries)
    if winner is None or loop.stop():
        return
    asked = _asked(loop, winner)
    ready = [v.point for v in asked.variants if _built(loop, v.point, until_s)]
    for block in range(_last_block(loop), MOST_BLOCKS):
        points = _reachable(loop, winner, ready, until_s)
        if not points or loop.stop():
            return
        _launch_block(loop, [winner, *points], block, until_s)


def _asked(loop: Loop, winner: Point) -> Ablated:
    """What is to be launched; recorded first, once per confirmation."""
    before = begun(loop.journal.entries)
    wanted = variants(loop.setting.space(winner.target, winner.device), winner, _best_baseline(loop, winner))
    if before is None or before[0] != wanted:
        loop.journal.append(wanted)
    return wanted


def _best_baseline(loop: Loop, winner: Point) -> Point | None:
    """Of the winner's own target."""
    found = answer(loop.journal.entries)
    rivals = [r.figures for r in found.rivals if r.figures.point.target == winner.target]
    goal = loop.setting.goal
    best = max(rivals, key=lambda f: f.value.value if goal.maximise else -f.value.value, default=None)
    return best.point if best else None


# ---------------------------------------------------------------- which points


def variants(space: Space, winner: Point, baseline: Point | None) -> Ablated:
    """Every knob of ``winner`` put back alone, where the rules allow it; else two of the others together."""
    found: list[Variant] = []
    stuck: list[tuple[str, str]] = []
    for knob in space.knobs:
        values = list(_values(knob, winner[knob.name], baseline))
        legal = next((v for v in values if space.why_illegal(winner.but(**{knob.name: v})) is None), None)
        if legal is not None:
            found.append(Variant(knobs=(knob.name,), point=winner.but(**{knob.name: legal})))
        elif winner[knob.name] != knob.default:
            why = space.why_illegal(winner.but(**{knob.name: knob.default}))
            stuck.append((knob.name, why or ""))
    pairs = list(_pairs(space, winner, [name for name, _ in stuck]))
    paired = {name for pair in pairs for name in pair.knobs}
    return Ablated(
        winner=winner,
        variants=(*found, *pairs),
        left_out=tuple(one for one in stuck if one[0] not in paired),
    )


def _values(knob: Knob, now: Value, baseline: Point | None) -> Iterator[Value]:
    """What to put back, best first: the default, the baseline's value, whole numbers between the default and now."""
    wanted = [knob.default] if baseline is None else [knob.default, baseline.get(knob.name, knob.default)]
    yield from (value for value in dict.fromkeys(wanted) if value != now)
    if isinstance(now, int) and isinstance(knob.default, int):
        low, high = sorted((now, knob.default))
        numbers = [v for v in knob.values if isinstance(v, int) and low < v < high]
        yield from sorted(numbers, key=lambda v: abs(v - int(knob.default)))


def _pairs(space: Space, winner: Point, names: Sequence[str]) -> Iterator[Variant]:
    """Knobs that belong together (int8 and how it is quantised), put back at once."""
    taken: set[str] = set()
    for pair in combinations(names, 2):
        point = winner.but(**{name: space.knob(name).default for name in pair})
        if not taken.intersection(pair) and space.why_illegal(point) is None:
            taken.update(pair)
            yield Variant(knobs=pair, point=point)


# ---------------------------------------------------------------- launches


def _built(loop: Loop, point: Point, until_s: float) -> bool:
    """Whether the variant's artifact is there; a build that failed is recorded as its only launch."""
    left_s = until_s - loop.journal.elapsed_s
    if failure(point, _begun(loop)) or loop.stop():
        return False
    if not loop.bench.builds.knows([point]) and left_s < LEAST_BUILD_S:
        return False
    loop.on_phase("ablate", loop.named(point))
    outcome = loop.bench.builds.fetch(point, most_s=max(1.0, left_s / 2))
    if isinstance(outcome, Failed):
        failed = Launch(point=point, purpose="ablate", block=0, outcome=outcome, flags=(), wall_s=0.0)
        loop.journal.append(failed)
    return not isinstance(outcome, Failed)


def _reachable(loop: Loop, winner: Point, ready: Sequence[Point], until_s: float) -> list[Point]:
    """Variants that still need launches and can have all of them in time; those that were begun come first."""
    plan, usable = loop.plans.race, loop.usable(_begun(loop))
    needs = {p: BLOCKS - shared(p, winner, usable) for p in ready if not failure(p, usable)}
    costs = loop.costs()
    kept: list[Point] = []
    for point in sorted((p for p in needs if needs[p] > 0), key=lambda p: needs[p]):
        blocks = max(needs[p] for p in (*kept, point))
        cost = sum(needs[p] * costs.launch_s(p, plan) for p in (*kept, point)) + blocks * costs.launch_s(winner, plan)
        if loop.journal.elapsed_s + cost <= until_s:
            kept.append(point)
    return kept


def _launch_block(loop: Loop, points: Sequence[Point], block: int, until_s: float) -> None:
    """Each once, in this block's own random order, as long as another launch surely ends in time.

    Points that an interrupted command launched in this block are not launched again.
    """
    done = {launch.point for launch in _begun(loop) if launch.block == block}
    for point in racing.block_order(points, loop.setting.question.seed, block):
        if point not in done and loop.affordable([point], loop.plans.race, until_s):
            loop.on_phase("ablate", loop.named(point))
            most_s = max(LEAST_LAUNCH_S, until_s - loop.journal.elapsed_s)
            loop.bench.launch(point, "ablate", block, loop.plans.race, most_s=most_s)


def _last_block(loop: Loop) -> int:
    return max((launch.block for launch in _begun(loop)), default=0)


def _begun(loop: Loop) -> list[Launch]:
    """Every launch of this ablation so far, disturbed ones included."""
    found = begun(loop.journal.entries)
    return list(found[1]) if found else []
