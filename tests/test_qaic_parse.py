"""Reading what the vendor's tools print and write: whole lines only, numbers computed again, failures told apart."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infertune.core import stats
from infertune.core.seams import CandidateFailed
from infertune.core.space import Point
from infertune.targets.qaic.configurator_log import SearchPoint, parse_log
from infertune.targets.qaic.parse import Stats, failure, health, parse_cards, parse_stats, written_files
from infertune.targets.qaic.profile import Garbled, breakdown, parse_profile, render
from infertune.targets.qaic.run import RunResult, measurement

PUBLISHED = [
    ("InferenceCnt 6517 TotalDuration 20215390us BatchSize 8 Inf/Sec 2579.025", 2579.025),
    ("InferenceCnt 4252 TotalDuration 10001975us BatchSize 1 Inf/Sec 425.116", 425.116),
    ("InferenceCnt 7000 TotalDuration 10001468us BatchSize 1 Inf/Sec 699.897", 699.897),
    ("InferenceCnt 5787 TotalDuration 20018960us BatchSize 8 Inf/Sec 2312.608", 2312.608),
    ("InferenceCnt 21961 TotalDuration 20063118us BatchSize 4 Inf/Sec 4378.382", 4378.382),
    ("InferenceCnt 13618 TotalDuration 10001401us BatchSize 1 Inf/Sec 1361.609", 1361.609),
]
HEAD = "Using bounded random inputs\n ---- Stats ----\n"


@pytest.mark.parametrize(("line", "rate"), PUBLISHED)
def test_a_published_result_is_computed_again(line: str, rate: float) -> None:
    assert parse_stats(f"{HEAD}{line}\n").samples_per_s == pytest.approx(rate, abs=1e-3)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no result"),
        (HEAD, "no result"),
        (HEAD + PUBLISHED[0][0], "not whole"),
        (HEAD + PUBLISHED[0][0][:-2] + "\n", None),
        (HEAD + "InferenceCnt 6517 TotalDuration 20215390us BatchSize 8 Inf/Sec 257\n", "printed rate"),
        (HEAD + "InferenceCnt 6517 TotalDuration 20215390us Batch\n", "not whole"),
        (HEAD + "InferenceCnt 0 TotalDuration 20215390us BatchSize 8 Inf/Sec 0.000\n", "counts nothing"),
        (HEAD + "InferenceCnt 1 TotalDuration 0us BatchSize 8 Inf/Sec inf\n", "not whole"),
        (HEAD + "InferenceCnt -4 TotalDuration 9us BatchSize 8 Inf/Sec 1\n", "not whole"),
        (HEAD + f"InferenceCnt {'9' * 400} TotalDuration 9us BatchSize 8 Inf/Sec 1\n", "not whole"),
    ],
)
def test_a_result_that_is_not_whole_gives_no_number(text: str, says: str | None) -> None:
    if says is None:  # one digit less still agrees within a thousandth
        assert parse_stats(text).inferences == 6517
        return
    with pytest.raises(Garbled, match=says):
        parse_stats(text)


@given(cut=st.integers(min_value=0, max_value=len(HEAD + PUBLISHED[0][0])))
def test_no_prefix_of_an_output_is_taken_for_a_result(cut: int) -> None:
    with pytest.raises(Garbled):
        parse_stats((HEAD + PUBLISHED[0][0] + "\n")[:cut])


def test_files_are_found_in_the_output() -> None:
    text = HEAD + "Writing file:./a b/aic-profiling-program-0-latency.txt\nWriting file:./cut"
    assert written_files(text) == ("./a b/aic-profiling-program-0-latency.txt",)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Error: Out of device memory", "memory"),
        ("open /dev/accel0: Permission denied", "device"),
        ("Device busy: not enough NSPs", "device"),
        ("Device not ready", "device"),
        ("QStatus: QS_BUSY", "device"),
        ("Insufficient NSPs: 32 requested, 16 available", "device"),
        ("Activation failed: NSP resource not available", "device"),
        ("Network load failed: out of DRAM", "memory"),
        ("terminate called after throwing an instance of 'std::bad_alloc'", "memory"),
        ("WARNING: device busy-waiting is off\nError: bad QPC", "crash"),
        ("[warning] device busy, trying again\nError: bad QPC", "crash"),
        ("busyness is no state", "crash"),
        ("Segmentation fault", "crash"),
        ("", "crash"),
    ],
)
def test_failures_are_told_apart(text: str, kind: str) -> None:
    assert failure(text, "crash", "ended with 1")[0] == kind


CARDS = """LRT QC_IMAGE_VERSION: x
Number of devices: 2
QID 0
\tStatus:Ready
\tPCI Address:0000:01:00.0
\tFW Version:1.10.0
\tDram Total:32692 MB
\tDram Free:32000 MB
\tNsp Total:16
\tNsp Free:14
\tSku Type:PCIe Pro
\tSoC temperature(degree C):38.50
\tBoard power(Watts):21.25
QID 3
\tStatus:Error
\tPCI Address:0000:02:00.0
\tDev Link: 
"""  # noqa: W291


def test_cards_tell_what_they_are() -> None:
    ready, broken = parse_cards(CARDS)
    assert (ready.qid, ready.nsps, ready.memory_bytes) == (0, 16, 32692 << 20)
    assert ready.number("SoC temperature") == 38.5
    assert health(ready) == "ready"
    assert (broken.qid, broken.ready) == (3, False)
    assert "group `qaic`" in health(broken)
    assert "mhi3/soc_reset" in health(broken)
    assert "administrator" in health(broken)


def test_a_ready_card_without_its_nsps_is_not_believed() -> None:
    with pytest.raises(Garbled, match="NSPs"):
        parse_cards("QID 0\n\tStatus:Ready\n")


def test_a_card_that_tells_nothing_leaves_the_others_as_they_are() -> None:
    ready, _ = parse_cards(CARDS)
    for strange in ("QID 7\n\tStatus:Ready\n", "QID 7\nFailed to open the device\n"):
        first, _, last = parse_cards(CARDS + strange)
        assert first == ready
        assert (last.qid, last.ready) == (7, False)
        assert health(last).startswith("unknown: ") and "administrator" in health(last)


def test_fields_may_be_set_in_by_spaces() -> None:
    assert parse_cards(CARDS.replace("\t", "    ").replace("QID 0", "QID: 0")) == parse_cards(CARDS)


COLUMNS = (
    "Sample", "queueDepth", "numInfInQueue", "hostRoundTripUs", "enqTimeUs", "preProcTimeUs", "submitTimeUs",
    "execTotalUs", "exectoVcUs", "execToCompleteUs", "postProcUs", "totalRoundtripTimeUs",
)  # fmt: skip
ROWS = [
    "0, 0, 1, 2181, 1.9, 4.6, 1.5, 2231.9, 6, 2175, 2.3, 2284.6",
    "1, 0, 1, 2183, 1.9, 4.6, 1.5, 2233.9, 6, 2177, N/A, 2286.6",
]
FILE = render(COLUMNS, ROWS, ["a", "b", "c", "d"])


def test_a_profile_is_read_by_its_column_names() -> None:
    profile = parse_profile(FILE)
    assert len(profile) == 2
    assert profile["totalRoundtripTimeUs"].tolist() == [2284.6, 2286.6]
    assert math.isnan(profile["postProcUs"][1])
    assert profile.times[0] == "hostRoundTripUs"


def test_the_four_phases_add_up_to_the_whole() -> None:
    profile = parse_profile(FILE)
    assert sum(part[0] for part in breakdown(profile).values()) == pytest.approx(2284.6)
    assert breakdown(profile)["device"][0] == 2175


def test_a_cut_last_line_does_not_count() -> None:
    profile = parse_profile(FILE[:-2])
    assert (len(profile), profile.dropped) == (1, 1)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        ("\n\n", "empty"),
        ("hello\n", "no latency profile"),
        (render(COLUMNS, [], ["a"] * 4), "no samples"),
        (render(COLUMNS[:-1], [ROWS[0][:-8]], ["a"] * 4), "lacks totalRoundtripTimeUs"),
        (render(COLUMNS, [ROWS[0][:-8], ROWS[1]], ["a"] * 4), "line 6 has 11 columns"),
        (render(COLUMNS, [ROWS[0][:-6] + "x"], ["a"] * 4), "instead of a number"),
        (render(COLUMNS, [ROWS[0][:-6] + "-1"], ["a"] * 4), "no time"),
        (render(COLUMNS, [ROWS[0][:-6] + "inf"], ["a"] * 4), "no time"),
        (render(COLUMNS, [ROWS[0][:-6] + "1e300"], ["a"] * 4), "no time"),
    ],
)
def test_a_damaged_profile_says_where(text: str, says: str) -> None:
    with pytest.raises(Garbled, match=says):
        parse_profile(text)


POINT = Point.of("qaic", "qid0", {"batch": 1, "instances": 1, "set_size": 1})
COUNTED = Stats(inferences=10, duration_us=23_000, batch=1)


def result_of(*rows: str) -> RunResult:
    return RunResult(stats=COUNTED, profiles=(parse_profile(render(COLUMNS, rows, ["a"] * 4)),), wall_s=1.0)


def test_a_part_of_a_request_that_is_not_there_leaves_the_parts_made_of_it_out() -> None:
    found = measurement(result_of(*ROWS), POINT, 1, simulated=False)
    assert list(found.latencies_ns) == [2284600, 2286600]
    assert {phase.name for phase in found.phases} == {"kernel driver", "device"}


def test_a_request_whose_total_is_not_there_is_counted_and_not_timed() -> None:
    untimed = ROWS[0].replace("2284.6", "N/A")
    found = measurement(result_of(ROWS[0], untimed, ROWS[0]), POINT, 1, simulated=False)
    assert list(found.latencies_ns) == [2284600, 2284600]
    assert stats.throughput(found) == pytest.approx(COUNTED.samples_per_s)
    assert dict(found.settings)["untimed"] == "1"
    with pytest.raises(CandidateFailed) as raised:
        measurement(result_of(untimed), POINT, 1, simulated=False)
    assert "N/A" in raised.value.failed.message


LOG = """2023-09-18 18:36:37.131 - [INFO]: Running optimized search
2023-09-18 18:36:37.169 - [INFO]: Running optimization algorithm from initial value: (cores=1, mos=[1], ols=1, batchSize=1, instances=14)
2023-09-18 18:36:37.169 - [INFO]: Evaluating the following SearchPoints: [(cores=1, mos=[1], ols=1, batchSize=1, instances=14)]
2023-09-18 18:36:55.000 - [INFO]: Evaluating the following SearchPoints: [(cores=1, mos=[1], ols=1, batchSize=1, instances=13), (cores=1, mos=[1], ols=2, batchSize=1, instances=14)]
 OptimizerStatus                                        InitialValue  cores  mos  ols  batchSize  instances  Objective (inf/sec)
0 SUCCESS (cores=2, mos=[1], ols=1, batchSize=1, instances=7)      2  [1]    3          8          7              2538.75
2023-09-18 18:37:37.169 - [INFO]: Evaluating the following SearchPoints: [(cores=1, mos=[1]"""  # noqa: E501


def test_a_configurator_log_gives_its_rounds_and_results() -> None:
    log = parse_log(LOG)
    first = SearchPoint(cores=1, mos=1, ols=1, batch=1, instances=14)
    assert log.starts == (first,)
    assert [len(points) for points in log.rounds] == [1, 2]
    assert log.results[0].status == "SUCCESS"
    assert log.results[0].objective == 2538.75
    assert log.results[0].point == SearchPoint(cores=2, mos=1, ols=3, batch=8, instances=7)


def test_what_options_add_to_points_and_tables_is_passed_over() -> None:
    log = parse_log(
        "Evaluating the following SearchPoints: [(cores=8, mos=[1, 2], ols=1, batchSize=2, "
        "sdpClusterSizes=[4, 4], splitSize=1024, instances=2, setSize=3)]\n"
        "  cores mos ols batchSize instances Objective (inf/sec) deallocDelay sdpClusterSizes\n"
        "0     8 [1]   1         2         2             1000.50            2             4,4\n"
    )
    assert log.rounds == ((SearchPoint(cores=8, mos=1, ols=1, batch=2, instances=2, set_size=3),),)
    assert (log.results[0].status, log.results[0].objective) == ("", 1000.5)


def test_stats_need_no_printing() -> None:
    assert Stats(inferences=10, duration_us=1_000_000, batch=8).samples_per_s == 80.0
