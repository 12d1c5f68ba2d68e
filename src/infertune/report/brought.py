"""What each knob of the winner brings, as rows and in sentences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from infertune.core import words
from infertune.core.ablation import BLOCKS, TOGETHER, Ablation, Brought
from infertune.report.inert import one_line

HEADER = ("knob", "winner", "instead", "winner is", "verdict")
HOW = (
    f"Each knob alone, {BLOCKS} launches beside the winner in interleaved blocks, after the answer was found: these "
    "launches chose and confirmed nothing."
)
_VERDICTS = {
    "matters": "matters",
    "no difference": "makes no difference (within 3 %)",
    "too few": "too few launches to tell",
}


def rows(found: Ablation) -> tuple[tuple[str, ...], ...]:
    """One per knob; a ratio over 1 says that the winner's value is the better one."""
    return tuple((_names(one), *_values(one), _ratio(one), verdict(one)) for one in found.brought)


def _names(one: Brought) -> str:
    return one_line(TOGETHER.join(one.knobs), 60)


def _values(one: Brought) -> tuple[str, str]:
    return one_line(", ".join(map(str, one.values)), 60), one_line(", ".join(map(str, one.others)), 60)


def _ratio(one: Brought) -> str:
    return words.times(one.ratio) if one.ratio else "-"


def verdict(one: Brought) -> str:
    """``matters``, with what is wrong with the other value where that is the faster one."""
    if one.failed:
        return f"failed: {one_line(one.failed, 160)}"
    said = _VERDICTS[one.effect]
    if one.misses:
        return f"{said}; the other value misses `{one_line(one.misses)}`"
    better = one.effect == "matters" and one.ratio is not None and one.ratio.value < 1.0
    return f"{said}: the other value is better" if better else said


def sentences(found: Ablation) -> Iterator[str]:
    """Knobs that make no difference, those the runtime ignores, and those that nothing is known of, by name."""
    ignored = [_names(one) for one in found.brought if one.ignored and one.effect == "no difference"]
    same = [_names(one) for one in found.brought if not one.ignored and one.effect == "no difference"]
    if ignored:
        yield f"ignored: the runtime reports the same value either way for {', '.join(ignored)}"
    if same:
        yield f"no difference: {', '.join(same)}; the runtime may ignore it, or this model does not depend on it"
    if found.unreached:
        yield f"not reached in time: {one_line(', '.join(found.unreached))}; a larger --budget reaches them"
    for why in dict.fromkeys(why for _, why in found.left_out):
        named = ", ".join(one_line(knob, 60) for knob, reason in found.left_out if reason == why)
        yield f"{named} cannot be put back alone: {one_line(why)}"


def as_json(found: Ablation | None) -> dict[str, Any] | None:
    """The object ``ablation`` of docs/json.md."""
    if found is None:
        return None
    return {
        "knobs": [_knob(one) for one in found.brought],
        "unreached": list(found.unreached),
        "left_out": [{"knob": knob, "why": why} for knob, why in found.left_out],
    }


def _knob(one: Brought) -> dict[str, Any]:
    ratio = one.ratio
    return {
        "knob": TOGETHER.join(one.knobs),
        "value": _plain(one.values),
        "default": _plain(one.others),
        "ratio": {"value": ratio.value, "low": ratio.low, "high": ratio.high} if ratio else None,
        "verdict": one.effect,
        "launches": one.launches,
        "misses": one.misses or None,
        "ignored": one.ignored,
        "failed": one.failed or None,
    }


def _plain(values: tuple[int | str, ...]) -> int | str:
    return values[0] if len(values) == 1 else ", ".join(map(str, values))
