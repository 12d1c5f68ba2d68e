"""The vendor's command lines: those of the published tuning notebooks, word for word."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from infertune.core.errors import DataError
from infertune.core.goal import parse_goal
from infertune.core.records import Device, Model
from infertune.core.space import Point, Space, Value
from infertune.targets.qaic import tools
from infertune.targets.qaic.knobs import space_for
from infertune.targets.qaic.sdk import NEW, OLD, Sdk, find_sdk
from infertune.testing.records import a_model
from infertune.testing.targets import check_space

SDK = Sdk(
    root="/opt/qti-aic",
    compiler="/opt/qti-aic/exec/qaic-exec",
    runner="/opt/qti-aic/exec/qaic-runner",
    query="/opt/qti-aic/tools/qaic-util",
    version="1.10.0",
    generation=OLD,
    simulated=False,
)
MODEL: Model = replace(a_model(), path="bert_base_cased_onnx/model_fix_outofrange_fp16.onnx")
THROUGHPUT, LATENCY = parse_goal("max throughput"), parse_goal("min latency")


def card(units: int = 16) -> Device:
    return Device(
        name="qid15", target="qaic", title="Cloud AI 100 Pro", units=units, memory_bytes=32 << 30,
        precisions=("f16", "int8"), versions=(),
    )  # fmt: skip


def a_space(units: int = 16) -> Space:
    return space_for(MODEL, card(units), THROUGHPUT)


def point(**values: Value) -> Point:
    return a_space().point(**values)


COMPILE = """/opt/qti-aic/exec/qaic-exec -v -aic-hw -convert-to-fp16 -mos=1 -ols=3 -aic-num-cores=2
-m=bert_base_cased_onnx/model_fix_outofrange_fp16.onnx -onnx-define-symbol=sequence_length,128
-onnx-define-symbol=batch_size,8 -multicast-weights -stats-batchsize=8 -aic-binary-dir=./compiled_fp16
-aic-hw-version=2.0 -compile-only"""
LEAST_LATENCY = """/opt/qti-aic/exec/qaic-exec -v -aic-hw -m=bert_base_cased_onnx/model_fix_outofrange_fp16.onnx
-onnx-define-symbol=sequence_length,128 -onnx-define-symbol=batch_size,1 -mos=1 -ols=1 -aic-num-cores=7
-stats-batchsize=1 -aic-binary-dir=./compiled_fp16 -multicast-weights -convert-to-fp16 -aic-hw-version=2.0
-compile-only"""
RUN = """/opt/qti-aic/exec/qaic-runner --test-data ./compiled_fp16 -d 15 -S 10 -a 7 --aic-profiling-type latency
--aic-profiling-out-dir ./bert_base_cased_stats --aic-profiling-start-iter 100 --aic-profiling-num-samples 99999
--time 20"""


def test_the_notebook_s_first_compile_is_written_word_for_word() -> None:
    argv = tools.compile_argv(SDK, MODEL, point(cores=2, mos=1, ols=3, batch=8), "./compiled_fp16")
    assert argv == COMPILE.split()


def test_its_second_compile_has_the_same_words_in_another_order() -> None:
    argv = tools.compile_argv(SDK, MODEL, point(cores=7, mos=1, ols=1, batch=1), "./compiled_fp16")
    assert sorted(argv) == sorted(LEAST_LATENCY.split())


def test_its_run_is_written_word_for_word() -> None:
    profile = tools.Profile(folder="./bert_base_cased_stats")
    argv = tools.run_argv(SDK, "./compiled_fp16", 15, point(instances=7, set_size=10), 20, profile)
    assert argv == RUN.split()


def test_what_a_point_leaves_to_the_tools_is_not_passed() -> None:
    words = tools.compile_argv(SDK, MODEL, point(multicast_weights="off", precision="f32"), "out")
    assert not [w for w in words if w.startswith(("-mos", "-ols", "-multicast", "-convert", "-allocator", "-size"))]


@pytest.mark.parametrize(
    ("values", "flags"),
    [
        ({"dealloc_delay": 2, "split_size": 1536}, ["-allocator-dealloc-delay=2", "-size-split-granularity=1536"]),
        ({"vtcm_ratio": 75}, ["-vtcm-working-set-limit-ratio=0.75"]),
        ({"depth_first_mem": 1}, ["-aic-enable-depth-first"]),
        ({"depth_first_mem": 16}, ["-aic-enable-depth-first", "-aic-depth-first-mem=16"]),
        ({"cores": 14, "sdp_cluster_sizes": "7:1+7:7"}, ["-mos=1,7", "-sdp-cluster-sizes=7,7"]),
        ({"producer_dma": "on", "combine_inputs": "off"}, ["-use-producer-dma=1", "-combine-inputs=false"]),
        ({"mixed_precision_file": f"a/b@c.yaml@{'0' * 12}"}, ["-node-precision-info=a/b@c.yaml"]),
        (
            {"precision": "int8", "quantisation_file": f"p.yaml@{'0' * 12}"},
            ["-quantization-precision=Int8", "-load-profile=p.yaml"],
        ),
        (
            {"precision": "int16", "external_quantisation_file": f"p.yaml@{'0' * 12}", "fp16_nodes": "Softmax,Erf"},
            ["-quantization-precision=Int16", "-external-quantization=p.yaml", "-execute-nodes-in-fp16=Softmax,Erf"],
        ),
        ({"device_processing": "on"}, ["-aic-preproc"]),
    ],
)
def test_options_are_spelled_as_the_compiler_takes_them(values: dict[str, Value], flags: list[str]) -> None:
    chosen = point(**values)
    assert a_space().why_illegal(chosen) is None
    argv = tools.compile_argv(SDK, MODEL, chosen, "out")
    assert [w for w in argv if w in flags] == flags


def test_the_newer_compiler_is_told_the_hardware_by_name() -> None:
    newer = replace(SDK, compiler="/opt/qti-aic/exec/qaic-compile", generation=NEW)
    assert "-aic-hw-version=ai100" in tools.compile_argv(newer, MODEL, point(), "out")


@pytest.mark.parametrize("units", [1, 14, 16])
@pytest.mark.parametrize("goal", [THROUGHPUT, LATENCY])
def test_the_space_of_a_card_is_sound(units: int, goal: object) -> None:
    check_space(space_for(MODEL, card(units), THROUGHPUT if goal is THROUGHPUT else LATENCY))


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"cores": 4, "instances": 5}, "16 NSPs"),
        ({"cores": 2, "mos": 3}, "mos must not exceed cores"),
        ({"split_size": 100}, "512"),
        ({"depth_first_mem": 4}, "8 to 32"),
        ({"cores": 4, "sdp_cluster_sizes": "3+2"}, "add up to cores"),
        ({"cores": 4, "mos": 2, "sdp_cluster_sizes": "2:1+2:2"}, "mos is 0"),
        ({"precision": "int8"}, "quantisation profile"),
        ({"external_quantisation_file": f"p.yaml@{'0' * 12}"}, "quantisation profile"),
    ],
)
def test_what_the_tools_would_refuse_is_illegal(values: dict[str, Value], reason: str) -> None:
    assert reason in str(a_space().why_illegal(point(**values)))


def test_batches_need_not_be_powers_of_two() -> None:
    assert {3, 5, 6, 10} <= set(a_space().knob("batch").values)
    assert a_space().why_illegal(point(batch=13)) is None


# ---------------------------------------------------------------- trees of both generations


def tree(root: Path, *tools_: str, version: str = "", place: str = "apps.xml") -> Path:
    for name in (*tools_, "exec/qaic-runner", "tools/qaic-util"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    if version:
        (root / "versions").mkdir()
        (root / "versions" / place).write_text(f"<versions><ci_build><base_version>{version}</base_version></ci_build>")
    return root


OLDER, NEWER = "exec/qaic-exec", "exec/qaic-compile"


@pytest.mark.parametrize(
    ("there", "version", "compiler", "generation", "hardware"),
    [
        ((OLDER,), "1.10.0.193", OLDER, OLD, "2.0"),
        ((OLDER,), "", OLDER, OLD, "2.0"),
        ((OLDER,), "1.19.2.0", OLDER, NEW, "2.0"),
        ((OLDER, NEWER), "1.19.2.0", NEWER, NEW, "ai100"),
        ((OLDER, NEWER), "1.10.0.193", OLDER, OLD, "2.0"),
        ((NEWER,), "1.21.0.12", NEWER, NEW, "ai100"),
        ((NEWER,), "", NEWER, NEW, "ai100"),
    ],
)
def test_the_compiler_of_each_generation_is_found(
    tmp_path: Path, there: tuple[str, ...], version: str, compiler: str, generation: str, hardware: str
) -> None:
    found = find_sdk(str(tree(tmp_path, *there, version=version)))
    assert found.compiler == str(tmp_path / compiler)
    assert (found.generation, found.hardware) == (generation, hardware)
    assert found.version == (".".join(version.split(".")[:3]) if version else "unknown")
    assert not found.simulated


def test_a_version_may_stand_in_the_platform_s_file_alone(tmp_path: Path) -> None:
    assert find_sdk(str(tree(tmp_path, OLDER, version="1.10.0", place="platform.xml"))).generation == OLD


@pytest.mark.parametrize("version", ["2.0.0", "0.9", "1.9.3", "1.22.0", "1.33.0.1", "nightly"])
def test_a_version_that_is_not_known_is_told(tmp_path: Path, version: str) -> None:
    with pytest.raises(DataError) as caught:
        find_sdk(str(tree(tmp_path, OLDER, version=version)))
    assert caught.value.id == "sdk-version-unknown"
