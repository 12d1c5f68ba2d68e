"""The configurator's command line and its search's JSON, of both generations, read without a card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from infertune.core.errors import DataError, InfertuneError, NotFoundError, UsageError
from infertune.targets.qaic.configurator.request import numbers, parse_request, separated
from infertune.targets.qaic.configurator.schema import read_search

NOTEBOOK = """bert_base_cased_onnx/model_fix_outofrange_fp16.onnx onnx -onnx-define-symbol=sequence_length,128
-onnx-define-symbol-batch-size=batch_size -multicast-weights
-convert-to-fp16-optimized-config-search bert_base_dopt.json
-max-compilation-threads 8 -time 5 -device-id 15"""
NEWER = """-model resnet50.onnx -onnx-define-symbol-batch-size=batch -convert-to-fp16 -config=resnet50_dopt.json
-max-parallel-compilations 16 -time=5 -device-id=1 -search-set-size 1"""


def test_the_notebook_s_command_is_read_with_the_two_flags_that_its_shell_joins() -> None:
    request = parse_request(NOTEBOOK.split())
    assert request is not None
    assert request.model == "bert_base_cased_onnx/model_fix_outofrange_fp16.onnx"
    assert (request.symbols, request.batch_symbol) == ((("sequence_length", 128),), "batch_size")
    assert request.config == "bert_base_dopt.json"
    assert (request.threads, request.seconds, request.device, request.set_size) == (8, 5, 15, 10)
    assert dict(request.fixed) == {"precision": "f16", "multicast_weights": "on"}


def test_the_newer_command_is_read_too() -> None:
    request = parse_request(NEWER.split())
    assert request is not None
    assert (request.model, request.config) == ("resnet50.onnx", "resnet50_dopt.json")
    assert (request.threads, request.device, request.set_size) == (16, 1, 1)


def test_only_two_flags_are_taken_apart() -> None:
    assert separated(["-convert-to-fp16", "-a-b", "-multicast-weights-time=5"]) == [
        "-convert-to-fp16", "-a-b", "-multicast-weights", "-time=5",
    ]  # fmt: skip


@pytest.mark.parametrize(("text", "found"), [("1-4,8,12", (1, 2, 3, 4, 8, 12)), ("3", (3,)), ("2,2", (2,))])
def test_lists_have_ranges(text: str, found: tuple[int, ...]) -> None:
    assert numbers(text, "-cores") == found


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("m.onnx onnx -convert-to-fp16", "nothing to search"),
        ("onnx=1 -cores 1", "needs -convert-to-fp16"),
        ("m.onnx tensorflow -cores 1 -convert-to-fp16", "tensorflow"),
        ("-cores 1 -convert-to-fp16", "there is no model"),
        ("m.onnx onnx -cores 4-1 -convert-to-fp16", "no list"),
        ("m.onnx onnx -ols 0 -convert-to-fp16", "of 1 to 10000"),
        ("m.onnx onnx -cores 1 -config=a.json -convert-to-fp16", "exclude each other"),
        ("m.onnx onnx -cores 1 -search vendor -convert-to-fp16", "-search vendor needs a search's JSON"),
        ("m.onnx onnx -core 1 -convert-to-fp16", "did you mean `-cores`"),
        ("m.onnx onnx -cores 1 -convert-to-fp16 -time x", "not a value"),
        ("m.onnx onnx -cores 1 -convert-to-fp16 -onnx-define-symbol=a", "no symbol"),
    ],
)
def test_a_command_line_that_is_wrong_says_why(words: str, says: str) -> None:
    with pytest.raises(InfertuneError) as caught:
        parse_request(words.split())
    assert says in caught.value.message + caught.value.hint


SCHEMA_A: Mapping[str, object] = {
    "max_func_eval": 60,
    "objective": "maximize_inf_rate",
    "params": {n: {"min": 1, "max": m} for n, m in {"cores": 2, "mos": 1, "ols": 2, "bs": 2, "instances": 8}.items()},
    "initial_values": [
        {"cores": 1, "mos": 1, "ols": 1, "bs": 1, "instances": 8},
        {"cores": 2, "mos": 1, "ols": 1, "bs": 1, "instances": 7},
    ],
}
SCHEMA_B: Mapping[str, object] = {
    "search-mode": "optimized",
    "objective": "max-throughput",
    "search-parameters": {
        n: {"min": 1, "max": m} for n, m in {"cores": 2, "batch-size": 2, "instances": 4, "set-size": 3}.items()
    },
    "initial-values": [
        {"cores": 1, "batch-size": 1, "instances": 4, "set-size": 1},
        {"cores": 2, "batch-size": 1, "instances": 2, "set-size": 1},
    ],
}


def write(folder: Path, told: object) -> Path:
    path = folder / "search.json"
    path.write_text(told if isinstance(told, str) else json.dumps(told))
    return path


def test_both_published_forms_say_the_same_things(tmp_path: Path) -> None:
    a = read_search(str(write(tmp_path, SCHEMA_A)), 16)
    assert (a.goal, a.evaluations, a.lock_step) == ("max throughput", 60, False)
    assert ("batch", 1, 2) in a.ranges
    assert dict(a.starts[1])["instances"] == 7
    b = read_search(str(write(tmp_path, SCHEMA_B)), 16)
    assert b.lock_step
    assert ("set_size", 1, 3) in b.ranges


def changed(**changes: object) -> dict[str, object]:
    return {**SCHEMA_A, **changes}


def with_range(name: str, low: object, high: object) -> dict[str, object]:
    params = dict(SCHEMA_A["params"])  # type: ignore[call-overload]
    return changed(params={**params, name: {"min": low, "max": high}})


def with_start(**values: int) -> dict[str, object]:
    """Wide ranges, and one start in them."""
    params = {n: {"min": 1, "max": 16} for n in ("cores", "mos", "ols", "bs", "instances")}
    return changed(params=params, initial_values=[{"cores": 1, "mos": 1, "ols": 1, "bs": 1, "instances": 1, **values}])


def test_a_maximum_beyond_the_card_is_a_wish(tmp_path: Path) -> None:
    found = read_search(str(write(tmp_path, with_start())), 14)
    assert {knob: high for knob, _, high in found.ranges} == {
        "cores": 14, "mos": 14, "ols": 16, "batch": 16, "instances": 14,
    }  # fmt: skip
    assert [note.split()[0] for note in found.notes] == ["cores", "mos", "instances"]
    assert found.notes[0] == "cores is searched up to 14 instead of 16: the card has 14 NSPs"
    with pytest.raises(UsageError, match="cores 15 is outside 1 to 14"):
        read_search(str(write(tmp_path, with_start(cores=15))), 14)


OVER, WIDE, ODD = with_start(cores=4, instances=5), with_start(cores=2, mos=3), with_start(bs=3)


@pytest.mark.parametrize(
    ("told", "id_", "says"),
    [
        ("{", "config-syntax", "no JSON"),
        ("[1]", "config-syntax", "no JSON object"),
        ('{"params": {}, "params": {}}', "config-syntax", "twice"),
        ("[" * 100_000, "config-syntax", "no JSON"),
        (changed(objectiv="x"), "config-key", "did you mean `objective`"),
        (changed(objective=None), "config-value", "objective is missing"),
        (changed(objective="max_inf_rate"), "config-value", "maximize_inf_rate"),
        (changed(max_func_eval=0), "config-value", "max_func_eval"),
        (changed(params=None), "config-value", "params is missing"),
        (changed(initial_values=[]), "config-value", "initial_values"),
        (with_range("coers", 1, 2), "config-key", "did you mean `cores`"),
        (with_range("cores", 17, 20), "config-range", "begins at 17, the card has 16 NSPs"),
        (with_range("cores", 4, 1), "config-range", "min must not exceed max"),
        (with_range("bs", 1, 6), "config-range", "powers of two"),
        (with_range("ols", 1, 2.5), "config-value", "ols.max"),
        (with_range("ols", 1, True), "config-value", "ols.max"),
        (
            changed(initial_values=[{"cores": 9, "mos": 1, "ols": 1, "bs": 1, "instances": 1}]),
            "config-start",
            "outside",
        ),
        (OVER, "config-start", "16 NSPs"),
        (WIDE, "config-start", "mos exceeds cores"),
        (ODD, "config-start", "power"),
        (changed(initial_values=[{"cores": 1}]), "config-start", "lacks"),
        (changed(params={}, initial_values=[{}]), "config-value", "params is empty"),
        (changed(static_params={"cores": 2}), "config-key", "params and static_params both hold cores"),
    ],
)
def test_a_configuration_that_is_wrong_says_where(tmp_path: Path, told: object, id_: str, says: str) -> None:
    with pytest.raises((UsageError, DataError)) as caught:
        read_search(str(write(tmp_path, told)), 16)
    assert caught.value.id == id_
    assert says in f"{caught.value.message} {caught.value.hint}"


def test_a_configuration_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        read_search(str(tmp_path / "no.json"), 16)
