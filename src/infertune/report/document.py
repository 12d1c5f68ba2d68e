"""The report as titled sections of plain text, before any format: `text` and `markdown` only lay it out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from infertune.core import choice, verdict, words
from infertune.core.answer import answer
from infertune.core.choice import Reading
from infertune.core.errors import excerpt
from infertune.core.findings import Answer, AtLevel, Figures, Rival, Searched
from infertune.core.goal import RATE, Goal, latency_percent, parse_goal, told_in
from infertune.core.noise import Noise
from infertune.core.records import Entry, Interval, Named
from infertune.core.relaxed import LimitCost, Relaxed
from infertune.core.standing import AtLimit
from infertune.core.verdict import ENOUGH
from infertune.report import along, brought
from infertune.report.closest import missed
from infertune.report.inert import one_line
from infertune.report.rows import Cell, Table, table

TIME = "Where the time went"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Text in columns under a header."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """``facts`` (label, text), then ``grid``, then ``notes``; any may be empty. ``chart`` is for terminals alone."""

    title: str
    facts: Named = ()
    grid: Grid | None = None
    notes: tuple[str, ...] = ()
    chart: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    title: str
    sections: tuple[Section, ...]


def report(entries: Sequence[Entry], files: Mapping[str, str], *, most_trials: int) -> Document:
    """What a record says, as a document with at most ``most_trials`` rows of trials. Every text in it is inert."""
    found, reading = answer(entries), choice.read(entries)
    sections = (
        Section(title="", facts=tuple(_summary(found))),
        levels(found),
        front(reading),
        baselines(found),
        knobs(found),
        Section(title=TIME, facts=tuple(_time(found))),
        failures(found),
        _trials(found, table(entries), most_trials),
        Section(title="Caveats", notes=tuple(map(one_line, found.caveats))),
        Section(title="Files", facts=tuple((name, one_line(path)) for name, path in files.items())),
    )
    return Document(title=title(found), sections=tuple(s for s in sections if s.facts or s.grid or s.notes))


def title(found: Answer) -> str:
    """``bert-base (sequence_length=128): max throughput on Example CPU, 2 units``, marked when simulated."""
    shapes = " ".join(f"{symbol}={size}" for symbol, size in found.model.shapes)
    model = one_line(found.model.name, 200) + (f" ({one_line(shapes)})" if shapes else "")
    device = f" on {one_line(found.device.title)}, {words.counted(found.device.units, 'unit')}" if found.device else ""
    marked = "SIMULATED " if found.simulated else ""
    return f"{marked}{model}: {one_line(found.question.goal)}{device}"


# ---------------------------------------------------------------- the answer


def _summary(found: Answer) -> Iterator[tuple[str, str]]:
    if found.winner is None or found.figures is None:
        yield from _no_winner(found)
        return
    goal, figures = parse_goal(found.question.goal), found.figures
    yield "winner" if found.confirmed else "best so far", one_line(found.words(found.winner, figures.in_flight))
    yield "why", one_line(found.why)
    yield from _searched(found)
    simulated = " (simulated)" if found.simulated else ""
    yield "confirmed" if found.confirmed else "unconfirmed", goal_figure(goal, figures) + simulated
    if not goal.maximise:
        yield "throughput", measured(figures)
    yield "latency", latency(figures)
    yield "fidelity", _fidelity(found)
    yield from (("limit", at_limit(at, figures)) for at in found.limits)
    if found.limit_cost is not None:
        yield "limit", limit_cost(found, found.limit_cost)


def _searched(found: Answer) -> Iterator[tuple[str, str]]:
    if found.searched is not None:
        yield "search", one_line(searched(found.searched), 300)


def searched(found: Searched) -> str:
    """``8 of 151 points tried; the time for searching is spent; 143 points were not tried; ...``"""
    return f"{found.tried:,} of {found.points:,} points tried" + (f"; {found.ended}" if found.ended else " so far")


def at_limit(at: AtLimit, figures: Figures) -> str:
    """```p99 < 20 ms` holds: 15.2 ms (14.9 to 15.6), 1200 requests``."""
    found, percentile = at.standing, at.standing.requests > 0
    state = {"within": "holds", "unsure": "not known", "beyond": "broken"}[found.state]
    made = words.counted(found.requests, "request") if percentile else words.counted(figures.launches, "launch")
    doubt = f"too few for {at.limit.metric}" if found.more else f"and {verdict.TOO_MANY_OVER}"
    told = (_figure_at(at), made, doubt if found.state == "unsure" else "")
    return f"`{one_line(at.limit.text)}` {state}: {', '.join(filter(None, told))}"


def _figure_at(at: AtLimit) -> str:
    metric, (_, scale) = at.limit.metric, told_in(at.limit.metric)
    if at.value is None:
        return "" if at.high is None else f"at most {words.with_unit(metric, at.high)}"
    ends = (words.three(end / scale) for end in (at.low, at.high) if end is not None)
    return f"{words.with_unit(metric, at.value)} ({' to '.join(ends)})"


def limit_cost(found: Answer, cost: LimitCost) -> str:
    """``without `p99 < 20 ms` the best measured point reaches 150 samples/s, 1.40x (onnxruntime, f32, ...)``."""
    reached = f"without `{one_line(cost.limit)}` the best measured point reaches {cost.figure}, {cost.ratio:.2f}x"
    return f"{reached} ({one_line(found.words(cost.point))})"


def relaxed(found: Relaxed) -> str:
    """```p99 < 5 ms` relaxed to `p99 < 8.2 ms` gives 120 samples/s``."""
    limits = " and ".join(f"`{one_line(limit)}` relaxed to `{one_line(to)}`" for limit, to in found.limits)
    return f"{limits} gives {found.figure}, by what was measured so far: a study with it has to confirm that"


def _no_winner(found: Answer) -> Iterator[tuple[str, str]]:
    if found.nearest is None:
        yield "winner", "none: nothing gave a figure" if found.counts.trials else "none yet: nothing was measured"
        return
    yield "winner", f"none: nothing met the goal `{one_line(found.question.goal)}`"
    yield "closest", one_line(found.words(found.nearest.point))
    yield "missed", missed(found.nearest)
    yield from _searched(found)
    if found.nearest.relaxed is not None:
        yield "instead", relaxed(found.nearest.relaxed)


def goal_figure(goal: Goal, figures: Figures) -> str:
    """The figure that the goal is about, with its interval; a percentile only above its sample floor."""
    if goal.metric == RATE:
        return f"{_with_launches(figures.value, 1.0, 'samples/s', figures)}: the highest rate at which they may arrive"
    if goal.maximise:
        return measured(figures)
    short = _too_few(latency_percent(goal.metric), figures.requests)
    unit, scale = told_in(goal.metric)
    return f"{goal.metric} {short or _with_launches(figures.value, 1.0 / scale, unit, figures)}"


def _too_few(percent: float | None, requests: int) -> str:
    few = words.too_few(percent, requests)
    return f"not enough requests ({few})" if few else ""


def measured(figures: Figures) -> str:
    """``200 samples/s (198 to 202), median of 6 fresh launches``."""
    return _with_launches(figures.throughput, 1.0, "samples/s", figures)


def _with_launches(seen: Interval, scale: float, unit: str, figures: Figures) -> str:
    fresh = figures.evidence == "confirm" and figures.launches >= ENOUGH
    launches = words.counted(figures.launches, "fresh launch" if fresh else "launch")
    value = f"{words.three(scale * seen.value)} {unit}"
    if figures.launches == 1:
        return f"{value}, {launches}"
    return f"{value} ({words.three(scale * seen.low)} to {words.three(scale * seen.high)}), median of {launches}"


def latency(figures: Figures) -> str:
    """``p50 5.01 ms, p90 5.4 ms, p99 6.2 ms (at most 6.31); 2 requests in flight, closed loop``.

    The upper bound is that of the highest percentile there is; JSON has the other one too.
    """
    known = ((50.0, figures.p50_ms), (90.0, figures.p90_ms), (99.0, figures.p99_ms))
    parts = [f"p{percent:g} {_percentile(percent, value, figures.requests)}" for percent, value in known]
    bounds = (None, figures.p90_at_most_ms, figures.p99_at_most_ms)
    last = max((place for place, bound in enumerate(bounds) if bound is not None), default=0)
    parts[last] += _at_most(bounds[last])
    return f"{', '.join(parts)}; {how_requests_came(figures)}"


def _at_most(bound_ms: float | None) -> str:
    return "" if bound_ms is None else f" (at most {words.three(bound_ms)})"


def how_requests_came(figures: Figures) -> str:
    """``2 requests in flight, closed loop``: what the percentiles are of."""
    slots = words.counted(figures.in_flight, "request")
    if figures.arrivals in ("poisson", "constant"):
        return f"from arrival, at {'random' if figures.arrivals == 'poisson' else 'even'} times, at that rate"
    return f"{slots} in flight, closed loop"


def _percentile(percent: float, value_ms: float | None, requests: int) -> str:
    return (_too_few(percent, requests) or "not known") if value_ms is None else f"{words.three(value_ms)} ms"


def _fidelity(found: Answer) -> str:
    limit = f"limit {found.fidelity_floor:g}"
    if found.fidelity is None:
        return f"not checked ({limit})"
    checked = words.counted(found.fidelity.inputs, "input")
    return f"{one_line(found.fidelity.words(found.question.metric))} to the f32 reference over {checked} ({limit})"


# ---------------------------------------------------------------- levels


def levels(found: Answer) -> Section:
    """The answer at every level that a front was asked at; empty without any."""
    rows = tuple(_level_row(found, at) for at in found.levels)
    said = tuple(_level_note(at, at.figures) for at in found.levels if at.figures is not None)
    header = ("within", "samples/s", "p50", "p99", "evidence", "point")
    return Section(title="Best at each level", grid=Grid(header=header, rows=rows) if rows else None, notes=said)


def _level_note(at: AtLevel, figures: Figures) -> str:
    """How the best point stands to the limits, and why it is taken where that is confirmed."""
    standing = "; ".join(at_limit(limit, figures) for limit in at.limits)
    return f"{standing}; {one_line(at.why)}" if at.confirmed else standing


def _level_row(found: Answer, at: AtLevel) -> tuple[str, ...]:
    seen = at.figures
    if at.winner is None or seen is None:
        return at.limit.text, "none", "-", "-", "-", one_line(_closest(found, at))
    throughput = words.interval(seen.throughput) if seen.launches > 1 else words.three(seen.throughput.value)
    percentiles = ("-" if ms is None else f"{words.three(ms)} ms" for ms in (seen.p50_ms, seen.p99_ms))
    sure = "confirmed" if at.confirmed else "unconfirmed"
    return at.limit.text, throughput, *percentiles, sure, one_line(found.words(at.winner, seen.in_flight))


def _closest(found: Answer, at: AtLevel) -> str:
    return f"the closest missed {missed(at.nearest)}: {found.words(at.nearest.point)}" if at.nearest else "none"


def front(reading: Reading) -> Section:
    """Every point that no other one beats in one figure without losing in another; empty for a goal of one figure."""
    points = along.front(reading, choice.choose(reading))
    grid = Grid(header=along.header(reading.terms.goal.metrics), rows=tuple(along.rows(reading, points)))
    title = "The front: no other point is better in one of these without being worse in another"
    return Section(title=title, grid=grid if points else None, notes=tuple(along.notes(points)))


# ---------------------------------------------------------------- baselines


def baselines(found: Answer) -> Section:
    """The winner's goal figure beside every baseline's, and how many times better it is."""
    goal = parse_goal(found.question.goal)
    named = (goal.metric,) if latency_percent(goal.metric) and goal.metric != "p50" else ()
    speed = "samples/s arriving" if goal.metric == RATE else "samples/s"
    header = ("baseline", speed, *named, "p50", "in flight", *((_times_head(goal),) if found.confirmed else ()))
    best = "best within limits" if goal.measured_limits else "best"
    rows = tuple(_rival_row(found, goal, named, rival, best) for rival in found.rivals)
    if found.confirmed:
        without = ("-",) * len(header[2:])
        rows += tuple((one_line(name), *without, excerpt(reason, 80)) for name, reason in found.absent)
    beside = "measured in the same blocks" if found.confirmed else "unconfirmed"
    return Section(title=f"Baselines, {beside}", grid=Grid(header=header, rows=rows) if rows else None)


def _times_head(goal: Goal) -> str:
    """What the ratios below are of: the goal's own figure."""
    if goal.is_front:
        return f"winner is, mean of {' and '.join(goal.metrics)}"
    return "winner is" if goal.maximise else "winner is as fast"


def _rival_row(found: Answer, goal: Goal, named: Sequence[str], rival: Rival, best: str) -> tuple[str, ...]:
    seen = rival.figures
    reached = seen.value if goal.metric == RATE else seen.throughput
    told = f" ({best})" if found.confirmed and rival.name == found.best_rival and len(found.rivals) > 1 else ""
    speed = words.interval(reached) if seen.launches > 1 else words.three(reached.value)
    value = f"{words.three(seen.value.value * 1e3)} ms"
    values = ("-" if words.too_few(latency_percent(metric), seen.requests) else value for metric in named)
    p50 = "-" if seen.p50_ms is None else f"{words.three(seen.p50_ms)} ms"
    speedup = (_speedup(found, rival),) if found.confirmed else ()
    return one_line(rival.name) + told, speed, *values, p50, str(seen.in_flight), *speedup


def _speedup(found: Answer, rival: Rival) -> str:
    if rival.figures.point == found.winner:
        return "this one"
    if not rival.faithful:
        return "wrong outputs"
    return words.times(rival.speedup) if rival.speedup else "too few launches"


def knobs(found: Answer) -> Section:
    """What each knob of the winner brings; empty without an ablation."""
    if found.ablation is None:
        return Section(title="What each knob brings")
    rows, said = brought.rows(found.ablation), tuple(brought.sentences(found.ablation))
    grid = Grid(header=brought.HEADER, rows=rows) if rows else None
    return Section(title="What each knob brings", grid=grid, notes=(brought.HOW, *said))


# ---------------------------------------------------------------- costs and failures


def _time(found: Answer) -> Iterator[tuple[str, str]]:
    spent = found.spent
    for name in ("search", "build", "measure", "confirm", "waiting", "other"):
        seconds: float = getattr(spent, name)
        if name == "waiting" and not seconds:
            continue
        yield name, f"{words.seconds(seconds)} ({100 * seconds / spent.total:.0f} %)" if spent.total else "0.0 s"
    budget = f" of {words.seconds(found.budget_s)}" if found.budget_s else ""
    yield "in all", f"{words.seconds(spent.total)}{budget}: {counted(found)}"
    if found.noise is not None:
        yield "noise", noise_words(found.noise)
    if found.flags:
        yield "flagged", ", ".join(f"{one_line(name)} {count}" for name, count in found.flags)


def counted(found: Answer) -> str:
    """``25 points (22 tried, 3 only compared with, 0 failed), 59 launches (0 failed)``."""
    counts = found.counts
    tried = counts.trials if found.searched is None else found.searched.tried
    beside = f"{tried} tried, {counts.trials - tried} only compared with, " if tried < counts.trials else ""
    points, launches = words.counted(counts.trials, "point"), words.counted(counts.launches, "launch")
    return f"{points} ({beside}{counts.failed} failed), {launches} ({counts.failed_launches} failed)"


def noise_words(found: Noise) -> str:
    """``quiet: 9 launches of one baseline spread by 1.2 %, others used 0.4 % of the CPUs; ...``"""
    spread, foreign, least = (f"{100 * share:.1f} %" for share in (found.spread, found.foreign_cpu, found.told_apart()))
    apart = f"differences from {least} on are told apart by six launches of each"
    launches = words.counted(found.launches, "launch")
    return f"{found.state}: {launches} of one baseline spread by {spread}, others used {foreign} of the CPUs; {apart}"


def failures(found: Answer) -> Section:
    rows = tuple(
        (str(group.count), group.stage, group.kind, excerpt(group.message, 160), one_line(found.words(group.example)))
        for group in found.failures
    )
    grid = Grid(header=("points", "stage", "kind", "reason", "for example"), rows=rows)
    return Section(title="Failures by reason", grid=grid if rows else None)


# ---------------------------------------------------------------- trials

_SHOWN = ("trial", "throughput", "p50_ms", "p99_ms", "launches", "status", "role")
_LEFT_OUT = ("throughput_min", "throughput_max", "failure", "evidence", "temperature_during_c", "nsp_during_mhz")


def _trials(found: Answer, of: Table, most: int) -> Section:
    """The best trials with their points in words."""
    shown = of.only(_SHOWN)
    cells = zip(shown.rows[:most], shown.points, strict=False)
    rows = tuple((*texts(shown, row), one_line(found.words(point))) for row, point in cells)
    left = len(of.rows) - len(rows)
    notes = (f"{left} more: `infertune report RUN --format csv` lists all",) if left else ()
    grid = Grid(header=(*shown.columns, "point"), rows=rows)
    return Section(title="Trials, best first (samples/s, ms)", grid=grid if rows else None, notes=notes)


def all_trials(of: Table) -> Grid:
    """Every row with the columns that say something: knobs that vary, figures that exist."""
    useful = of.only([name for name in of.columns if _worth_showing(of, name)])
    header = tuple("samples/s" if name == "throughput" else name for name in useful.columns)
    return Grid(header=header, rows=tuple(texts(useful, row) for row in useful.rows))


def _worth_showing(of: Table, name: str) -> bool:
    if name in _LEFT_OUT:
        return False
    values = set(of.column(name))
    if name in (*of.knobs, "target", "device", "status", "simulated"):
        return len(values) > 1
    return not values <= {None, ""}


def texts(of: Table, row: Sequence[Cell]) -> tuple[str, ...]:
    """``-`` for no figure, three digits for figures (four decimals of a fidelity), one inert line for text."""
    return tuple(_text(name, cell) for name, cell in zip(of.columns, row, strict=True))


def _text(column: str, cell: Cell) -> str:
    if cell is None or cell == "":
        return "-"
    if isinstance(cell, float):
        return f"{cell:.4f}" if column == "fidelity" else words.three(cell)
    return one_line(str(cell), 160)
