"""Regret after each trial as a picture: one SVG file, a panel per recorded space, that needs nothing else."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

from infertune.core.replayed import Replayed, curve, grouped

COLOURS = ("#d62728", "#4e79a7", "#59a14f", "#f28e2b", "#b07aa1", "#9c755f", "#76b7b2", "#7f7f7f")
WIDTH, PANEL, LEFT, RIGHT, TOP, BOTTOM = 760, 250, 70, 130, 34, 36
MOST, LEAST = 1.0, 0.001
"""Bounds of the logarithmic scale of regret: 100 % and 0.1 %; what is below is drawn at the floor."""
MARKS = (1.0, 0.1, 0.02, 0.01, 0.001)
_FONT = 'font-family="sans-serif" font-size="12"'


def picture(runs: Sequence[Replayed]) -> str:
    """Per recording the median regret of each strategy (line) and its 90th percentile (dashed, thin)."""
    panels = grouped(runs)
    strategies = list(dict.fromkeys(run.strategy for run in runs))
    colours = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(strategies)}
    drawn = [_panel(title, found, colours, place * PANEL) for place, (title, found) in enumerate(panels.items())]
    height = PANEL * len(panels)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n{"".join(drawn)}</svg>\n'
    )


def _panel(title: str, found: Mapping[str, Sequence[Replayed]], colours: Mapping[str, str], top: int) -> str:
    trials = max((len(run.regrets) for runs in found.values() for run in runs), default=1)
    simulated = any(run.simulated for runs in found.values() for run in runs)
    name = f"{title} (simulated)" if simulated else title
    parts = [f'<text x="{LEFT}" y="{top + 20}" {_FONT} font-weight="bold">{escape(name)}</text>\n', _axes(trials, top)]
    for place, (strategy, runs) in enumerate(found.items()):
        parts.append(
            _line(curve(runs, trials, 90.0), trials, top, f'{_stroke(colours[strategy])} stroke-dasharray="3 3"')
        )
        parts.append(_line(curve(runs, trials), trials, top, f'{_stroke(colours[strategy])} stroke-width="2.5"'))
        y = top + TOP + 14 + 18 * place
        parts.append(f'<rect x="{WIDTH - RIGHT + 14}" y="{y - 9}" width="14" height="4" fill="{colours[strategy]}"/>\n')
        parts.append(f'<text x="{WIDTH - RIGHT + 34}" y="{y}" {_FONT}>{escape(strategy)}</text>\n')
    return "".join(parts)


def _stroke(colour: str) -> str:
    return f'fill="none" stroke="{colour}"'


def _axes(trials: int, top: int) -> str:
    grid = 'stroke="#dddddd"'
    parts = []
    for mark in MARKS:
        y = _y(mark, top)
        parts.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" {grid}/>\n')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" {_FONT} text-anchor="end">{100 * mark:g} %</text>\n')
    step = max(1, round(trials / 8 / 5) * 5)
    for trial in [1, *range(step, trials + 1, step)]:
        x = _x(trial, trials)
        parts.append(f'<text x="{x:.1f}" y="{top + PANEL - 18}" {_FONT} text-anchor="middle">{trial}</text>\n')
    middle = (LEFT + WIDTH - RIGHT) / 2
    words = "trials; regret: how much slower than the best point of the space (line: median, dashed: 90th percentile)"
    parts.append(f'<text x="{middle}" y="{top + PANEL - 4}" {_FONT} text-anchor="middle">{words}</text>\n')
    return "".join(parts)


def _line(regrets: Sequence[float], trials: int, top: int, style: str) -> str:
    """Steps: a horizontal stroke for as long as nothing better came, then a vertical one."""
    heights = [f"{_y(regret, top):.1f}" for regret in regrets]
    strokes = [f"M{_x(1, trials):.1f},{heights[0]}"]
    for trial, (before, after) in enumerate(itertools.pairwise(heights), start=2):
        strokes += [f"H{_x(trial, trials):.1f}V{after}"] if after != before else []
    return f'<path d="{"".join(strokes)}H{_x(len(heights), trials):.1f}" {style}/>\n'


def _x(trial: int, trials: int) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * (trial - 1) / max(1, trials - 1)


def _y(regret: float, top: int) -> float:
    share = math.log(min(MOST, max(LEAST, regret)) / LEAST) / math.log(MOST / LEAST)
    return top + TOP + (PANEL - TOP - BOTTOM - 12) * (1.0 - share)
