"""`infertune latency-stats`: the vendor's latency table and more, from profiles of qaic-runner or a run folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from infertune.core.errors import DataError
    from infertune.core.records import Measurement
    from infertune.report.latency import Columns, Little
    from infertune.targets.qaic.parse import Stats
    from infertune.targets.qaic.profile import Profile

TOTAL = "totalRoundtripTime"
MOST_BYTES = 1 << 30
SIMULATED = "simulated: no card was involved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Latencies of one load: the table's columns and the phases in milliseconds, and what else is known of it."""

    name: str
    columns: Columns
    phases: Columns
    total: str
    counts: tuple[int, ...]
    dropped: int
    little: Little | None
    simulated: bool = False


def command(
    files: Annotated[list[Path], typer.Argument(help="Latency profiles, folders of them, or an infertune run folder.")],
    keep_middle: Annotated[
        float, typer.Option("--keep-middle", "-k", help="Keep only the middle percent of each file.", min=1, max=100)
    ] = 100.0,
    result: Annotated[Path | None, typer.Option(help="qaic-runner's output, for Little's law.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Write the breakdown as an SVG picture.")] = None,
    json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
) -> None:
    """Latency per phase: mean, percentiles, counts, and where the time goes."""
    from infertune.cli.output import print_json

    loads = list(loads_of(files, keep_middle, result))
    if picture is not None:
        _draw(picture, loads)
    if json:
        print_json([plain(load) for load in loads])
        return
    typer.echo("\n".join(text(load) for load in loads), nl=False)


def script(argv: Sequence[str]) -> int:
    """The drop-in for the vendor's script: its options, its output; problems as two lines and exit code 65 or 66."""
    import argparse

    from infertune.cli.endings import exit_code_of

    parser = argparse.ArgumentParser(prog=Path(argv[0]).name)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("-k", "--keepOnlyMiddlePct", type=float, default=100.0)
    parser.add_argument("-v", "--verbosity", type=int, default=2)
    given = parser.parse_args(list(argv[1:]))
    return exit_code_of(lambda: _print_table(given.files, given.keepOnlyMiddlePct), show_traceback=False)


def _print_table(files: list[Path], keep_middle: float) -> None:
    from infertune.core.errors import UsageError

    if not 0 < keep_middle <= 100:
        raise UsageError("usage", f"-k {keep_middle:g} is no share", hint="give percent: more than 0, 100 at most")
    for load in loads_of(files, keep_middle, None):
        typer.echo(vendor_text(load), nl=False)
        if load.simulated:
            typer.echo(SIMULATED, err=True)


def loads_of(files: Sequence[Path], keep_middle: float, result: Path | None) -> Sequence[Load]:
    """What the paths hold: profiles are one load together, a run folder one per point.

    Raises `NotFoundError`, `DataError` and `UsageError`.
    """
    from infertune.store.sqlite import NAME

    folders = [path for path in files if path.is_dir() and (path / NAME).is_file()]
    if folders:
        _folders_alone(folders, files, keep_middle, result)
        return [load for folder in folders for load in _run_folder(folder)]
    profiles = [(path, _profile(path, keep_middle)) for given in files for path in _inside(given)]
    _unmixed(profiles)
    return [_profiled(profiles, None if result is None else _stats(result))]


def _folders_alone(folders: Sequence[Path], given: Sequence[Path], keep_middle: float, result: Path | None) -> None:
    """Raises `UsageError` where something beside the run folders would be left out without a word."""
    from infertune.core.errors import UsageError, quoted

    others = [f"`{quoted(str(path))}`" for path in given if path not in folders]
    others += ["--keep-middle"] if keep_middle < 100 else []
    others += ["--result"] if result is not None else []
    if others:
        raise UsageError(
            "usage",
            f"`{quoted(str(folders[0]))}` is a run folder, and {others[0]} goes with profiles of qaic-runner alone",
            hint="give run folders or profiles, not both",
        )


def _unmixed(profiles: Sequence[tuple[Path, Profile]]) -> None:
    """Raises `DataError` where profiles of simulated cards meet others."""
    from infertune.core.errors import DataError, quoted

    by = {profile.simulated: path for path, profile in profiles}
    if len(by) > 1:
        raise DataError(
            "profiles-mixed",
            f"`{quoted(str(by[True]))}` is from a simulated card, `{quoted(str(by[False]))}` is not",
            hint="give the files of one card at a time",
        )


def _inside(given: Path) -> Sequence[Path]:
    from infertune.core.errors import NotFoundError, quoted

    if not given.is_dir():
        return (given,)
    found = sorted(given.glob("*latency*.txt"))
    if not found:
        raise NotFoundError(
            "no-profiles",
            f"`{quoted(str(given))}` holds neither latency profiles nor a study",
            hint="run qaic-runner with --aic-profiling-type latency, or give a folder that `infertune tune` wrote",
        )
    return found


def _profile(path: Path, keep_middle: float) -> Profile:
    from infertune.report.latency import keep_middle as middle
    from infertune.targets.qaic.profile import Garbled, parse_profile

    try:
        found = parse_profile(_text(path))
    except Garbled as error:
        raise garbled(path, str(error)) from None
    kept = middle(found.values, keep_middle)
    if not len(kept):
        raise garbled(path, f"nothing is left of {len(found)} samples")
    return replace(found, values=kept)


def garbled(path: Path, why: str) -> DataError:
    from infertune.core.errors import DataError, quoted

    return DataError(
        "profile-damaged",
        f"`{quoted(str(path))}`: {why}",
        hint="run qaic-runner again with --aic-profiling-type latency, long enough to pass --aic-profiling-start-iter",
    )


def _numbered(path: Path) -> str:
    near = sorted(p.name for p in path.parent.glob("*latency*.txt")) if path.parent.is_dir() else []
    return f"there are {', '.join(near)}" if near else "the SDK numbers them from 0 or from 1"


def _text(path: Path, beside: Callable[[Path], str] = _numbered) -> str:
    from infertune.core.errors import NotFoundError, quoted

    if not path.is_file():
        raise NotFoundError("profile-not-found", f"there is no file `{quoted(str(path))}`", hint=beside(path))
    if path.stat().st_size > MOST_BYTES:
        raise garbled(path, "it is larger than 1 GiB")
    return path.read_text(errors="replace")


def _stats(path: Path) -> Stats:
    from infertune.targets.qaic.parse import parse_stats
    from infertune.targets.qaic.profile import Garbled

    try:
        return parse_stats(
            _text(path, lambda _: "what qaic-runner prints is not kept by itself: `qaic-runner .. | tee FILE`")
        )
    except Garbled as error:
        raise garbled(path, str(error)) from None


def _profiled(profiles: Sequence[tuple[Path, Profile]], stats: Stats | None) -> Load:
    from infertune.targets.qaic.profile import Garbled, breakdown, combined

    try:
        whole = combined([profile for _, profile in profiles])
    except Garbled as error:
        raise garbled(profiles[0][0], str(error)) from None
    little = None
    if stats is not None:
        instances = len({path for path, _ in profiles})
        little = _little(whole.timed, instances, stats)
    return Load(
        name="All activations",
        columns={name.removesuffix("Us"): _milliseconds(name, whole) for name in whole.times},
        phases={name: part / 1e3 for name, part in breakdown(whole).items()},
        total=TOTAL,
        counts=tuple(len(profile) for _, profile in profiles),
        dropped=whole.dropped,
        little=little,
        simulated=whole.simulated,
    )


def _little(timed: Profile, instances: int, stats: Stats) -> Little | None:
    """None where no request has a total."""
    from infertune.report.latency import Little
    from infertune.targets.qaic.profile import TOTAL as TOTAL_US

    if not len(timed):
        return None
    queued = timed["numInfInQueue"] if "numInfInQueue" in timed.columns else timed[TOTAL_US][:0]
    most = int(queued[queued >= 1].max(initial=1.0))  # N/A is not
    rate = stats.samples_per_s / stats.batch
    return Little(asked=instances * most, rate_per_s=rate, mean_ms=float(timed[TOTAL_US].mean()) / 1e3)


def _milliseconds(name: str, profile: Profile) -> Any:
    return profile[name] / 1e3 if name.endswith("Us") else profile[name]


def _run_folder(folder: Path) -> Sequence[Load]:
    """The recommended point of a study; of one that recommends none, every point that was measured."""
    from infertune.core import history, words
    from infertune.core.errors import DataError, quoted
    from infertune.core.records import Measurement
    from infertune.store.sqlite import read_entries
    from infertune.study import Study

    entries = tuple(read_entries(folder))
    winner = Study(folder=folder, entries=entries).answer.winner
    found: list[Load] = []
    for trial in history.trials(entries):
        launches = [launch.outcome for launch in trial.launches if isinstance(launch.outcome, Measurement)]
        if launches and (winner is None or trial.point == winner):
            found.append(_measured(words.point(trial.point, history.question(entries).spaces), launches))
    if not found:
        raise DataError(
            "no-measurements", f"`{quoted(str(folder))}` holds no measurement", hint="see `infertune report` for why"
        )
    return found


def _measured(name: str, launches: Sequence[Measurement]) -> Load:
    import numpy as np

    from infertune.report.latency import Little

    total = np.concatenate([np.asarray(m.latencies_ns, dtype=np.float64) for m in launches]) / 1e6
    names = [phase.name for phase in launches[0].phases]
    parts = {
        name: np.concatenate([np.asarray(p.samples_ns) for m in launches for p in m.phases if p.name == name]) / 1e6
        for name in names
    }
    seconds = sum(m.wall_ns for m in launches) / 1e9
    return Load(
        name=name,
        columns={**parts, "total": total},
        phases=parts or {"total": total},
        total="total",
        counts=tuple(len(m.latencies_ns) for m in launches),
        dropped=0,
        little=Little(asked=launches[0].in_flight, rate_per_s=len(total) / seconds, mean_ms=float(total.mean())),
        simulated=any(m.simulated for m in launches),
    )


def vendor_text(load: Load) -> str:
    """What the vendor's script prints."""
    from infertune.report.latency import summary, table

    mean = summary(load.total, load.columns[load.total]).values[0]
    head = "All activations combined" if load.total == TOTAL else load.name
    return f"{head}:\n{table(load.columns)}{load.total}: percentile(mean) = {mean:.3f} ms\n"


def text(load: Load) -> str:
    """The vendor's table, then what it does not tell."""
    from infertune.core.stats import percentile_floor
    from infertune.core.words import counted
    from infertune.report.latency import floors, shares

    count = sum(load.counts)
    each = " + ".join(map(str, load.counts))
    lines = [f"samples: {count}" + (f" ({each})" if len(load.counts) > 1 else "")]
    lines += [f"p{p} is shaky: it takes {percentile_floor(p)} samples" for p in floors(count)]
    lines += [f"left out: {counted(load.dropped, 'last line')} cut off"] if load.dropped else []
    lines.append("where the mean goes:")
    lines += [f"  {s.name:<14} {s.mean_ms:10.4f} ms {100 * s.of_whole:6.2f} %" for s in shares(load.phases)]
    known = {share.name for share in shares(load.phases)}
    lines += [
        f"  {name:<14} N/A: a column that it is made of holds no number" for name in load.phases if name not in known
    ]
    if load.little is not None:
        lines.append(_little_text(load.little))
    if load.simulated:
        lines.append(SIMULATED)
    return vendor_text(load) + "\n" + "\n".join(lines) + "\n"


def _little_text(little: Little) -> str:
    verdict = little.held if little.holds else "NOT as asked: the load was not what it should have been"
    found = f"{little.rate_per_s:.1f} requests/s x {little.mean_ms:.3f} ms = {little.in_flight:.2f} in flight"
    return f"Little's law: {found}, {little.asked} asked for: {verdict}"


def plain(load: Load) -> dict[str, Any]:
    """For JSON; what is not a number is null."""
    import math

    from infertune.report.latency import HEADS, shares, summary

    rows = [summary(name, samples) for name, samples in load.columns.items()]
    named = [{**dict(zip(HEADS, r.values, strict=True)), "count": r.count} for r in rows]
    known = [{k: None if math.isnan(v) else v for k, v in row.items()} for row in named]
    little = load.little
    law = little and {"asked": little.asked, "in_flight": little.in_flight, "ok": little.holds}
    return {
        "name": load.name,
        "unit": "ms",
        "simulated": load.simulated,
        "samples": list(load.counts),
        "columns": dict(zip((row.name for row in rows), known, strict=True)),
        "phases": {s.name: {"mean": s.mean_ms, "share": s.of_whole} for s in shares(load.phases)},
        "little": law,
    }


def _draw(path: Path, loads: Sequence[Load]) -> None:
    from infertune.cli.output import write_result
    from infertune.report.latency import shares
    from infertune.report.latency_picture import picture

    title = "Mean latency by phase" + (" (simulated)" if any(load.simulated for load in loads) else "")
    svg = picture({load.name: shares(load.phases) for load in loads}, title)
    write_result(path, svg)
