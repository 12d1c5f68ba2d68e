"""The simulated ``qaic-runner``: the vendor's flags, lines, files and exit codes around the model of the card."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from infertune.targets.qaic.knobs import PROGRAM_FILE
from infertune.targets.qaic.sim.forecast import RUN_SPREAD, Forecast, run_forecast
from infertune.targets.qaic.sim.programs import outputs, profiles
from infertune.targets.qaic.sim.programs.container import NotAProgram, Program, read_program
from infertune.targets.qaic.sim.programs.faults import Luck
from infertune.targets.qaic.sim.programs.flags import Line, Misuse, choice, flag, getopt, usage
from infertune.targets.qaic.sim.programs.queueing import activations
from infertune.targets.qaic.sim.programs.tree import ERROR, READY, Load
from infertune.targets.qaic.sim.programs.world import Stop, World

NAME = "qaic-runner"
CARD_SPREAD = 0.01
"""Relative spread between cards of one kind; card 0 is the one that the model describes. Assumed, not published."""
LOAD_S = 0.45
"""Loading and activating, and as much again per GB of weights; runs of 5 s took 5.8 to 6.7 s in the published logs."""
OP_STATS_SLOWER = 1.10
MOST_REQUESTS = 30_000_000

_LOAD = (
    flag("-t --test-data", "text", "folder of the compiled program; needed"),
    flag("-d --aic-device-id --dev", "whole", "card (default 0)", low=0, high=1023),
    flag("-i --input-file", "text", "raw file of an input, in the model's order; repeatable (random without)"),
    flag("-n --num-iter", "whole", "requests of each activation (default 40)", low=1, high=10**9),
    flag("--time", "number", "seconds to run instead", low=0.001, high=10**6),
    flag("-a --aic-num-of-activations", "whole", "instances (default 1)", low=1, high=64),
    flag("-S --set-size", "whole", "requests queued at each instance (default 10)", low=1, high=4096),
)
_PROFILING = (
    choice(
        "--aic-profiling-type --aic-profiling-format", "stats trace latency trace_stream latency_stream",
        "what to profile; repeatable",
    ),
    flag("--aic-profiling-start-iter", "whole", "first request of each profile (default 0)", low=0, high=10**9),
    flag("--aic-profiling-num-samples", "whole", "requests in each profile (default 1)", low=1, high=10**9),
    flag("--aic-profiling-out-dir", "text", "folder of the profiles; must exist"),
    flag("--write-output-start-iter", "whole", "first request with outputs written (default 0)", low=0, high=10**9),
    flag("--write-output-num-samples", "whole", "requests with outputs written (default 1)", low=1, high=10**9),
    flag("--write-output-dir", "text", "folder of the outputs; must exist"),
    flag("-h --help", says="this text"),
)  # fmt: skip
_WITHOUT_EFFECT = "accepted; changes nothing here"
_HARMLESS = (
    flag("-T --aic-threads-per-queue", "whole", _WITHOUT_EFFECT, low=1, high=64),
    flag("-l --live-reporting", says=_WITHOUT_EFFECT),
    flag("-r --live-reporting-period", "whole", _WITHOUT_EFFECT, low=1, high=10**6),
    flag("-s --stats", says=_WITHOUT_EFFECT),
    choice("-p --pre-post-processing", "on off", _WITHOUT_EFFECT),
    flag("--aic-profiling-start-delay", "whole", _WITHOUT_EFFECT, low=0, high=10**9),
    choice("--aic-profiling-reporting-rate", "500 1000 2000 4000", _WITHOUT_EFFECT),
    flag("--aic-batch-max-memory", "whole", _WITHOUT_EFFECT, low=1, high=10**6),
    flag("--submit-timeout", "whole", _WITHOUT_EFFECT, low=0, high=10**9),
    flag("--submit-retry-count", "whole", _WITHOUT_EFFECT, low=0, high=10**6),
    flag("--unbound-random", says=_WITHOUT_EFFECT),
    flag("-v --verbose", says=_WITHOUT_EFFECT),
)
_DEFAULT = "full"
"""Of the sampling rate: whoever writes it out asks for nothing that is not simulated."""
_REFUSED = "not simulated"
_NOT_SIMULATED = (
    flag("-D --dev-list", "text", f"{_REFUSED}; -d names one card"),
    flag("-o", "text", f"{_REFUSED}; --write-output-dir writes outputs"),
    flag("--aic-profiling-duration", "whole", f"{_REFUSED}; --aic-profiling-num-samples limits profiles"),
    choice("--aic-profiling-sampling-rate", "full half fourth eighth sixteenth", f"{_REFUSED}; all requests are told"),
    flag("--aic-batch-input-directory", "text", f"{_REFUSED}; -i names inputs"),
    flag("--aic-batch-input-file-list", "text", f"{_REFUSED}; -i names inputs"),
    flag("--aic-batch-json-input", "text", f"{_REFUSED}; -i names inputs"),
    flag("--auto-batch-input", says=f"{_REFUSED}; inputs hold a whole batch"),
    flag("--dump-input-buffers", says=_REFUSED),
)
FLAGS = (*_LOAD, *_PROFILING, *_HARMLESS, *_NOT_SIMULATED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run: the program, where it runs and how, and what goes wrong with it."""

    line: Line
    program: Program
    qid: int
    instances: int
    set_size: int
    number: int
    luck: Luck


def main(world: World, argv: list[str]) -> int:
    """Run as told; the exit code."""
    line = getopt(_separated(argv), FLAGS, NAME)
    if line.has("-h"):
        world.raw(f"Usage: {NAME} [options]\n{usage(FLAGS)}")
        return 0
    if refused := next((f for f in _NOT_SIMULATED if line.text(f.names[0], _DEFAULT) != _DEFAULT), None):
        raise Stop(f"Error: {refused.names[-1]} is {refused.says}")
    run = _prepared(world, line)
    how = replace(run.program.how, instances=run.instances, set_size=run.set_size)
    ideal = run_forecast(run.program.workload, world.settings.card, how)
    with _on_card(world, run, ideal.memory_bytes // (1 << 20) + 1):
        if ideal.reason:
            raise Stop(f"Error: Failed to activate network: {ideal.reason}")
        return _performed(world, run, ideal)


def _separated(argv: list[str]) -> list[str]:
    """``1--aic-profiling-type`` is what becomes of ``-S 1`` before a continued line without a space; taken apart."""
    words: list[str] = []
    for word in argv:
        number, dashes, rest = word.partition("--")
        words += [number, dashes + rest] if number.isdecimal() and dashes else [word]
    return words


def _prepared(world: World, line: Line) -> Run:
    program = _load(line.text("-t"))
    qid = line.whole("-d", 0)
    instances, set_size = line.whole("-a", 1), line.whole("-S", 10)
    for name in ("--aic-profiling-out-dir", "--write-output-dir"):
        if line.has(name) and not os.path.isdir(line.text(name)):
            raise Stop(f"Error: {name} {line.text(name)} does not exist")
    if line.has("--aic-profiling-type") and not line.has("--aic-profiling-out-dir"):
        raise Misuse(f"{NAME}: --aic-profiling-type needs --aic-profiling-out-dir")
    if qid not in world.settings.qids:
        raise Stop(f"Error: Device not found: QID {qid}")
    before = world.tree.count_run(qid)
    luck = world.luck(
        qid=qid, cores=program.how.cores, mos=program.how.mos, ols=program.how.ols, batch=program.batch,
        instances=instances, set_size=set_size, run=before.since_reset,
    )  # fmt: skip
    return Run(
        line=line, program=program, qid=qid, instances=instances, set_size=set_size, number=before.runs, luck=luck
    )


def _load(folder: str) -> Program:
    if not folder:
        raise Misuse(f"{NAME}: -t is required")
    path = Path(folder, PROGRAM_FILE)
    try:
        return read_program(path.read_bytes())
    except OSError:
        raise Stop(f"Error: Failed to open QPC {path}") from None
    except NotAProgram as error:
        raise Stop(f"Error: Failed to load QPC {path}: {error}") from None


@contextmanager
def _on_card(world: World, run: Run, memory_mb: int) -> Iterator[None]:
    """Hold NSPs and memory of the card. Raises `Stop` when it is not ready or has not enough of them."""
    tree, kind = world.tree, world.settings.kind
    if run.luck.has("card-error"):
        tree.set_status(run.qid, ERROR)
    if (status := tree.card(run.qid).status) != READY:
        raise Stop(f"Error: Device not ready: QID {run.qid} is in state {status}")
    wanted = Load(qid=run.qid, nsps=run.program.how.cores * run.instances, memory_mb=memory_mb)
    if wanted.nsps > kind.nsps:
        raise Stop(f"Error: Failed to activate network: {wanted.nsps} NSPs needed, QID {run.qid} has {kind.nsps}")
    others = [load for load in tree.loads() if load.qid == run.qid]
    free = 0 if run.luck.has("busy") else kind.nsps - sum(load.nsps for load in others)
    room = 0 if run.luck.has("out-of-memory") else kind.dram_mb - sum(load.memory_mb for load in others)
    if wanted.nsps > free:
        raise Stop(f"Error: Device busy: {wanted.nsps} NSPs needed, {free} of {kind.nsps} free on QID {run.qid}")
    if wanted.memory_mb > room:
        raise Stop(f"Error: Out of device memory: {wanted.memory_mb} MB needed, {room} MB free on QID {run.qid}")
    with tree.holding(wanted):
        yield


def _performed(world: World, run: Run, ideal: Forecast) -> int:
    files = run.line.texts("-i")
    inputs = outputs.given_inputs(run.program, files) if files else None
    if run.luck.has("run-hang"):
        world.hang()
    if run.luck.has("run-crash"):
        world.crash()
    rng = np.random.default_rng([world.settings.seed, run.qid, run.number])
    forecast = slowed(run, ideal, world.settings.seed, rng)
    by_time = run.line.has("--time")
    _check_length(run, forecast)
    until = {"seconds": run.line.number("--time", 0.0)} if by_time else {"count": run.line.whole("-n", 40)}
    found = list(activations(forecast, run.instances, run.set_size, run.program.how.batch, rng, **until))
    duration_us = round(max(float(one.done[-1]) for one in found))
    load_s = LOAD_S * (1.0 + run.program.workload.weight_bytes / 1e9) * float(rng.uniform(0.9, 1.2))
    world.wait(load_s + duration_us / 1e6)
    _note(world, run, load_s + duration_us / 1e6)
    if inputs is None:
        world.say("Using bounded random inputs")
    _report(world, run, sum(map(len, found)), duration_us)
    profiled = run.program.op_stats or run.line.has("--aic-profiling-type")
    told = [profiles.activation(one, forecast, rng) for one in found] if profiled else []
    if run.program.op_stats:
        world.raw(profiles.device_performance(np.concatenate([one.executing for one in told])))
    _files(world, run, told, inputs)
    if run.luck.has("crash-after-print"):
        world.crash()
    return 0


def slowed(run: Run, ideal: Forecast, seed: int, rng: np.random.Generator) -> Forecast:
    """The forecast as this card runs it this time: the card's own speed, noise, and the faults that cost speed."""
    own = np.random.default_rng([seed, run.qid]).standard_normal() if run.qid else 0.0
    factor = np.exp(CARD_SPREAD * own + RUN_SPREAD * rng.standard_normal())
    factor *= (1.0 + run.luck.share("drift")) ** -run.luck.facts["run"]
    meets, costs = rng.random(), rng.uniform(1.1, 1.5)
    if meets < run.luck.share("noisy-neighbour"):
        factor /= costs
    if run.program.op_stats:
        factor /= OP_STATS_SLOWER
    return replace(ideal, samples_per_s=ideal.samples_per_s * float(factor))


def _check_length(run: Run, forecast: Forecast) -> None:
    """Every request is simulated, so that a run of days needs more memory than there is."""
    each = run.line.number("--time", 0.0) * forecast.samples_per_s / run.program.how.batch
    count = each if run.line.has("--time") else run.line.whole("-n", 40) * run.instances
    if count > MOST_REQUESTS:
        raise Stop(f"Error: a run of {count:.2g} requests is not simulated; {MOST_REQUESTS:.2g} are at most")


def _report(world: World, run: Run, count: int, duration_us: int) -> None:
    world.say(profiles.MARK)
    world.say(" ---- Stats ----")
    batch = run.program.batch
    line = f"InferenceCnt {count} TotalDuration {duration_us}us BatchSize {batch} Inf/Sec "
    if run.luck.has("truncated-output"):
        world.raw(line[:-12])
        raise Stop("", code=0)
    world.say(f"{line}{count * 1e6 / duration_us * batch:.3f}")


def _files(world: World, run: Run, found: list[profiles.Activation], inputs: outputs.Arrays | None) -> None:
    wanted = profiles.Wanted(
        kinds=run.line.texts("--aic-profiling-type"),
        folder=run.line.text("--aic-profiling-out-dir"),
        start=run.line.whole("--aic-profiling-start-iter", 0),
        samples=run.line.whole("--aic-profiling-num-samples", 1),
        first=0 if world.settings.generation == "1.10" else 1,
        set_size=run.set_size,
        batch=run.program.batch,
        op_stats=run.program.op_stats,
        cut=run.luck.has("cut-profile"),
    )
    if wanted.kinds and not (run.luck.has("missing-profile") or run.luck.has("stale-profile")):
        profiles.write(wanted, found, world.say)
    if run.line.has("--write-output-dir"):
        _outputs(world, run, inputs)


def _outputs(world: World, run: Run, inputs: outputs.Arrays | None) -> None:
    """One input set serves all requests, so the outputs are computed once and written under every number asked for."""
    given = inputs or outputs.random_inputs(run.program, np.random.default_rng(0))
    made = outputs.compute(world.tree, run.program, given)
    made = outputs.spoiled(made) if run.luck.has("wrong-output") else made
    first = run.line.whole("--write-output-start-iter", 0)
    for number in range(first, first + run.line.whole("--write-output-num-samples", 1)):
        for activation in range(run.instances):
            outputs.write_outputs(run.line.text("--write-output-dir"), made, activation, number)


def _note(world: World, run: Run, simulated_s: float) -> None:
    world.tree.note(
        tool=NAME, simulated_s=round(simulated_s, 3), model=run.program.model[:12], qid=run.qid, run=run.number,
        cores=run.program.how.cores, batch=run.program.batch, instances=run.instances, set_size=run.set_size,
    )  # fmt: skip
