"""What strategies are made of: enumeration, encoding, the Gaussian process, failures, evidence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infertune.core.goal import Goal, parse_goal
from infertune.core.records import Failed, Launch, Trial
from infertune.core.space import Point, Rule, Space
from infertune.search.parts.arrays import Floats
from infertune.search.parts.candidates import AT_LEAST, AT_MOST, candidates
from infertune.search.parts.catalogue import catalogue
from infertune.search.parts.evidence import read
from infertune.search.parts.feasible import OTHER_CAUSE, chance, hopeless
from infertune.search.parts.features import Inputs, encode_points, encoded
from infertune.search.parts.figures import ANYTHING, THROUGHPUT, figures
from infertune.search.parts.known import known
from infertune.search.parts.outlook import CEILING, Outlook
from infertune.search.parts.surrogate import (
    HIGH,
    LENGTH,
    MAIN,
    Data,
    Posterior,
    assume,
    believe,
    condition,
    learn,
    presume,
    safe_cholesky,
    usual,
)
from infertune.search.parts.trend import basis
from infertune.search.parts.turns import Turns
from infertune.testing.spaces import a_cpu_space, a_knob, a_window, cpu_landscape
from infertune.testing.strategies import nothing_legal, one_point, small_space

GOAL = parse_goal("max throughput")
SPACES = (*cpu_landscape(units=4, seed=0).spaces, nothing_legal(), one_point())
EVERYTHING = catalogue(SPACES)


def launched(point: Point, rate: float, *flags: str) -> Launch:
    window = a_window(point, rate, in_flight=1)
    return Launch(point=point, purpose="screen", block=0, outcome=window, flags=flags, wall_s=1.0)


def failed(point: Point, kind: str = "crash", stage: str = "measure") -> Trial:
    outcome = Failed(
        stage="build" if stage == "build" else "measure", kind="memory" if kind == "memory" else "crash", message="no"
    )
    if stage == "build":
        return Trial(point=point, build=outcome)
    return Trial(point=point, launches=(replace(launched(point, 1.0), outcome=outcome),))


# ---------------------------------------------------------------- the catalogue


def test_catalogue_holds_every_point_in_order() -> None:
    expected = [point for space in SPACES for point in space.points()]
    assert [EVERYTHING.point(place) for place in range(len(EVERYTHING))] == expected
    assert [EVERYTHING.find(point) for point in expected] == list(range(len(expected)))


def test_points_outside_are_not_found() -> None:
    inside = EVERYTHING.point(0)
    assert EVERYTHING.find(inside.but(batch=3)) is None
    assert EVERYTHING.has(inside.but(batch=3))
    assert not EVERYTHING.has(replace(inside, target="elsewhere"))
    assert not EVERYTHING.has(inside.but(batch=1000))


def test_equal_words_of_rules_are_not_equal_rules() -> None:
    knobs = (a_knob("batch", (1, 2, 4)),)
    sizes = [
        len(catalogue((Space(target="t", device="d", knobs=knobs, rules=(Rule(reason="same words", holds=holds),)),)))
        for holds in (lambda v: v["batch"] > 1, lambda v: v["batch"] > 2)
    ]
    assert sizes == [2, 1]


@given(place=st.integers(0, len(EVERYTHING) - 1))
def test_points_around_differ_in_one_knob_or_two(place: int) -> None:
    here = EVERYTHING.point(place)
    for other in map(EVERYTHING.point, EVERYTHING.around(place).tolist()):
        changed = [name for name, value in other.settings if here[name] != value]
        assert other.target == here.target
        assert len(changed) in {1, 2}


@given(a=st.integers(0, len(EVERYTHING) - 1), b=st.integers(0, len(EVERYTHING) - 1))
def test_artifacts_follow_the_build_part(a: int, b: int) -> None:
    homes = {(space.target, space.device): space for space in SPACES}
    parts = [(p.target, homes[p.target, p.device].build_part(p)) for p in (EVERYTHING.point(a), EVERYTHING.point(b))]
    artifacts = EVERYTHING.artifacts()
    assert (artifacts[a] == artifacts[b]) == (parts[0] == parts[1])


def large_space(levels: int) -> Space:
    knobs = tuple(a_knob(name, tuple(range(1, levels + 1))) for name in ("batch", "cores", "ols", "mos"))
    rule = Rule(reason="fit", holds=lambda v: v["cores"] not in range(9, 99))
    bare = Space(target="large", device="0", knobs=knobs, rules=(rule,))
    return replace(bare, seeds=(bare.point(batch=levels, cores=8, ols=levels, mos=levels),))


def test_a_space_too_large_to_enumerate_is_sampled_with_its_seeds() -> None:
    space = large_space(60)
    everything = catalogue((space,))
    assert 1000 < len(everything) < 100_000
    assert everything.find(space.seeds[0]) is not None
    assert all(space.why_illegal(everything.point(place)) is None for place in range(0, len(everything), 97))


def test_few_candidates_stand_for_a_large_space() -> None:
    everything = catalogue((large_space(16),))
    left = np.ones(len(everything), dtype=bool)
    leader = everything.point(5000)
    chosen = candidates(everything, left, [leader], 10, np.random.default_rng(0))
    assert len(chosen) <= AT_MOST + 200
    assert len(candidates(everything, left, [leader], 400, np.random.default_rng(0))) <= AT_LEAST + 200
    assert set(everything.around(5000).tolist()) <= set(chosen.tolist())
    assert set(everything.starts_named().tolist()) <= set(chosen.tolist())


# ---------------------------------------------------------------- encoding


@given(place=st.integers(0, len(EVERYTHING) - 1))
@settings(max_examples=40)
def test_a_point_is_encoded_alike_alone_and_in_the_catalogue(place: int) -> None:
    point = EVERYTHING.point(place)
    odd = point.but(batch=1) if point.target == "single" else point.but(batch=3)
    alone = encode_points(EVERYTHING, [point, odd])[:1]
    whole = encoded(EVERYTHING)[np.asarray([place])]
    for mine, theirs in ((alone.x, whole.x), (alone.basis, whole.basis), (alone.depth, whole.depth)):
        np.testing.assert_allclose(mine, theirs)


def distance(a: Point, b: Point) -> float:
    both = encode_points(EVERYTHING, [a, b])
    return float(np.linalg.norm(both.x[0] - both.x[1]))


def test_octaves_are_alike_and_choices_are_apart() -> None:
    base = SPACES[0].point(batch=16, cores=1, instances=4, set_size=1)
    assert distance(base, base.but(batch=32)) == pytest.approx(distance(base, base.but(batch=8)))
    assert distance(base, base.but(precision="f32")) == pytest.approx(2.0)


def test_auto_is_neither_small_nor_large() -> None:
    explicit = SPACES[0].point(batch=8, cores=4, instances=1, set_size=1)
    preset = SPACES[0].point(batch=8, preset="default")
    inputs = encode_points(EVERYTHING, [explicit, preset])
    np.testing.assert_allclose(inputs.basis[0][:5], inputs.basis[1][:5])
    assert distance(explicit, preset) > 2.0


def test_a_default_that_is_not_searched_is_encoded_too() -> None:
    narrow = catalogue((SPACES[0].narrowed({"set_size": (1, 2), "cores": (1, 2, 4), "instances": (1, 2)}),))
    left_to_the_runtime = SPACES[0].point(batch=8, preset="default")
    assert left_to_the_runtime["set_size"] == 0
    inputs = encode_points(narrow, [left_to_the_runtime])
    assert np.isfinite(inputs.x).all() and np.isfinite(inputs.basis).all()


# ---------------------------------------------------------------- the process


def data(count: int, seed: int, noise: float = 0.02) -> Data:
    rng = np.random.default_rng(seed)
    inputs = encoded(EVERYTHING)[rng.choice(len(EVERYTHING), count, replace=False)]
    y = inputs.basis @ THROUGHPUT.mean + 0.3 * np.sin(inputs.x[:, -1]) + noise * rng.normal(size=count)
    return Data(inputs, y, np.ones(count))


def test_gradient_of_the_hyperparameters() -> None:
    density = Posterior(data(30, 1), THROUGHPUT)
    at = np.random.default_rng(2).normal(0, 0.5, max(encoded(EVERYTHING).groups) + 4)
    _, gradient = density(at)
    steps = 1e-5 * np.eye(len(at))
    numeric = [(density(at + step)[0] - density(at - step)[0]) / 2e-5 for step in steps]
    np.testing.assert_allclose(gradient, numeric, rtol=1e-4, atol=1e-4)


def test_learns_what_it_was_told_and_predicts_the_rest() -> None:
    told = data(60, 3)
    rest = data(200, 4, noise=0.0)
    belief = believe(learn(told, THROUGHPUT)[0], rest.inputs)
    error = belief.mean - rest.y
    assert np.sqrt(np.mean(error**2)) < 0.25 * np.std(rest.y)
    assert np.mean(np.abs(error) < 2.0 * belief.sd + 0.02) > 0.85


def test_without_data_the_prior_speaks() -> None:
    nothing = data(0, 0)
    belief = believe(learn(nothing, THROUGHPUT)[0], encoded(EVERYTHING))
    np.testing.assert_allclose(belief.mean, encoded(EVERYTHING).basis @ THROUGHPUT.mean)
    assert np.all(belief.sd > 1.0)


@given(rows=st.lists(st.integers(0, 39), min_size=1, max_size=4, unique=True))
@settings(max_examples=20)
def test_assuming_one_by_one_is_presuming_at_once(rows: list[int]) -> None:
    fitted = condition(data(20, 5), THROUGHPUT, usual(encoded(EVERYTHING)))
    points = data(40, 6).inputs
    belief = believe(fitted, points)
    for row in rows:
        belief = assume(belief, row)
    at_once = believe(presume(fitted, points[np.asarray(rows)]), points)
    np.testing.assert_allclose(belief.mean, at_once.mean, atol=1e-3)  # the level is a median: it moves a little
    np.testing.assert_allclose(belief.var, at_once.var, atol=1e-6)


def test_doubtful_trials_pull_less() -> None:
    told = data(20, 7)
    wrong = replace_y(told, row=4, by=-1.0)
    trusted = believe(condition(wrong, THROUGHPUT, usual(told.inputs)), told.inputs[4:5]).mean[0]
    doubted = Data(wrong.inputs, wrong.y, np.where(np.arange(20) == 4, 1000.0, 1.0))
    mean = believe(condition(doubted, THROUGHPUT, usual(told.inputs)), told.inputs[4:5]).mean[0]
    assert abs(mean - told.y[4]) < abs(trusted - told.y[4])


def replace_y(told: Data, *, row: int, by: float) -> Data:
    shift = np.where(np.arange(len(told.y)) == row, by, 0.0)
    return Data(told.inputs, told.y + shift, told.weights)


@given(seed=st.integers(0, 1000), count=st.integers(1, 12))
def test_a_singular_covariance_is_mended(seed: int, count: int) -> None:
    column: Floats = np.random.default_rng(seed).normal(size=(count, 1))
    matrix = column @ column.T
    lower = safe_cholesky(matrix)
    np.testing.assert_allclose(lower @ lower.T, matrix, atol=1e-3 * max(1.0, float(np.max(np.abs(matrix)))))


@pytest.mark.parametrize(
    "goal", ["max throughput", "min latency", "max throughput, p99 < 5 ms, throughput > 3/s, memory < 1 GB"]
)
def test_what_is_learned_can_be_told_again(goal: str) -> None:
    depth = np.asarray([0.0, 1.0, 3.0])
    values = np.asarray([1.0, -2.0, 0.5])
    for figure in figures(parse_goal(goal)):
        np.testing.assert_allclose(figure.told(figure.learned(values, depth), depth), values)


def test_latency_is_learned_as_the_throughput_it_stands_for() -> None:
    point = SPACES[0].point(batch=8, cores=2, instances=2, set_size=1)
    trial = Trial(point=point, launches=(replace(launched(point, 1.0), outcome=a_window(point, 250.0, in_flight=2)),))
    depth = encode_points(EVERYTHING, [point]).depth
    for goal in ("max throughput", "min p99"):
        evidence = read([trial], parse_goal(goal))[0]
        assert evidence.figures is not None
        y = figures(parse_goal(goal))[0].learned(np.asarray([evidence.figures[0]]), depth)
        assert y[0] == pytest.approx(np.log(250.0), abs=1e-3)


def test_a_gain_is_only_within_the_limits_where_the_speed_says_so() -> None:
    """A latency limit that holds from 120 samples/s on: nearly all that lies beyond a best of 130 is within it."""
    space = a_cpu_space("a", 2, (), ())
    everything = catalogue((space,))
    point = space.point(preset="explicit", batch=4, cores=1, instances=2, set_size=1)
    bound_ms = 1e3 * 4 * 2 / 120.0
    told = [
        Trial(point=p, launches=(launched_as(p, rate),))
        for p, rate in ((point.but(batch=1), 100.0), (point.but(batch=2), 130.0), (point.but(batch=8), 140.0))
    ]
    goal = parse_goal(f"max throughput, p99 < {bound_ms} ms")
    outlook = known(everything, read(told, goal), goal).outlook(encode_points(everything, [point]))
    loose = parse_goal("max throughput, p99 < 1000 s")
    free = known(everything, read(told, loose), loose).outlook(encode_points(everything, [point]))
    assert outlook.gain(np.log(130.0))[0] > 0.9 * free.gain(np.log(130.0))[0]
    assert outlook.gain(np.log(90.0))[0] < free.gain(np.log(90.0))[0]
    assert outlook.chance()[0] < 1.0


def limited_trials(count: int) -> tuple[Goal, list[Trial]]:
    landscape = cpu_landscape(units=8, seed=3)
    order = np.random.default_rng(5).permutation(len(landscape.points()))[:count]
    trials = [landscape.trial(landscape.points()[place], noise=0.03, seed=1) for place in order]
    return parse_goal("max throughput, p99 < 50 ms"), trials


def test_draws_of_hyperparameters_lie_around_the_likeliest_in_pairs() -> None:
    landscape = cpu_landscape(units=8, seed=3)
    goal, trials = limited_trials(12)
    everything = catalogue(landscape.spaces)
    first, *others = known(everything, read(trials, goal), goal, draws=8).all_models()
    assert len(others) == 8
    logs = np.log([[*models[0].theta.lengths, models[0].theta.main] for models in (first, *others)])
    assert np.all(np.std(logs[1:], axis=0) > 0.1)
    free = np.all(np.abs(logs - np.log([*[LENGTH] * (logs.shape[1] - 1), MAIN])) < HIGH - 1e-6, axis=0)
    assert free.any() and np.allclose(logs[1::2, free] + logs[2::2, free], 2.0 * logs[0, free])


def test_the_more_trials_the_less_doubt() -> None:
    landscape = cpu_landscape(units=8, seed=3)
    everything, spreads = catalogue(landscape.spaces), []
    for count in (6, 60):
        goal, trials = limited_trials(count)
        found = known(everything, read(trials, goal), goal, draws=16).all_models()
        spreads.append(np.std([np.log(models[0].theta.noise) for models in found[1:]]))
    assert spreads[1] < 0.8 * spreads[0]


def test_with_too_few_trials_to_learn_from_there_is_one_model() -> None:
    goal, trials = limited_trials(2)
    everything = catalogue(cpu_landscape(units=8, seed=3).spaces)
    assert len(known(everything, read(trials, goal), goal, draws=8).all_models()) == 1


def test_a_gain_that_some_models_see_counts_in_proportion() -> None:
    landscape = cpu_landscape(units=8, seed=3)
    goal, trials = limited_trials(12)
    everything = catalogue(landscape.spaces)
    trained = known(everything, read(trials, goal), goal, draws=4)
    inputs = encoded(everything)
    together = trained.outlooks(inputs)
    best = together.bests[0]
    assert best is not None and len(together.each) == 5
    alone = [one.gain(of, slices=4) for one, of in zip(together.each, together.bests, strict=True) if of is not None]
    assert np.allclose(together.gain(), np.mean(alone, axis=0))
    picked = int(np.argmax(together.gain()))
    for before, after in zip(together.each, together.after(picked).each, strict=True):
        assert after.beliefs[0].var[picked] < before.beliefs[0].var[picked]
    only = known(everything, read(trials, goal), goal).outlooks(inputs)
    assert only.best == best and np.allclose(only.gain(), only.each[0].gain(best))


def test_equal_points_share_a_tag_and_others_do_not() -> None:
    inputs = encoded(EVERYTHING)
    assert len(set(inputs.tags.tolist())) == len(inputs)
    rows = np.asarray([3, 0, 7])
    assert np.array_equal(inputs[rows].tags, inputs.tags[rows])


def launched_as(point: Point, rate: float) -> Launch:
    window = a_window(point, rate, in_flight=point.number("instances"))
    return replace(launched(point, rate), outcome=window)


def test_more_instances_of_fewer_cores_are_expected_to_do_more() -> None:
    space = a_cpu_space("a", 8, (), ())
    points = [space.point(preset="explicit", batch=8, cores=c, instances=8 // c, set_size=1) for c in (8, 4, 2)]
    expected = encode_points(catalogue((space,)), points).basis @ THROUGHPUT.mean
    assert expected[0] < expected[1] < expected[2]


# ---------------------------------------------------------------- evidence


def test_disturbed_launches_weigh_less() -> None:
    point = EVERYTHING.point(0)
    clean, disturbed = launched(point, 100.0), launched(point, 50.0, "foreign_cpu")
    doubtful = launched(point, 80.0, "not_steady")
    weights = [
        read([Trial(point=point, launches=(launch,))], GOAL)[0].weight for launch in (clean, doubtful, disturbed)
    ]
    assert weights[0] == 1.0
    assert weights[0] < weights[1] < weights[2]
    both = read([Trial(point=point, launches=(clean, disturbed))], GOAL)[0]
    assert both.figures is not None
    assert np.log(95.0) < both.figures[0] < np.log(100.0)


def test_more_launches_are_worth_more_unless_they_disagree() -> None:
    point = EVERYTHING.point(0)

    def weight(*rates: float) -> float:
        return read([Trial(point=point, launches=tuple(launched(point, rate) for rate in rates))], GOAL)[0].weight

    assert weight(100.0, 101.0, 99.0) < weight(100.0, 101.0) < weight(100.0)
    assert weight(100.0, 200.0) > weight(100.0)


def test_a_limit_is_read_as_a_distance() -> None:
    point = SPACES[0].point(batch=1, cores=1, instances=1, set_size=1)
    trial = Trial(point=point, launches=(launched(point, 100.0),))
    for bound, feasible in ((20.0, True), (5.0, False)):
        evidence = read([trial], parse_goal(f"max throughput, p99 < {bound} ms, batch < 8"))[0]
        assert evidence.figures is not None
        assert list(evidence.figures[1:]) == pytest.approx([np.log(10.0 / bound)])
        assert evidence.feasible is feasible


# ---------------------------------------------------------------- gains


def an_outlook(goal: str, rate: float = 100.0) -> Outlook:
    """What to expect everywhere after one launch of a slow point."""
    asked = parse_goal(goal)
    point = SPACES[0].point(batch=1, cores=1, instances=1, set_size=1)
    told = read([Trial(point=point, launches=(launched(point, rate),))], asked)
    return known(EVERYTHING, told, asked).outlook(encoded(EVERYTHING))


def test_a_leap_counts_whole_only_under_a_limit_on_latency() -> None:
    best = float(np.log(100.0))
    assert np.max(an_outlook("max throughput").gain(best)) <= CEILING
    assert np.max(an_outlook("max throughput, p99 < 1000 s").gain(best)) > 2.0 * CEILING


# ---------------------------------------------------------------- failures


def closed(*trials: Trial) -> list[Point]:
    return [EVERYTHING.point(place) for place in np.flatnonzero(hopeless(EVERYTHING, read(trials, GOAL))).tolist()]


def test_what_needs_more_memory_than_too_much_is_hopeless() -> None:
    point = SPACES[0].point(batch=16, cores=1, instances=2, set_size=1)
    dead = closed(failed(point, "memory"))
    assert point.but(batch=64) in dead
    assert point.but(batch=32, set_size=2) in dead
    assert point.but(batch=8) not in dead
    assert {p.but(batch=16, instances=2, set_size=1) for p in dead} == {point}


def test_memory_knowledge_from_a_value_that_is_not_searched() -> None:
    point = SPACES[0].point(batch=24, cores=1, instances=2, set_size=1)
    dead = closed(failed(point, "memory"))
    assert {p["batch"] for p in dead} == {32, 64}


def test_a_failed_build_closes_its_artifact_only() -> None:
    point = SPACES[0].point(precision="f32", cores=1, instances=1, set_size=1)
    dead = closed(failed(point, stage="build"))
    assert dead
    assert {(p.target, p["precision"]) for p in dead} == {("alpha", "f32")}


def test_a_crash_closes_nothing_but_is_remembered_nearby() -> None:
    point = SPACES[0].point(batch=16, cores=1, instances=2, set_size=1)
    assert closed(failed(point)) == []
    far = SPACES[1].point(batch=1, cores=2, instances=2, set_size=1)
    others = encode_points(EVERYTHING, [point.but(batch=32), far])
    near, away = chance(encode_points(EVERYTHING, [point]), np.asarray([0.0]), others)
    assert near < 0.6
    assert away > near + 0.15


@given(worked=st.integers(1, 12))
def test_one_failure_does_not_condemn_what_was_tried_once(worked: int) -> None:
    only = SPACES[0].point(precision="bf16", batch=16, cores=1, instances=2, set_size=1)
    fine = [p for p in SPACES[0].points() if p["precision"] == "f32"][: 7 * worked : 7]
    success = np.asarray([0.0] + [1.0] * worked)
    others = [p for p in SPACES[0].points() if p["precision"] == "bf16" and p != only]
    found = chance(encode_points(EVERYTHING, [only, *fine]), success, encode_points(EVERYTHING, others))
    assert found.min() >= OTHER_CAUSE * (worked + 1) / (worked + 3) - 1e-9


def test_a_memory_limit_has_no_throughput_trend() -> None:
    memory = figures(parse_goal("max throughput, memory < 1 GB"))[1]
    assert memory.prior is ANYTHING


def test_inputs_of_spaces_without_common_knobs() -> None:
    everything = catalogue((a_cpu_space("a", 2, ("default",), ()), small_space("b"), one_point()))
    inputs: Inputs = encoded(everything)
    assert np.all(np.isfinite(inputs.x))
    assert len(inputs) == len(everything)


@pytest.mark.parametrize(
    ("spaces", "begun", "starts", "owed"),
    [(1, 0, 0, True), (1, 1, 0, False), (1, 1, 2, True), (1, 2, 2, False), (2, 1, 2, False), (2, 0, 0, True)],
)
def test_starts_that_are_owed(spaces: int, begun: int, starts: int, owed: bool) -> None:
    """Each space one; a lone one as many as are asked for in all."""
    nothing = np.zeros(2 * spaces)
    found = Turns(
        homes=np.repeat(np.arange(spaces), 2), named=np.ones(2 * spaces, dtype=bool),
        open=np.ones(2 * spaces, dtype=bool), names=np.zeros((2 * spaces, 0), dtype=bool),
        tried=np.zeros(0, dtype=bool), begun=(begun,) * spaces, starts=starts,
    )  # fmt: skip
    assert (found.next(nothing, nothing) is not None) == owed
    unnamed = replace(found, named=~found.named)
    assert (unnamed.next(nothing, nothing) is not None) == (begun == 0)


@pytest.mark.parametrize(
    ("cores", "batch", "busiest"),
    [(1, 5, 1.0), (4, 8, 1.0), (4, 2, 1.0), (7, 8, 7 / 4), (8, 3, 8 / 6), (3, 4, 3 / 2), (0, 3, 1.0)],
)
def test_cores_that_wait_for_uneven_samples(cores: int, batch: int, busiest: float) -> None:
    """Two samples on the busiest of seven cores are 7/4 of eight over seven; two of eight cores have none of three."""
    columns = {"cores": np.asarray([cores]), "batch": np.asarray([batch]), "used": np.asarray([1])}
    assert basis(columns, 16, 1, whole_samples=True)[0, -1] == pytest.approx(np.log(busiest))
    assert basis(columns, 16, 1)[0, -1] == 0.0


def cut_card(*, whole_samples: bool) -> Space:
    knobs = (a_knob("batch", (1, 2, 4, 8, 16)), a_knob("cores", (1, 2, 4, 8)), a_knob("instances", (1, 2, 4, 8)))
    fits = Rule(reason="8 cores", holds=lambda v: int(v["cores"]) * int(v["instances"]) <= 8)
    return Space(target="card", device="one", knobs=knobs, rules=(fits,), whole_samples=whole_samples)


def expected_on_more_cores(space: Space) -> float:
    """On two cores more than two samples each do not fit; what is expected of eight samples on four cores?"""
    seen = [(2, batch, 4, 1000.0 * batch / (batch + 1) * (0.4 if batch > 4 else 1.0)) for batch in (1, 2, 4, 8, 16)]
    points = [space.point(cores=cores, batch=batch, instances=n) for cores, batch, n, _ in seen]
    trials = tuple(
        Trial(point=point, launches=(launched(point, rate),)) for point, (*_, rate) in zip(points, seen, strict=True)
    )
    everything = catalogue((space,))
    wanted = encode_points(everything, [space.point(cores=4, batch=8, instances=2)])
    return float(known(everything, read(trials, GOAL), GOAL).outlooks(wanted).expected()[0])


def test_where_cores_take_whole_samples_a_batch_too_large_for_two_cores_says_little_against_it_on_four() -> None:
    told = expected_on_more_cores(cut_card(whole_samples=True)) - expected_on_more_cores(cut_card(whole_samples=False))
    assert told > 0.1
