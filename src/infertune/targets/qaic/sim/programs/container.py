"""The program container (``programqpc.bin``): the vendor's header and table of segments, our own segments inside.

Header: u32 magic, u16 version, u16 compression, u64 size, u64 base; then u64 number of segments and, for each, u64
size, u64 offset, u64 name offset, u64 start offset, all little-endian and aligned to 8 bytes. A simulated program
keeps its description as JSON in ``networkdesc.bin``; its constants stay in the tree it was compiled in.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from infertune.core import wire
from infertune.core.records import TensorSpec
from infertune.targets.qaic.sim.setting import Setting
from infertune.targets.qaic.sim.workload import Workload

MAGIC = 0x00A1CD7C
VERSION = 1  # 0.1
DESCRIPTION = "networkdesc.bin"
_HEADER = struct.Struct("<IHHQQ")
_COUNT = struct.Struct("<Q")
_ENTRY = struct.Struct("<QQQQ")


class NotAProgram(Exception):  # noqa: N818  the message is all there is to it
    """The file is not a program container, or not one of a simulated card."""


def _aligned(size: int) -> int:
    return -(-size // 8) * 8


def pack(segments: Mapping[str, bytes]) -> bytes:
    """A container of named segments."""
    names = {name: name.encode() + b"\0" for name in segments}
    at = _HEADER.size + _COUNT.size + _ENTRY.size * len(segments)
    entries, body = [], b""
    for name, content in segments.items():
        name_at = at + len(body)
        body += names[name].ljust(_aligned(len(names[name])), b"\0")
        start = at + len(body)
        body += content.ljust(_aligned(len(content)), b"\0")
        entries.append(_ENTRY.pack(len(content), start, name_at, start))
    size = at + len(body)
    head = _HEADER.pack(MAGIC, VERSION, 0, size, 0) + _COUNT.pack(len(segments))
    return head + b"".join(entries) + body


def unpack(data: bytes) -> dict[str, bytes]:
    """Segments by name. Raises `NotAProgram` for anything damaged."""
    try:
        magic, version, _, size, _ = _HEADER.unpack_from(data)
        if magic != MAGIC or version != VERSION:
            raise NotAProgram("it has another magic number or version")
        if size != len(data):
            raise NotAProgram(f"it has {len(data)} bytes instead of {size}")
        (count,) = _COUNT.unpack_from(data, _HEADER.size)
        first = _HEADER.size + _COUNT.size
        entries = [_ENTRY.unpack_from(data, first + i * _ENTRY.size) for i in range(count)]
    except struct.error:
        raise NotAProgram("it is cut off") from None
    return {_name(data, name_at): data[at : at + length] for length, at, name_at, _ in entries}


def _name(data: bytes, at: int) -> str:
    return data[at : data.index(b"\0", at)].decode(errors="replace")


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What a simulated program is: the model (by digest) at its bound shapes, and how it was compiled.

    ``how`` is the setting without its run-time part. ``op_stats``: compiled with ``-aic-profiling-type``, so that runs
    tell the device's own times and are slower for it. ``batch`` is the one that rates are told for.
    """

    model: str
    name: str
    symbols: tuple[tuple[str, int], ...]
    batch: int
    how: Setting
    op_stats: bool
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    workload: Workload
    release: str


def pack_program(program: Program) -> bytes:
    """A simulated program: its description, and the segments that real ones have besides, nearly empty."""
    return pack(
        {
            "constantsdesc.bin": program.model.encode(),
            DESCRIPTION: wire.to_json(program).encode(),
            "network.elf": b"\x7fELF simulated: there is no code in here",
        }
    )


def read_program(data: bytes) -> Program:
    """Raises `NotAProgram`, also for a program of a real card."""
    segments = unpack(data)
    if DESCRIPTION not in segments:
        raise NotAProgram(f"it has no {DESCRIPTION}")
    try:
        told = wire.from_json(segments[DESCRIPTION], Program)
    except Exception as error:
        raise NotAProgram("it was not made for a simulated card") from error
    assert isinstance(told, Program)
    return told
