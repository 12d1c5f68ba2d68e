"""`infertune model-configurator`: the vendor's configurator, command for command."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

if TYPE_CHECKING:
    from infertune.core.errors import NothingFeasible
    from infertune.core.records import Device, Model, Trial
    from infertune.core.seams import Shell
    from infertune.core.space import Point, Space
    from infertune.targets.qaic.configurator.request import Request
    from infertune.targets.qaic.configurator.schema import Search
    from infertune.targets.qaic.configurator.wording import Row
    from infertune.targets.qaic.configurator.workshop import Workshop
    from infertune.targets.qaic.sdk import Sdk

SETTINGS = {"ignore_unknown_options": True, "allow_extra_args": True}
"""The vendor's flags have one dash; they are read by `configurator.request`."""


def command(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(help="The vendor's flags and values; -h lists them.", metavar="MODEL onnx -FLAG.."),
    ] = None,
) -> None:
    """Find the best settings of a model on a Cloud AI card with the vendor configurator's own command lines."""
    configure(["infertune model-configurator", *(arguments or [])])


def script(argv: Sequence[str]) -> int:
    """What the installed `model_configurator.py` runs: the exit code."""
    from infertune.cli.endings import exit_code_of

    return exit_code_of(lambda: configure(argv), show_traceback=False)


@dataclass(frozen=True, slots=True)
class Log:
    """Lines with their time, on stdout and in the log file."""

    file: TextIO

    def __call__(self, text: str) -> None:
        from datetime import datetime

        stamp = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
        for stream in (sys.stdout, self.file):
            stream.write(f"{stamp} - [INFO]: {text}\n")
            stream.flush()


def configure(argv: Sequence[str], shell: Shell | None = None) -> None:
    """Do what a command line of the configurator asks for, running tools by ``shell``. Raises `InfertuneError`."""
    from infertune.edge.files import ensure_folder
    from infertune.edge.shell import LocalShell
    from infertune.edge.signals import ended_by_signals
    from infertune.targets.qaic.configurator.request import FLAGS, parse_request, separated
    from infertune.targets.qaic.sim.programs.flags import usage

    request = parse_request(argv[1:])
    if request is None:
        typer.echo(f"usage: {argv[0]} MODEL.onnx onnx [flags]\n{usage(FLAGS)}", nl=False)
        return
    folder = ensure_folder(Path(request.output), "the output folder")
    with open(folder / "model_configurator.log", "w") as file, ended_by_signals():
        _logged(request, Log(file), " ".join([argv[0], *separated(argv[1:])]), shell or LocalShell())


def _logged(request: Request, say: Callable[[str], None], told: str, shell: Shell) -> None:
    import time

    from infertune.targets.qaic.configurator.wording import clock_text

    began = time.monotonic()
    say(f"Starting {told}")
    say(f"Model Name: {os.path.basename(request.model)}")
    say(_host())
    sdk, device = _card(request.device, shell)
    if device.simulated:
        say("Simulated card: nothing below was measured on hardware")
    _searched(request, say, sdk, device, shell)
    say(f"Total execution time {clock_text(time.monotonic() - began)}")


def _host() -> str:
    import platform

    from infertune.edge.host import read_host

    host = read_host()
    cores = f"Physical Cores: {host.physical_cores}, Logical Cores: {len(host.online)}"
    return f"Hostname: {platform.node()}, {cores}, Memory: {host.memory_bytes / 1e9:.1f} GB"


def _card(qid: int, shell: Shell) -> tuple[Sdk, Device]:
    """The SDK and the card. Raises `NotFoundError` and `NothingFeasible`."""
    from infertune.core.errors import NothingFeasible
    from infertune.targets.qaic.probe import device_name, found
    from infertune.targets.qaic.sdk import find_sdk

    sdk = find_sdk()
    devices = {device.name: device for device in found(shell)}
    name = device_name(qid)
    if name not in devices:
        only = next(iter(devices.values()))
        if not only.units:
            why, _, advice = only.health.partition("; ")
            raise NothingFeasible("no-device", f"no card can be used: {why}", hint=advice or "see `infertune devices`")
        there = ", ".join(known.removeprefix("qid") for known in devices)
        raise NothingFeasible("no-device", f"there is no card {qid}", hint=f"cards of {sdk.root}: {there}")
    device = devices[name]
    if device.health != "ready":
        state, _, advice = device.health.partition(": ")
        raise NothingFeasible("device-not-ready", f"card {qid} is in state {state}", hint=advice)
    return sdk, device


def _searched(request: Request, say: Callable[[str], None], sdk: Sdk, device: Device, shell: Shell) -> None:
    from infertune.core.goal import parse_goal
    from infertune.targets import find_target
    from infertune.targets.qaic.configurator.combinations import rebatched
    from infertune.targets.qaic.configurator.schema import read_search

    search = None if request.config is None else read_search(request.config, device.units)
    for note in search.notes if search else ():
        say(note)
    goal = parse_goal(search.goal if search else "max throughput")
    model = _model(request)
    space = rebatched(find_target("qaic").space(model, device, goal))
    record = partial(_write_results, Path(request.output) / "results.csv", "yes" if device.simulated else "no")
    shop = _shop(request, say, sdk, model, space, search, shell, record)
    work = _work(
        request, shop, search
    )  # from here on nothing is wrong with the command: what an earlier one left may go
    shop.record(shop.trials)
    try:
        rows = work()
    finally:
        shop.close()
        shop.record(shop.trials)
        if not request.retain:
            shutil.rmtree(os.path.join(request.output, "compiled_models"), ignore_errors=True)
    if request.compile_only:
        say(f"Compiled {_binaries(shop.compiled())}{_failed(shop)}; they are in {shop.folder}")
    else:
        _tell(shop, rows, say)


def _model(request: Request) -> Model:
    """Raises `InfertuneError`, its hint in the configurator's own flags."""
    from infertune.core.errors import InfertuneError
    from infertune.edge.shell import LocalShell
    from infertune.edge.worker import LocalExecutor
    from infertune.study.question import described

    path = os.path.abspath(request.model)
    try:
        return described(LocalExecutor(LocalShell()), path, dict(request.symbols), request.batch_symbol)
    except InfertuneError as error:
        error.hint = _own_flags(error.hint)
        raise


def _own_flags(hint: str) -> str:
    """``--shape a=1`` of other commands as the configurator spells it."""
    import re

    spelt = re.sub(r"--shape ('?)([^\s='][^=']*)=(\d+)", r"\1-onnx-define-symbol=\2,\3", hint)
    return spelt.replace("--shape", "-onnx-define-symbol")


def _shop(
    request: Request,
    say: Callable[[str], None],
    sdk: Sdk,
    model: Model,
    space: Space,
    search: Search | None,
    shell: Shell,
    record: Callable[[Mapping[Point, Trial]], None],
) -> Workshop:
    from infertune.core.goal import parse_goal
    from infertune.edge.crew import ThreadCrew
    from infertune.targets.qaic.configurator.searches import narrowed
    from infertune.targets.qaic.configurator.workshop import Workshop

    if search is not None:
        space = narrowed(
            space, search, dict(request.fixed), request.set_size, doublings=request.search == "vendor",
            added=dict(request.added),
        )  # fmt: skip
        request.feeding.check(_batches(space.knob("batch").values))
    newer = search is not None and search.lock_step
    inner = [model.name] if newer else []
    return Workshop(
        sdk=sdk,
        shell=shell,
        model=model,
        space=space,
        goal=parse_goal(search.goal if search else "max throughput"),
        folder=os.path.abspath(os.path.join(request.output, "compiled_models", *inner)),
        seconds=request.seconds,
        threads=request.threads,
        crew=ThreadCrew(request.threads),
        say=say,
        form_b=newer,
        requests=request.requests,
        feeding=request.feeding,
        passed=request.passed,
        record=record,
    )


def _batches(values: Sequence[object]) -> list[int]:
    return sorted({value for value in values if isinstance(value, int)})


def _work(request: Request, shop: Workshop, search: Search | None) -> Callable[[], Sequence[Row]]:
    """What there is to do, listed and checked; nothing of it done."""
    from infertune.targets.qaic.configurator.searches import brute_force, effort_for, own_search, vendor_search

    if search is None:
        points = _configs(request, shop)
        return partial(_compile if request.compile_only else brute_force, shop, points)
    shop.say("Running optimized search")
    if request.compile_only:
        return partial(_compile, shop, shop.space.seeds)
    if request.search == "vendor":
        return partial(vendor_search, shop, search)
    return partial(own_search, shop, effort_for(shop.goal), search.evaluations * len(search.starts))


def _compile(shop: Workshop, points: Sequence[Point]) -> Sequence[Row]:
    """No rows. Raises `NothingFeasible` when none compiles."""
    from infertune.core.records import Failed

    for point, future in zip(points, shop.submit(points), strict=True):
        compiled = future.result()
        if isinstance(compiled, Failed):
            shop.run(point, compiled)
    if len(shop.trials) == len(set(points)):
        raise _nothing(shop, "compiled")
    return ()


def _configs(request: Request, shop: Workshop) -> Sequence[Point]:
    """The points of a brute-force search, listed and saved as asked."""
    from infertune.cli.output import write_result
    from infertune.targets.qaic.configurator.combinations import combinations, configs_text, left_out, read_configs
    from infertune.targets.qaic.configurator.wording import search_point

    fixed = {**dict(request.fixed), "set_size": request.set_size}
    space = request.feeding.profiled(shop.space)
    profiles = {"quantisation_file": tuple(p for _, p in request.feeding.profiles)} if request.feeding.profiles else {}
    if request.load_configs:
        points = read_configs(request.load_configs, space, fixed)
    else:
        points = combinations(space, {**dict(request.lists), **dict(request.added), **profiles}, fixed)
    for line in left_out(space, {} if request.load_configs else dict(request.lists), points):
        shop.say(line)
    request.feeding.check(_batches([point["batch"] for point in points]))
    if request.save_config:
        write_result(Path(request.save_config), configs_text(points))
    if request.list_configs:
        for point in points:
            shop.say(search_point(point, set_sizes=False))
    shop.say(f"Running brute force search over {len(points)} configurations")
    return points


def _write_results(path: Path, simulated: str, trials: Mapping[Point, Trial]) -> None:
    """Every point measured so far, in a file that is whole at any time."""
    import csv
    import io

    from infertune.cli.output import write_result
    from infertune.targets.qaic.configurator.wording import COLUMNS, cell
    from infertune.targets.qaic.configurator.workshop import rate_and_latency

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*COLUMNS.values(), "infPerSec", "latencyUs", "failure", "simulated"])
    for point, trial in trials.items():
        writer.writerow([*(cell(point, knob) for knob in COLUMNS), *rate_and_latency(trial), simulated])
    write_result(path, text.getvalue())


def _tell(shop: Workshop, rows: Sequence[Row], say: Callable[[str], None]) -> None:
    from infertune.core.words import counted
    from infertune.targets.qaic.configurator.wording import OPTIONS, cell, result_table

    if shop.best() is None:
        raise _nothing(shop, "measured")
    say("Optimized search results:" if any(row.status for row in rows) else "Brute force search results:")
    unit = "inf/sec" if shop.goal.maximise else "micro-sec"
    options = [knob for knob in OPTIONS if any(cell(point, knob) for point in shop.trials)]
    table = result_table(rows, unit, set_sizes=shop.form_b, options=options)
    for stream in (sys.stdout, getattr(say, "file", sys.stdout)):
        stream.write(table + "\n")
    simulated = " on a simulated card" if shop.sdk.simulated else ""
    done = sum(not _why(trial) for trial in shop.trials.values())
    say(f"Compiled {_binaries(shop.compiled())}, measured {counted(done, 'point')}{simulated}{_failed(shop)}")


def _binaries(count: int) -> str:
    return "1 binary" if count == 1 else f"{count} binaries"


def _failed(shop: Workshop) -> str:
    """``, 2 points failed``; nothing where none did."""
    from infertune.core.words import counted

    failed = sum(bool(_why(trial)) for trial in shop.trials.values())
    return f", {counted(failed, 'point')} failed" if failed else ""


def _nothing(shop: Workshop, done: str) -> NothingFeasible:
    from infertune.core.errors import NothingFeasible

    reasons = sorted({reason for trial in shop.trials.values() if (reason := _why(trial))})
    return NothingFeasible(
        "nothing-ran",
        f"none of {len(shop.trials)} points could be {done}: {'; '.join(reasons[:3])}",
        hint="see results.csv and model_configurator.log",
    )


def _why(trial: Trial) -> str:
    from infertune.targets.qaic.configurator.workshop import rate_and_latency

    return rate_and_latency(trial)[2]
