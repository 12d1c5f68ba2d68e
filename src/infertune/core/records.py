"""The records that cross every boundary. Plain frozen data; `wire` turns them into JSON and back.

Units are in names: ``_ns`` whole nanoseconds, ``_s`` seconds, ``_bytes`` bytes. Throughput is samples per second.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from infertune.core.ablated import Ablated
from infertune.core.calibrated import CardFact
from infertune.core.ceilings import Ceilings as Ceilings
from infertune.core.load import CLOSED
from infertune.core.load import Load as Load
from infertune.core.load import Probe as Probe
from infertune.core.load import Sent as Sent
from infertune.core.space import Point, Value
from infertune.core.subjects import SEEDED
from infertune.core.subjects import Device as Device
from infertune.core.subjects import Feed as Feed
from infertune.core.subjects import Fidelity as Fidelity
from infertune.core.subjects import KnobFact as KnobFact
from infertune.core.subjects import Measure as Measure
from infertune.core.subjects import Model as Model
from infertune.core.subjects import Named as Named
from infertune.core.subjects import Phase as Phase
from infertune.core.subjects import RawNs as RawNs
from infertune.core.subjects import Recheck as Recheck
from infertune.core.subjects import Repeats as Repeats
from infertune.core.subjects import SpaceFact as SpaceFact
from infertune.core.subjects import TensorSpec as TensorSpec
from infertune.core.subjects import facts as facts

# ---------------------------------------------------------------- plans


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How one launch measures: warm up, then measure until both the minimum time and count are met, or the cap."""

    warmup_s: float = 0.25
    warmup_count: int = 3
    min_time_s: float = 0.75
    min_count: int = 20
    cap_s: float = 10.0
    check_inputs: int = 2
    load: Load = CLOSED


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """The built thing on disk. ``path`` is a folder inside the cache; many points share one."""

    key: str
    path: str
    size_bytes: int
    build_s: float
    reused: bool = False


# ---------------------------------------------------------------- jobs (what a worker is asked to do)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeJob:
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeJob:
    """Read the ONNX file ``path`` with symbols bound by ``shapes``; the reply is a `Model`. ``inputs`` must fit it."""

    path: str
    shapes: tuple[tuple[str, int], ...]
    batch_symbol: str | None = None
    inputs: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildJob:
    """Build ``model`` for ``point`` into the empty folder ``into``; ``feed`` is what calibration may draw from."""

    model: Model
    point: Point
    into: str
    feed: Feed = SEEDED


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureJob:
    """``repeats``: pairs of answers to time after the window, at most (see `Repeats`)."""

    model: Model
    point: Point
    artifact: str
    plan: Plan
    feed: Feed
    recheck: Recheck | None = None
    repeats: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class InferJob:
    """Run ``count`` inputs of ``feed`` one batch at a time and save outputs to the ``.npz`` file ``into``; where a file
    ``again`` is named (for references, on this machine's CPUs), the session answers the first once more into that.
    """

    model: Model
    point: Point
    artifact: str
    feed: Feed
    count: int
    into: str
    again: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportJob:
    """Write what deploys ``point`` into the folder ``into``."""

    model: Model
    point: Point
    artifact: str
    into: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExamineJob:
    """Count ``model``'s arithmetic, measure this machine's memory copy with ``threads``, and write a model that is
    nothing but matrix products to ``product``; the reply is `Examined`."""

    model: Model
    threads: int
    product: str


Job = ProbeJob | DescribeJob | BuildJob | MeasureJob | InferJob | ExportJob | ExamineJob

# ---------------------------------------------------------------- outcomes


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What else happened on the host while a launch measured; shares are of all effective CPUs' time.

    ``peak_rss_bytes`` is 0 where memory was not measured.
    """

    own_cpu: float = 0.0
    foreign_cpu: float = 0.0
    steal: float = 0.0
    involuntary_switches_per_s: float = 0.0
    throttled_periods: int = 0
    psi_some: float = 0.0
    load_average: float = 0.0
    peak_rss_bytes: int = 0
    clock_jump_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One measured window in a fresh process.

    ``latencies_ns[i]`` belongs to the request that completed at ``ends_ns[i]`` after the window opened; requests of
    ``batch`` samples, ``in_flight`` outstanding at any time. ``settings`` is what the runtime itself reports back.
    Where samples arrived by a schedule (``sent`` is set), each is a request of its own: ``batch`` is 1, a latency runs
    from the scheduled time, and ``in_flight`` is how many slots served them.
    """

    batch: int
    in_flight: int
    wall_ns: int
    latencies_ns: RawNs
    ends_ns: RawNs
    setup_ns: int
    first_ns: int
    warmup_count: int
    phases: tuple[Phase, ...] = ()
    conditions: Conditions = Conditions()
    settings: Named = ()
    warmed: bool = True
    simulated: bool = False
    load: Load = CLOSED
    sent: Sent | None = None
    repeats: Repeats | None = None


FailureKind = Literal["illegal", "compiler", "memory", "device-memory", "timeout", "crash", "device", "output"]
FailureStage = Literal["build", "load", "measure", "verify"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A candidate that failed: a fact about the space, not an error of ours. ``log`` is the tail of its output."""

    stage: FailureStage
    kind: FailureKind
    message: str
    log: str = ""

    @property
    def is_refusal(self) -> bool:
        """Whether the device itself did not work: a fact about the device then, not about the point."""
        return self.kind == "device"


Outcome = Measurement | Failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """A job that left files behind (build, infer, export)."""

    files: tuple[str, ...]
    facts: Named = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a probe found."""

    devices: tuple[Device, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """An `InfertuneError` that a worker met; raised again in the coordinating process."""

    family: str
    id: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """A bug that a worker met."""

    message: str
    traceback: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """``macs`` is None where they cannot be counted; ``cache_bytes`` is the largest CPU cache, 0 when not told.

    ``copy_bytes_per_s`` counts what was read and what was written. ``product_macs`` are those of one row of the
    product model.
    """

    macs: int | None
    copy_bytes_per_s: float
    cache_bytes: int
    product_macs: int


Reply = Measurement | Failed | Saved | Found | Model | Examined
WorkerReply = Measurement | Failed | Saved | Found | Model | Examined | Refused | Broken

Purpose = Literal["screen", "anchor", "race", "confirm", "ablate", "measure"]
"""``anchor``: a baseline measured again and again during the search, to see how steady the machine is. ``ablate``: the
winner and variants of it, to see what its knobs bring; such launches neither choose nor confirm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One measured run in a fresh worker process: the statistical unit.

    ``plan`` is how it was measured; None in records of before it was kept.
    """

    point: Point
    purpose: Purpose
    block: int
    outcome: Outcome
    flags: tuple[str, ...]
    wall_s: float
    plan: Plan | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A point and its launches, oldest first; ``build`` is set when it never got as far as a launch."""

    point: Point
    launches: tuple[Launch, ...] = ()
    build: Artifact | Failed | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A value with the ends of its interval."""

    value: float
    low: float
    high: float


# ---------------------------------------------------------------- the study's record (append-only)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a study asks. Written first, never changed; a resume must ask the same.

    ``wanted`` holds the values that a person asked for by knob; spaces already show them.
    """

    model: Model
    devices: tuple[Device, ...]
    spaces: tuple[SpaceFact, ...]
    goal: str
    strategy: str
    seed: int
    feed: Feed
    host: Named
    made_at: str
    version: str
    wanted: tuple[tuple[str, tuple[Value, ...]], ...] = ()
    metric: str = ""


Noise = Literal["refuse", "accept"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A command began (or resumed) work on the study with this much budget in total.

    ``noise`` says whether launches that other programs disturbed may decide and confirm.
    """

    budget_s: float
    max_trials: int | None
    at: str
    noise: Noise = "refuse"


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Points a strategy asked for, recorded before any work on them."""

    points: tuple[Point, ...]
    think_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    point: Point
    outcome: Artifact | Failed
    wall_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A fidelity check and what it cost."""

    fidelity: Fidelity
    wall_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """The race is over: who goes into confirmation, and why. ``ties`` were as good as the first of them."""

    finalists: tuple[Point, ...]
    why: str
    ties: tuple[Point, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """The command ended: ``ok``, ``interrupted`` or ``nothing_feasible``."""

    status: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Waited:
    """Nothing was launched for ``wall_s`` seconds, because other programs used the CPUs."""

    wall_s: float


Event = Question | Opened | Round | Built | Launch | Checked | CardFact | Decided | Ablated | Ceilings | Waited | Closed


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the record: ``seq`` from 1, ``at_s`` seconds of study time spent when it was written."""

    seq: int
    at_s: float
    event: Event
