"""What an ablation launches: the winner with one knob at a time put back."""

from __future__ import annotations

from dataclasses import dataclass

from infertune.core.space import Point


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """The winner with ``knobs`` put back: one knob, or two that the rules only allow to change together."""

    knobs: tuple[str, ...]
    point: Point


@dataclass(frozen=True, slots=True, kw_only=True)
class Ablated:
    """Which variants of ``winner`` are launched, recorded before any of them is.

    ``left_out`` holds the knobs that cannot be put back, each with the rule in words.
    """

    winner: Point
    variants: tuple[Variant, ...]
    left_out: tuple[tuple[str, str], ...] = ()
