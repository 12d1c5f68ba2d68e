"""A runtime that answers from memory is found out; one that is merely noisy is not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from infertune.core import audit, stats, wire
from infertune.core.answer import answer
from infertune.core.records import (
    Conditions,
    Entry,
    Feed,
    Launch,
    MeasureJob,
    Measurement,
    Model,
    Plan,
    RawNs,
    Repeats,
    TensorSpec,
)
from infertune.measure.repeats import MOST, alike, time_repeats
from infertune.targets.inproc import measure_session
from infertune.testing.clock import FakeClock
from infertune.testing.records import a_model, a_point, a_study
from infertune.testing.session import FakeAnswering
from test_study_flow import Laboratory

MS = 1_000_000
Inputs = Mapping[str, np.ndarray[Any, np.dtype[Any]]]
Answer = Callable[[Inputs], int]
PLAN = Plan(min_count=20)


def remembering(hit_ns: int, miss_ns: int, known: int = 10_000) -> Answer:
    """Answers to the last ``known`` different inputs are kept."""
    memory: dict[bytes, None] = {}

    def answer_ns(inputs: Inputs) -> int:
        key = b"".join(array.tobytes() for array in inputs.values())
        hit = key in memory
        memory.pop(key, None)
        memory[key] = None
        while len(memory) > known:
            del memory[next(iter(memory))]
        return hit_ns if hit else miss_ns

    return answer_ns


def noisy(seed: int, sigma: float) -> Answer:
    """About 2 ms whatever the input is."""
    rng = np.random.default_rng(seed)
    return lambda inputs: round(2 * MS * float(np.exp(sigma * rng.standard_normal())))


def launched(
    answer_ns: Answer, model: Model | None = None, repeats: int = MOST, feed: Feed | None = None
) -> Measurement:
    """A launch in virtual time whose session answers so."""
    clock = FakeClock()
    job = MeasureJob(
        model=model or a_model(), point=a_point(), artifact="", plan=PLAN, feed=feed or Feed(seed=0), repeats=repeats
    )
    session = FakeAnswering(clock, answer_ns=answer_ns)
    return measure_session(job, clock, lambda pool: session, lambda: Conditions)


@pytest.mark.parametrize("known", [1, 16, 10_000])
def test_a_cache_is_found(known: int) -> None:
    found = launched(remembering(MS, 2 * MS, known))
    assert stats.repeat_ratios(found) == (0.5,) * MOST
    assert audit.flags(found, PLAN) == ("caches_inputs",)
    assert not audit.contaminated(audit.flags(found, PLAN))


def test_the_window_itself_does_not_hide_it() -> None:
    """The inputs that are compared with were in no window, so a cache of all that it held tells them apart."""
    slow = remembering(MS, 2 * MS)
    seen: list[Inputs] = []
    clock = FakeClock()
    session = FakeAnswering(clock, answer_ns=slow)
    job = MeasureJob(model=a_model(), point=a_point(), artifact="", plan=PLAN, feed=Feed(seed=0), repeats=MOST)

    def load(pool: Any) -> FakeAnswering:
        seen.extend(pool)
        for inputs in pool:
            slow(inputs)
        return session

    found = measure_session(job, clock, load, lambda: Conditions)
    assert len(seen) == 16
    assert audit.caches_inputs(found)


def test_no_cache_is_no_flag() -> None:
    found = launched(lambda inputs: 2 * MS)
    assert stats.repeat_ratios(found) == (1.0,) * MOST
    assert audit.flags(found, PLAN) == ()


def test_a_little_faster_is_no_flag() -> None:
    assert not audit.caches_inputs(launched(remembering(1_830_000, 2 * MS)))
    assert audit.caches_inputs(launched(remembering(1_790_000, 2 * MS)))


@pytest.mark.parametrize("sigma", [0.03, 0.1, 0.3, 1.0])
def test_noise_is_no_cache(sigma: float) -> None:
    raised = [audit.caches_inputs(launched(noisy(seed, sigma))) for seed in range(200)]
    assert np.mean(raised) <= 0.05


def test_a_cache_shows_through_noise() -> None:
    def both(seed: int) -> Answer:
        memory, noise = remembering(MS, 2 * MS), noisy(seed, 0.15)
        return lambda inputs: memory(inputs) * noise(inputs) // (2 * MS)

    assert all(audit.caches_inputs(launched(both(seed))) for seed in range(50))


def test_it_takes_no_longer_than_needed() -> None:
    def pairs(answer_ns: int) -> int:
        found = launched(lambda inputs: answer_ns).repeats
        return len(found.same_ns) if found else 0

    assert [pairs(ns) for ns in (MS, 20 * MS, 100 * MS, 300 * MS)] == [MOST, 5, 3, 3]
    assert pairs(500 * MS) == 0, "too slow to be told in three seconds"


def test_the_same_input_goes_first_in_every_other_pair() -> None:
    asked: list[int] = []

    class Session(FakeAnswering):
        def answer(self, inputs: Inputs) -> Inputs:
            asked.append(int(inputs["x"][0]))
            return super().answer(inputs)

    clock = FakeClock()
    sets = [{"x": np.array([number])} for number in range(5)]
    found = time_repeats(Session(clock, answer_ns=lambda inputs: MS), sets, clock)
    assert asked == [0, 0, 1, 2, 0, 0, 0, 0, 3, 4, 0, 0]
    assert found == Repeats(same_ns=RawNs([MS] * 4), varied_ns=RawNs([MS] * 4))


@given(
    values=hnp.arrays(
        st.sampled_from([np.float16, np.float32, np.float64]), (3, 2), elements=st.floats(allow_nan=False, width=16)
    ),
    steps=st.integers(1, MOST),
)
def test_what_is_compared_with_is_unseen_but_takes_the_same_branches(
    values: np.ndarray[Any, np.dtype[Any]], steps: int
) -> None:
    ids = np.arange(3)
    found = alike({"x": values, "ids": ids}, {"x": values, "ids": ids + 1}, steps)
    assert found["x"].dtype == values.dtype and found["ids"].tolist() == [1, 2, 3]
    limits = np.finfo(values.dtype)
    moves = (values != 0) & (np.abs(values) < limits.max / 2)
    assert np.array_equal((found["x"] != values)[moves], np.ones(moves.sum(), bool))
    assert np.array_equal(found["x"][values == 0], values[values == 0])
    apart = np.abs(found["x"][moves] - values[moves])
    assert np.all(apart <= steps * (limits.eps * np.abs(values[moves]) + limits.tiny))


def test_inputs_too_large_for_many_of_them_are_left_alone() -> None:
    image = TensorSpec(name="x", dtype="float32", dims=("batch_size", 20_000_000))
    large = replace(a_model(), inputs=(image,))
    assert launched(lambda inputs: MS, large).repeats is None


def test_few_samples_of_a_person_show_a_small_cache(tmp_path: Path) -> None:
    """Ten samples: all of them were in the window, so only what forgets some of them is found."""
    path = tmp_path / "x.npz"
    np.savez(path, input_ids=np.arange(10 * 128).reshape(10, 128))
    feed = Feed(seed=0, path=str(path))
    assert audit.caches_inputs(launched(remembering(MS, 2 * MS, known=2), feed=feed))
    assert not audit.caches_inputs(launched(lambda inputs: MS, feed=feed))


def test_nobody_asked() -> None:
    found = launched(lambda inputs: MS, repeats=0)
    assert found.repeats is None and stats.repeat_ratios(found) == ()


def test_pairs_are_kept_in_the_record() -> None:
    found = launched(remembering(MS, 2 * MS))
    assert wire.from_json(wire.to_json(found), Measurement) == found


# ---------------------------------------------------------------- in a study


def remembered(entry: Entry) -> Entry:
    """The first block of the confirmation, as a launch of a winner that caches tells it."""
    launch = entry.event
    if not isinstance(launch, Launch) or launch.purpose != "confirm" or launch.block or launch.point != WINNER:
        return entry
    assert isinstance(launch.outcome, Measurement)
    found = replace(launch.outcome, repeats=Repeats(same_ns=RawNs([MS] * MOST), varied_ns=RawNs([4 * MS] * MOST)))
    return replace(entry, event=replace(launch, outcome=found, flags=audit.flags(found, PLAN)))


WINNER = a_point(batch=8)


def test_a_winner_that_caches_comes_with_a_caveat() -> None:
    entries = a_study({WINNER: 200.0})
    assert not any("seen before" in caveat for caveat in answer(entries).caveats)
    (told,) = [c for c in answer([remembered(entry) for entry in entries]).caveats if "seen before" in c]
    assert "4.00x as fast" in told


def test_the_first_block_of_the_confirmation_looks_for_it(tmp_path: Path) -> None:
    lab = Laboratory(tmp_path)
    lab.run(budget_s=60.0)
    jobs = [job for job in lab.executor.jobs if isinstance(job, MeasureJob)]
    launches = [x for x in lab.events(Launch) if isinstance(x, Launch)]
    asked = [(launch.purpose, launch.block, job.repeats) for launch, job in zip(launches, jobs, strict=True)]
    assert {n for purpose, block, n in asked if purpose == "confirm" and block == 0} == {MOST}
    assert {n for purpose, block, n in asked if purpose != "confirm" or block} == {0}
