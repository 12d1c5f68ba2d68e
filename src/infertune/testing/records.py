"""Made-up records for tests: a model, devices, spaces, measurements and whole studies, all deterministic.

study = a_study({a_point(batch=8): 200.0}, baselines={"openvino default": 100.0})
answer(study).figures.throughput.value  # about 200
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from infertune.core.records import (
    Artifact,
    Built,
    Checked,
    Closed,
    Conditions,
    Decided,
    Device,
    Entry,
    Event,
    Failed,
    Feed,
    Fidelity,
    KnobFact,
    Launch,
    Measurement,
    Model,
    Opened,
    Outcome,
    Purpose,
    Question,
    RawNs,
    Round,
    SpaceFact,
    TensorSpec,
    facts,
)
from infertune.core.space import Point, Value

BASELINES: Mapping[str, tuple[str, dict[str, Value]]] = {
    "onnxruntime default": ("onnxruntime", {"preset": "default"}),
    "openvino default": ("openvino", {"preset": "default"}),
    "openvino throughput hint": ("openvino", {"preset": "throughput"}),
    "openvino latency hint": ("openvino", {"preset": "latency"}),
}
"""Name of a baseline -> its target and the knobs it sets; the rest is left to the runtime."""

KNOBS: Mapping[str, tuple[Value, ...]] = {
    "preset": ("explicit", "default", "throughput", "latency"),
    "precision": ("f32", "bf16"),
    "batch": (1, 2, 4, 8, 16),
    "instances": (1, 0, 2),
    "cores": (2, 0, 1),
    "set_size": (1, 0, 2),
}
"""Knob -> values, the default first."""

NOISE = (1.0, 1.01, 0.99, 1.005, 0.995, 1.002)
"""Factors on the throughput of successive launches of a point."""


def a_model(name: str = "bert-base") -> Model:
    token_ids = TensorSpec(name="input_ids", dtype="int64", dims=("batch_size", "sequence_length"), below=28996)
    scores = TensorSpec(name="logits", dtype="float32", dims=("batch_size", 2))
    return Model(
        path=f"models/{name}.onnx",
        digest="ab" * 32,
        name=name,
        inputs=(token_ids,),
        outputs=(scores,),
        batch_symbol="batch_size",
        fixed_batch=1,
        shapes=(("sequence_length", 128),),
        opset=17,
        parameters=107_700_000,
        weight_bytes=430_800_000,
    )


def a_device(target: str = "openvino", *, simulated: bool = False) -> Device:
    return Device(
        name="cpu",
        target=target,
        title="Example CPU",
        units=2,
        memory_bytes=8_000_000_000,
        precisions=("f32", "bf16"),
        versions=facts(**{target: "1.0"}),
        simulated=simulated,
    )


def a_point(target: str = "openvino", **values: Value) -> Point:
    """A point of `a_space`: knobs not given are at their default."""
    return Point.of(target, "cpu", {name: known[0] for name, known in KNOBS.items()} | values)


def a_baseline(name: str) -> Point:
    target, values = BASELINES[name]
    return a_point(target, **{"cores": 0, "instances": 0, "set_size": 0, **values})


def a_space(target: str = "openvino") -> SpaceFact:
    named = tuple((name, a_baseline(name)) for name, (of, _) in BASELINES.items() if of == target)
    return SpaceFact(
        target=target,
        device="cpu",
        knobs=tuple(
            KnobFact(
                name=name, stage="run", default=values[0], values=values, doc=f"The {name}.", spelling=name.upper()
            )
            for name, values in KNOBS.items()
        ),
        rules=("cores x instances must not exceed 2",),
        baselines=named,
        legal=120,
        raw=360,
    )


def a_question(
    goal: str = "max throughput",
    *,
    targets: Sequence[str] = ("onnxruntime", "openvino"),
    model: Model | None = None,
    simulated: bool = False,
) -> Question:
    return Question(
        model=model or a_model(),
        devices=tuple(a_device(target, simulated=simulated) for target in targets),
        spaces=tuple(a_space(target) for target in targets),
        goal=goal,
        strategy="auto",
        seed=0,
        feed=Feed(seed=0),
        host=facts(cpu="Example CPU", cpus=2),
        made_at="2026-01-01T00:00:00Z",
        version="0.1.0",
    )


def a_measurement(
    throughput: float = 100.0,
    latency_ms: float | None = None,
    *,
    count: int = 100,
    batch: int = 1,
    in_flight: int = 1,
    simulated: bool = False,
) -> Measurement:
    """``count`` requests whose latencies rise evenly by 20 % around ``latency_ms`` (Little's law by default)."""
    middle_ns = (1e6 * latency_ms) if latency_ms is not None else 1e9 * in_flight * batch / throughput
    latencies = tuple(round(middle_ns * (0.9 + 0.2 * i / max(1, count - 1))) for i in range(count))
    wall_ns = round(1e9 * count * batch / throughput)
    return Measurement(
        batch=batch,
        in_flight=in_flight,
        wall_ns=wall_ns,
        latencies_ns=RawNs(latencies),
        ends_ns=RawNs(tuple((i + 1) * wall_ns // count for i in range(count))),
        setup_ns=50_000_000,
        first_ns=round(2 * middle_ns),
        warmup_count=3,
        conditions=Conditions(own_cpu=0.95, peak_rss_bytes=500_000_000),
        simulated=simulated,
    )


def a_launch(
    point: Point,
    outcome: Outcome | float = 100.0,
    *,
    purpose: Purpose = "screen",
    block: int = 0,
    flags: tuple[str, ...] = (),
    count: int = 100,
) -> Launch:
    """A launch of ``point``; a number stands for a measurement of that throughput at the point's batch and depth."""
    if isinstance(outcome, int | float):
        depth = max(1, point.number("instances") * point.number("set_size"))
        outcome = a_measurement(float(outcome), count=count, batch=point.number("batch", 1), in_flight=depth)
    return Launch(point=point, purpose=purpose, block=block, outcome=outcome, flags=flags, wall_s=1.0)


def a_build(point: Point, outcome: Artifact | Failed | None = None) -> Built:
    made = Artifact(key="cd" * 32, path="cache/cd", size_bytes=1_000_000, build_s=0.5)
    return Built(point=point, outcome=outcome or made, wall_s=0.5)


def a_check(point: Point, cosine: float = 0.9998) -> Checked:
    found = Fidelity(point=point, cosine=cosine, max_abs=0.01, max_rel=0.02, top1=1.0, inputs=2)
    return Checked(fidelity=found, wall_s=0.5)


def recorded(events: Iterable[Event]) -> list[Entry]:
    """Events as a record, each at the study time that the costs so far add up to (0.1 s of ours per event)."""
    entries: list[Entry] = []
    at_s = 0.0
    for seq, event in enumerate(events, start=1):
        at_s = round(at_s + 0.1 + _cost(event), 3)
        entries.append(Entry(seq=seq, at_s=at_s, event=event))
    return entries


def _cost(event: Event) -> float:
    if isinstance(event, Built | Launch | Checked):
        return event.wall_s
    return event.think_s if isinstance(event, Round) else 0.0


def opening(question: Question, budget_s: float = 300.0) -> list[Event]:
    return [question, Opened(budget_s=budget_s, max_trials=None, at="2026-01-01T00:00:00Z")]


def a_search(speeds: Mapping[Point, float | Failed]) -> list[Event]:
    """One round over all points, each built (or failed to) and screened once."""
    events: list[Event] = [Round(points=tuple(speeds), think_s=0.2)]
    for point, speed in speeds.items():
        if isinstance(speed, Failed) and speed.stage == "build":
            events.append(a_build(point, speed))
        else:
            events += [a_build(point), a_launch(point, speed)]
    return events


def a_confirmation(values: Mapping[Point, Sequence[Outcome | float]], count: int = 100) -> list[Event]:
    """Interleaved blocks: block b holds the b-th value of every point that has one."""
    longest = max((len(of) for of in values.values()), default=0)
    return [
        a_launch(point, of[block], purpose="confirm", block=block, count=count)
        for block in range(longest)
        for point, of in values.items()
        if block < len(of)
    ]


def noisy(throughput: float, blocks: int = 6, phase: int = 0) -> list[float]:
    """Throughputs of successive blocks around a true one; ``phase`` shifts the noise, so that points differ in it."""
    return [throughput * NOISE[(block + phase) % len(NOISE)] for block in range(blocks)]


def a_study(
    speeds: Mapping[Point, float | Failed],
    *,
    baselines: Mapping[str, float] | None = None,
    finalists: Sequence[Point] | None = None,
    question: Question | None = None,
    cosines: Mapping[Point, float] | None = None,
    blocks: int = 6,
    count: int = 200,
    status: str = "ok",
) -> list[Entry]:
    """A whole study: search over ``speeds``, a decision, ``blocks`` of confirmation with all baselines, fidelity, end.

    The finalist is the fastest point unless ``finalists`` says otherwise.
    """
    named = dict.fromkeys(BASELINES, 100.0) if baselines is None else baselines
    ran = {point: speed for point, speed in speeds.items() if not isinstance(speed, Failed)}
    chosen = tuple(finalists or sorted(ran, key=lambda point: -ran[point])[:1])
    truth = {point: ran[point] for point in chosen} | {a_baseline(name): speed for name, speed in named.items()}
    events = [*opening(question or a_question()), *a_search(speeds)]
    events.append(Decided(finalists=chosen, why="the best median of the race"))
    events += a_confirmation({p: noisy(speed, blocks, i) for i, (p, speed) in enumerate(truth.items())}, count)
    events += [a_check(point, (cosines or {}).get(point, 0.9998)) for point in chosen]
    events.append(Closed(status=status, why="budget spent"))
    return recorded(events)
