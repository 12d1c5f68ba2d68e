"""The breakdown of latency as a picture: stacked bars in one SVG file that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

from infertune.report.latency import Share

COLOURS = ("#4e79a7", "#f28e2b", "#59a14f", "#b07aa1", "#9c755f", "#76b7b2")
WIDTH, LEFT, RIGHT = 860, 150, 30
BAR, GAP, TOP = 34, 26, 64
_FONT = 'font-family="sans-serif" font-size="13"'


def picture(bars: Mapping[str, Sequence[Share]], title: str, *, zoomed: str = "device") -> str:
    """One bar per entry, and below each one the same without ``zoomed``, the phase that usually dwarfs the others.

    Bars share one scale among themselves, the enlarged ones another.
    """
    small = {f"{name} without {zoomed}": [s for s in parts if s.name != zoomed] for name, parts in bars.items()}
    names = list(dict.fromkeys(share.name for parts in bars.values() for share in parts))
    colours = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}
    rows = [*_rows(bars, colours, TOP), *_rows(small, colours, TOP + len(bars) * (BAR + GAP))]
    height = TOP + 2 * len(bars) * (BAR + GAP) + 20
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n'
        f'<text x="12" y="22" {_FONT} font-weight="bold">{escape(title)}</text>\n'
        f"{_legend(colours)}{''.join(rows)}</svg>\n"
    )


def _legend(colours: Mapping[str, str]) -> str:
    parts, x = [], 12
    for name, colour in colours.items():
        parts.append(f'<rect x="{x}" y="34" width="12" height="12" fill="{colour}"/>\n')
        parts.append(f'<text x="{x + 17}" y="45" {_FONT}>{escape(name)}</text>\n')
        x += 40 + 8 * len(name)
    return "".join(parts)


def _rows(bars: Mapping[str, Sequence[Share]], colours: Mapping[str, str], top: int) -> list[str]:
    longest = max((sum(max(0.0, s.mean_ms) for s in parts) for parts in bars.values()), default=0.0)
    scale = (WIDTH - LEFT - RIGHT - 90) / longest if longest > 0 else 0.0
    rows = []
    for place, (name, parts) in enumerate(bars.items()):
        rows.append(_row(name, parts, colours, top + place * (BAR + GAP), scale))
    return rows


def _row(name: str, parts: Sequence[Share], colours: Mapping[str, str], top: int, scale: float) -> str:
    drawn, x = [], float(LEFT)
    for share in parts:
        wide = max(0.0, share.mean_ms) * scale
        hint = escape(f"{share.name}: {share.mean_ms:.4f} ms, {100 * share.of_whole:.2f} %")
        colour = colours[share.name]
        box = f'x="{x:.1f}" y="{top}" width="{wide:.1f}" height="{BAR}" fill="{colour}"'
        drawn.append(f"<rect {box}><title>{hint}</title></rect>\n")
        x += wide
    middle = top + BAR // 2 + 5
    total = sum(share.mean_ms for share in parts)
    label, *rest = name.split(" without ")
    below = f'<text x="12" y="{middle + 16}" {_FONT} fill="#666">without {escape(rest[0])}</text>\n' if rest else ""
    return (
        f'<text x="12" y="{middle}" {_FONT}>{escape(label)}</text>\n{below}{"".join(drawn)}'
        f'<text x="{x + 6:.1f}" y="{middle}" {_FONT}>{total:.3f} ms</text>\n'
    )
