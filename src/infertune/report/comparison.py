"""Two studies side by side: their figures, the ratio between them, and whether it means anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from infertune.core import verdict, words
from infertune.core.answer import answer
from infertune.core.findings import Answer, Figures
from infertune.core.goal import latency_percent, parse_goal
from infertune.core.records import Entry, Interval, Named
from infertune.report.differences import Difference, differences, times_better
from infertune.report.document import Document, Grid, Section, latency, measured, title
from infertune.report.inert import one_line
from infertune.report.result import Json, figures_json, interval_json
from infertune.report.text import USUAL, Widths, laid_out

FORMAT = "infertune-comparison/1"
HEADER = ("figure", "A", "B", "B is better by", "verdict")


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """``ratio`` is how many times better B is than A, None where that would not be a fair statement.

    ``differences`` names what is not the same in the two questions; ``metric`` is the figure compared. ``figures``
    compares every figure that both have, where that is fair.
    """

    a: Answer
    b: Answer
    metric: str
    ratio: Interval | None
    verdict: str
    differences: tuple[str, ...]
    figures: tuple[Difference, ...] = ()


def compare(entries_a: Sequence[Entry], entries_b: Sequence[Entry]) -> Comparison:
    """Raises `DataError` for a record without a question."""
    a, b = answer(entries_a), answer(entries_b)
    metric = _metric(a, b)
    obstacle = _obstacle(a, b)
    ratio = None if obstacle else _ratio(metric, a.figures, b.figures)
    said = obstacle or (_verdict(ratio) if ratio else "not comparable: a study has no winner")
    figures = () if obstacle else differences(entries_a, entries_b)
    return Comparison(
        a=a, b=b, metric=metric, ratio=ratio, verdict=said, differences=_differences(a, b), figures=figures
    )


def _metric(a: Answer, b: Answer) -> str:
    goals = {parse_goal(study.question.goal).metric for study in (a, b)}
    return goals.pop() if len(goals) == 1 else "throughput"


def _obstacle(a: Answer, b: Answer) -> str:
    """Why no ratio is given; empty when one is."""
    for name, study in (("A", a), ("B", b)):
        if study.figures is None:
            return f"not comparable: {name} has no winner"
    unlike = _unlike(a, b)
    if unlike:
        return f"not comparable: another {' and another '.join(unlike)}"
    if a.simulated != b.simulated:
        simulated, real = ("A", "B") if a.simulated else ("B", "A")
        return f"not comparable: {simulated} is simulated and {real} was measured"
    unconfirmed = [name for name, study in (("A", a), ("B", b)) if not study.confirmed]
    if unconfirmed:
        verb = "is" if len(unconfirmed) == 1 else "are"
        return f"not comparable yet: {' and '.join(unconfirmed)} {verb} not confirmed"
    return ""


def _unlike(a: Answer, b: Answer) -> list[str]:
    """What makes two questions different ones: other work, or another figure to be best in. Other limits do not."""
    work = [name for name in _differences(a, b) if name in ("model", "shapes")]
    metrics = {parse_goal(study.question.goal).metric for study in (a, b)}
    return [name.rstrip("s") for name in work] + ["goal"] * (len(metrics) > 1)


def _ratio(metric: str, a: Figures | None, b: Figures | None) -> Interval | None:
    if a is None or b is None:
        return None
    ours, theirs = (a.throughput, b.throughput) if metric == "throughput" else (a.value, b.value)
    return times_better(metric, ours, theirs)


def _verdict(ratio: Interval) -> str:
    match verdict.relation(ratio):
        case "better":
            return f"B is better: {words.times(ratio)} of A"
        case "worse":
            return f"A is better: B is {words.times(ratio)} of it"
        case "same":
            return f"no difference: B is {words.times(ratio)} of A, within noise or 3 %"


def _differences(a: Answer, b: Answer) -> tuple[str, ...]:
    pairs = {
        "model": (a.model.digest, b.model.digest),
        "shapes": (a.model.shapes, b.model.shapes),
        "goal": (a.question.goal, b.question.goal),
        "device": (_device(a), _device(b)),
        "versions": (_versions(a), _versions(b)),
        "inputs": (a.question.feed, b.question.feed),
    }
    return tuple(name for name, (ours, theirs) in pairs.items() if ours != theirs)


def _device(found: Answer) -> tuple[object, ...]:
    return (found.device.title, found.device.units) if found.device else ()


def _versions(found: Answer) -> dict[str, str]:
    return {name: text for device in found.question.devices for name, text in device.versions}


# ---------------------------------------------------------------- formats


def comparison_text(found: Comparison, *, widths: Widths = USUAL) -> str:
    """Both studies, then the verdict and what else differs between them."""
    others = [name for name in found.differences if f"another {name.rstrip('s')}" not in found.verdict]
    differ = (f"not the same in both: {', '.join(others)}",) if others else ()
    rows = tuple(figure.cells for figure in found.figures)
    sections = (
        _study("A", found.a),
        _study("B", found.b),
        *((Section(title="Figure by figure", grid=Grid(header=HEADER, rows=rows)),) if rows else ()),
        Section(title="", facts=(("verdict", found.verdict),), notes=differ),
    )
    return laid_out(Document(title=f"Comparing {metric_words(found.metric)}", sections=sections), widths=widths)


def metric_words(metric: str) -> str:
    return metric if latency_percent(metric) is None else f"{metric} latency"


def _study(name: str, found: Answer) -> Section:
    evidence = "confirmed" if found.confirmed else "unconfirmed"
    facts: Named = (("winner" if found.confirmed or not found.winner else "best so far", one_line(_winner(found))),)
    if found.figures is not None:
        facts += ((evidence, measured(found.figures)), ("latency", latency(found.figures)))
    return Section(title=f"{name}: {title(found)}", facts=facts)


def _winner(found: Answer) -> str:
    return found.words(found.winner) if found.winner else "none"


def comparison_json(found: Comparison) -> Json:
    return {
        "format": FORMAT,
        "metric": found.metric,
        "a": _study_json(found.a),
        "b": _study_json(found.b),
        "ratio": interval_json(found.ratio) if found.ratio else None,
        "verdict": found.verdict,
        "differences": list(found.differences),
        "figures": [
            {
                "metric": d.metric,
                "a": interval_json(d.a),
                "b": interval_json(d.b),
                "ratio": interval_json(d.ratio),
                "verdict": d.said,
            }
            for d in found.figures
        ],
    }


def _study_json(found: Answer) -> Json:
    winner = found.winner
    return {
        "status": found.status,
        "goal": found.question.goal,
        "model": found.model.name,
        "winner": {"target": winner.target, "point": dict(winner.settings)} if winner else None,
        "confirmed": figures_json(found.figures) if found.confirmed and found.figures else None,
        "simulated": found.simulated,
    }
