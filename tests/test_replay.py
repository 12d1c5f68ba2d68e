"""Recorded spaces: how they are read, played and judged, and what `infertune replay` prints of it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from infertune.cli.app import main
from infertune.core.errors import DataError, NotFoundError, NothingFeasible, UsageError
from infertune.core.goal import parse_goal
from infertune.core.records import Failed, Measurement
from infertune.core.replayed import Replayed, curve, grouped, rank
from infertune.report.regret_curves import picture
from infertune.report.replayed import replayed_json, replayed_text
from infertune.search import find_strategy, grid, names, random
from infertune.search.replay.judge import Terms, judged
from infertune.search.replay.landscape import best_score, play, seconds
from infertune.search.replay.recording import Recording, recording
from infertune.study.replay import load, replay, share

GOAL = parse_goal("max throughput")
TABLE = """runtime,mode,threads,batch_size,rate,avg,failed,took
a,fast,1,1,100,10,,2
a,fast,2,1,190,11,,2
a,fast,2,1,210,9,,4
a,slow,1,1,50,20,,2
a,slow,2,1,,,memory,1
b,,1,1,80,12.5,,2
b,,2,1,150,13,,2
"""
DOCUMENT = {
    "title": "two runtimes",
    "target": {"column": "runtime"},
    "device": "cpu",
    "knobs": {
        "mode": {"column": "mode", "stage": "build"},
        "cores": {"column": "threads"},
        "batch": {"column": "batch_size"},
    },
    "metrics": {"throughput": {"column": "rate"}, "latency": {"column": "avg", "unit": "ms"}},
    "costs": {"launch_s": {"column": "took"}, "build_s": 30},
    "seeds": [{"target": "a", "mode": "fast", "cores": 2, "batch": 1}],
    "baselines": {"b default": {"target": "b", "cores": 2, "batch": 1}},
}


def two_runtimes() -> Recording:
    return recording("two", TABLE, json.dumps(DOCUMENT))


def test_a_recording_is_a_landscape() -> None:
    landscape = two_runtimes().landscape
    a, b = landscape.spaces
    assert (landscape.name, a.target, b.target) == ("two runtimes", "a", "b")
    assert [(k.name, k.stage, k.values) for k in a.knobs] == [
        ("batch", "run", (1,)),
        ("cores", "run", (1, 2)),
        ("mode", "build", ("fast", "slow")),
    ]
    assert [k.name for k in b.knobs] == ["batch", "cores"]
    assert len(landscape.points()) == 6
    assert [seed["mode"] for seed in a.seeds] == ["fast"]
    assert [baseline.name for baseline in b.baselines] == ["b default"]


def test_launches_of_a_point_are_its_noise() -> None:
    landscape = two_runtimes().landscape
    point = landscape.spaces[0].point(mode="fast", cores=2, batch=1)
    assert landscape.throughput(point) == 200.0
    assert sorted(landscape.ratios(point)) == [0.95, 1.05]
    played = {landscape.trial(point, noise=0.0, seed=seed).launches[0].outcome for seed in range(20)}
    rates = {round(1e9 * len(o.latencies_ns) / o.wall_ns) for o in played if isinstance(o, Measurement)}
    assert rates == {190, 210}


def test_failures_are_recorded_too() -> None:
    landscape = two_runtimes().landscape
    failed = landscape.outcome(landscape.spaces[0].point(mode="slow", cores=2, batch=1))
    assert isinstance(failed, Failed)
    assert (failed.kind, failed.stage) == ("memory", "measure")


def test_latencies_are_those_recorded() -> None:
    found = two_runtimes().landscape
    measured = found.outcome(found.spaces[1].point(cores=1, batch=1))
    assert isinstance(measured, Measurement)
    assert set(measured.latencies_ns) == {12_500_000}


def test_what_was_not_recorded_is_not_legal() -> None:
    space = two_runtimes().landscape.spaces[0]
    assert space.why_illegal(space.point(mode="fast", cores=2, batch=1)) is None
    assert recording("gap", "x,y,throughput\n1,1,5\n2,2,6\n").landscape.points()[0]["x"] == 1
    assert len(recording("gap", "x,y,throughput\n1,1,5\n2,2,6\n").landscape.points()) == 2


def test_a_build_is_paid_once() -> None:
    landscape = two_runtimes().landscape
    trials = play(grid.propose, landscape, GOAL, seed=0, trials=6)
    assert seconds(landscape, trials) == [32.0, 64.0, 67.0, 68.0, 100.0, 102.0]


def test_without_a_document_columns_speak_for_themselves() -> None:
    """Common names of other tools mean the knobs that they are."""
    found = recording("plain", "intraop_threads,batch_size,throughput\n1,1,10\n4,8,90\n")
    assert found.goal == GOAL
    assert {k.name for k in found.landscape.spaces[0].knobs} == {"cores", "batch"}
    assert best_score(found.landscape, GOAL) == pytest.approx(math.log(90))


def test_a_latency_alone_gives_the_rate_by_littles_law() -> None:
    told = {"metrics": {"latency": {"column": "ms", "unit": "ms"}}, "in_flight": 2, "knobs": {"batch": {}}}
    found = recording("lat", "batch,ms\n4,20\n", json.dumps(told))
    assert found.landscape.throughput(found.landscape.points()[0]) == pytest.approx(2 * 4 / 0.020)


def test_a_knob_that_some_rows_leave_out_is_unset_there() -> None:
    found = recording("u", "preset,cores,throughput\nx,1,5\nhint,,6\n").landscape
    assert [point["cores"] for point in found.points()] == ["1", "unset"] or {
        point["cores"] for point in found.points()
    } == {"1", "unset"}


@pytest.mark.parametrize(
    ("table", "document", "error"),
    [
        ("", None, "recording-empty"),
        ("x,y\n1,2\n", None, "recording-column"),
        ("x,throughput\n1,2\n", "{", "recording-document"),
        ("x,throughput\n1,2\n", "[]", "recording-document"),
        ("x,throughput\n1,2\n", '{"knobs": {"z": {}}}', "recording-column"),
        ("x,throughput\n1,many\n", None, "recording-figure"),
        ("x,throughput\n1e-05,2\n", '{"knobs": {"x": {"scale": "number"}}}', "recording-figure"),
        ("x,y,throughput\n1,,2\n,1,3\n", '{"knobs": {"x": {"scale": "number"}, "y": {}}}', "recording-figure"),
        *(
            ("x,throughput\n1,2\n", document, "recording-column")
            for document in (
                '{"target": {"column": "runtime"}}',
                '{"failed": {"column": "fail"}}',
                '{"costs": {"launch_s": {"column": "took"}}}',
                '{"metrics": {"throughput": {"column": "throughput"}, "p99": {"column": "p99"}}}',
                '{"ignored": ["when"]}',
            )
        ),
        *(
            ("x,y,throughput\n1,1,2\n2,,3\n", document, "recording-seed")
            for document in (
                '{"seeds": [{"x": 1}]}',
                '{"seeds": [{"x": 7, "y": 1}]}',
                '{"seeds": [{"x": 1, "y": 1, "runtime": "a"}]}',
                '{"seeds": [{"x": 1, "y": 1, "target": "a"}]}',
                '{"baselines": {"default": {"x": 2, "y": 1}}}',
            )
        ),
        ("x,x,throughput\n1,2,2\n", None, "recording-table"),
        ("x,throughput\n1,inf\n", None, "recording-figure"),
        ("x,throughput\n1,-3\n", None, "recording-figure"),
        (
            ",".join([*(f"k{i}" for i in range(1100)), "throughput\n"])
            + "".join(",".join([str(n)] * 1100 + ["5\n"]) for n in (1, 2)),
            None,
            "recording-knobs",
        ),
        ("x,throughput\n1,10,\n2,15,\n", None, "recording-table"),
        ("x,throughput\n1," + "9" * 200_000 + "\n", None, "recording-table"),
        ("x,throughput\n1,2\n", "[" * 100_000, "recording-document"),
        *(
            ("x,throughput\n1,2\n", document, "recording-document")
            for document in (
                '{"goal": 1}',
                '{"knobs": ["x"]}',
                '{"knobs": {"x": null}}',
                '{"metrics": null}',
                '{"metrics": {"throughput": {}}}',
                '{"metrics": {"throughput": ["throughput"]}}',
                '{"target": {"name": "x"}}',
                '{"costs": "x"}',
                '{"seeds": [1]}',
                '{"seeds": {"x": 1}}',
                '{"baselines": {"a": [1]}}',
                '{"simulated": "no"}',
                '{"ignored": "x"}',
                '{"metric": {}}',
                '{"knobs": {"x": {"col": "x"}}}',
                '{"metrics": {"throughput": {"column": "throughput"}, "p50": {"column": "x"}}}',
                '{"costs": {"launch": 1}}',
                '{"failed": {"column": "x", "units": "s"}}',
                '{"knobs": {"x": {"stage": "compile"}}}',
                '{"knobs": {"x": {"scale": "log"}}}',
                '{"metrics": {"throughput": {"column": "throughput", "unit": "h"}}}',
            )
        ),
    ],
)
def test_what_cannot_be_read_is_told(table: str, document: str | None, error: str) -> None:
    with pytest.raises(DataError) as caught:
        recording("bad", table, document)
    assert caught.value.id == error


# ---------------------------------------------------------------- judging


def run(regrets: list[float], *, strategy: str = "s", seed: int = 0) -> Replayed:
    return Replayed(
        recording="r", strategy=strategy, seed=seed, simulated=False, regrets=tuple(regrets),
        seconds=tuple(10.0 * (i + 1) for i in range(len(regrets))),
    )  # fmt: skip


def test_signs_alone_make_no_number() -> None:
    assert [p["x"] for p in recording("signs", "x,throughput\n--5,10\n2,15\n").landscape.points()] == ["--5", "2"]


def test_whole_numbers_may_be_written_as_decimals() -> None:
    space = recording("p", "cores,level,throughput\n1.0,1.0,5\n8,1.5,6\n").landscape.spaces[0]
    assert {knob.name: knob.values for knob in space.knobs} == {"cores": (1, 8), "level": ("1.0", "1.5")}


@pytest.mark.parametrize("strategy", names())
@pytest.mark.parametrize(
    "cores", [("auto", "2"), ("true", "false"), ("--1", "1"), ("²", "2"), ("9" * 20, "1"), ("", "2")]
)
def test_any_values_of_a_knob_are_played(strategy: str, cores: tuple[str, str]) -> None:
    """Also of one whose name means a number to strategies."""
    for knob, other in (("cores", "instances"), ("instances", "cores")):
        rows = [f"{value},{n},{10 * n + i}\n" for i, value in enumerate(cores) for n in (1, 2, 4)]
        found = recording("odd", f"{knob},{other},throughput\n{''.join(rows)}")
        runs = judged("s", find_strategy(strategy), found.landscape, GOAL, Terms(), range(1), simulated=False)
        assert [run.regrets[-1] for run in runs if run.regrets] in ([0.0], [])


def test_legal_points_are_found_without_trying_all_combinations() -> None:
    """Six values of each of 20 knobs have 4e15 combinations."""
    rows = np.random.default_rng(0).integers(1, 7, size=(30, 20)).tolist()
    lines = [",".join(map(str, [*row, 100 + i])) for i, row in enumerate(rows)]
    found = recording("s", "\n".join([",".join([*(f"k{i}" for i in range(20)), "throughput"]), *lines]))
    (space,) = found.landscape.spaces
    assert {tuple(point[f"k{i}"] for i in range(20)) for point in found.landscape.points()} == set(map(tuple, rows))
    (run,) = judged("random", random.propose, found.landscape, GOAL, Terms(), range(1), simulated=False)
    assert run.regrets[-1] == 0.0
    half = space.narrowed({"k0": (1, 2, 3)})
    assert [point for point in space.points() if point in set(half.points())] == list(half.points())
    assert 0 < len(list(half.points())) < len({tuple(row) for row in rows})


def test_columns_that_the_document_names_are_no_knobs() -> None:
    told = {"metrics": {"throughput": {"column": "rate"}, "latency": {"column": "p50_ms", "unit": "ms"}}}
    found = recording("m", "cores,p50_ms,rate\n1,10,100\n2,7,150\n", json.dumps(told))
    assert [knob.name for knob in found.landscape.spaces[0].knobs] == ["cores"]


def test_a_column_that_varies_without_a_role_is_told() -> None:
    """Rows that differ only there would be launches of one point."""
    table = "dtype,cores,host,when,throughput\nf32,1,h,1,5\nf32,2,h,2,6\n"
    with pytest.raises(DataError, match="does not say what varies in cores, when"):
        recording("some", table, '{"knobs": {"dtype": {}}}')
    found = recording("all", table, '{"knobs": {"dtype": {}, "cores": {}}, "ignored": ["when"]}')
    assert len(found.landscape.points()) == 2


def test_the_nearest_word_is_told() -> None:
    with pytest.raises(DataError) as caught:
        recording("words", "x,throughput\n1,2\n", '{"knobs": {"x": {"scale": "numbers"}}}')
    assert str(caught.value.hint) == "did you mean `number`? scale: number, choice"


def test_seeds_are_read_as_the_rows_are() -> None:
    """The gap makes the column one of texts."""
    found = recording("gap", "x,y,throughput\n1,1,2\n2,,3\n", '{"seeds": [{"x": 1, "y": 1}, {"x": 2, "y": "unset"}]}')
    assert [seed.values for seed in found.landscape.spaces[0].seeds] == [{"x": 1, "y": "1"}, {"x": 2, "y": "unset"}]


def test_the_documented_document_is_one() -> None:
    page = (Path(__file__).parent.parent / "docs" / "replay.md").read_text()
    document = page.split("```json\n")[1].split("```")[0]
    table = """runtime,intraop_threads,batch_size,precision,level,rate,avg,p99,rss,streams,error,compile_s,host
openvino,16,1,f32,high,100,10,12,9000,1,,40,a
openvino,0,1,f32,auto,90,11,14,9000,1,,40,b
"""
    found = recording("documented", table, document).landscape
    assert [seed["cores"] for seed in found.spaces[0].seeds] == [16]
    assert [baseline.point["cores"] for baseline in found.spaces[0].baselines] == [0]


def test_what_cost_nothing_costs_nothing() -> None:
    landscape = recording("free", "x,throughput,launch_s,build_s\n1,10,0,0\n2,20,0,0\n").landscape
    assert seconds(landscape, play(grid.propose, landscape, GOAL, seed=0, trials=2)) == [0.0, 0.0]


def test_a_goal_that_no_recorded_point_meets(tmp_path: Path) -> None:
    path = tmp_path / "slow.csv"
    path.write_text("x,throughput\n1,10\n2,15\n")
    with pytest.raises(NothingFeasible, match="no point of `slow` meets"):
        replay([path], seeds=1, goal="max throughput, p99 < 1 us")


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    for name in ("marked.csv", "marked.json"):
        (tmp_path / name).write_text("x,throughput\n1,10\n" if name.endswith("csv") else "{}", encoding="utf-8-sig")
    assert [knob.name for knob in load(tmp_path / "marked.csv").landscape.spaces[0].knobs] == ["x"]


def test_a_table_in_another_encoding_is_told(tmp_path: Path) -> None:
    (tmp_path / "old.csv").write_bytes("x,größe,throughput\n1,1,10\n".encode("latin-1"))
    with pytest.raises(DataError, match="cannot be read"):
        load(tmp_path / "old.csv")


def test_when_a_tolerance_was_reached() -> None:
    found = run([math.inf, 0.5, 0.0201, 0.01, 0.0])
    assert [found.reached(t) for t in (0.5, 0.02, 0.005)] == [2, 3, 5]
    assert found.reached_s(0.02) == 30.0
    assert run([0.5]).reached(0.02) is None
    assert found.regret(1) == 1.0
    assert run([]).regret(5) == 1.0


def test_ranks_count_what_never_came() -> None:
    assert rank([3, 1, None, 2], 50.0) == 2
    assert rank([3, 1, None, 2], 90.0) is None
    assert rank([], 50.0) is None


def test_a_run_that_ended_keeps_its_regret_in_the_curve() -> None:
    assert curve([run([0.0]), run([math.log(2), 0.0, 0.0])], 3) == [0.0, 0.0, 0.0]
    assert curve([run([0.0]), run([math.log(2)] * 3)], 3, 90.0) == pytest.approx([0.5] * 3)


def test_a_grid_finds_the_best_of_everything() -> None:
    found = two_runtimes()
    runs = list(judged("grid", grid.propose, found.landscape, GOAL, Terms(noise=0.0), range(2), simulated=False))
    assert [r.regrets[-1] for r in runs] == [0.0, 0.0]
    assert [r.why for r in runs] == ["ended after 6 trials"] * 2


def test_a_strategy_that_ends_by_itself_tells_the_chance_that_something_better_is_left(tmp_path: Path) -> None:
    rows = "".join(f"{cores},{batch},{100 * min(cores, 4)}\n" for cores in range(1, 17) for batch in (1, 2, 4, 8))
    (tmp_path / "flat.csv").write_text(f"cores,batch,throughput\n{rows}")
    runs = replay(tmp_path / "flat.csv", strategies=("auto", "random"), seeds=2, trials=60, noise=0.0)
    auto, random_ = runs[:2], runs[2:]
    assert all("not tried; the chance that one of them is over 2 % better: " in r.left for r in auto)
    assert all(r.why == r.left == "" for r in random_), "every trial was used"
    text = replayed_text(runs)
    assert "  auto: 2 of 2 runs ended by themselves; with seed 0, it ended after " in text and "% better: " in text
    assert "  random: " not in text


def test_the_index_that_pandas_writes_is_no_knob(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "r.csv").write_text(",threads,throughput\n0,1,100\n1,2,150\n2,2,152\n")
    found = load(tmp_path / "r.csv").landscape
    assert [knob.name for knob in found.spaces[0].knobs] == ["cores"]
    assert "r.csv: the first column has no name and counts the rows: it is ignored" in caplog.text
    other = recording("r", ",threads,throughput\n1,1,100\n1,2,150\n")
    assert len(other.landscape.spaces[0].knobs) == 2 and other.notes == (), "it counts nothing"


def test_the_index_beside_a_document_needs_no_role() -> None:
    table = ",level,throughput\n0,1,100\n1,2,150\n"
    found = recording("r", table, json.dumps({"knobs": {"level": {}}})).landscape
    assert [knob.name for knob in found.spaces[0].knobs] == ["level"]


def test_injected_failures_hit_the_share_asked_for_and_spare_the_answer() -> None:
    """The best is then the best of what works, so regret still ends at 0."""
    table = "x,throughput\n" + "".join(f"{i},{100 + i}\n" for i in range(1, 201))
    found = recording("line", table)
    runs = list(
        judged("grid", grid.propose, found.landscape, GOAL, Terms(trials=200, invalid=0.3), range(3), simulated=False)
    )
    assert all(r.regrets[-1] == 0.0 for r in runs)
    assert all(r.regrets[0] == math.inf or r.regrets[0] > 0.3 for r in runs)
    assert len({r.regrets for r in runs}) == 3


def test_noise_takes_the_place_of_recorded_launches() -> None:
    found = two_runtimes()
    exact = next(
        iter(judged("random", random.propose, found.landscape, GOAL, Terms(noise=0.0), range(1), simulated=False))
    )
    assert exact.regrets[-1] == 0.0


# ---------------------------------------------------------------- the command


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "two.csv").write_text(TABLE)
    (tmp_path / "two.json").write_text(json.dumps(DOCUMENT))
    return tmp_path / "two.csv"


def test_the_library_call(data: Path) -> None:
    runs = replay([data], strategies=("grid", "random"), seeds=2, trials=6)
    assert [(r.strategy, r.seed) for r in runs] == [("grid", 0), ("grid", 1), ("random", 0), ("random", 1)]
    assert list(grouped(runs)) == ["two runtimes"]
    assert load(data.with_suffix(".json")).landscape.name == "two runtimes"


def test_one_file_and_one_strategy_may_stand_alone(data: Path) -> None:
    assert replay(str(data), strategies="grid", seeds=1) == replay([data], strategies=("grid",), seeds=1)


@pytest.mark.parametrize(
    ("terms", "error"),
    [
        ({"seeds": 0}, "nothing-to-play"),
        ({"trials": 0}, "nothing-to-play"),
        ({"strategies": ()}, "nothing-to-play"),
        ({"data": ()}, "nothing-to-play"),
        ({"noise": -1.0}, "not-a-share"),
        ({"noise": math.nan}, "not-a-share"),
        ({"invalid": 1.0}, "not-a-share"),
    ],
)
def test_what_cannot_be_played_is_told(data: Path, terms: Mapping[str, Any], error: str) -> None:
    with pytest.raises(UsageError) as caught:
        replay(**{"data": [data], **terms})
    assert caught.value.id == error


def test_the_command_prints_a_table(data: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    curves = tmp_path / "curves.svg"
    code = main(
        ["replay", str(data), "--strategies", "grid,random", "--seeds", "3", "--trials", "6", "-o", str(curves)]
    )
    told = capsys.readouterr().out
    assert code == 0
    assert "two runtimes: 3 runs each" in told
    assert [line.split()[0] for line in told.splitlines()[1:4]] == ["strategy", "grid", "random"]
    assert "3 3 trials, 67 67 s" in told.splitlines()[2]
    assert ElementTree.fromstring(curves.read_text()).tag.endswith("svg")


@pytest.mark.parametrize("out", ["nowhere/curves.svg", "."])
def test_curves_that_cannot_be_written_are_told_before_anything_is_played(
    data: Path, out: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["replay", str(data), "--strategies", "grid", "--seeds", "1", "-o", str(data.parent / out)]) == 73
    told = capsys.readouterr()
    assert "error[output-unwritable]" in told.err
    assert "played" not in told.out + told.err


def test_the_command_as_json(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(data), "--strategies", "grid", "--seeds", "1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["runs"][0]["strategy"] == "grid"
    assert len(told["runs"][0]["regrets"]) == 6


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(NotFoundError) as caught:
        load(Path("nowhere.csv"))
    assert caught.value.id == "recording-not-found"


def test_an_empty_name_is_no_recording() -> None:
    with pytest.raises(NotFoundError):
        load(Path(""))


def test_shares() -> None:
    assert (share("2%"), share("0.02"), share(" 0 ")) == (0.02, 0.02, 0.0)
    for text in ("2", "x", "-1%"):
        with pytest.raises(UsageError):
            share(text)


def test_texts_of_strangers_stay_inert() -> None:
    runs = [replace(run([0.1, 0.0]), recording="<b>&", simulated=True)]
    assert "&lt;b&gt;&amp; (simulated)" in picture(runs)
    assert "(simulated)" in replayed_text(runs)
    assert replayed_json([run([math.inf, 0.0])])["runs"][0]["regrets"] == [None, 0.0]
