"""Arrivals through the real commands: a rate found and confirmed, tuned for, and refused where it cannot be driven."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from commands import infertune
from infertune.core import history, stats
from infertune.core.errors import UsageError
from infertune.core.goal import parse_goal
from infertune.core.load import Load
from infertune.core.records import Job, MeasureJob, Measurement, Reply
from infertune.edge.shell import LocalShell
from infertune.edge.worker import LocalExecutor
from infertune.study.measure import measure
from infertune.study.serving import closing
from infertune.study.study import Study
from infertune.study.verifying import verify
from infertune.testing.records import a_launch, a_measurement, a_point
from small_models import write_classifier

EASY = ("--limit", "p99 < 500 ms", "--window", "0.1", "--set", "batch=1")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_classifier(tmp_path / "m.onnx", width=512, depth=4)


def test_a_rate_is_found_and_confirmed_three_times(tmp_path: Path, model: Path) -> None:
    done = infertune(tmp_path, "serve-rate", "m.onnx", "--target", "onnxruntime", *EASY, "-o", "run", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["format"] == "infertune.serve-rate/1" and told["arrivals"] == "poisson"
    assert told["rate_per_s"] > 0 and len(told["runs"]) == 3
    assert all(run["unfinished"] == 0 for run in told["runs"])
    assert any(probe["kept"] for probe in told["probes"])
    launches = history.launches(Study.open(tmp_path / "run").entries)
    final = [la.outcome for la in launches[-3:] if isinstance(la.outcome, Measurement)]
    assert [m.sent.rate_per_s for m in final if m.sent] == [told["rate_per_s"]] * 3
    # of the raw samples: a low rate may send too few for a p99 that is printed
    assert all(stats.quantile_ns(m.latencies_ns, 99.0) < 500e6 for m in final)
    assert len({m.load.seed for m in final}) == 3, "every launch has arrivals of its own"


def test_a_person_reads_the_answer_in_words(tmp_path: Path, model: Path) -> None:
    done = infertune(tmp_path, "serve-rate", "m.onnx", "--target", "onnxruntime", *EASY, "--arrivals", "constant")
    assert done.returncode == 0, done.stderr
    assert "samples/s arriving evenly, with p99 < 500 ms" in done.stdout
    assert "sent late p99" in done.stdout


def test_a_limit_that_no_rate_keeps_is_one_error(tmp_path: Path, model: Path) -> None:
    done = infertune(
        tmp_path, "serve-rate", "m.onnx", "--target", "onnxruntime", "--limit", "p50 < 1 ns", "--window", "0.1",
        "-o", "run",
    )  # fmt: skip
    assert done.returncode == 69
    closed = history.closed(Study.open(tmp_path / "run").entries)
    assert closed is not None and closed.status == "nothing_feasible" and "does not hold" in closed.why
    assert [line.split(":")[0] for line in done.stderr.splitlines()[-2:]] == ["error[no-rate]", "hint"]


def test_the_closing_line_says_whether_the_limits_were_kept() -> None:
    goal, kept, broken = parse_goal("max rate, p99 < 50 ms"), a_measurement(100.0, 10.0), a_measurement(100.0, 90.0)
    runs = {m: [a_launch(a_point(), m, purpose="measure")] * 3 for m in (kept, broken)}
    assert closing(goal, [(9.0, runs[broken]), (8.0, runs[kept])]) == "three launches kept the limits"
    failed = closing(goal, [(9.0, runs[broken]), (8.0, runs[broken][:1])])
    assert failed == "2 rates tried, none kept the limits in three launches"
    assert closing(goal, [(9.0, runs[kept][:1])], stopped=True) == "interrupted", "it might have been kept"
    assert closing(goal, [(9.0, runs[kept])], stopped=True) == "three launches kept the limits"


def test_max_rate_is_tuned_for_and_the_winner_served(tmp_path: Path, model: Path) -> None:
    tune = ("tune", "m.onnx", "--goal", "max rate, p90 < 50 ms", "--budget", "12s", "--trials", "2", "--accept-noise")
    done = infertune(tmp_path, *tune, "--target", "onnxruntime", "--knob", "precision=f32", "-o", "run")
    assert done.returncode == 0, done.stderr
    assert "the highest rate at which they may arrive" in done.stdout
    assert "from arrival, at random times" in done.stdout
    served = infertune(tmp_path, "serve-rate", "run", "--limit", "p90 < 500 ms", "--window", "0.2")
    assert served.returncode == 0, served.stderr
    assert "sustains" in served.stdout
    assert infertune(tmp_path, "export", "run", "-o", "bundle").returncode == 0
    assert "arriving at random times (`max rate, p90 < 50 ms`)" in (tmp_path / "bundle" / "README.md").read_text()
    heard = Listening(LocalExecutor(LocalShell()))
    verify(tmp_path / "bundle", launches=1, window_s=0.2, executor=heard)
    assert heard.loads and all(load.is_open for load in heard.loads), "driven by arrivals again"


@dataclass
class Listening:
    """An executor that keeps how its launches were driven."""

    real: LocalExecutor
    loads: list[Load] = field(default_factory=list)

    def run(self, target: str, job: Job, *, timeout_s: float) -> Reply:
        self.loads += [job.plan.load] if isinstance(job, MeasureJob) else []
        return self.real.run(target, job, timeout_s=timeout_s)


def test_measure_takes_arrivals(tmp_path: Path, model: Path) -> None:
    point = ("--set", "batch=2", "--launches", "1", "--window", "0.2", "--target", "onnxruntime", "--json")
    for words in (("single",), ("offline",), ("constant", "--rate", "50")):
        done = infertune(tmp_path, "measure", "m.onnx", *point, "--arrivals", *words)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["rows"][0]["throughput"] > 0
    wrong = infertune(tmp_path, "measure", "m.onnx", "--arrivals", "poisson")
    assert wrong.returncode == 2 and "error[rate-missing]" in wrong.stderr


def test_a_target_that_cannot_be_driven_so_is_refused(tmp_path: Path, model: Path) -> None:
    from infertune.core.load import Load
    from infertune.core.records import Plan

    with pytest.raises(UsageError) as refused:
        measure(model, out=tmp_path / "run", targets=["qaic"], plan=Plan(load=Load(arrivals="offline")))
    assert refused.value.id == "load-not-supported"
