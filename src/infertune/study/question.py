"""From what a person asks to the question of a study: the model described, devices found, spaces made."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from infertune.core import history
from infertune.core.errors import InfertuneError, NothingFeasible, UsageError, nearest, quoted
from infertune.core.goal import Goal, load_for
from infertune.core.load import CLOSED, Load
from infertune.core.records import (
    DescribeJob,
    Device,
    Entry,
    Failed,
    Feed,
    Found,
    KnobFact,
    Model,
    ProbeJob,
    Question,
    SpaceFact,
)
from infertune.core.seams import Executor, Target, needs_host
from infertune.core.space import Space, Value
from infertune.edge.clock import wall_clock
from infertune.edge.files import file_digest
from infertune.edge.host import host_facts
from infertune.prepare import sniff
from infertune.study.journal import Journal
from infertune.study.metric import Metric, named
from infertune.targets import discover, find_target, missing

Wanted = Mapping[str, tuple[Value, ...]]
_DESCRIBE_S = 600.0
_PROBE_S = 120.0
MOST_HEALTH = 600  # characters: a reason with a path in it, and what to do about it


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Everything a study works with: live targets and spaces beside the recorded question."""

    question: Question
    goal: Goal
    targets: Mapping[str, Target]
    spaces: tuple[Space, ...]
    metric: Metric | None = None

    def space(self, target: str, device: str) -> Space:
        return next(s for s in self.spaces if (s.target, s.device) == (target, device))

    def device(self, target: str, name: str) -> Device:
        return next(d for d in self.question.devices if (d.target, d.name) == (target, name))

    @property
    def on_host(self) -> bool:
        """Whether any launch needs the CPUs of the host for itself, so that others there disturb it."""
        return any(needs_host(self.targets[space.target]) for space in self.spaces)


def absolute(path: str | os.PathLike[str] | None) -> str | None:
    """Workers have a working folder of their own, and a record is read from anywhere."""
    return None if path is None else os.path.abspath(path)


def check_model(path: str) -> None:
    """Raise what `described` would of a file that is none or no model, before a run folder is made for it."""
    with contextlib.suppress(OSError):
        sniff.check_file(path)


def described(
    executor: Executor,
    path: str,
    shapes: Mapping[str, int],
    batch_symbol: str | None,
    inputs: str | os.PathLike[str] | None = None,
) -> Model:
    """The model, read in a worker, with the ``.npz`` of inputs checked against it.

    Raises what `prepare.load.describe` and `samples.read_samples` raise, and `InfertuneError` if reading crashes.
    """
    job = DescribeJob(
        path=os.path.abspath(path),
        shapes=tuple(sorted(shapes.items())),
        batch_symbol=batch_symbol,
        inputs=absolute(inputs),
    )
    reply = executor.run("", job, timeout_s=_DESCRIBE_S)
    if isinstance(reply, Failed):
        raise InfertuneError(
            "model-unreadable", f"reading the model failed: {reply.message}", hint="check it with `infertune inspect`"
        )
    assert isinstance(reply, Model)
    return reply


def chosen_targets(names: Sequence[str] | None, load: Load = CLOSED) -> dict[str, Target]:
    """Named targets, or every automatic one whose libraries are here and that can be driven as ``load`` asks."""
    if names:
        return {name: find_target(name) for name in dict.fromkeys(names)}
    fit = {name: t for name, t in discover().items() if t.automatic and (t.open_loop or not load.is_open)}
    return {name: t for name, t in fit.items() if not missing(t)}


def probe(executor: Executor, target: Target) -> tuple[Device, ...]:
    """Devices of one target; none when its libraries are missing or its probe fails."""
    if missing(target):
        return ()
    reply = executor.run(target.name, ProbeJob(target=target.name), timeout_s=_PROBE_S)
    return reply.devices if isinstance(reply, Found) else ()


def _known_knobs(spaces: Sequence[Space], mentioned: Iterable[str]) -> None:
    names = {k.name for s in spaces for k in s.knobs}
    for name in mentioned:
        if name not in names:
            raise UsageError(
                "unknown-knob",
                f"`{name}` is not a knob of any target here",
                hint=f"{nearest(name, names)}see `infertune space MODEL`",
            )


def alike(one: Device, other: Device) -> bool:
    """Same kind, size and software: what runs on one runs on the other."""
    return _kind(one) == _kind(other)


def _kind(device: Device) -> object:
    return device.target, device.title, device.units, device.memory_bytes, device.precisions, device.versions


def distinct(devices: Sequence[Device], targets: Mapping[str, Target]) -> tuple[Device, ...]:
    """The devices that get a space of their own: of twins that leave the host alone, the first."""
    found: list[Device] = []
    for device in devices:
        if needs_host(targets[device.target]) or not any(alike(device, other) for other in found):
            found.append(device)
    return tuple(found)


def make_spaces(
    model: Model, devices: Sequence[Device], targets: Mapping[str, Target], goal: Goal, wanted: Wanted
) -> tuple[Space, ...]:
    """One space per healthy device, narrowed to what the person asked for; twins share one (`distinct`).

    Raises `NothingFeasible` without any.
    """
    healthy = [d for d in devices if d.health == "ready"]
    if not healthy:
        told = "".join(f"; {d.target} {d.name}: {quoted(d.health, MOST_HEALTH)}" for d in devices[:1])
        raise NothingFeasible(
            "no-device", f"no target found a device that is ready{told}", hint="run `infertune doctor` to see why"
        )
    spaces = tuple(targets[d.target].space(model, d, goal) for d in distinct(healthy, targets))
    return tuple(space.narrowed(wanted) for space in spaces)


def space_fact(space: Space) -> SpaceFact:
    legal, raw = space.size()
    knobs = tuple(
        KnobFact(
            name=k.name,
            stage=k.stage,
            default=k.default,
            values=k.values,
            doc=k.doc,
            spelling=k.spelling,
            calibrated=k.calibrated,
        )
        for k in space.knobs
    )
    return SpaceFact(
        target=space.target,
        device=space.device,
        knobs=knobs,
        rules=tuple(rule.reason for rule in space.rules),
        baselines=tuple((b.name, b.point) for b in space.baselines),
        legal=legal,
        raw=raw,
    )


def drivable(targets: Mapping[str, Target], load: Load) -> None:
    """Raises `UsageError` (``load-not-supported``) where launches of a target cannot be driven as ``load`` asks."""
    closed = [name for name, target in targets.items() if not target.open_loop]
    if load.arrivals != "closed" and closed:
        raise UsageError(
            "load-not-supported",
            f"{closed[0]} can only be driven in a closed loop that keeps every slot busy",
            hint="choose others with --target, or ask for `max throughput` with a limit such as `p99 < 50 ms`",
        )


def _feed(seed: int, inputs: str | None) -> Feed:
    """A file that is missing is told by the worker that reads it."""
    path = absolute(inputs)
    return Feed(seed=seed, path=path, digest=file_digest(Path(path)) if path and os.path.isfile(path) else None)


def make_setting(
    executor: Executor,
    *,
    model: Model,
    goal: Goal,
    targets: Mapping[str, Target],
    wanted: Wanted,
    strategy: str,
    seed: int,
    inputs: str | None,
    version: str,
    known: Sequence[str] = (),
    metric: Metric | None = None,
) -> Setting:
    """Probe, make spaces, and write down the question.

    Raises `UsageError` for a knob in ``wanted`` or ``known`` that no space has.
    """
    drivable(targets, load_for(goal))
    devices = tuple(device for target in targets.values() for device in probe(executor, target))
    spaces = make_spaces(model, devices, targets, goal, wanted)
    _known_knobs(spaces, (*wanted, *known))
    question = Question(
        model=model,
        devices=devices,
        spaces=tuple(map(space_fact, spaces)),
        goal=str(goal),
        strategy=strategy,
        seed=seed,
        feed=_feed(seed, inputs),
        host=host_facts(),
        made_at=wall_clock(),
        version=version,
        wanted=tuple(wanted.items()),
        metric=named(metric),
    )
    return Setting(question=question, goal=goal, targets=targets, spaces=spaces, metric=metric)


def going_on(setting: Setting, entries: Sequence[Entry]) -> Setting:
    """The setting with the record's own devices where they are there and not ready now.

    A card in a bad state tells neither its kind nor its size; that is no other question. Raises what `refuse_another`
    raises for one.
    """
    setting = _as_recorded(setting, entries)
    refuse_another(entries, setting)
    return setting


def _as_recorded(setting: Setting, entries: Sequence[Entry]) -> Setting:
    told = {(d.target, d.name): d for d in history.question(entries).devices} if entries else {}
    now = setting.question.devices
    unwell = {
        (d.target, d.name): replace(told[d.target, d.name], health=d.health)
        for d in now
        if d.health != "ready" and (d.target, d.name) in told and told[d.target, d.name].health == "ready"
    }
    if not unwell:
        return setting
    devices = tuple(unwell.get((d.target, d.name), d) for d in now)
    as_then = [replace(d, health="ready") if (d.target, d.name) in unwell else d for d in devices]
    wanted = dict(setting.question.wanted)
    spaces = make_spaces(setting.question.model, as_then, setting.targets, setting.goal, wanted)
    question = replace(setting.question, devices=devices, spaces=tuple(map(space_fact, spaces)))
    return replace(setting, question=question, spaces=spaces)


def ask(journal: Journal, setting: Setting) -> None:
    """Write the question first. Listeners hear that of a study that is gone on with, too: it names the points.

    Raises what `refuse_another` raises.
    """
    refuse_another(journal.entries, setting)
    if not journal.entries:
        journal.append(setting.question)
        return
    journal.tell(next(entry for entry in journal.entries if isinstance(entry.event, Question)))


def refuse_another(entries: Sequence[Entry], setting: Setting) -> None:
    """Raises `UsageError` (``another-question``) if the record asks another one; a new one asks none."""
    other = differences(history.question(entries), setting.question) if entries else ()
    if other:
        raise another_question(other)


def another_question(differing: Sequence[str]) -> UsageError:
    return UsageError(
        "another-question",
        f"the run folder answers another question: it differs in {', '.join(differing)}",
        hint="give another folder with -o, or ask the same question again",
    )


def differences(old: Question, new: Question) -> list[str]:
    """What a second command asks otherwise than the record: empty when it may resume."""
    pairs: dict[str, tuple[object, object]] = {
        "model": (old.model.digest, new.model.digest),
        "shapes": (old.model.shapes, new.model.shapes),
        "goal": (old.goal, new.goal),
        "inputs": (_inputs(old.feed), _inputs(new.feed)),
        "seed": (old.seed, new.seed),
        "strategy": (old.strategy, new.strategy),
        "metric": (old.metric, new.metric),
        "devices or versions": (_identity(old.devices), _identity(new.devices)),
        "spaces": (old.spaces, new.spaces),
    }
    return [name for name, (a, b) in pairs.items() if a != b]


def _inputs(feed: Feed) -> str | None:
    """What a file of inputs holds, wherever it is; seeded ones follow from the seed."""
    return feed.digest or feed.path


def _identity(devices: Sequence[Device]) -> object:
    return [(d.target, d.name, d.title, d.units, d.versions) for d in devices]
