"""The installed tree of a simulated SDK: what cards it has, how they are, and what happened to them.

simulated.json      what `infertune qaic-sim install` was told
state/card-0.json   a card's status and how many runs it has seen
state/running/      one file per program that is on a card now
state/compiling/    one file per compiler at work
state/models/       models that programs were compiled from, by digest
state/ledger.jsonl  every compile and run, with its simulated seconds
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock

from infertune.targets.qaic.sdk import MARKER

FORMAT = "infertune-qaic-sim/1"
READY, ERROR = "Ready", "Error"


class Damaged(Exception):  # noqa: N818  the message is all there is to it
    """The tree is not what `install` wrote."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A product: QIDs per card (SoCs), NSPs and memory of each, its name in qaic-util, and power limits in watts."""

    socs: int
    nsps: int
    dram_mb: int
    sku: str
    tdp_w: float


KINDS: Mapping[str, Kind] = {
    "standard": Kind(socs=1, nsps=14, dram_mb=16308, sku="PCIe", tdp_w=75.0),
    "pro": Kind(socs=1, nsps=16, dram_mb=32692, sku="PCIe Pro", tdp_w=75.0),
    "ultra": Kind(socs=4, nsps=16, dram_mb=32692, sku="PCIe Ultra", tdp_w=150.0),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the tree was installed with. ``time_scale``: real seconds waited per simulated second."""

    card: str
    cards: int
    time_scale: float
    seed: int
    generation: str
    faults: str
    release: str

    @property
    def kind(self) -> Kind:
        return KINDS[self.card]

    @property
    def qids(self) -> range:
        return range(self.cards * self.kind.socs)


@dataclass(frozen=True, slots=True, kw_only=True)
class CardState:
    """``reset_at``: how many of its ``runs`` there were when it was reset last."""

    status: str = READY
    runs: int = 0
    reset_at: int = 0

    @property
    def since_reset(self) -> int:
        return self.runs - self.reset_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a running program holds of a card."""

    qid: int
    nsps: int
    memory_mb: int


@dataclass(frozen=True, slots=True)
class Tree:
    """The folder, with everything the programs read from it and write to it."""

    root: Path

    @property
    def state(self) -> Path:
        return self.root / "state"

    def settings(self) -> Settings:
        """Raises `Damaged`."""
        try:
            told = json.loads((self.root / MARKER).read_text())
            names = ("card", "cards", "time_scale", "seed", "generation", "faults", "release")
            if told["format"] != FORMAT or told["card"] not in KINDS:
                raise Damaged(f"{MARKER} is of another format")
            return Settings(**{name: told[name] for name in names})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Damaged(f"{MARKER} cannot be read: {error}") from None

    @contextmanager
    def locked(self) -> Iterator[None]:
        self.state.mkdir(parents=True, exist_ok=True)
        with FileLock(self.state / "lock", timeout=60):
            yield

    # ------------------------------------------------------------ cards

    def card(self, qid: int) -> CardState:
        try:
            return CardState(**json.loads((self.state / f"card-{qid}.json").read_text()))
        except (OSError, ValueError, TypeError):
            return CardState()

    def write_card(self, qid: int, state: CardState) -> None:
        self._write(self.state / f"card-{qid}.json", asdict(state))

    def set_status(self, qid: int, status: str) -> None:
        with self.locked():
            self.write_card(qid, replace(self.card(qid), status=status))

    def reset(self, qid: int) -> None:
        """Ready, and as if it had not run anything yet for what faults count."""
        with self.locked():
            runs = self.card(qid).runs
            self.write_card(qid, CardState(runs=runs, reset_at=runs))

    def count_run(self, qid: int) -> CardState:
        """The card before this run."""
        with self.locked():
            before = self.card(qid)
            self.write_card(qid, replace(before, runs=before.runs + 1))
            return before

    def count_compile(self) -> int:
        """The number of this compile in the tree, from 0."""
        with self.locked():
            path = self.state / "compiles"
            number = int(path.read_text()) if path.exists() else 0
            self._write(path, number + 1)
            return number

    # ------------------------------------------------------------ who is on a card

    def loads(self) -> list[Load]:
        """What living programs hold; files of dead ones are removed."""
        found = []
        for path in sorted((self.state / "running").glob("*.json")):
            if not os.path.exists(f"/proc/{path.stem}"):
                path.unlink(missing_ok=True)
                continue
            with suppress(OSError, ValueError, TypeError):
                found.append(Load(**json.loads(path.read_text())))
        return found

    @contextmanager
    def holding(self, load: Load) -> Iterator[None]:
        path = self.state / "running" / f"{os.getpid()}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        self._write(path, {"qid": load.qid, "nsps": load.nsps, "memory_mb": load.memory_mb})
        try:
            yield
        finally:
            path.unlink(missing_ok=True)

    @contextmanager
    def compiling(self) -> Iterator[int]:
        """While a compile is under way; gives the number of others that living programs have under way."""
        folder = self.state / "compiling"
        path = folder / f"{os.getpid()}.json"
        alive = [other for other in folder.glob("*.json") if os.path.exists(f"/proc/{other.stem}")]
        self._write(path, {})
        try:
            yield sum(other != path for other in alive)
        finally:
            path.unlink(missing_ok=True)

    # ------------------------------------------------------------ what happened

    def note(self, **what: str | int | float) -> None:
        """One line into the ledger."""
        self.state.mkdir(parents=True, exist_ok=True)
        line = json.dumps(what, separators=(",", ":")) + "\n"
        with open(self.state / "ledger.jsonl", "a") as ledger:
            ledger.write(line)

    def ledger(self) -> list[dict[str, Any]]:
        """Every compile and run so far: ``tool``, ``simulated_s`` and what it worked on."""
        path = self.state / "ledger.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def _write(self, path: Path, value: object) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
        temporary.write_text(json.dumps(value))
        temporary.replace(path)
