"""One way to compile and run a network on a card: the point that the card model is asked about."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Precision = Literal["f16", "f32", "int8"]

DEALLOC_DELAY = 2
SPLIT_KIB = 1024
"""What the options are taken to be where the command line leaves them out (QAIRT documents the first)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Compiler options beside the layout; 0 and None: as the compiler likes.

    Their effects are assumed (see `assumed`): no published measurement varies them alone.
    """

    dealloc_delay: int = 0
    split_kib: int = 0
    vtcm_percent: int = 0
    depth_first_mib: int = 0
    producer_dma: bool | None = None
    clusters: int = 1
    combine_inputs: bool | None = None
    combine_outputs: bool | None = None
    precision: Precision = "f16"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """``mos`` and ``ols`` 0: as the compiler likes. ``set_size``: requests queued per instance."""

    cores: int
    batch: int
    instances: int = 1
    set_size: int = 10
    mos: int = 0
    ols: int = 0
    multicast: bool = True
    options: Options = field(default_factory=Options)

    @property
    def channel_split(self) -> int:
        return min(self.mos or self.cores, self.cores)

    @property
    def overlap_split(self) -> int:
        return self.ols or 1
