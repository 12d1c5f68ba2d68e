"""The simulated vendor tools, run in this process: flags, lines, files, exit codes, and simulated time."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from venv import EnvBuilder

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infertune.core.errors import CreateError, UsageError
from infertune.targets.qaic.parse import parse_cards, parse_stats, written_files
from infertune.targets.qaic.profile import parse_profile
from infertune.targets.qaic.sim.compiling import crowding
from infertune.targets.qaic.sim.install import CONFIGURATOR, LATENCY_STATS, install
from infertune.targets.qaic.sim.programs import compiler, profiles, query, runner
from infertune.targets.qaic.sim.programs.container import NotAProgram, pack, read_program, unpack
from infertune.targets.qaic.sim.programs.faults import parse_faults
from infertune.targets.qaic.sim.programs.tree import Load, Tree
from infertune.targets.qaic.sim.programs.world import Main, World, ended
from infertune.testing.clock import FakeClock
from small_models import write_classifier


@dataclass
class Bench:
    """A simulated SDK and a place to work, with what the programs said."""

    root: Path
    model: Path
    clock: FakeClock = field(default_factory=FakeClock)
    out: str = ""
    err: str = ""

    def call(self, main: Main, argv: Sequence[str], faults: str = "") -> int:
        self.out = self.err = ""
        tree = Tree(self.root)
        world = World(tree, tree.settings(), self.clock, parse_faults(faults), self._say, self._complain)
        return ended(main, world, list(argv))

    def _say(self, text: str) -> None:
        self.out += text

    def _complain(self, line: str) -> None:
        self.err += line + "\n"

    def compile(self, into: Path, *more: str, faults: str = "") -> int:
        words = ["-aic-hw", f"-m={self.model}", "-convert-to-fp16", "-aic-hw-version=2.0", f"-aic-binary-dir={into}"]
        return self.call(compiler.main, [*words, *more], faults)

    def run(self, program: Path, *more: str, faults: str = "") -> int:
        return self.call(runner.main, ["-t", str(program), *more], faults)


BATCH4 = ("-onnx-define-symbol=batch,4", "-stats-batchsize=4", "-aic-num-cores=2", "-mos=1", "-ols=2")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    root = tmp_path_factory.mktemp("sdk")
    install(root, card="standard", cards=1, time_scale=1.0, seed=1, generation="1.10")
    return Bench(root, write_classifier(tmp_path_factory.mktemp("model") / "m.onnx", width=256))


@pytest.fixture(scope="module")
def program(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Path:
    into = tmp_path_factory.mktemp("program") / "qpc"
    assert bench.compile(into, *BATCH4) == 0, bench.err
    return into


def test_a_compile_says_what_the_vendor_s_says(bench: Bench, tmp_path: Path) -> None:
    before = bench.clock.now_ns()
    assert bench.compile(tmp_path / "a", *BATCH4) == 0
    assert bench.out.splitlines() == [
        f"Reading ONNX Model from {bench.model}",
        "Compile started ............... ",
        "Compiling model with FP16 precision.",
        f"Generated binary is present at {tmp_path / 'a'}",
    ]
    noted = Tree(bench.root).ledger()[-1]
    assert (bench.clock.now_ns() - before) / 1e9 == pytest.approx(noted["simulated_s"], abs=0.01)
    made = read_program((tmp_path / "a" / "programqpc.bin").read_bytes())
    assert (made.batch, made.how.cores, made.how.mos, made.how.ols) == (4, 2, 1, 2)


def test_a_compile_beside_another_takes_longer(bench: Bench, tmp_path: Path) -> None:
    """Beside one of a living program, not beside what a dead one left behind."""
    others = bench.root / "state" / "compiling"
    others.mkdir(parents=True, exist_ok=True)
    took = []
    for number, pid in enumerate(("0", str(os.getppid()))):
        (others / f"{pid}.json").write_text("{}")
        assert bench.compile(tmp_path / str(number), *BATCH4) == 0
        took.append(Tree(bench.root).ledger()[-1]["simulated_s"])
        (others / f"{pid}.json").unlink()
    assert took[1] == pytest.approx(took[0] * crowding(1), abs=0.01)
    assert took[1] > took[0]


DOCUMENTED = (
    "-convert-to-quantize", "-quantization-schema=symmetric", "-quantization-schema-activations=asymmetric",
    "-quantization-schema-constants=symmetric_with_uint8", "-quantization-calibration=KLMinimization",
    "-percentile-calibration-value=99.9", "-enable-channelwise", "-enable-rowwise", "-num-histogram-bins=512",
    "-use-random-input-data=gaussian", "-aic-pmu-recipe=AxiRd", "-aic-pmu-events=1,2", "-operators-supported=onnx",
    "-mxint8-kv-cache", "-retained-state", "-split-retained-state-io", "-mdts-mos=1", "-user-tiled",
)  # fmt: skip
"""Flags that the vendor documents and the simulated compiler refuses."""


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["-aic-numcores=2"], "Unknown command line argument '-aic-numcores'"),
        (["-ols"], "needs a value"),
        (["-ols=two"], "not a value"),
        (["-ols=0"], "must be 1 to 64"),
        (["-multicast-weights=yes"], "does not take a value"),
        (["model.onnx"], "positional"),
        (["-aic-num-cores=15"], "exceeds the 14"),
        (["-aic-num-cores=2", "-mos=3"], "exceeds number of cores"),
        (["-mos=x"], "invalid for integer list"),
        (["-aic-num-cores=4", "-sdp-cluster-sizes=3,2"], "do not add up"),
        (["-onnx-define-symbol=batch"], "is not <symbol>,<value>"),
        (["-aic-hw-version=3.0"], "it takes 2.0, ai100"),
        (["-load-profile=p.yaml"], "not simulated"),
        (["-aic-depth-first-mem=16"], "needs -aic-enable-depth-first"),
        *(([flag], f"{flag.partition('=')[0]} is not simulated") for flag in DOCUMENTED),
        (["-onnx-define-symbol=batch,3", "-batchsize=8"], "-batchsize 8 contradicts -onnx-define-symbol=batch,3"),
        ([], "Undefined symbol 'batch'"),
        (["-onnx-define-symbol=batch,4", "-onnx-define-symbol=nosuch,7"], "no symbol 'nosuch'"),
    ],
)
def test_the_compiler_is_strict(bench: Bench, tmp_path: Path, more: list[str], says: str) -> None:
    assert bench.compile(tmp_path / "a", *more) == 1
    assert says in bench.err
    assert not (tmp_path / "a").exists()


def test_a_folder_that_holds_a_program_is_not_used_again(bench: Bench, program: Path) -> None:
    assert bench.compile(program, *BATCH4) == 1
    assert "already holds" in bench.err


def test_both_styles_of_giving_a_value_are_taken(bench: Bench, tmp_path: Path) -> None:
    assert bench.compile(tmp_path / "a", "-onnx-define-symbol", "batch,2", "--ols", "3") == 0


def test_flags_that_change_nothing_here_are_accepted(bench: Bench, tmp_path: Path) -> None:
    flags = ("-num-iter=10", "-aic-num-of-instances=2", "-profiling-threads=2", "-io-crc", "-io-crc-stride=256")
    assert bench.compile(tmp_path / "a", *BATCH4, "-batchsize=4", *flags) == 0, bench.err


def test_a_table_of_the_cards_is_printed_until_somebody_interrupts(bench: Bench) -> None:
    class Patient(FakeClock):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            if self.now_ns() - began > 2.5e9:
                raise KeyboardInterrupt

    watching = Bench(bench.root, bench.model, Patient())
    began = watching.clock.now_ns()
    assert watching.call(query.main, ["-t", "1"]) == 0
    lines = watching.out.splitlines()
    assert [line[:3] for line in lines] == ["Sim", "QID", "0  "] * 3
    assert "NSP Used / Total" in lines[1] and "0 / 14" in lines[2]
    assert watching.call(query.main, ["-t", "1"], "card-error") == 0
    assert watching.out.splitlines()[2].split() == ["0", *["Invalid"] * 8]


@pytest.mark.parametrize("program", [compiler, runner, query])
def test_help_says_what_every_flag_is(bench: Bench, program: ModuleType) -> None:
    assert bench.call(program.main, ["-h"]) == 0
    lines = [line.strip() for line in bench.out.splitlines() if line.startswith("  -")]
    told = {line.split(" ")[0].rstrip(","): line for line in lines}
    assert len(lines) == len(told) == len(program.FLAGS)
    assert all(f.says and told[f.names[0]].endswith(f.says) for f in program.FLAGS)


def test_what_is_no_model_does_not_compile(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_text("hello")
    words = ["-aic-hw", "-convert-to-fp16", f"-m={tmp_path / 'm.onnx'}", f"-aic-binary-dir={tmp_path / 'a'}"]
    assert bench.call(compiler.main, words) == 1
    assert "cannot load model" in bench.err


def test_a_run_prints_a_result_that_adds_up(bench: Bench, program: Path) -> None:
    before = bench.clock.now_ns()
    assert bench.run(program, "-a", "3", "-S4", "--time=2") == 0
    lines = bench.out.splitlines()
    assert lines[:3] == ["Using bounded random inputs", profiles.MARK, " ---- Stats ----"]
    stats = parse_stats(bench.out)
    assert stats.batch == 4
    assert 2_000_000 < stats.duration_us < 2_100_000
    assert (bench.clock.now_ns() - before) / 1e9 > 2.4


@pytest.mark.parametrize(
    "more",
    [
        ["-D", "0:1"], ["--dev-list", "0"], ["-o", "x.raw"], ["--aic-profiling-duration", "100"],
        ["--aic-profiling-sampling-rate", "half"], ["--aic-batch-input-directory", "x"], ["--auto-batch-input"],
        ["--aic-batch-input-file-list", "x"], ["--aic-batch-json-input", "x"], ["--dump-input-buffers"],
    ],
)  # fmt: skip
def test_what_the_runner_does_not_simulate_it_says(bench: Bench, program: Path, more: list[str]) -> None:
    assert bench.run(program, *more) == 1
    assert "is not simulated" in bench.err and len(bench.err.splitlines()) == 1


def test_flags_of_the_runner_that_change_nothing_here_are_accepted(bench: Bench, program: Path) -> None:
    flags = ["--aic-profiling-reporting-rate", "500", "--aic-batch-max-memory", "1024"]
    flags += ["--aic-profiling-sampling-rate", "full"]
    assert bench.run(program, "-T", "8", "-l", "-r", "500", *flags) == 0, bench.err


def test_iterations_are_counted_per_instance(bench: Bench, program: Path) -> None:
    assert bench.run(program, "-a", "3", "-n", "50") == 0
    assert parse_stats(bench.out).inferences == 150


def test_more_requests_in_flight_wait_longer_and_obey_little(bench: Bench, program: Path, tmp_path: Path) -> None:
    for set_size in (1, 4):
        folder = tmp_path / str(set_size)
        folder.mkdir()
        words = ["-a", "2", "-S", str(set_size), "--time", "1", "--aic-profiling-type", "latency"]
        more = ["--aic-profiling-out-dir", str(folder), "--aic-profiling-num-samples", "99999"]
        assert bench.run(program, *words, *more, "--aic-profiling-start-iter", "10") == 0
        stats = parse_stats(bench.out)
        files = written_files(bench.out)
        assert [Path(f).name for f in files] == [f"aic-profiling-program-{i}-latency.txt" for i in (0, 1)]
        latency = np.mean([parse_profile(Path(f).read_text())["totalRoundtripTimeUs"].mean() for f in files])
        in_flight = stats.inferences / stats.duration_us * latency
        assert 0.6 * 2 * set_size < in_flight <= 1.02 * 2 * set_size


def test_profiles_keep_the_published_identities(bench: Bench, program: Path, tmp_path: Path) -> None:
    words = ["--aic-profiling-type", "latency", "--aic-profiling-out-dir", str(tmp_path), "-n", "300"]
    assert bench.run(program, *words, "--aic-profiling-num-samples", "200") == 0
    profile = parse_profile((tmp_path / "aic-profiling-program-0-latency.txt").read_text())
    assert len(profile) == 200
    np.testing.assert_array_equal(profile["hostRoundTripUs"], profile["exectoVcUs"] + profile["execToCompleteUs"])
    assert np.all(profile["execTotalUs"] > profile["hostRoundTripUs"])
    assert np.all(profile["totalRoundtripTimeUs"] >= profile["execTotalUs"])


def test_an_older_profile_is_deleted_first(bench: Bench, program: Path, tmp_path: Path) -> None:
    words = ["--aic-profiling-type", "latency", "--aic-profiling-out-dir", str(tmp_path), "-n", "20"]
    bench.run(program, *words)
    assert "Deleting" not in bench.out
    bench.run(program, *words)
    assert bench.out.index("Deleting previous file: ") < bench.out.index("Writing file:")


def test_traces_are_made_for_chrome(bench: Bench, program: Path, tmp_path: Path) -> None:
    words = ["--aic-profiling-type", "trace", "--aic-profiling-type", "stats", "--aic-profiling-out-dir", str(tmp_path)]
    assert bench.run(program, *words, "-n", "20", "--aic-profiling-num-samples", "5") == 0
    trace = json.loads((tmp_path / "aic-profiling-program-0-trace.json").read_text())
    events = trace["traceEvents"]
    assert trace["otherData"]["simulated"] == "true"
    assert len(events) == 10
    assert {e["ph"] for e in events} == {"X"}
    summary = (tmp_path / "aic-profiling-program-0-activation-0-inf-0.txt").read_text()
    assert summary.startswith("Simulated card: ") and "ExecTimeUs" in summary


def test_op_stats_tell_how_long_the_card_computes_however_many_requests_wait(bench: Bench, tmp_path: Path) -> None:
    assert bench.compile(tmp_path / "a", *BATCH4, "-aic-profiling-type=stats") == 0
    kinds = [word for kind in ("stats", "trace", "latency") for word in ("--aic-profiling-type", kind)]
    more = ["--aic-profiling-out-dir", str(tmp_path), "--aic-profiling-num-samples", "9999", "-n", "400"]
    assert bench.run(tmp_path / "a", "-a", "2", "-S", "10", *kinds, *more) == 0
    printed = parse_stats(bench.out)
    service_us = 2 * printed.duration_us / printed.inferences
    summary = (tmp_path / "aic-profiling-program-0-activation-0-inf-0.txt").read_text()
    for text in (bench.out, summary):
        told = next(line for line in text.splitlines() if line.startswith("ExecTimeUs, "))
        assert float(told.split(", ")[1]) == pytest.approx(service_us, rel=0.05)
    profile = parse_profile((tmp_path / "aic-profiling-program-0-latency.txt").read_text())
    assert np.median(profile["devInfPerSec"]) == pytest.approx(4e6 / service_us, rel=0.05)
    events = json.loads((tmp_path / "aic-profiling-program-0-trace.json").read_text())["traceEvents"]
    for thread in {event["tid"] for event in events}:
        own = sorted((e["ts"], e["ts"] + e["dur"]) for e in events if e["tid"] == thread)
        assert all(start >= end - 0.01 for (_, end), (start, _) in pairwise(own))


def test_a_program_with_op_stats_tells_more_and_is_slower(bench: Bench, program: Path, tmp_path: Path) -> None:
    assert bench.compile(tmp_path / "a", *BATCH4, "-aic-profiling-type=stats") == 0
    bench.run(program, "-n", "200")
    plain = parse_stats(bench.out).samples_per_s
    bench.run(tmp_path / "a", "-n", "200")
    assert "Device Performance:" in bench.out
    assert parse_stats(bench.out).samples_per_s < 0.97 * plain


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--tim", "2"], "Unknown command line argument '--tim'"),
        (["-a", "0"], "must be 1 to 64"),
        (["-a", "8"], "Failed to activate network: 16 NSPs needed, QID 0 has 14"),
        (["-d", "7"], "Device not found"),
        (["--aic-profiling-type", "latency"], "needs --aic-profiling-out-dir"),
        (["--aic-profiling-out-dir", "nowhere"], "does not exist"),
        (["-i", "nowhere.raw"], "Failed to open input file"),
        (["stray"], "unexpected argument"),
    ],
)
def test_the_runner_is_strict(bench: Bench, program: Path, more: list[str], says: str) -> None:
    assert bench.run(program, *more) == 1
    assert says in bench.err


@pytest.mark.parametrize(
    "more",
    [
        ["--aic-profiling-type", "latency", "--aic-profiling-out-dir", "/proc"],
        ["--write-output-dir", "/proc"],
    ],
)
def test_files_that_cannot_be_written_end_a_run_in_a_line(bench: Bench, program: Path, more: list[str]) -> None:
    assert bench.run(program, "-n", "3", *more) == 1
    assert bench.err.startswith("Error: cannot use /proc/") and bench.err.count("\n") == 1


def test_a_report_that_cannot_be_written_is_told_in_a_line(bench: Bench) -> None:
    assert bench.call(query.main, ["-j", "/proc/none/cards.json"]) == 1
    assert bench.err == "Error: cannot use /proc/none/cards.json: No such file or directory\n"


@pytest.mark.parametrize("more", [["--time", "1000000"], ["-n", "1000000000"]])
def test_a_run_that_no_memory_holds_is_refused(bench: Bench, program: Path, more: list[str]) -> None:
    assert bench.run(program, *more) == 1
    assert "is not simulated" in bench.err


def test_ratios_may_begin_with_their_point(bench: Bench, tmp_path: Path) -> None:
    batch = "-onnx-define-symbol=batch,1"
    assert bench.compile(tmp_path / "p", batch, "-vtcm-working-set-limit-ratio=.75") == 0
    assert bench.compile(tmp_path / "q", batch, "-vtcm-working-set-limit-ratio=.") == 1


def test_a_program_that_is_none_is_refused(bench: Bench, tmp_path: Path) -> None:
    assert bench.run(tmp_path) == 1
    assert "Failed to open QPC" in bench.err
    (tmp_path / "programqpc.bin").write_bytes(b"hello")
    assert bench.run(tmp_path) == 1
    assert "Failed to load QPC" in bench.err


def test_what_another_program_holds_is_not_free(bench: Bench, program: Path) -> None:
    with Tree(bench.root).holding(Load(qid=0, nsps=12, memory_mb=10)):
        assert bench.run(program, "-a", "2") == 1
        assert bench.call(query.main, ["-q"]) == 0
        assert parse_cards(bench.out)[0].count("Nsp Free") == 2
    assert bench.run(program, "-a", "2", "-n", "5") == 0


def test_what_a_dead_program_held_is_free(bench: Bench, program: Path) -> None:
    running = bench.root / "state" / "running"
    running.mkdir(exist_ok=True)
    (running / "999999999.json").write_text(json.dumps({"qid": 0, "nsps": 14, "memory_mb": 1}))
    assert bench.run(program, "-n", "5") == 0


def test_the_notebook_s_joined_line_is_taken_apart(bench: Bench, program: Path, tmp_path: Path) -> None:
    assert bench.run(program, "-S", "1--aic-profiling-type", "latency", "--aic-profiling-out-dir", str(tmp_path)) == 0
    assert len(os.listdir(tmp_path)) == 1


def test_drift_makes_each_run_slower(bench: Bench, program: Path) -> None:
    rates = []
    for _ in range(3):
        bench.run(program, "-n", "50", faults="drift=0.1")
        rates.append(parse_stats(bench.out).samples_per_s)
    assert rates[0] > rates[1] > rates[2]


def test_a_reset_card_counts_its_runs_for_faults_anew(bench: Bench, program: Path) -> None:
    fault = "card-error@after=2"
    assert bench.call(query.main, ["-s"]) == 0
    for _ in range(2):
        assert [bench.run(program, "-n", "1", faults=fault) for _ in range(3)] == [0, 0, 1]
        assert bench.run(program, "-n", "1") == 1  # it stays broken
        assert bench.call(query.main, ["-s"]) == 0
        assert bench.call(query.main, ["-q"], faults=fault) == 0 and "Status:Ready" in bench.out


def test_installing_again_resets_the_cards(tmp_path: Path) -> None:
    install(tmp_path)
    tree = Tree(tmp_path)
    assert [tree.count_run(0).since_reset for _ in range(2)] == [0, 1]
    install(tmp_path)
    assert (tree.card(0).since_reset, tree.card(0).runs) == (0, 2)


def test_a_neighbour_is_met_now_and_then(bench: Bench, program: Path) -> None:
    rates = []
    for _ in range(12):
        bench.run(program, "-n", "50", faults="noisy-neighbour=0.5")
        rates.append(parse_stats(bench.out).samples_per_s)
    slow = sum(rate < 0.93 * max(rates) for rate in rates)
    assert 1 <= slow <= 11


def test_cards_of_a_tree_are_told_with_their_field(bench: Bench, tmp_path: Path) -> None:
    assert bench.call(query.main, ["-q", "-d", "0"]) == 0
    (card,) = parse_cards(bench.out)
    assert (card.nsps, card.simulated, card.text("Sku Type")) == (14, True, "PCIe")
    assert bench.call(query.main, ["-d", "3"]) == 255
    assert bench.call(query.main, ["-j", str(tmp_path / "q.json")]) == 0
    assert json.loads((tmp_path / "q.json").read_text())[0]["Nsp Total"] == "14"


@pytest.mark.parametrize("name", [CONFIGURATOR, LATENCY_STATS])
def test_the_notebook_s_python3_need_not_be_infertune_s(tmp_path: Path, name: str) -> None:
    install(tmp_path / "sdk")
    EnvBuilder(symlinks=True).create(tmp_path / "other")
    argv = [str(tmp_path / "other/bin/python3"), str(tmp_path / "sdk" / name), "-h"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.lower().startswith("usage: ")


def test_an_ultra_card_is_four_devices(tmp_path: Path) -> None:
    assert len(install(tmp_path / "u", card="ultra", cards=2).qids) == 8


@pytest.mark.parametrize(
    ("text", "id_"), [("bussy", "unknown-fault"), ("busy@qid=x", "fault-syntax"), ("busy@color=1", "fault-syntax")]
)
def test_a_fault_that_is_none_is_refused(text: str, id_: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_faults(text)
    assert caught.value.id == id_


def test_faults_strike_where_and_when_they_are_told_to() -> None:
    (fault,) = parse_faults("busy@cores=4,after=2,times=3")
    assert [run for run in range(8) if fault.strikes({"cores": 4, "run": run})] == [2, 3, 4]
    assert not fault.strikes({"cores": 2, "run": 2})


def test_somebody_s_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("x")
    with pytest.raises(CreateError, match="no simulated SDK"):
        install(tmp_path)
    with pytest.raises(UsageError, match="kind of card"):
        install(tmp_path, card="prp")


@given(st.dictionaries(st.text("abc.", min_size=1, max_size=9), st.binary(max_size=40), max_size=4))
def test_a_container_gives_back_what_was_packed(segments: dict[str, bytes]) -> None:
    packed = pack(segments)
    assert unpack(packed) == segments
    assert len(packed) % 8 == 0


@given(st.binary(max_size=60))
def test_a_damaged_container_is_refused(data: bytes) -> None:
    with pytest.raises(NotAProgram):
        read_program(data)
