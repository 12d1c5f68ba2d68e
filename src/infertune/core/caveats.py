"""What a reader must know before trusting an answer, one sentence each."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence

from infertune.core import audit, choice, history, keys, stats, tallies, verdict, words
from infertune.core.calibrated import Calibrated, LeftAlone
from infertune.core.choice import Choice, Reading
from infertune.core.errors import quoted
from infertune.core.findings import Answer
from infertune.core.goal import latency_percent
from infertune.core.history import Confirmation
from infertune.core.records import Failed, Launch, Measurement
from infertune.core.space import Point

SURE = 0.95
_MOST_WHY = 300


def caveats(answer: Answer, reading: Reading, chosen: Choice) -> tuple[str, ...]:
    """In order of weight; empty for a complete, quiet, confirmed study."""
    parts = (
        _of_the_study,
        _of_the_figures,
        _of_calibration,
        _of_launches,
        _of_cards,
        _of_caching,
        _of_optimism,
        _of_limits,
        _of_checks,
        _of_baselines,
    )
    return tuple(sentence for part in parts for sentence in part(answer, reading, chosen))


def _of_the_study(answer: Answer, reading: Reading, chosen: Choice) -> Iterator[str]:
    if answer.simulated:
        yield "simulated: the figures do not come from a real device"
    if reading.closed is None:
        yield "the record has no closing line: the command was killed or is still running"
    elif reading.closed.status == "interrupted":
        yield f"interrupted{_how(reading.closed.why)}{GOES_ON if reading.searched else ''}"
    if chosen.confirmation is not None and chosen.confirmation != reading.confirmations[-1]:
        yield "a later search has no confirmed winner: this is the answer of the confirmation before it"


GOES_ON = "; the same command goes on from here"


def _how(why: str) -> str:
    """``: stopped by Ctrl-C``; nothing where it only says the same again."""
    return "" if not why or why.startswith("interrupted") else f": {why}"


def _of_calibration(answer: Answer, reading: Reading, chosen: Choice) -> Iterator[str]:
    """int8 finds its ranges in the inputs it is calibrated with, and its fidelity was checked on such inputs too."""
    space = words.space_of(answer.winner, reading.question.spaces) if answer.winner else None
    if answer.winner and space and reading.question.feed.path is None and keys.calibrated(space, answer.winner):
        yield "int8 was calibrated and checked on seeded inputs: give real ones with --inputs before you deploy it"


def _of_the_figures(answer: Answer, reading: Reading, chosen: Choice) -> Iterator[str]:
    if answer.figures is None:
        return
    count = words.counted(answer.figures.launches, "launch")
    coverage = stats.order_coverage(answer.figures.launches)
    if not answer.confirmed:
        more = "; a larger --budget goes on and confirms" if _ran_out(reading) else ""
        yield f"unconfirmed: the figures come from {count} that also did the choosing: likely optimistic{more}"
        yield from _of_accepted(answer, reading)
    elif coverage < SURE:
        yield f"an interval over {count} covers the true median with {words.three(100 * coverage)} %; six give 96.9 %"
    if answer.fidelity is None:
        yield "the winner's outputs were not checked against the reference"


def _ran_out(reading: Reading) -> bool:
    """Whether time is what kept a search from a confirmation."""
    ended = reading.closed is not None and reading.closed.status == "ok"
    return reading.searched and ended and not any(confirmation.disturbed for confirmation in reading.confirmations)


def _of_accepted(answer: Answer, reading: Reading) -> Iterator[str]:
    """Disturbed launches that count because somebody let them."""
    own = [launch for launch in reading.launches if launch.point == answer.winner]
    disturbed = sum(audit.contaminated(launch.flags) for launch in own)
    if reading.noise == "accept" and disturbed:
        whose = (
            "its only launch, which counts" if len(own) == 1 else f"{disturbed} of its {len(own)} launches, which count"
        )
        yield f"other programs disturbed {whose} because of --accept-noise"


def _of_launches(answer: Answer, reading: Reading, chosen: Choice) -> Iterator[str]:
    last = chosen.confirmation or next(iter(reading.confirmations[-1:]), None)
    yield from _of_disturbance(last, confirmed=chosen.confirmation is not None)
    fresh = chosen.confirmation.launches if chosen.confirmation else ()
    untold = [p for p in _untold(reading) if p != answer.winner]
    if untold:
        named = f"{words.counted(len(untold), 'point')} that may be better"
        yield f"{named} could only be measured while other programs disturbed them: run again when it is quieter"
    failed = sum(isinstance(launch.outcome, Failed) for launch in fresh)
    if failed:
        yield f"{failed} of {words.counted(len(fresh), 'confirmation launch')} failed"
    for name, count in tallies.flags(fresh):
        meaning = f"{audit.FLAGS[name]} ({name}); {audit.CONSEQUENCES[name]}" if name in audit.FLAGS else name
        yield f"{count} of {words.counted(len(fresh), 'confirmation launch')}: {meaning}"


def _of_cards(answer: Answer, reading: Reading, chosen: Choice) -> Iterator[str]:
    """Twins that searched beside the device of the points, and those that stopped doing so."""
    used = set(map(history.measured_on, reading.launches))
    told = {card.device: card for card in reading.cards if isinstance(card, Calibrated)}
    for card in (told[device] for device in sorted(used & told.keys())):
        yield f"{card.device} searched beside {card.like}, its times multiplied by {card.factor:.4f}"
    for left in dict.fromkeys(card for card in reading.cards if isinstance(card, LeftAlone)):
        yield f"{left.device} was left alone while searching: {quoted(left.why, _MOST_WHY)}"
    yield from dict.fromkeys(_stood_in(chosen.confirmation.launches if chosen.confirmation else ()))


def _stood_in(confirmed: Sequence[Launch]) -> Iterator[str]:
    """Figures are named after a card that was lost; another one measured them."""
    for launch in confirmed:
        told = dict(launch.outcome.settings) if isinstance(launch.outcome, Measurement) else {}
        if device := told.get(history.MEASURED_ON):
            factor = told.get(history.MULTIPLIED, "1")
            yield f"{device} stood in for {launch.point.device} in the confirmation, its times multiplied by {factor}"


def _untold(reading: Reading) -> list[Point]:
    seen = [la for la in reading.launches if la.purpose in history.CHOSEN_FROM]
    return [] if reading.noise == "accept" else history.untold(seen, reading.terms.goal.score)


def _of_disturbance(last: Confirmation | None, *, confirmed: bool) -> Iterator[str]:
    """Launches that other programs disturbed confirm nothing."""
    if last is None or not last.disturbed:
        return
    made = words.counted(len(last.launches) + len(last.disturbed), "confirmation launch")
    named = ", ".join(f"{name} {count}" for name, count in tallies.flags(last.disturbed))
    advice = "" if confirmed else ": run again when it is quieter, or with --accept-noise"
    yield f"other programs disturbed {len(last.disturbed)} of {made}, which are left out ({named}){advice}"


def _of_caching(answer: Answer, reading: Reading, chosen: Choice) -> Iterator[str]:
    """A window asks the same few inputs again and again, so remembered answers would be in the winner's figures."""
    last = chosen.confirmation
    if answer.winner is None or last is None:
        return
    own = [la for la in (*last.launches, *last.disturbed) if la.point == answer.winner and "caches_inputs" in la.flags]
    ratios = [ratio for la in own if isinstance(la.outcome, Measurement) for ratio in stats.repeat_ratios(la.outcome)]
    if ratios:
        faster = f"{words.three(1 / max(1e-3, statistics.median(ratios)))}x as fast"
        yield f"the winner answers an input that it has seen before {faster}: its figures may be those of a cache"


def _of_optimism(answer: Answer, reading: Reading, chosen: Choice) -> Iterator[str]:
    """Choosing the highest of many noisy figures overstates it: say by how much, where it shows."""
    if answer.winner is None or chosen.confirmation is None:
        return
    goal, trial = reading.terms.goal, reading.trial(answer.winner)
    searched = history.sample(trial.point, (la for la in trial.launches if la.purpose in ("screen", "race")))
    confirmed = history.sample(trial.point, chosen.confirmation.launches)
    if not searched.runs:
        return
    estimate = verdict.merit(goal, searched)
    excess = math.exp(estimate - verdict.merit(goal, confirmed)) - 1
    if estimate > max(goal.score(m) for m in confirmed.measurements) and excess >= verdict.MARGIN:
        yield f"the search's estimate of the winner was optimistic by {words.three(100 * excess)} %"


def _of_limits(answer: Answer, reading: Reading, chosen: Choice) -> Iterator[str]:
    """A percentile judged on fewer requests than its floor may not hold for more of them."""
    if answer.figures is None or answer.winner is None:
        return
    goal, requests = reading.terms.goal, answer.figures.requests
    percent = latency_percent(goal.metric)
    floor = stats.percentile_floor(percent) if percent else 0
    if requests < floor:
        yield f"`min {goal.metric}` was judged on {words.counted(requests, 'request')}; {goal.metric} needs {floor}"
    _, sample = choice.evidence(reading.trial(answer.winner), chosen.confirmation)
    yield from filter(None, [verdict.unsure_words(verdict.stands(reading.terms, sample)).removeprefix("; ")])


def _of_checks(answer: Answer, reading: Reading, chosen: Choice) -> Iterator[str]:
    """A check that could not be made counts as failed, which is not the same as wrong outputs."""
    unmade = (f.reason for f in reading.terms.fidelities.values() if not f.made)
    whose = "outputs" if answer.fidelity is None else "outputs of others than the winner"
    for reason in dict.fromkeys(unmade):
        if not reason.startswith(verdict.SAME_ARITHMETIC):
            yield f"{whose} could not be checked against the reference: {reason}"
    checks = (
        verdict.check_of(reading.terms, t.point) for t in reading.trials if not verdict.faithful(reading.terms, t.point)
    )
    wrong = sum(check is not None and check.inputs > 0 for check in checks)
    if wrong and reading.question.feed.path is None:
        points = words.counted(wrong, "point")
        yield f"{points} left out for wrong outputs on seeded inputs: give real ones with --inputs to be sure of that"


def _of_baselines(answer: Answer, reading: Reading, chosen: Choice) -> Iterator[str]:
    """Baselines that were never tried are only worth a word beside a confirmed winner."""
    reasons: dict[str, list[str]] = {}
    for name, reason in answer.absent:
        if answer.confirmed or reason != tallies.NOT_MEASURED:
            reasons.setdefault(reason, []).append(name)
    for reason, names in reasons.items():
        yield f"no figure for {', '.join(names)}: {reason}"
