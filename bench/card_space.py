"""The simulated card's spaces: BERT-base over the notebook's 62,720 combinations, ResNet-50 over as many.

Every figure comes from the card model (see docs/simulated-card.md): simulated, not measured on a card. Legal are those
combinations whose cores x instances fit the card's 14 NSPs and whose mos does not exceed cores.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path

from infertune.core.goal import parse_goal
from infertune.core.records import Failed
from infertune.core.space import AUTO, Point, Rule, Space
from infertune.search.replay.landscape import Landscape
from infertune.search.replay.recording import Recording
from infertune.targets.qaic.sim.card import CARDS, Card
from infertune.targets.qaic.sim.compiling import compile_seconds
from infertune.targets.qaic.sim.constants import fitted
from infertune.targets.qaic.sim.encoders import EncoderShape, encoder_workload
from infertune.targets.qaic.sim.model import device_bytes, rates, request_spread, why_not
from infertune.targets.qaic.sim.setting import Setting
from infertune.targets.qaic.sim.sheet import Point as SheetPoint
from infertune.targets.qaic.sim.sheet import sheet_of
from infertune.targets.qaic.sim.workload import Workload
from infertune.testing.spaces import a_knob

sys.path.insert(0, str(Path(__file__).parent / "sim"))

CARD = CARDS["standard"]
UNITS = tuple(range(1, 15))
SPLITS = tuple(range(1, 9))
BATCHES = (1, 2, 4, 8, 16)
STARTS = (1, 2, 4, 7, 14)
"""Cores of the vendor's starts (its samples cut the whole card into equal instances)."""
SET_SIZE = 10
LAUNCH_S = 9.0
"""Seconds of one of the notebook's measurements on the card, loading included."""
CHUNK = 512


def workload(model: str) -> Workload:
    if model == "resnet50":
        from published import resnet50_workload

        return resnet50_workload()
    shape = EncoderShape(layers=12, hidden=768, heads=12, intermediate=3072, head="answer")
    return encoder_workload(model, shape)


def card_space() -> Space:
    knobs = (
        a_knob("cores", UNITS, "build"),
        a_knob("instances", UNITS),
        a_knob("mos", SPLITS, "build"),
        a_knob("ols", SPLITS, "build"),
        a_knob("batch", BATCHES, "build"),
    )
    rules = (
        Rule(reason="cores x instances fit the card", holds=lambda v: int(v["cores"]) * int(v["instances"]) <= 14),
        Rule(reason="mos must not exceed cores", holds=lambda v: int(v["mos"]) <= int(v["cores"])),
    )
    bare = Space(target="qaic", device="simulated", knobs=knobs, rules=rules, whole_samples=True)
    seeds = tuple(bare.point(cores=n, instances=14 // n, mos=1, ols=1, batch=b) for b in (8, 1) for n in STARTS)
    return replace(bare, seeds=seeds)


def setting_of(point: Point) -> Setting:
    number = point.number
    return Setting(
        cores=number("cores"),
        batch=number("batch"),
        instances=number("instances"),
        set_size=number("set_size", SET_SIZE),
        mos=number("mos", AUTO),
        ols=number("ols", AUTO),
    )


def rated(work: Workload, card: Card, settings: Sequence[Setting]) -> Iterator[tuple[float, float]]:
    """Requests per second without noise, and the relative spread of single requests, of each setting."""
    for start in range(0, len(settings), CHUNK):
        chunk = settings[start : start + CHUNK]
        times, loop = rates(sheet_of([SheetPoint(workload=work, card=card, setting=how) for how in chunk]), fitted())
        yield from zip(loop.requests_per_s.tolist(), request_spread(times).tolist(), strict=True)


@lru_cache(maxsize=4)
def figures(model: str) -> tuple[Workload, dict[Point, float]]:
    """Samples per second of every legal point."""
    made = workload(model)
    points = list(card_space().points())
    settings = [setting_of(point) for point in points]
    told = zip(points, settings, rated(made, CARD, settings), strict=True)
    return made, {point: rate * how.batch for point, how, (rate, _) in told}


def card_recording(model: str) -> Recording:
    made, found = figures(model)
    landscape = Landscape(
        name=f"card-{model}",
        spaces=(card_space(),),
        throughput=found.__getitem__,
        in_flight=lambda point: point.number("instances") * SET_SIZE,
        fails=partial(too_large, made),
        launch_s=LAUNCH_S,
        build_cost_s=lambda point: compile_seconds(made, setting_of(point)),
    )
    return Recording(landscape=landscape, goal=parse_goal("max throughput"), simulated=True)


def too_large(made: Workload, point: Point) -> Failed | None:
    how = setting_of(point)
    reason = why_not(CARD, how, device_bytes(made, how))
    return Failed(stage="measure", kind="memory", message=reason) if reason else None
