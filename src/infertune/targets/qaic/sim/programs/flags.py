"""Command lines as the vendor's tools take them, checked as strictly: unknown flags, missing and impossible values."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from infertune.core.errors import nearest

Takes = Literal["nothing", "text", "whole", "number", "truth"]


class Misuse(Exception):  # noqa: N818  the message is all there is to it
    """A command line that the tool refuses; the message is what it prints."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """``names`` with their dashes, the first is what the program asks for. ``choices`` limit a text; ``says``: help."""

    names: tuple[str, ...]
    takes: Takes = "nothing"
    low: float = float("-inf")
    high: float = float("inf")
    choices: tuple[str, ...] = ()
    says: str = ""


def flag(
    names: str, takes: Takes = "nothing", says: str = "", *, low: float = float("-inf"), high: float = float("inf")
) -> Flag:
    return Flag(names=tuple(names.split()), takes=takes, low=low, high=high, says=says)


def choice(names: str, choices: str, says: str = "") -> Flag:
    return Flag(names=tuple(names.split()), takes="text", choices=tuple(choices.split()), says=says)


_VALUES = {"nothing": "", "text": " <text>", "whole": " <n>", "number": " <number>", "truth": " <0|1>"}


def usage(flags: Sequence[Flag]) -> str:
    """A line for each flag."""
    heads = [", ".join(f.names) + (f" <{'|'.join(f.choices)}>" if f.choices else _VALUES[f.takes]) for f in flags]
    return "".join(f"  {head:<44} {f.says}".rstrip() + "\n" for head, f in zip(heads, flags, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A command line that was understood: every value given, by the flag's first name, and the words besides."""

    given: Mapping[str, tuple[str, ...]]
    words: tuple[str, ...] = field(default=())

    def has(self, name: str) -> bool:
        return name in self.given

    def text(self, name: str, default: str = "") -> str:
        return self.given[name][-1] if name in self.given else default

    def texts(self, name: str) -> tuple[str, ...]:
        return self.given.get(name, ())

    def whole(self, name: str, default: int) -> int:
        return int(self.text(name, str(default)))

    def number(self, name: str, default: float) -> float:
        return float(self.text(name, str(default)))

    def truth(self, name: str, default: str) -> bool:
        return self.text(name, default).lower() in ("1", "true", "on")


def single_dash(argv: Sequence[str], flags: Sequence[Flag], program: str) -> Line:
    """``-flag=value`` and ``-flag value``, one dash or two, as the compiler and the configurator take them."""
    known = {name: f for f in flags for name in f.names}
    given: dict[str, list[str]] = {}
    words: list[str] = []
    rest = iter(argv)
    for word in rest:
        if not word.startswith("-") or word == "-":
            words.append(word)
            continue
        name, equals, value = word.partition("=")
        found = known.get(name) or known.get(name.removeprefix("-"))
        if found is None:
            raise _unknown(name, known, program)
        given.setdefault(found.names[0], []).append(_value(found, name, value if equals else None, rest, program))
    return Line(given={n: tuple(v) for n, v in given.items()}, words=tuple(words))


def getopt(argv: Sequence[str], flags: Sequence[Flag], program: str) -> Line:
    """``-S 10``, ``-S10``, ``--time 20`` and ``--time=20``, as the runner takes them."""
    known = {name: f for f in flags for name in f.names}
    given: dict[str, list[str]] = {}
    rest = iter(argv)
    for word in rest:
        name, equals, value = word.partition("=") if word.startswith("--") else (word[:2], word[2:], word[2:])
        found = known.get(name) if word.startswith("-") else None
        if found is None:
            if not word.startswith("-"):
                raise Misuse(f"{program}: unexpected argument '{word}'")
            raise _unknown(name, known, program)
        given.setdefault(found.names[0], []).append(_value(found, name, value if equals else None, rest, program))
    return Line(given={n: tuple(v) for n, v in given.items()})


def _unknown(name: str, known: Mapping[str, Flag], program: str) -> Misuse:
    guess = nearest(name, known)
    return Misuse(f"{program}: Unknown command line argument '{name}'.  {guess}Try: '{program} -h'")


def _value(found: Flag, name: str, value: str | None, rest: Iterator[str], program: str) -> str:
    if found.takes == "nothing":
        if value is not None:
            raise Misuse(f"{program}: '{name}' does not take a value")
        return ""
    if value is None:
        value = next(rest, None)
    if value is None:
        raise Misuse(f"{program}: '{name}' needs a value")
    _check(found, name, value, program)
    return value


def _check(found: Flag, name: str, value: str, program: str) -> None:
    wrong = Misuse(f"{program}: '{value}' is not a value of '{name}'")
    if found.takes == "truth" and value.lower() not in ("0", "1", "true", "false", "on", "off"):
        raise wrong
    if found.choices and value not in found.choices:
        raise Misuse(f"{wrong}; it takes {', '.join(found.choices)}")
    if found.takes in ("whole", "number"):
        pattern = r"-?\d+" if found.takes == "whole" else r"-?(\d+(\.\d*)?|\.\d+)"
        if not re.fullmatch(pattern, value):
            raise wrong
        if not found.low <= float(value) <= found.high:
            raise Misuse(f"{wrong}; it must be {found.low:g} to {found.high:g}")
