"""What the page says in sentences, each a pure function of the record."""

from __future__ import annotations

from collections.abc import Iterator

from infertune.core import stats, verdict, words
from infertune.core.findings import Figures
from infertune.report.closest import missed
from infertune.report.document import at_limit, counted, goal_figure, limit_cost, noise_words, relaxed, searched
from infertune.report.importance import NO_DIFFERENCE, PER_EFFECT, TRUSTED, Importance
from infertune.report.inert import one_line
from infertune.report.page.basis import Basis
from infertune.report.page.front import front, knee
from infertune.report.page.latencies import Account
from infertune.report.page.scatter import undrawn


def answer(basis: Basis) -> tuple[str, ...]:
    """What to take and what it gives; what that is worth; how it stands to each limit, and what one costs."""
    found = basis.found
    if found.winner is None or found.figures is None:
        return tuple(_no_answer(basis))
    device = f" on {one_line(found.device.title, 120)}" if found.device else ""
    sure = "confirmed" if found.confirmed else "not confirmed yet"
    named = one_line(found.words(found.winner, found.figures.in_flight), 300)
    simulated = " (simulated)" if found.simulated else ""
    figure = goal_figure(basis.goal, found.figures)
    cost = () if found.limit_cost is None else (f"W{limit_cost(found, found.limit_cost)[1:]}.",)
    return (
        f"Best{device} for `{one_line(found.question.goal)}`: {named}, with {figure}{simulated}, {sure}.",
        f"{_worth(basis)}; {_outputs(basis)}.",
        *(() if found.searched is None else (f"{one_line(searched(found.searched), 300)}.",)),
        *(f"The limit {at_limit(at, found.figures)}." for at in found.limits),
        *cost,
    )


def _worth(basis: Basis) -> str:
    found = basis.found
    rival = found.rival(found.best_rival)
    if rival is None:
        return "No baseline gave a figure to compare it with"
    if rival.figures.point == found.winner:
        return one_line(f"{found.why[:1].upper()}{found.why[1:]}")
    if rival.speedup is None:
        return f"How it compares with the best baseline, {one_line(rival.name)}, is not confirmed"
    told = verdict.compared(basis.goal, rival.speedup, f"the best baseline, {one_line(rival.name)}")
    return f"That is {told}, block by block"


def _outputs(basis: Basis) -> str:
    found = basis.found
    if found.fidelity is None:
        return "its outputs were not checked against the f32 reference"
    close = one_line(found.fidelity.words(found.question.metric))
    return f"its outputs match the f32 reference with {close} (limit {found.fidelity_floor:g})"


def _no_answer(basis: Basis) -> Iterator[str]:
    found = basis.found
    if found.nearest is None:
        yield "Nothing gave a figure." if found.counts.trials else "Nothing was measured yet."
        return
    yield f"Nothing met the goal `{one_line(found.question.goal)}`."
    yield f"The closest is {basis.words(found.nearest.point)}, which missed {missed(found.nearest)}."
    if found.nearest.relaxed is not None:
        yield f"{relaxed(found.nearest.relaxed)}."


def cards(basis: Basis) -> tuple[tuple[str, str, str], ...]:
    """(label, figure, note) of the winner's figures."""
    figures = basis.found.figures
    if figures is None:
        return ()
    found = [
        ("throughput", f"{words.three(figures.throughput.value)} /s", _between(figures)),
        _latency(figures),
        ("in flight", str(figures.in_flight), "requests outstanding"),
    ]
    rival = basis.found.rival(basis.found.best_rival)
    if rival is not None and rival.speedup is not None and rival.figures.point != basis.found.winner:
        ends = f"{rival.speedup.low:.2f} to {rival.speedup.high:.2f}"
        ends += f", mean of {' and '.join(basis.goal.metrics)}" if basis.goal.is_front else ""
        found.insert(0, (f"of {one_line(rival.name, 60)}", f"{rival.speedup.value:.2f}x", ends))
    return tuple(found)


def _between(figures: Figures) -> str:
    seen, launches = figures.throughput, words.counted(figures.launches, "launch")
    if figures.launches == 1:
        return f"samples/s, {launches}"
    return f"{words.three(seen.low)} to {words.three(seen.high)} samples/s, {launches}"


def _latency(figures: Figures) -> tuple[str, str, str]:
    if figures.p99_ms is not None:
        p50 = "" if figures.p50_ms is None else f"p50 {words.three(figures.p50_ms)} ms"
        return "p99 latency", f"{words.three(figures.p99_ms)} ms", p50
    few = f"p99 needs {stats.percentile_floor(99.0)} requests, seen {figures.requests}"
    return "p50 latency", "\u2013" if figures.p50_ms is None else f"{words.three(figures.p50_ms)} ms", few


def trade(basis: Basis) -> str:
    along = front(basis.measured)
    best = knee(along)
    measured = words.counted(len(basis.measured), "measured trial")
    if not along:
        return f"None of {measured} meets the goal, so there is no Pareto front."
    said = f"{len(along)} of {measured} that meet the goal are on the Pareto front: no other is better in both."
    if best is not None:
        said += (
            f" The knee, where more throughput starts to cost more latency than before, is trial {best.number}: "
            f"{words.three(best.throughput or 0.0)} samples/s at {basis.tail} {words.three(best.tail_ms or 0.0)} ms"
            f"{'' if best.is_tail_known else f', from too few requests to state {basis.tail}'}."
        )
    apart = undrawn(basis)
    return said + (f" Not on these axes: {one_line(', '.join(apart))}." if apart else "")


def confirmation(basis: Basis) -> str:
    if basis.chosen.confirmation is None:
        return "Nothing is confirmed: the figures come from launches that also did the choosing."
    launches = words.counted(len(basis.chosen.confirmation.launches), "fresh launch")
    return (
        f"{launches} that took no part in choosing, each a process of its own, in interleaved blocks. A dot is a "
        "launch (hollow: flagged), the line their median, the band its interval."
    )


def spent(basis: Basis) -> str:
    found = basis.found
    end = basis.entries[-1].at_s if basis.entries else 0.0
    budget = f" of {words.seconds(found.budget_s)}" if found.budget_s else ""
    return f"In all {words.seconds(end)}{budget}: {counted(found)}."


def mattered(found: Importance) -> str:
    if found.why_not:
        return f"Too little data to say: {found.why_not}."
    first = found.effects[0]
    return (
        f"Over {found.trials} measured trials, `{one_line(first.knob, 40)}` mattered most: {first.factor:.2f}x between "
        f"its best and worst value, other knobs equal. Single knobs explain {100 * found.explained:.0f} % of all "
        f"differences, and predict {100 * found.predicted:.0f} % of those of trials left out."
    )


def same(found: Importance) -> str:
    """Knobs whose effect is below what can be told from noise."""
    return ", ".join(f"{one_line(e.knob, 40)} ({e.factor:.3f}x)" for e in found.effects if not e.matters)


def how(found: Importance) -> str:
    return (
        "A model of main effects (ridge regression of the logarithm of the goal's figure on the values of each knob) "
        "is fitted to all measured trials, and the variance that it explains is shared among the knobs by their "
        "Shapley values, so knobs that were changed together share fairly. What two knobs do only together is not in "
        "it; the neighbourhood of the winner shows that. Trials were chosen by the search, not at random: values that "
        f"it hardly tried weigh little. Nothing is said with fewer than {PER_EFFECT} trials per effect, or when the "
        f"model predicts less than {100 * TRUSTED:.0f} % of the differences of trials left out; differences under "
        f"{100 * NO_DIFFERENCE:.0f} % count as none."
    )


def account(found: Account) -> tuple[str, ...]:
    """Little's law in words, then waiting against service where the number of instances is known."""
    little = found.little
    holds = little.held if little.holds else f"but {little.asked} were asked for: the load was not what it should be"
    law = (
        f"{words.three(little.rate_per_s)} requests/s x {words.three(little.mean_ms)} ms mean latency = "
        f"{words.three(little.in_flight)} requests in flight, {holds}."
    )
    if found.service_ms is None or found.queue_ms is None:
        return law, "How many instances the runtime ran is not known, so waiting and service cannot be told apart."
    waited = found.queue_ms / little.mean_ms
    share = f"{words.three(found.queue_ms)} ms ({100 * waited:.0f} %)" if waited >= 0.01 else "under 1 %"
    return law, (
        f"{words.counted(found.instances or 0, 'instance')} at that rate: each works {words.three(found.service_ms)} "
        f"ms on a request, so {share} of the mean latency is waiting."
    )


def percentiles_left_out(requests: int) -> str:
    known = [p for p in stats.PERCENTILES if requests >= stats.percentile_floor(p)]
    top = f"p{known[-1]:g} is the highest that {requests} requests support" if known else "too few for any percentile"
    return (
        f"All launches behind the figures together. {top}; "
        "the tail beyond p99.9 is not drawn. A percentile is stated from as many requests as the table says it needs."
    )


def flagged(basis: Basis) -> str:
    total = len(basis.reading.launches)
    marked = sum(bool(launch.flags) for launch in basis.reading.launches)
    return (
        f"{marked} of {words.counted(total, 'launch')} carry a flag. A flag lowers trust in a figure; nothing was "
        f"removed and no number was changed.{_noise(basis)}"
    )


def _noise(basis: Basis) -> str:
    found = basis.found.noise
    return f" The machine was {noise_words(found)}." if found else ""
