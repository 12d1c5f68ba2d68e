"""What a machine can do at most."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceilings:
    """What the machine can do at most, measured beside the winner with its own target and arithmetic.

    ``macs_per_s`` is the rate of a large matrix product over all CPUs in ``precision``; None where it could not be
    measured, and ``why_not`` says so. ``macs`` are the model's per sample.
    """

    target: str
    precision: str
    macs: int | None
    macs_per_s: float | None
    copy_bytes_per_s: float | None
    cache_bytes: int
    why_not: str
    wall_s: float
