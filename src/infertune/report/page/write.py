"""One HTML file from a record: a template, a style sheet, a script, the charts, and the data for the script."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from infertune.core import words
from infertune.core.records import Entry
from infertune.report import brought
from infertune.report.document import baselines, failures, knobs, levels, title
from infertune.report.inert import one_line
from infertune.report.page import around, bars, commands, dots, latencies, limits, progress, saying, tables
from infertune.report.page.basis import Basis, basis
from infertune.report.page.basis import latencies as pooled_latencies
from infertune.report.page.embedded import embedded
from infertune.report.page.scatter import scatter
from infertune.report.page.svg import tag

if TYPE_CHECKING:
    from jinja2 import Template

SECTIONS = {
    "answer": "Answer", "setting": "Setting", "trade": "Throughput and latency", "confirmation": "Confirmation",
    "search": "Search", "mattered": "What mattered", "latency": "Latency", "limit": "Physical limit",
    "failures": "Failures and flags", "repeat": "Machine and repeat", "all": "All trials",
}  # fmt: skip


def html_text(entries: Sequence[Entry]) -> str:
    """The page. Raises `DataError` for a record without a question."""
    seen = basis(entries)
    parts = _parts(seen)
    shown = tuple((id_, name) for id_, name in SECTIONS.items() if parts.get(_KEY.get(id_, id_), True))
    return laid_out("page.html", kind="report", title=title(seen.found), sections=shown, **parts)


_KEY = {"trade": "scatter"}


def laid_out(template: str, **parts: Any) -> str:
    """A template of this folder with the style sheet, the script and their hashes for the security policy."""
    style, script = _asset("page.css"), _asset("page.js")
    return _template(template).render(
        style=Markup(style),  # noqa: S704 - ours, from this package
        script=Markup(script),  # noqa: S704
        style_hash=_hash(style),
        script_hash=_hash(script),
        **parts,
    )


@cache
def _template(name: str) -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("infertune.report", "page")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters["marked"] = marked
    return environment.get_template(name)


def marked(text: str) -> Markup:
    """Text with what stands between backquotes as code, and everything escaped."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    return Markup("").join(tag("code", part) if place % 2 else escape(part) for place, part in enumerate(parts))


@cache
def _asset(name: str) -> str:
    return resources.files("infertune.report.page").joinpath(name).read_text(encoding="utf-8").strip()


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _parts(seen: Basis) -> dict[str, Any]:
    found = seen.found
    return {
        "version": one_line(found.question.version, 40),
        "simulated": found.simulated,
        "sentences": saying.answer(seen),
        "cards": saying.cards(seen),
        "levels": _levels(seen),
        "caveats": tuple(map(one_line, found.caveats)),
        "setting": _setting(seen),
        "scatter": scatter(seen),
        "trade": {
            "said": saying.trade(seen), "tail": seen.tail, "best": "winner" if found.confirmed else "best so far",
        },
        "confirmation": _confirmation(seen),
        "search": _search(seen),
        "mattered": _mattered(seen),
        "latency": _latency(seen),
        "limit": limits.section(seen),
        "failures": tables.of_section(failures(found)),
        "flags": tables.flags(seen),
        "flagged": saying.flagged(seen),
        "repeat": {"command": commands.repeat(found), "note": commands.NOTE, "facts": tables.facts(seen)},
        "rows": tables.all_trials(seen),
        "data": embedded(seen),
    }  # fmt: skip


def _levels(seen: Basis) -> Mapping[str, Any] | None:
    """The answer at each level that a front was asked at."""
    told = levels(seen.found)
    table = tables.of_section(told)
    return {"table": table, "notes": told.notes, "take": commands.take_levels(seen.found)} if table else None


def _setting(seen: Basis) -> Mapping[str, Any] | None:
    winner = seen.found.winner
    if winner is None:
        return None
    return {
        "words": seen.words(winner),
        "off": one_line(", ".join(words.changed(winner, seen.reading.question.spaces))),
        "table": tables.setting(seen, winner),
        "take": commands.take(),
        "measure": commands.measure(seen.found, winner),
        "code": commands.code(winner),
    }


def _confirmation(seen: Basis) -> Mapping[str, Any]:
    return {
        "said": saying.confirmation(seen),
        "picture": dots.dots(seen),
        "table": tables.of_section(baselines(seen.found)),
    }


def _search(seen: Basis) -> Mapping[str, Any]:
    shares = progress.shares(seen)
    total = sum(seconds for _, seconds in shares) or 1.0
    return {
        "picture": progress.progress(seen),
        "shares": tuple((name, words.seconds(s), f"{100 * s / total:.0f}") for name, s in shares),
        "total": saying.spent(seen),
        "spaces": tables.spaces(seen),
        "rules": tables.rules(seen),
    }


def _mattered(seen: Basis) -> Mapping[str, Any]:
    found = around.weighed(seen)
    return {
        "said": saying.mattered(found),
        "bars": bars.importances(found),
        "table": tables.effects(found.effects),
        "same": saying.same(found),
        "fixed": one_line(", ".join(found.fixed)),
        "how": saying.how(found),
        "heat": around.heat_map(seen),
        "heat_said": around.HEAT_SAID,
        "curves": around.curves(seen),
        "ablation": _ablation(seen),
    }


def _ablation(seen: Basis) -> Mapping[str, Any] | None:
    found = seen.found.ablation
    if found is None:
        return None
    return {
        "table": tables.of_section(knobs(seen.found)),
        "how": brought.HOW,
        "said": tuple(brought.sentences(found)),
    }


def _latency(seen: Basis) -> Mapping[str, Any] | None:
    winner = seen.winner
    if winner is None or not winner.is_measured:
        return None
    baseline_trials = [
        t for t in seen.measured if t is not winner and any(t.point == p for _, p in seen.reading.baselines)
    ]
    account = latencies.account(winner)
    parts = latencies.parts(winner)
    return {
        "picture": latencies.histogram(winner),
        "caption": saying.percentiles_left_out(len(pooled_latencies(winner.sample))),
        "table": latencies.percentile_table((winner, *baseline_trials)),
        "phases": latencies.parts_picture(parts),
        "parts": latencies.parts_table(parts),
        "account": saying.account(account) if account else None,
    }
