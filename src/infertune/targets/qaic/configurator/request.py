"""The configurator's command line, of both generations, as one record."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from infertune.core.errors import UsageError, quoted
from infertune.core.space import Value
from infertune.targets.qaic.configurator import given
from infertune.targets.qaic.configurator.combinations import FROM_ONE
from infertune.targets.qaic.sim.programs.flags import Flag, Line, Misuse, choice, flag, single_dash

NAME = "model_configurator"
DEFAULT_SECONDS = 5
DEFAULT_THREADS = 8
VENDOR_SET_SIZE = 10
OUTPUT = "model_configurator_output"

LISTS: Mapping[str, str] = {
    "-cores": "cores",
    "-mos": "mos",
    "-ols": "ols",
    "-batchsize": "batch",
    "-instances": "instances",
    "-dealloc-dly": "dealloc_delay",
    "-split-size": "split_size",
    "-limit-vtcm-percent": "vtcm_ratio",
    "-depth-first-mem": "depth_first_mem",
}
"""Flags whose values a brute-force search combines -> knobs."""

_SWITCHES = {
    "-multicast-weights": "read weights once for all cores of an instance",
    "-convert-to-fp16": "compute in float16; needed unless -quantization-precision is given",
    "-enable-depth-first": "schedule depth first",
    "-compile-only": "compile, run nothing, keep the binaries",
    "-retain-binaries": "keep the binaries",
    "-list-configs": "list what lists combine to",
    "-h -help": "this text",
}
_IN_LISTS = {
    "-cores": "NSPs of an instance: 1-4,8",
    "-mos": "cores that output channels are split over at most",
    "-ols": "how finely operations are cut to overlap",
    "-batchsize": "samples in a request",
    "-instances": "instances side by side",
    "-dealloc-dly": "how much longer buffers live",
    "-split-size": "largest tile in KiB",
    "-limit-vtcm-percent": "percent of fast memory for one instruction",
    "-depth-first-mem": "MiB for depth-first scheduling",
}
FLAGS: tuple[Flag, ...] = (
    *(flag(names, says=says) for names, says in _SWITCHES.items()),
    *(flag(name, "text", f"list: {_IN_LISTS[name]}") for name in LISTS),
    flag("-model", "text", "the ONNX model, unless it is named first"),
    flag("-optimized-config-search -config", "text", "JSON of a search"),
    flag("-onnx-define-symbol", "text", "value of a symbol of the model: <symbol>,<value>; repeatable"),
    flag("-onnx-define-symbol-batch-size", "text", "the symbol of the model's batch"),
    flag("-set-size", "whole", "requests queued at each instance (default 10)", low=1, high=256),
    flag("-search-set-size", "whole", "the same, in the newer generation", low=1, high=256),
    flag("-time", "whole", "seconds of every run (default 5)", low=1, high=3600),
    flag("-device-id", "whole", "card (default 0)", low=0, high=1023),
    flag(
        "-max-compilation-threads -max-parallel-compilations", "whole", "compiles at a time (default 8)",
        low=1, high=1024,
    ),
    flag("-load-configs", "text", "CSV of configurations to run"),
    flag("-save-config", "text", "write the configurations into this CSV"),
    flag("-output-dir", "text", "output folder (default model_configurator_output)"),
    choice("-search", "auto vendor", "infertune's own search (auto) or the vendor's"),
    flag("-combine-inputs", "truth", "fewer buffers for inputs"),
    flag("-combine-outputs", "truth", "fewer buffers for outputs"),
    flag("-stats-batchsize", "whole", "accepted; rates count the samples of each batch", low=1, high=4096),
    flag("-node-precision-info", "text", "file of nodes' precisions, to the compiler"),
    flag("-iter", "whole", "requests per instance in every run, instead of -time", low=1, high=10**7),
    *given.FLAGS,
)  # fmt: skip
_MODEL_TYPES = ("onnx",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a command line asks for.

    ``lists``: knob -> values of a brute-force search; ``fixed``: knobs that every point has; ``added``: knob -> values
    that options add to either search. ``config`` is the path of a search's JSON. ``search``: ``auto`` (infertune's own)
    or ``vendor``. ``passed``: words for every compile. ``requests``: per instance in every run, where that was asked
    for instead of ``seconds``.
    """

    argv: tuple[str, ...]
    model: str
    symbols: tuple[tuple[str, int], ...]
    batch_symbol: str | None
    config: str | None
    lists: tuple[tuple[str, tuple[int, ...]], ...]
    fixed: tuple[tuple[str, Value], ...]
    added: tuple[tuple[str, tuple[Value, ...]], ...]
    feeding: given.Feeding
    passed: tuple[str, ...]
    set_size: int
    seconds: int
    requests: int | None
    device: int
    threads: int
    search: str
    compile_only: bool
    retain: bool
    list_configs: bool
    load_configs: str | None
    save_config: str | None
    output: str


def parse_request(argv: Sequence[str]) -> Request | None:
    """None when help was asked for. Raises `UsageError` and `NotFoundError`."""
    try:
        line = single_dash(separated(argv), FLAGS, NAME)
    except Misuse as misuse:
        raise UsageError("usage", str(misuse), hint="-h tells every flag in a line") from None
    return None if line.has("-h") else _request(line, argv)


def separated(argv: Sequence[str]) -> list[str]:
    """``-convert-to-fp16-optimized-config-search`` is what a shell makes of two flags of the notebook, which has no
    space before the continued line; taken apart where both halves are flags."""
    switches = [name for f in FLAGS if f.takes == "nothing" for name in f.names]
    known = {name for f in FLAGS for name in f.names}
    words: list[str] = []
    for word in argv:
        head = next((s for s in switches if word.startswith(s + "-") and word[len(s) :].split("=")[0] in known), None)
        words += [word] if head is None or word.split("=")[0] in known else [head, word[len(head) :]]
    return words


def _request(line: Line, argv: Sequence[str]) -> Request:
    symbols = tuple(_symbol(text) for text in line.texts("-onnx-define-symbol"))
    return Request(
        argv=tuple(argv),
        model=_model(line),
        symbols=tuple(sorted(dict(symbols).items())),
        batch_symbol=line.text("-onnx-define-symbol-batch-size") or None,
        config=_config(line),
        lists=tuple((knob, numbers(line.text(name), name)) for name, knob in LISTS.items() if line.has(name)),
        fixed=tuple(sorted(_fixed(line).items())),
        added=tuple(sorted(_added(line).items())),
        feeding=given.feeding(line),
        passed=given.passed(line),
        set_size=line.whole("-search-set-size", line.whole("-set-size", VENDOR_SET_SIZE)),
        seconds=line.whole("-time", DEFAULT_SECONDS),
        requests=_requests(line),
        device=line.whole("-device-id", 0),
        threads=line.whole("-max-compilation-threads", DEFAULT_THREADS),
        search=line.text("-search", "auto"),
        compile_only=line.has("-compile-only"),
        retain=line.has("-retain-binaries") or line.has("-compile-only"),
        list_configs=line.has("-list-configs"),
        load_configs=line.text("-load-configs") or None,
        save_config=line.text("-save-config") or None,
        output=line.text("-output-dir", OUTPUT),
    )


def _config(line: Line) -> str | None:
    path = line.text("-optimized-config-search") or None
    lists = [name for name in LISTS if line.has(name)]
    of_lists = [*lists, *(name for name in ("-load-configs", "-save-config", "-list-configs") if line.has(name))]
    if path and of_lists:
        raise UsageError("usage", f"{of_lists[0]} and a search's JSON exclude each other", hint="leave one of them out")
    if lists and line.has("-load-configs"):
        raise UsageError("usage", f"{lists[0]} and -load-configs exclude each other", hint="leave one of them out")
    if path and line.has("-load-pre-gen-files") and line.has("-quantization-precision"):
        raise UsageError(
            "usage",
            "a search's JSON and profiles by batch exclude each other",
            hint="give lists such as -cores 1-4 -batchsize 1,8, or one profile by -external-quantization",
        )
    if line.text("-search") == "vendor" and not path and of_lists:
        raise UsageError(
            "usage",
            f"-search vendor needs a search's JSON, {of_lists[0]} has all combinations run",
            hint="give -config FILE.json instead of lists, or leave -search out",
        )
    if not path and not lists and not line.text("-load-configs"):
        raise UsageError(
            "usage",
            "there is nothing to search",
            hint="give -config FILE.json, lists such as -cores 1-4, or -load-configs",
        )
    return path


def _model(line: Line) -> str:
    words = list(line.words)
    if words and not line.has("-model"):
        path, *kind = words
    else:
        path, kind = line.text("-model"), words
    if not path:
        raise UsageError("usage", "there is no model", hint="give MODEL.onnx onnx, or -model MODEL.onnx")
    if len(kind) > 1 or (kind and kind[0] not in _MODEL_TYPES):
        raise UsageError(
            "usage", f"`{quoted(kind[0] if len(kind) == 1 else kind[1])}` is not expected here",
            hint="only models of type onnx are taken: MODEL.onnx onnx",
        )  # fmt: skip
    return path


def _symbol(text: str) -> tuple[str, int]:
    name, _, value = text.rpartition(",")
    if not name or not value.isdecimal() or int(value) < 1:
        raise UsageError(
            "usage",
            f"`{quoted(text)}` is no symbol with its value",
            hint="write -onnx-define-symbol=sequence_length,128",
        )
    return name, int(value)


def numbers(text: str, name: str) -> tuple[int, ...]:
    """``1-4,8,12`` as numbers. Raises `UsageError`."""
    found: list[int] = []
    least = 1 if LISTS[name] in FROM_ONE else 0
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        low, high = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not match or not least <= low <= high <= 10_000:
            hint = f"write lists such as 1-4,8,12, of {least} to 10000"
            raise UsageError("usage", f"`{quoted(text)}` is no list for {name}", hint=hint)
        found.extend(range(low, high + 1))
    return tuple(dict.fromkeys(found))


def _requests(line: Line) -> int | None:
    if line.has("-iter") and line.has("-time"):
        raise UsageError("usage", "-iter and -time exclude each other", hint="leave one of them out")
    return line.whole("-iter", 0) or None


def _added(line: Line) -> dict[str, tuple[Value, ...]]:
    added = given.added(line)
    if added and (line.text("-search") == "vendor" or line.has("-load-configs")):
        flags = [f.names[0] for f in given.FLAGS if line.has(f.names[0]) and f.takes == "nothing"]
        other = "-search vendor" if line.text("-search") == "vendor" else "-load-configs"
        raise UsageError(
            "usage",
            f"{flags[-1]} adds to what is searched, which {other} fixes",
            hint="leave one of them out",
        )
    return added


def _fixed(line: Line) -> dict[str, Value]:
    fixed = given.arithmetic(line)
    fixed["multicast_weights"] = "on" if line.has("-multicast-weights") else "off"
    if line.has("-enable-depth-first"):
        fixed["depth_first_mem"] = 1
    for name, knob in (("-combine-inputs", "combine_inputs"), ("-combine-outputs", "combine_outputs")):
        if line.has(name):
            fixed[knob] = "on" if line.truth(name, "") else "off"
    return fixed
