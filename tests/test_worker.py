"""Worker processes: whole frames only, deadlines that hold, no survivors, failures as data."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infertune.core import wire
from infertune.core.errors import DataError
from infertune.core.records import (
    Broken,
    BuildJob,
    Failed,
    Feed,
    Found,
    MeasureJob,
    Plan,
    ProbeJob,
    Refused,
    WorkerReply,
)
from infertune.core.seams import Done
from infertune.core.space import Point
from infertune.edge.scratch import sweep
from infertune.edge.shell import LocalShell, passed_environment
from infertune.edge.worker import LocalExecutor, accepted, death, read_frame, write_frame
from infertune.targets.worker import failure_kind, safely, told
from infertune.testing.records import a_model


@given(payload=st.binary(max_size=200), cut=st.integers(min_value=1, max_value=220))
def test_a_frame_counts_only_when_whole(tmp_path_factory: pytest.TempPathFactory, payload: bytes, cut: int) -> None:
    path = tmp_path_factory.mktemp("frames") / "reply.bin"
    write_frame(str(path), payload)
    whole = path.read_bytes()
    assert read_frame(str(path)) == payload
    path.write_bytes(whole[: max(0, len(whole) - cut)])
    assert read_frame(str(path)) is None


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "reply.bin"
    write_frame(str(path), b"hello")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    assert read_frame(str(path)) is None
    assert read_frame(str(tmp_path / "none")) is None


def run_python(code: str, tmp_path: Path, timeout_s: float = 60.0) -> Done:
    return LocalShell().run(
        [sys.executable, "-c", code], timeout_s=timeout_s, log=str(tmp_path / "log.txt"), env=None, cwd=None
    )


def test_output_and_exit_code_come_back(tmp_path: Path) -> None:
    done = run_python("print('to stdout'); import sys; print('to stderr', file=sys.stderr); sys.exit(3)", tmp_path)
    assert (done.code, done.timed_out) == (3, False)
    assert "to stdout" in done.tail and "to stderr" in done.tail


HANGS_WITH_CHILDREN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for detach in (False, True):
    child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=detach)
    print('child', child.pid, flush=True)
time.sleep(600)
"""


def test_a_deadline_ends_the_whole_tree(tmp_path: Path) -> None:
    done = run_python(HANGS_WITH_CHILDREN, tmp_path, timeout_s=2.0)
    children = [int(line.split()[1]) for line in done.tail.splitlines() if line.startswith("child")]
    assert done.timed_out and done.code == -signal.SIGKILL
    assert len(children) == 2
    assert not any(psutil.pid_exists(pid) for pid in children)


def test_strays_of_a_finished_program_are_ended(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys;"
        "c = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True);"
        "print('child', c.pid)"
    )
    done = run_python(code, tmp_path)
    assert done.code == 0
    assert not psutil.pid_exists(int(done.tail.split()[1]))


WORKER_WITH_A_PROGRAM = """
import os, sys
from infertune.edge.shell import WorkerShell
program = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
WorkerShell().run([sys.executable, '-c', program], timeout_s=600, log=sys.argv[1])
"""


def test_a_program_of_a_worker_ends_with_it(tmp_path: Path) -> None:
    """A compiler that outlives its study takes the CPUs of the next one."""
    log = tmp_path / "log"
    os.mkfifo(log)
    worker = subprocess.Popen([sys.executable, "-c", WORKER_WITH_A_PROGRAM, str(log)])
    with open(log) as told:
        program = psutil.Process(int(told.readline()))
    worker.kill()
    worker.wait()
    assert psutil.wait_procs([program], timeout=20.0)[1] == []


HOLDS_A_FOLDER = """
import time
from infertune.edge.scratch import Scratch
print(Scratch("held").path, flush=True)
time.sleep(600)
"""


def test_scratch_folders_of_dead_owners_are_removed_and_those_of_living_ones_are_not(tmp_path: Path) -> None:
    where = {**os.environ, "TMPDIR": str(tmp_path)}
    other = tmp_path / "infertune-other"
    other.mkdir()
    owner = subprocess.Popen([sys.executable, "-c", HOLDS_A_FOLDER], stdout=subprocess.PIPE, text=True, env=where)
    assert owner.stdout is not None
    held = Path(owner.stdout.readline().strip())
    sweep(tmp_path, older_s=0.0)
    assert held.is_dir() and held.parent == tmp_path
    owner.kill()
    owner.communicate()
    sweep(tmp_path)
    assert held.is_dir(), "a folder as young as this may be about to be locked"
    sweep(tmp_path, older_s=0.0)
    assert not held.exists() and other.is_dir()


def test_what_a_worker_leaves_in_the_folder_for_temporary_files_goes_with_it(tmp_path: Path) -> None:
    class Told(LocalShell):
        def run(self, argv: Sequence[str], **how: Any) -> Done:
            folders.append((how["env"]["TMPDIR"], how["cwd"]))
            return super().run(argv, **how)

    folders: list[tuple[str, str]] = []
    LocalExecutor(Told()).run("null", ProbeJob(target="null"), timeout_s=60.0)
    ((temporary, scratch),) = folders
    assert temporary == scratch and not Path(scratch).exists()


def test_secrets_and_allocator_settings_are_not_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("MALLOC_ARENA_MAX", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("QAIC_LOG_LEVEL", "debug")
    passed = passed_environment()
    assert "HF_TOKEN" not in passed and "MALLOC_ARENA_MAX" not in passed
    assert (passed["OMP_NUM_THREADS"], passed["QAIC_LOG_LEVEL"]) == ("3", "debug")


@pytest.mark.parametrize(
    ("code", "timed_out", "kind"),
    [
        (-signal.SIGSEGV, False, "crash"),
        (-signal.SIGKILL, False, "memory"),
        (-9, True, "timeout"),
        (1, False, "crash"),
        (-40, False, "crash"),
    ],
)
def test_what_a_death_means(code: int, timed_out: bool, kind: str) -> None:
    found = death(Done(code=code, timed_out=timed_out, tail="last words", wall_s=1.0), "measure", 5.0)
    assert (found.stage, found.kind, found.log) == ("measure", kind, "last words")


def test_programs_run_beside_more_open_files_than_select_can_tell(tmp_path: Path) -> None:
    """As a server or a notebook that studies run in may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 1200:
        pytest.skip("this system lets no process open so many files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1200), hard))
    held = [os.open("/dev/null", os.O_RDONLY) for _ in range(1050)]
    try:
        done = LocalShell().run(["true"], timeout_s=30.0, log=str(tmp_path / "log"))
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (done.code, done.timed_out) == (0, False)


def test_a_probe_runs_in_its_own_process() -> None:
    reply = LocalExecutor(LocalShell()).run("null", ProbeJob(target="null"), timeout_s=60.0)
    assert isinstance(reply, Found)
    assert reply.devices[0].target == "null"


def a_point() -> Point:
    return Point.of("null", "null", {"batch": 2, "set_size": 3})


def test_the_null_target_is_measured_end_to_end(tmp_path: Path) -> None:
    from infertune.core.records import Measurement

    plan = Plan(warmup_s=0.01, min_time_s=0.05, min_count=5, cap_s=1.0)
    job = MeasureJob(model=a_model(), point=a_point(), artifact=str(tmp_path), plan=plan, feed=Feed(seed=1))
    reply = LocalExecutor(LocalShell()).run("null", job, timeout_s=60.0)
    assert isinstance(reply, Measurement)
    assert (reply.batch, reply.in_flight) == (2, 3)
    assert len(reply.latencies_ns) >= plan.min_count


def test_a_runtime_error_is_a_failed_candidate(tmp_path: Path) -> None:
    from infertune.core.records import ExportJob

    job = ExportJob(model=a_model(), point=a_point(), artifact="", into=str(tmp_path))
    reply = safely("null", job)
    assert isinstance(reply, Failed)
    assert reply.message == "the null target has nothing to deploy"


def test_an_error_for_people_is_raised_again_in_the_coordinator() -> None:
    reply = safely("nul", ProbeJob(target="nul"))
    assert isinstance(reply, Refused)
    again = wire.from_json(wire.to_json(reply, WorkerReply), WorkerReply)
    with pytest.raises(Exception, match="`nul` is not a target") as caught:
        accepted(again)
    assert caught.value.id == "unknown-target"  # type: ignore[attr-defined]


def test_a_bug_in_a_worker_is_an_exception() -> None:
    with pytest.raises(RuntimeError, match="bug in a worker: KeyError"):
        accepted(Broken(message="KeyError: 'x'", traceback="..."))


def test_an_unknown_family_of_error_is_still_an_error() -> None:
    with pytest.raises(DataError):
        accepted(Refused(family="NoSuchError", id="x", message="m", hint="h"))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MemoryError(), "memory"),
        (RuntimeError("std::bad_alloc"), "memory"),
        (RuntimeError("unsupported op"), "compiler"),
    ],
)
def test_kinds_of_build_failures(error: Exception, kind: str, tmp_path: Path) -> None:
    assert failure_kind(BuildJob(model=a_model(), point=a_point(), into=str(tmp_path)), error) == kind


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (
            "Exception from src/a.cpp:1:\nTopK 'i' Check 'f(x).g()' failed at src/b.h:9:\nCan not clone.",
            "TopK 'i' Can not clone.",
        ),
        (
            "Check 'false' failed at src/c.cpp:1:\nFrontEnd API failed with ConversionFailure:\nNot converted.",
            "Not converted.",
        ),
        ("Check 'rank > 0' failed at src/core.cpp:1:", "Check 'rank > 0' failed at src/core.cpp:1:"),
        ("", "ValueError"),
    ],
)
def test_a_runtimes_message_is_told_without_the_places_in_its_source(raised: str, said: str) -> None:
    assert told(ValueError(raised)) == said
