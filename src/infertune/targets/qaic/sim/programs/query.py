"""The simulated ``qaic-util``: how the cards are, in the vendor's fields and one more: that they are simulated."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np

from infertune.targets.qaic.sim.programs.flags import Line, flag, getopt, usage
from infertune.targets.qaic.sim.programs.tree import ERROR, READY, CardState, Load
from infertune.targets.qaic.sim.programs.world import Stop, World

NAME = "qaic-util"
UNKNOWN_CARD = 255
IDLE_MHZ, BUSY_MHZ = 825.0, 1450.0
FLAGS = (
    flag("-q --query", says="tell about the cards (the default)"),
    flag("-d --aic-device-id", "whole", "this card only; repeatable", low=0, high=1023),
    flag("-t --table", "whole", "a table of the cards, again after so many seconds", low=1, high=86400),
    flag("-f --filter", "text", "cards with <field>==<value> only"),
    flag("-j --json", "text", "write JSON into this file instead"),
    flag("-s --soc-reset", says="reset all cards"),
    flag("-a --acs", says="accepted; changes nothing here"),
    flag("-h --help", says="this text"),
)


def main(world: World, argv: list[str]) -> int:
    """Tell about the cards, or reset them; the exit code."""
    line = getopt(argv, FLAGS, NAME)
    if line.has("-h"):
        world.raw(f"Usage: {NAME} [options]\n{usage(FLAGS)}")
        return 0
    qids = [int(text) for text in line.texts("-d")] or list(world.settings.qids)
    for qid in qids:
        if qid not in world.settings.qids:
            raise Stop(f"Error: Unknown QID {qid}", code=UNKNOWN_CARD)
    if line.has("-s"):
        return _reset(world)
    if line.has("-t"):
        return _watch(world, qids, line.whole("-t", 1))
    return _tell(world, line, {qid: dict(fields(world, qid)) for qid in qids})


def _tell(world: World, line: Line, told: dict[int, dict[str, str]]) -> int:
    if line.has("-f"):
        name, _, value = line.text("-f").partition("==")
        told = {qid: of for qid, of in told.items() if of.get(name.strip()) == value.strip()}
    if line.has("-j"):
        with open(line.text("-j"), "w") as file:
            json.dump([{"QID": qid, **of} for qid, of in told.items()], file, indent=2)
        return 0
    for qid, of in told.items():
        world.say(f"QID {qid}")
        for key, value in of.items():
            space = " " if key == "NSP Defective PG Mask" else ""
            world.say(f"\t{key}:{space}{value}")
    return 0


HEADS = (
    "QID", "NSP Used / Total", "NW Loaded / Active", "DRAM Used / Total", "DRAM Bandwidth", "NSP Frequency",
    "DDR Frequency", "Temperature", "Power / TDP Cap",
)  # fmt: skip


def _watch(world: World, qids: list[int], seconds: int) -> int:
    """The table of the open tool, again and again until somebody interrupts."""
    try:
        while True:
            world.say("Simulated cards: nothing below was measured on hardware")
            lines = [HEADS, *(_cells(qid, dict(fields(world, qid))) for qid in qids)]
            sizes = [max(map(len, column)) for column in zip(*lines, strict=True)]
            for cells in lines:
                world.say("  ".join(f"{cell:<{size}}" for cell, size in zip(cells, sizes, strict=True)).rstrip())
            world.clock.sleep(seconds)
    except KeyboardInterrupt:
        return 0


def _cells(qid: int, of: dict[str, str]) -> tuple[str, ...]:
    if of["Status"] != READY:
        return (str(qid), *["Invalid"] * (len(HEADS) - 1))
    return (
        str(qid),
        f"{int(of['Nsp Total']) - int(of['Nsp Free'])} / {of['Nsp Total']}",
        f"{of['Networks Loaded']} / {of['Networks Active']}",
        f"{_megabytes(of['Dram Total']) - _megabytes(of['Dram Free'])} MB / {of['Dram Total']}",
        of["Last 100ms Average Dram Bw"],
        f"{of['NSP Frequency(Mhz)']} MHz",
        f"{of['DDR Frequency(Mhz)']} MHz",
        f"{of['SoC temperature(degree C)']} C",
        f"{of['Board power(Watts)']} W / {of['TDP Cap(Watts)']} W",
    )


def _megabytes(text: str) -> int:
    return int(text.removesuffix(" MB"))


def _reset(world: World) -> int:
    for qid in world.settings.qids:
        world.tree.reset(qid)
    return 0


def status(world: World, qid: int) -> str:
    """A fault without a condition on runs shows before anything ran; one with it when that many runs were seen."""
    state = world.tree.card(qid)
    broken = world.luck(qid=qid, run=state.since_reset).has("card-error")
    return ERROR if broken else state.status


def fields(world: World, qid: int) -> Iterator[tuple[str, str]]:
    """Fields in the order of the open source of the tool; a card that is not ready stops after `Dev Link`."""
    now = status(world, qid)
    yield "Status", now
    yield "PCI Address", f"0000:{qid + 1:02x}:00.0"
    yield "PCI Info", "Simulated Cloud AI 100"
    yield "Max Link Speed", "16GT/s"
    yield "Max Link Width", "x8"
    yield "Current Link Speed", "16GT/s"
    yield "Current Link Width", "x8"
    yield "Dev Link", "simulated "
    yield "Simulated", f"yes, by infertune {world.settings.release}"
    if now == READY:
        loads = [load for load in world.tree.loads() if load.qid == qid]
        yield from _firmware(world)
        yield from _resources(world, loads)
        yield from _clocks(bool(loads))
        yield from _board(world, qid, loads, world.tree.card(qid))


def _firmware(world: World) -> Iterator[tuple[str, str]]:
    version = "1.10.0" if world.settings.generation == "1.10" else "1.19.2"
    yield "HW Version", "2.0.0.0"
    yield "HW Serial", "0x0"
    yield "FW Version", version
    yield "FW QC_IMAGE_VERSION", "simulated"
    yield "FW OEM_IMAGE_VERSION", "simulated"
    yield "FW IMAGE_VARIANT", "simulated"
    yield "NSP Version", version
    yield "NSP QC_IMAGE_VERSION", "simulated"
    yield "NSP OEM_IMAGE_VERSION", "simulated"
    yield "NSP IMAGE_VARIANT", "simulated"


def _resources(world: World, loads: list[Load]) -> Iterator[tuple[str, str]]:
    kind = world.settings.kind
    yield "Dram Total", f"{kind.dram_mb} MB"
    yield "Dram Free", f"{kind.dram_mb - sum(load.memory_mb for load in loads)} MB"
    yield "Dram Fragmentation", "0.00%"
    yield "Vc Total", "16"
    yield "Vc Free", str(16 - len(loads))
    yield "Pc Total", "32"
    yield "Pc Reserved", "0"
    yield "Nsp Total", str(kind.nsps)
    yield "Nsp Free", str(kind.nsps - sum(load.nsps for load in loads))
    yield "Last 100ms Average Dram Bw", "0.00 KBps"
    yield "MCID Total", "3072"
    yield "MCID Free", "3072"
    yield "Semaphore Total", "32"
    yield "Semaphore Free", str(32 - len(loads))
    yield "Constants Loaded", str(len(loads))
    yield "Constants In-Use", str(len(loads))
    yield "Networks Loaded", str(len(loads))
    yield "Networks Active", str(len(loads))


def _clocks(busy: bool) -> Iterator[tuple[str, str]]:  # noqa: FBT001  a state, not a switch
    yield "NSP Frequency(Mhz)", f"{BUSY_MHZ if busy else IDLE_MHZ:.2f}"
    yield "DDR Frequency(Mhz)", "2133.00"
    yield "COMPNOC Frequency(Mhz)", "1450.00"
    yield "MEMNOC Frequency(Mhz)", "1000.00"
    yield "SYSNOC Frequency(Mhz)", "667.00"


def _board(world: World, qid: int, loads: list[Load], state: CardState) -> Iterator[tuple[str, str]]:
    kind = world.settings.kind
    rng = np.random.default_rng([world.settings.seed, qid, state.runs])
    share = sum(load.nsps for load in loads) / kind.nsps
    yield "Metadata Version", "0.0"
    yield "NNC Command Protocol Version", "0.0"
    yield "SBL Image", "simulated"
    yield "PVS Image Version", "0"
    yield "NSP Defective PG Mask", "0x0"
    yield "Sku Type", kind.sku
    yield "Board serial", f"SIM{qid:08d}"
    yield "SoC temperature(degree C)", f"{36 + 30 * share + rng.normal(0, 0.7):.2f}"
    yield "Board power(Watts)", f"{14 + 0.7 * kind.tdp_w * share + rng.normal(0, 0.3):.2f}"
    yield "TDP Cap(Watts)", f"{kind.tdp_w:.2f}"
