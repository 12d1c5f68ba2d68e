"""Which cards there are, how they are, and what they are made of: told by the cards, never assumed."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from infertune.core.errors import InfertuneError
from infertune.core.records import Device, Named, facts
from infertune.core.seams import Done, Shell
from infertune.targets.qaic import parse, tools
from infertune.targets.qaic.profile import Garbled
from infertune.targets.qaic.sdk import MARKER, Sdk, asked_root, expected, find_sdk, simulation
from infertune.targets.qaic.start import start

QUERY_S = 60.0
PRECISIONS = ("f16", "int8")
SIMULATED_PRECISIONS = PRECISIONS[:1]
MOST_TEXT = 1 << 22


def found(shell: Shell) -> tuple[Device, ...]:
    """Every card; none where nobody asks for an SDK. One that cannot be used is a device whose health says why."""
    if not expected():
        return ()
    try:
        sdk = find_sdk()
    except InfertuneError as error:
        return (_unusable(f"{error.message}; {error.hint}"),)
    try:
        cards = query(sdk, shell)
    except Garbled as error:
        return (_unusable(f"{error}; {ADVICE}"),)
    return tuple(device_of(card, sdk) for card in cards) or (_unusable(NO_CARD),)


ADVICE = (
    "check that you are in the group `qaic` (or use sudo) and that `qaic-util -q` works; if it does not, reset the "
    "card (`qaic-util -s`) or ask the administrator"
)
NO_CARD = (
    "the SDK is here but finds no card; check `lspci -d 17cb:`, that the kernel driver is loaded "
    "(`lsmod | grep qaic`), and that you are in the group `qaic`"
)


def query(sdk: Sdk, shell: Shell, qid: int | None = None) -> tuple[parse.Card, ...]:
    """What qaic-util tells. Raises `Garbled` when it fails or tells nonsense."""
    with tempfile.TemporaryDirectory(prefix="infertune-qaic-") as scratch:
        log = str(Path(scratch, "query.txt"))
        done = start(shell, tools.query_argv(sdk, qid), timeout_s=QUERY_S, log=log, folder=scratch)
        text = output_of(log, done)
    if done.timed_out:
        raise Garbled(f"qaic-util gave no answer within {QUERY_S:.0f} s")
    if done.code != 0:
        raise Garbled(parse.failure(text, "device", f"qaic-util ended with exit code {done.code}")[1])
    try:
        return parse.parse_cards(text)
    except Garbled as error:
        raise Garbled(f"what qaic-util tells is not whole: {error}") from None


def output_of(log: str, done: Done) -> str:
    """What a tool printed, its last line ends included; at most 4 MiB."""
    try:
        with open(log, "rb") as file:
            return file.read(MOST_TEXT).decode("utf-8", errors="replace")
    except OSError:
        return done.tail


def device_name(qid: int) -> str:
    return f"qid{qid}"


def qid_of(device: str) -> int:
    """The card's number in the vendor's tools. Raises ValueError for another target's device."""
    return int(device.removeprefix("qid"))


def device_of(card: parse.Card, sdk: Sdk) -> Device:
    sku, simulated = card.text("Sku Type"), sdk.simulated or card.simulated
    return Device(
        name=device_name(card.qid),
        target="qaic",
        title=f"Cloud AI 100 {sku.removeprefix('PCIe ')}".strip(),
        units=card.nsps,
        memory_bytes=card.memory_bytes,
        precisions=SIMULATED_PRECISIONS if simulated else PRECISIONS,
        versions=_versions(card, sdk),
        health=parse.health(card),
        facts=_facts(card),
        simulated=simulated,
    )


def _versions(card: parse.Card, sdk: Sdk) -> Named:
    """What an artifact depends on. A simulated card's release is part of it: its programs never reach a real one."""
    told = simulation(sdk)
    return facts(
        sdk=sdk.version,
        generation=sdk.generation,
        firmware=card.text("FW Version") or None,
        simulation=" ".join(told.values()) if told else (card.text("Simulated") or None),
    )


def _facts(card: parse.Card) -> Named:
    return facts(
        sku=card.text("Sku Type") or None,
        serial=card.text("Board serial") or None,
        pci=card.text("PCI Address") or None,
        nsp_free=card.text("Nsp Free") or None,
        memory_free=card.text("Dram Free") or None,
        temperature_c=_shown(card.number("SoC temperature")),
        power_w=_shown(card.number("Board power")),
        power_cap_w=_shown(card.number("TDP Cap")),
    )


def condition(sdk: Sdk, shell: Shell, qid: int, moment: str) -> Named:
    """The card's temperature, power and clock at a ``moment`` (``before`` or ``after``), as far as it tells them."""
    return _told(_asked(sdk, shell, qid), moment)


def under_load(sdk: Sdk, shell: Shell, qid: int) -> Named:
    """The same ``during`` a run; nothing where the card says that all of its NSPs are free."""
    return _told([card for card in _asked(sdk, shell, qid) if card.count("Nsp Free") < card.nsps], "during")


def _asked(sdk: Sdk, shell: Shell, qid: int) -> Sequence[parse.Card]:
    try:
        return query(sdk, shell, qid)
    except Garbled:
        return ()


def _told(cards: Sequence[parse.Card], moment: str) -> Named:
    told = {
        f"temperature_{moment}_c": "SoC temperature",
        f"power_{moment}_w": "Board power",
        f"nsp_{moment}_mhz": "NSP Frequency",
    }
    return facts(**{name: _shown(card.number(field)) for card in cards[:1] for name, field in told.items()})


def _shown(value: float | None) -> str | None:
    return None if value is None else f"{value:g}"


def _unusable(why: str) -> Device:
    simulated = Path(asked_root(), MARKER).is_file()
    precisions = SIMULATED_PRECISIONS if simulated else PRECISIONS
    return Device(
        name="qid", target="qaic", title="Cloud AI 100", units=0, memory_bytes=0, precisions=precisions, versions=(),
        health=why, simulated=simulated,
    )  # fmt: skip
