"""Seeds of random generators."""

from __future__ import annotations


def natural(seed: int) -> int:
    """A person's seed as numpy takes it, which knows no negative ones: modulo 2^64."""
    return seed % 2**64
