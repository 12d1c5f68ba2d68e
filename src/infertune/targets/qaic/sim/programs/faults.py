"""Faults on demand: ``NAME[=VALUE][@CONDITION,CONDITION]``, several separated by ``;``.

    compile-failure@cores=4,mos=2     these points do not compile
    card-error@qid=0,after=3          card 0 breaks at its fourth run (and stays broken until `qaic-util -s`)
    drift=0.02                        every run of a card is 2 % slower than the one before
    noisy-neighbour=0.3               three runs in ten meet somebody else on the card

Conditions compare with what the program works on (``qid, cores, mos, ols, batch, instances, set_size``); ``after=N``
lets the first N runs pass, ``times=N`` ends the fault after N more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from infertune.core.errors import UsageError, nearest, quoted

VARIABLE = "INFERTUNE_QAIC_FAULTS"

FAULTS: Mapping[str, str] = {
    "compile-failure": "the compiler says that it cannot, and ends with 1",
    "compile-hang": "the compiler never ends",
    "compile-crash": "the compiler dies of a signal",
    "no-program": "the compiler ends well and writes no program",
    "card-error": "the card goes into state Error and stays there",
    "busy": "somebody else has the card's NSPs",
    "out-of-memory": "the card's memory is full",
    "run-hang": "the runner never ends",
    "run-crash": "the runner dies before it prints a result",
    "crash-after-print": "the runner dies after it printed a result",
    "truncated-output": "the runner's output ends in the middle of the result line",
    "missing-profile": "the runner writes no latency profile",
    "stale-profile": "the runner leaves an earlier run's profiles as they are",
    "cut-profile": "the last line of a profile is cut off",
    "drift": "each run of a card is slower than the one before by this share",
    "noisy-neighbour": "this share of the runs meets somebody else on the card and is 10 to 50 % slower",
    "wrong-output": "outputs come back wrong",
}
_VALUES = {"drift": 0.01, "noisy-neighbour": 0.3}
CONDITIONS = ("qid", "cores", "mos", "ols", "batch", "instances", "set_size", "after", "times")
_HINT = "faults look like `busy`, `drift=0.02` or `compile-failure@cores=4,mos=2`, separated by `;`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """``value`` is the share of faults that have one."""

    name: str
    value: float
    where: tuple[tuple[str, int], ...]

    def strikes(self, facts: Mapping[str, int]) -> bool:
        """Whether it happens to a program that works on ``facts``; ``run`` counts from 0."""
        wanted = dict(self.where)
        first = wanted.pop("after", 0)
        last = first + wanted.pop("times", 1 << 60)
        in_time = first <= facts.get("run", 0) < last
        return in_time and all(facts.get(name) == value for name, value in wanted.items())


def parse_faults(text: str) -> tuple[Fault, ...]:
    """Raises `UsageError` (``unknown-fault``, ``fault-syntax``)."""
    return tuple(_fault(part.strip()) for part in text.split(";") if part.strip())


def _fault(text: str) -> Fault:
    head, _, conditions = text.partition("@")
    name, equals, value = head.strip().partition("=")
    if name not in FAULTS:
        hint = f"{nearest(name, FAULTS)}faults: {', '.join(FAULTS)}"
        raise UsageError("unknown-fault", f"`{quoted(name)}` is not a fault", hint=hint)
    try:
        share = float(value) if equals else _VALUES.get(name, 0.0)
        where = tuple(_condition(part) for part in conditions.split(",") if part.strip())
    except ValueError:
        raise UsageError("fault-syntax", f"`{quoted(text)}` is not understood", hint=_HINT) from None
    return Fault(name=name, value=share, where=where)


def _condition(text: str) -> tuple[str, int]:
    name, _, value = text.strip().partition("=")
    if name not in CONDITIONS:
        raise ValueError(name)
    return name, int(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Luck:
    """The faults that are switched on, and what the program works on."""

    faults: Sequence[Fault]
    facts: Mapping[str, int]

    def has(self, name: str) -> bool:
        return any(fault.name == name and fault.strikes(self.facts) for fault in self.faults)

    def share(self, name: str) -> float:
        """The value of a fault; 0 when it does not strike."""
        return max((f.value for f in self.faults if f.name == name and f.strikes(self.facts)), default=0.0)
