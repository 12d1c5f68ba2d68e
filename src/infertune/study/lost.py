"""Devices that refuse to work."""

from __future__ import annotations

from collections.abc import Sequence

from infertune.core.errors import BusyError
from infertune.core.records import Failed
from infertune.core.words import counted

GIVE_UP = 3
"""Jobs that a device itself refused, one after another, before it is left alone."""


def device_lost(device: str, refused: Sequence[Failed]) -> BusyError:
    """A device that the study needs refuses to work; what was measured is kept."""
    return BusyError(
        "device-lost",
        f"{device} refused {counted(len(refused), 'time')}, the last one with: {refused[-1].message}",
        hint="see `infertune devices` for its health; then run the same command to go on (`infertune report` tells how "
        "far it came)",
    )
