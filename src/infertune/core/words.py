"""Points, figures and intervals as a person reads them."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from infertune.core.goal import Goal, told_in
from infertune.core.records import Device, Interval, KnobFact, SpaceFact
from infertune.core.space import AUTO, Point
from infertune.core.stats import percentile_floor

_SPOKEN = ("precision", "batch", "instances", "cores", "set_size")


def three(number: float) -> str:
    """Three significant digits, never an exponent: 1234.5 is ``1230``."""
    return format(Decimal(f"{number:.2e}"), "f") if number else "0"


def with_unit(metric: str, value: float) -> str:
    """``31.2 ms``, ``412 MB``, ``812/s``."""
    unit, scale = told_in(metric)
    return f"{three(value / scale)}{unit if unit == '/s' else f' {unit}'}"


def figure(goal: Goal, value: float) -> str:
    """The goal's own figure: ``120 samples/s``, ``p99 8.2 ms``, ``412 MB``."""
    if goal.maximise:
        return f"{three(value)} samples/s"
    told = with_unit(goal.metric, value)
    return told if goal.metric == "memory" else f"{goal.metric} {told}"


def interval(found: Interval) -> str:
    """``812 (790 to 830)``."""
    return f"{three(found.value)} ({three(found.low)} to {three(found.high)})"


def times(ratio: Interval) -> str:
    """``1.92x (1.85 to 2.01)``: two decimals, three where a number that is not 1 would read as 1.00; ``15.4x``."""
    return f"{_decimals(ratio.value)}x ({_decimals(ratio.low)} to {_decimals(ratio.high)})"


def _decimals(number: float) -> str:
    if number >= 9.995:
        return three(number)
    return f"{number:.3f}" if number != 1.0 and f"{number:.2f}" == "1.00" else f"{number:.2f}"


def beside(found: float, floor: float) -> str:
    """Four decimals; more where with four it would seem to be on the other side of its limit."""
    spelled = (f"{found:.{digits}f}" for digits in range(4, 16))
    return next((text for text in spelled if (float(text) >= floor) == (found >= floor)), repr(found))


def counted(number: int, noun: str) -> str:
    """``1 launch``, ``2 launches``."""
    plural = f"{noun}es" if noun.endswith(("ch", "s", "x")) else f"{noun}s"
    return f"{number} {noun if number == 1 else plural}"


def too_few(percent: float | None, requests: int) -> str:
    """``84 of 662`` requests, where a percentile takes more than there are; else empty."""
    floor = 0 if percent is None else percentile_floor(percent)
    return f"{requests} of {floor}" if requests < floor else ""


def units(device: Device) -> str:
    """What a device counts: the host its CPUs, a card its compute units."""
    return "CPUs" if device.name == "cpu" else "compute units"


def seconds(amount: float) -> str:
    """``35.0 us``, ``850 ms``, ``4.2 s``, ``3 min 20 s``; under a nanosecond it is ``0.0 s``."""
    if 1e-9 <= amount < 0.9995:
        return f"{three(amount * 1e6)} us" if amount < 0.9995e-3 else f"{three(amount * 1e3)} ms"
    if amount < 120:
        return f"{amount:.1f} s" if amount < 10 else f"{amount:.0f} s"
    return f"{int(amount + 0.5) // 60} min {int(amount + 0.5) % 60} s"


def space_of(point: Point, spaces: Iterable[SpaceFact]) -> SpaceFact | None:
    return next((s for s in spaces if (s.target, s.device) == (point.target, point.device)), None)


def changed(point: Point, spaces: Iterable[SpaceFact]) -> tuple[str, ...]:
    """Names of the knobs that are not at their default, in the order of the space (all, where the space is unknown)."""
    space = space_of(point, spaces)
    if space is None:
        return tuple(name for name, _ in point.settings)
    return tuple(k.name for k in space.knobs if _off_default(point, k))


def _off_default(point: Point, knob: KnobFact) -> bool:
    return point.get(knob.name, knob.default) != knob.default


def point(chosen: Point, spaces: Iterable[SpaceFact], in_flight: int | None = None) -> str:
    """``openvino, bf16, batch 8, 1 instance x 2 cores, 2 requests in flight`` and every other knob off its default.

    ``in_flight`` is the measured depth, for points that leave it to the runtime.
    """
    parts = [chosen.target]
    values = chosen.values
    if "precision" in values:
        parts.append("runtime's own precision" if values["precision"] == "runtime" else str(values["precision"]))
    if "batch" in values:
        parts.append(f"batch {values['batch']}")
    parts += [_layout(chosen), _depth(chosen, in_flight)]
    parts += [f"{name} {values[name]}" for name in changed(chosen, spaces) if name not in _SPOKEN]
    return ", ".join(part for part in parts if part)


def value(knob: str, chosen: int | str) -> str:
    """``runtime's`` where the runtime decides how many."""
    return "runtime's" if chosen == AUTO and knob in ("cores", "instances", "set_size") else str(chosen)


def _layout(chosen: Point) -> str:
    instances, cores = chosen.number("instances", -1), chosen.number("cores", -1)
    match instances > AUTO, cores > AUTO:
        case True, True:
            return f"{counted(instances, 'instance')} x {counted(cores, 'core')}"
        case True, False:
            return counted(instances, "instance")
        case False, True:
            return counted(cores, "core")
    return "cores left to the runtime" if AUTO in (instances, cores) else ""


def _depth(chosen: Point, in_flight: int | None) -> str:
    planned = chosen.number("instances") * chosen.number("set_size")
    depth = in_flight or planned
    return f"{counted(depth, 'request')} in flight" if depth > 0 else ""
