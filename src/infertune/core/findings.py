"""What a study found, as plain records: made by `answer.answer`, read by reports, exports and the study itself."""

from __future__ import annotations

from dataclasses import dataclass

from infertune.core import words
from infertune.core.ablation import Ablation
from infertune.core.goal import Goal, Limit
from infertune.core.history import Spent
from infertune.core.load import Arrivals
from infertune.core.noise import Noise
from infertune.core.records import Device, Fidelity, Interval, Model, Question
from infertune.core.relaxed import LimitCost, Relaxed
from infertune.core.space import Point
from infertune.core.standing import AtLimit


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What was measured at one point. ``evidence`` is ``confirm`` for figures that may be reported as a result.

    Percentiles are of all requests of all launches together, None below their sample floor; ``p99_at_most_ms`` is what
    the true one does not exceed with 99 % confidence (`percentiles.PRINTED`). ``value`` is the goal's
    own figure: samples per second, or seconds. ``arrivals`` says how requests came (`core.load`), and with it what the
    percentiles are of.
    """

    point: Point
    evidence: str
    launches: int
    requests: int
    in_flight: int
    throughput: Interval
    value: Interval
    p50_ms: float | None
    p90_ms: float | None
    p99_ms: float | None
    arrivals: Arrivals = "closed"
    p90_at_most_ms: float | None = None
    p99_at_most_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """A baseline; ``speedup`` is how many times better the winner is, None where too few blocks are shared.

    One that is not ``faithful`` gives wrong outputs.
    """

    name: str
    figures: Figures
    speedup: Interval | None
    faithful: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureGroup:
    """Points that failed for one reason."""

    stage: str
    kind: str
    message: str
    count: int
    example: Point


@dataclass(frozen=True, slots=True, kw_only=True)
class Nearest:
    """The point that comes closest to the goal, the limit it misses by most, and its own figure there, in words.

    ``relaxed`` says what the limits would have to be, and what that gives.
    """

    point: Point
    limit: str
    measured: str
    excess: float
    relaxed: Relaxed | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AtLevel:
    """The answer at one level that a front was asked at: ``goal`` is the whole question, ``limit`` the level.

    ``figures`` belong to the winner, and are a result only when ``confirmed``; ``speedup`` is how many times better
    it is than ``rival``, the best baseline. ``nearest`` is what comes closest where nothing is within. ``limits`` says
    how the winner stands to each limit that launches measure, the level last.
    """

    goal: Goal
    limit: Limit
    winner: Point | None
    why: str
    confirmed: bool
    figures: Figures | None
    rival: str | None
    speedup: Interval | None
    nearest: Nearest | None
    fidelity: Fidelity | None
    limits: tuple[AtLimit, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """How far the search got: ``tried`` of all legal ``points``, and why it ended; empty while it has not."""

    tried: int
    points: int
    ended: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """``failed`` counts trials that never gave a figure; ``failed_launches`` the ones among ``launches``."""

    trials: int
    launches: int
    failed: int
    failed_launches: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The whole answer.

    ``figures`` belong to the winner, and are a result only when ``confirmed``. ``best_rival`` names the
    baseline that the verdict compared with: the best that surely met the goal (of those that may have, where none did,
    else of all); ``absent`` holds baselines without a figure, with the reason.
    ``flags`` counts launches by what their audit found; ``noise`` is how steady the machine was all the while.
    ``limits`` says how the winner stands to each limit that launches measure.
    ``levels`` answers a front at each level that it was asked at, in their order. ``searched`` is None where points
    were measured without a search.
    """

    status: str
    question: Question
    device: Device | None
    winner: Point | None
    why: str
    confirmed: bool
    figures: Figures | None
    challenger: Figures | None
    rivals: tuple[Rival, ...]
    best_rival: str | None
    absent: tuple[tuple[str, str], ...]
    fidelity: Fidelity | None
    fidelity_floor: float
    nearest: Nearest | None
    counts: Counts
    failures: tuple[FailureGroup, ...]
    flags: tuple[tuple[str, int], ...]
    spent: Spent
    budget_s: float | None
    simulated: bool
    caveats: tuple[str, ...] = ()
    noise: Noise | None = None
    ablation: Ablation | None = None
    limit_cost: LimitCost | None = None
    limits: tuple[AtLimit, ...] = ()
    levels: tuple[AtLevel, ...] = ()
    searched: Searched | None = None

    @property
    def model(self) -> Model:
        return self.question.model

    def rival(self, name: str | None) -> Rival | None:
        return next((r for r in self.rivals if r.name == name), None)

    def words(self, point: Point, in_flight: int | None = None) -> str:
        return words.point(point, self.question.spaces, in_flight)
