"""The search on the CPUs of the host, where nothing else may run meanwhile: one point is built and launched at a time.

`study.pipeline` is the search on devices that leave the host alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from infertune.core import history
from infertune.core.records import Failed, Purpose, Round
from infertune.core.space import Point
from infertune.measure import again
from infertune.study import checking
from infertune.study.calm import SEARCH_SHARE
from infertune.study.loop import EACH, NOTHING_LEFT, Loop


def search(loop: Loop) -> str:
    """Screen points until the strategy is done, the trials are used up or only the reserve is left; says why."""
    return loop.closing(_searched(loop))


def _searched(loop: Loop) -> str:
    _finish_round(loop)
    while not loop.stop():
        if loop.max_trials is not None and len(loop.asked()) >= loop.max_trials:
            return history.trials_spent(loop.max_trials)
        if loop.is_over():
            return history.TIME_SPENT
        checking.faithful_leaders(loop, loop.scores())
        began = loop.clock.now_ns()
        fresh = loop.legal_and_new(loop.proposed())
        if not fresh:
            return NOTHING_LEFT
        loop.journal.append(Round(points=tuple(fresh), think_s=(loop.clock.now_ns() - began) / 1e9))
        _screen(loop, fresh)
        for point, purpose in loop.due_again():
            _launch(loop, point, purpose, _calm_by(loop))
    return "interrupted"


def repeat_disturbed(loop: Loop, until_s: float) -> None:
    """What the search left disturbed is launched again before anybody is chosen, up to ``until_s`` of study time."""
    for point in again.disturbed(loop.launches("screen"), loop.setting.goal.score):
        if loop.noise == "refuse" and loop.affordable([point], loop.plans.screen, until_s):
            _launch(loop, point, "screen", until_s - loop.costs().launch_s(point, loop.plans.screen))


def _finish_round(loop: Loop) -> None:
    """A round that a crash interrupted is finished first, so that a resumed study equals an unbroken one."""
    rounds = [e.event for e in loop.journal.entries if isinstance(e.event, Round)]
    if rounds:
        settled = {t.point for t in loop.trials() if t.launches or isinstance(t.build, Failed)}
        _screen(loop, [point for point in rounds[-1].points if point not in settled])


def _screen(loop: Loop, points: Sequence[Point]) -> None:
    if not loop.bench.builds.knows(points):
        loop.on_phase("build", "; ".join(map(loop.named, points)))
    loop.bench.builds.build(points, most_s=loop.most_build_s(EACH))
    for point in points:
        _launch(loop, point, "screen", _calm_by(loop))


def _calm_by(loop: Loop) -> float:
    """The study time until which the search may wait for a quiet machine."""
    patience_s = SEARCH_SHARE * loop.budget_s - loop.calm.waited_s()
    return min(loop.journal.elapsed_s + patience_s, loop.budget_s - loop.reserve_s())


def _launch(loop: Loop, point: Point, purpose: Purpose, calm_by: float) -> None:
    loop.calm.wait(calm_by)
    if not loop.stop():
        loop.on_phase("search", loop.named(point))
        most_s = loop.most_launch_s() if purpose == "anchor" else loop.most_screen_s()
        loop.bench.launch(point, purpose, 0, loop.plans.screen, most_s=most_s)
