"""What a machine made of plain files looks like from inside: CPUs, quotas of both cgroup generations, memory."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from infertune.core import linux
from infertune.edge.host import host_facts, read_host, read_memory, read_quota, telling_environment

CGROUP2 = "30 1 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw"
CGROUP1 = """\
31 1 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
32 1 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
33 1 0:29 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset"""


def machine(root: Path, files: dict[str, str]) -> Path:
    """Eight CPUs and 16 GB, unless ``files`` say otherwise."""
    plain = {
        "proc/self/status": "Name:\tpython\nCpus_allowed:\tff\nCpus_allowed_list:\t0-7\n",
        "proc/meminfo": "MemTotal:       16000000 kB\nMemFree: 1 kB\n",
        "sys/devices/system/cpu/online": "0-7\n",
    }
    for name, text in {**plain, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


# ---------------------------------------------------------------- effective CPUs


def test_without_limits_every_online_cpu_counts(tmp_path: Path) -> None:
    host = read_host(machine(tmp_path, {}), {})
    assert (host.effective_cpus, host.quota, len(host.usable)) == (8, None, 8)


def test_affinity_counts(tmp_path: Path) -> None:
    host = read_host(machine(tmp_path, {"proc/self/status": "Cpus_allowed_list:\t1,4-5\n"}), {})
    assert host.effective_cpus == 3
    assert host.usable == {1, 4, 5}


def test_cpus_that_are_offline_do_not_count(tmp_path: Path) -> None:
    host = read_host(machine(tmp_path, {"sys/devices/system/cpu/online": "0-2\n"}), {})
    assert host.effective_cpus == 3


@pytest.mark.parametrize(
    ("mounted", "joined", "file"),
    [
        (CGROUP2, "0::/job", "sys/fs/cgroup/job/cpuset.cpus.effective"),
        (CGROUP1, "3:cpuset:/job", "sys/fs/cgroup/cpuset/job/cpuset.cpus"),
        (CGROUP1, "3:cpuset:/job", "sys/fs/cgroup/cpuset/job/cpuset.effective_cpus"),
    ],
)
def test_a_cpuset_counts(tmp_path: Path, mounted: str, joined: str, file: str) -> None:
    files = {"proc/self/mountinfo": mounted, "proc/self/cgroup": joined, file: "2-3\n"}
    host = read_host(machine(tmp_path, files), {})
    assert (host.effective_cpus, host.cpuset) == (2, frozenset({2, 3}))


@pytest.mark.parametrize(
    ("text", "quota", "cpus"),
    [
        ("max 100000", None, 8),
        ("400000 100000", 4.0, 4),
        ("250000 100000", 2.5, 2),
        ("199999 100000", 1.99999, 1),
        ("50000 100000", 0.5, 1),
        ("1000 100000", 0.01, 1),
        ("1600000 100000", 16.0, 8),
        ("300000", 3.0, 3),
        ("", None, 8),
        ("nonsense here", None, 8),
        ("0 100000", None, 8),
    ],
)
def test_quota_of_cgroup_2(tmp_path: Path, text: str, quota: float | None, cpus: int) -> None:
    files = {"proc/self/mountinfo": CGROUP2, "proc/self/cgroup": "0::/job\n", "sys/fs/cgroup/job/cpu.max": text}
    host = read_host(machine(tmp_path, files), {})
    assert (host.quota, host.effective_cpus) == (quota, cpus)


@pytest.mark.parametrize(
    ("quota", "period", "cpus"), [("-1", "100000", 8), ("300000", "100000", 3), ("25000", "10000", 2), ("x", "", 8)]
)
def test_quota_of_cgroup_1(tmp_path: Path, quota: str, period: str, cpus: int) -> None:
    base = "sys/fs/cgroup/cpu,cpuacct/docker/1a/"
    files = {
        "proc/self/mountinfo": CGROUP1,
        "proc/self/cgroup": "4:cpu,cpuacct:/docker/1a\n3:cpuset:/\n",
        base + "cpu.cfs_quota_us": quota,
        base + "cpu.cfs_period_us": period,
    }
    assert read_host(machine(tmp_path, files), {}).effective_cpus == cpus


@pytest.mark.parametrize("place", ["kubepods", "kubepods/pod1", "kubepods/pod1/main"])
def test_the_tightest_of_nested_groups_binds(tmp_path: Path, place: str) -> None:
    """Wherever in the chain from the process's group to the root the 2-CPU limit sits, beside one of 6."""
    chain = ["kubepods", "kubepods/pod1", "kubepods/pod1/main"]
    files = {f"sys/fs/cgroup/{group}/cpu.max": "600000 100000" for group in chain}
    files[f"sys/fs/cgroup/{place}/cpu.max"] = "200000 100000"
    files |= {"proc/self/mountinfo": CGROUP2, "proc/self/cgroup": "0::/kubepods/pod1/main\n"}
    assert read_quota(machine(tmp_path, files)) == 2.0


def test_groups_beside_ours_do_not_bind(tmp_path: Path) -> None:
    files = {
        "proc/self/mountinfo": CGROUP2,
        "proc/self/cgroup": "0::/a/b\n",
        "sys/fs/cgroup/a/c/cpu.max": "100000 100000",
        "sys/fs/cgroup/a/b/child/cpu.max": "100000 100000",
        "sys/fs/cgroup/a/cpu.max": "500000 100000",
    }
    assert read_quota(machine(tmp_path, files)) == 5.0


def test_a_container_with_its_own_cgroup_namespace(tmp_path: Path) -> None:
    """The process believes itself at the root, whose files are the container's."""
    files = {"proc/self/mountinfo": CGROUP2, "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "300000 100000"}
    assert read_quota(machine(tmp_path, files)) == 3.0


def test_a_container_that_sees_its_path_on_the_host(tmp_path: Path) -> None:
    """cgroup v1 in Docker: the path is the host's, and the mount shows that very folder as its root."""
    mounted = "31 1 0:27 /docker/1a /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu"
    files = {
        "proc/self/mountinfo": mounted,
        "proc/self/cgroup": "4:cpu:/docker/1a/inner\n",
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "300000",
        "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
        "sys/fs/cgroup/cpu/inner/cpu.cfs_quota_us": "200000",
        "sys/fs/cgroup/cpu/inner/cpu.cfs_period_us": "100000",
    }
    assert read_quota(machine(tmp_path, files)) == 2.0


@pytest.mark.parametrize("path", ["/docker/other", "/../outside", "/docker/1a/../x"])
def test_a_path_that_no_mount_shows_falls_back_on_the_mount(tmp_path: Path, path: str) -> None:
    files = {
        "proc/self/mountinfo": "31 1 0:27 /docker/1a /sys/fs/cgroup rw - cgroup2 cgroup2 rw",
        "proc/self/cgroup": f"0::{path}\n",
        "sys/fs/cgroup/cpu.max": "400000 100000",
    }
    assert read_quota(machine(tmp_path, files)) == 4.0


def test_both_generations_at_once(tmp_path: Path) -> None:
    """systemd's hybrid: cgroup 2 without controllers beside cgroup 1 with them."""
    files = {
        "proc/self/mountinfo": f"{CGROUP1}\n34 1 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw",
        "proc/self/cgroup": "4:cpu,cpuacct:/job\n1:name=systemd:/x\n0::/user.slice\n",
        "sys/fs/cgroup/unified/user.slice/cgroup.procs": "1",
        "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us": "150000",
        "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us": "100000",
    }
    assert read_quota(machine(tmp_path, files)) == 1.5


def test_mount_points_with_blanks(tmp_path: Path) -> None:
    files = {
        "proc/self/mountinfo": r"30 1 0:26 / /sys/fs/my\040groups rw - cgroup2 cgroup2 rw",
        "proc/self/cgroup": "0::/\n",
        "sys/fs/my groups/cpu.max": "200000 100000",
    }
    assert read_quota(machine(tmp_path, files)) == 2.0


# ---------------------------------------------------------------- memory and the rest


@pytest.mark.parametrize(
    ("mounted", "joined", "file", "text", "expected"),
    [
        (CGROUP2, "0::/job", "sys/fs/cgroup/job/memory.max", "2000000000", 2_000_000_000),
        (CGROUP2, "0::/job", "sys/fs/cgroup/job/memory.max", "max", 16_384_000_000),
        (CGROUP2, "0::/job/x", "sys/fs/cgroup/job/memory.max", "1000000", 1_000_000),
        (CGROUP1, "5:memory:/job", "sys/fs/cgroup/memory/job/memory.limit_in_bytes", "3000000000", 3_000_000_000),
        (CGROUP1, "5:memory:/", "sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712", 16_384_000_000),
        (CGROUP2, "0::/job", "sys/fs/cgroup/job/memory.max", "99000000000", 16_384_000_000),
    ],
)
def test_memory(tmp_path: Path, mounted: str, joined: str, file: str, text: str, expected: int) -> None:
    files = {"proc/self/mountinfo": mounted, "proc/self/cgroup": joined + "\n", file: text}
    assert read_memory(machine(tmp_path, files)) == expected


def test_siblings_and_nodes_of_the_cpus_we_may_use(tmp_path: Path) -> None:
    """Cores 0-3 with siblings 4-7, two nodes; of these we may use 0, 1, 4 and 5: two cores on one node."""
    files = {f"sys/devices/system/cpu/cpu{c}/topology/thread_siblings_list": f"{c % 4},{c % 4 + 4}" for c in range(8)}
    files |= {
        "sys/devices/system/node/node0/cpulist": "0-1,4-5",
        "sys/devices/system/node/node1/cpulist": "2-3,6-7",
        "proc/self/status": "Cpus_allowed_list:\t0-1,4-5\n",
    }
    host = read_host(machine(tmp_path, files), {})
    assert (host.effective_cpus, host.physical_cores, host.numa_nodes) == (4, 2, 1)


def test_what_colours_a_measurement_is_told(tmp_path: Path) -> None:
    files = {
        "proc/cpuinfo": "processor\t: 0\nmodel name\t: Example  CPU\nflags\t\t: fpu avx2 avx512_bf16 hypervisor\n",
        "proc/loadavg": "0.75 0.5 0.25 1/100 999\n",
        "proc/pressure/cpu": "some avg10=1.50 avg60=0 avg300=0 total=12\nfull avg10=0\n",
        "sys/devices/system/cpu/smt/active": "1\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave\n",
        "sys/devices/system/cpu/intel_pstate/no_turbo": "0\n",
        "sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc\n",
    }
    told = dict(read_host(machine(tmp_path, files), {"OMP_NUM_THREADS": "4", "HOME": "/x"}).facts())
    assert told == {
        "cpu": "Example CPU",
        "instructions": "avx2 avx512_bf16",
        "online_cpus": "0-7",
        "affinity": "0-7",
        "effective_cpus": "8",
        "physical_cores": "8",
        "numa_nodes": "1",
        "memory_bytes": "16384000000",
        "load_average": "0.75",
        "cpu_pressure": "some avg10=1.50 avg60=0 avg300=0 total=12",
        "smt": "on",
        "governor": "powersave",
        "turbo": "on",
        "clock_source": "tsc",
        "virtualised": "yes",
        "env OMP_NUM_THREADS": "4",
    }


def test_variables_that_change_threading_are_kept_and_secrets_are_not() -> None:
    environment = {
        "OMP_NUM_THREADS": "2", "KMP_AFFINITY": "compact", "MKL_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2",
        "ORT_X": "1", "OV_X": "2", "OPENVINO_LOG_LEVEL": "3", "PATH": "/bin", "HF_TOKEN": "hf_secret",
        "OPENVINO_API_TOKEN": "hf_secret", "QAIC_LOG_LEVEL": "debug", "QAIC_ROOT": "/opt/qti-aic",
    }  # fmt: skip
    kept = dict(telling_environment(environment))
    assert "hf_secret" not in kept.values()
    assert set(environment) - set(kept) == {"PATH", "HF_TOKEN", "QAIC_ROOT"}
    assert (kept["KMP_AFFINITY"], kept["QAIC_LOG_LEVEL"]) == ("compact", "debug")


def test_an_empty_machine_still_has_a_cpu(tmp_path: Path) -> None:
    host = read_host(tmp_path, {})
    assert host.effective_cpus >= 1
    assert host.memory_bytes == 0


@given(st.dictionaries(
    st.sampled_from([
        "proc/self/status", "proc/self/cgroup", "proc/self/mountinfo", "proc/meminfo", "proc/cpuinfo", "proc/loadavg",
        "proc/pressure/cpu", "sys/devices/system/cpu/online", "sys/fs/cgroup/cpu.max", "sys/fs/cgroup/memory.max",
    ]),
    st.binary(max_size=80) | st.sampled_from([CGROUP2.encode(), b"0::/", b"4:cpu:/a/b", b"5-1", b"1-", b"-3"]),
))  # fmt: skip
def test_no_content_of_these_files_breaks_reading(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]
) -> None:
    root = tmp_path_factory.mktemp("machine")
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    host = read_host(root, {})
    assert host.effective_cpus >= 1
    assert all(isinstance(value, str) for _, value in host.facts())


def test_this_machine() -> None:
    host = read_host()
    allowed = os.sched_getaffinity(0)
    assert host.affinity == allowed
    assert 1 <= host.effective_cpus <= len(allowed)
    assert host.memory_bytes > 10**8
    assert dict(host_facts())["effective_cpus"] == str(host.effective_cpus)


# ---------------------------------------------------------------- parsers


@given(st.frozensets(st.integers(0, 300)))
def test_cpu_lists_survive_the_round_trip(cpus: frozenset[int]) -> None:
    text = linux.cpu_text(cpus)
    assert linux.cpu_list(text) == cpus
    assert re.fullmatch(r"(\d+(-\d+)?(,\d+(-\d+)?)*)?", text)


@given(
    cpus=st.frozensets(st.integers(0, 500), min_size=1),
    quota=st.one_of(st.none(), st.floats(min_value=0.001, max_value=1e6)),
)
def test_effective_cpus_exceed_no_limit_unless_there_is_less_than_one(
    cpus: frozenset[int], quota: float | None
) -> None:
    found = linux.effective_cpus(cpus, quota)
    assert 1 <= found <= len(cpus)
    assert quota is None or found <= max(1.0, quota + 1e-6)
    assert quota is None or found == len(cpus) or found + 1 > quota


def test_quotas_a_hair_below_a_whole_number_through_rounding_count_as_whole() -> None:
    assert linux.effective_cpus(range(8), 0.3 / 0.1) == 3  # 2.9999999999999996


@example("MemTotal: ² kB")
@example("²")
@given(st.text(max_size=200))
def test_parsers_take_any_text(text: str) -> None:
    linux.mounts(text)
    linux.memberships(text)
    linux.fields(text)
    assert linux.pressure_us(text) >= 0
    assert linux.kib(text) >= 0
    assert linux.quota_v2(text) is None or linux.quota_v2(text)
