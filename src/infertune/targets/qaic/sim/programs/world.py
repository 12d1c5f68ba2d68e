"""What a simulated program sees of the world: its tree, two streams and time. Tests hand in their own."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from infertune.core.errors import InfertuneError
from infertune.core.seams import Clock
from infertune.edge.clock import MonotonicClock
from infertune.edge.environment import variable
from infertune.targets.qaic.sim.programs.faults import VARIABLE, Fault, Luck, parse_faults
from infertune.targets.qaic.sim.programs.flags import Misuse
from infertune.targets.qaic.sim.programs.tree import Damaged, Settings, Tree

FAILED = 1
FOREVER_S = 10_000_000.0


class Stop(Exception):  # noqa: N818  how a program ends, well or badly
    """End the program with this exit code, after telling people ``message``."""

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


@dataclass(frozen=True, slots=True)
class World:
    """``say`` prints a line to stdout, ``complain`` one to stderr; ``raw`` prints a part of a line."""

    tree: Tree
    settings: Settings
    clock: Clock
    faults: tuple[Fault, ...]
    raw: Callable[[str], None]
    complain: Callable[[str], None]

    def say(self, line: str) -> None:
        self.raw(line + "\n")

    def wait(self, simulated_s: float) -> None:
        """As long as the simulated card would take, scaled."""
        if self.settings.time_scale > 0:
            self.clock.sleep(simulated_s * self.settings.time_scale)

    def luck(self, **facts: int) -> Luck:
        return Luck(faults=self.faults, facts=facts)

    def hang(self) -> None:
        """Never end: what a hang looks like from outside."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self.clock.sleep(FOREVER_S)

    def crash(self) -> None:
        """Die of a signal, without a word."""
        sys.stdout.flush()
        os.kill(os.getpid(), signal.SIGABRT)


Main = Callable[[World, list[str]], int]


def started(main: Main, root: str, argv: list[str]) -> int:
    """Run a program for real: what the installed executables call. Returns the exit code."""
    tree = Tree(Path(root))
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # like any program: a reader that leaves ends it quietly

    def write(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    def complain(line: str) -> None:
        sys.stderr.write(line + "\n")

    try:
        settings = tree.settings()
        faults = parse_faults(f"{settings.faults};{variable(VARIABLE)}")
    except (Damaged, InfertuneError) as error:
        complain(f"Error: the simulated SDK cannot be used: {error}")
        return FAILED
    world = World(tree, settings, MonotonicClock(), faults, write, complain)
    return ended(main, world, argv)


def ended(main: Main, world: World, argv: list[str]) -> int:
    """Run a program in a given world; its exit code."""
    try:
        return main(world, argv)
    except Misuse as misuse:
        world.complain(str(misuse))
        return FAILED
    except Stop as stop:
        if stop.message:
            world.complain(stop.message)
        return stop.code
    except OSError as error:
        world.complain(f"Error: cannot use {error.filename or 'a file'}: {error.strerror or error}")
        return FAILED
