"""Devices that refuse to work."""

from __future__ import annotations

from collections.abc import Sequence

from infertune.core.errors import DeviceLost
from infertune.core.records import Failed
from infertune.core.words import counted

GIVE_UP = 3
"""Jobs that a device itself refused, one after another, before it is left alone."""


def device_lost(device: str, refused: Sequence[Failed]) -> DeviceLost:
    """A device that the study needs refuses to work; what was measured is kept."""
    lost = DeviceLost(
        "device-lost",
        f"{device} refused {counted(len(refused), 'time')}, the last one with: {refused[-1].message}",
        hint="see `infertune devices` for its health; then run the same command to go on (`infertune report` tells how "
        "far it came)",
    )
    lost.said = refused[-1].message
    return lost


def device_unready(device: str, health: str) -> DeviceLost:
    """A device that the study began with is in a state in which it cannot go on."""
    state, _, advice = health.partition(": ")
    return DeviceLost(
        "device-lost",
        f"the study was begun on {device}, which is not ready now: {state}",
        hint=f"{advice or 'see `infertune devices`'}; then run the same command to go on",
    )
