"""Hugging Face model to ONNX file: fetched, loaded, exported, compared, and only then put in place."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from infertune.core.errors import CreateError, DataError, UsageError, quoted
from infertune.edge import files, quiet
from infertune.edge.scratch import Scratch
from infertune.prepare import external, graphs
from infertune.prepare.hf import original
from infertune.prepare.hf.compare import TOLERANCE, Comparison, compare
from infertune.prepare.hf.extra import check_extra, quietly
from infertune.prepare.hf.fetch import Weights, folder_of, steps_after

if TYPE_CHECKING:
    from onnx import ModelProto

OPSETS = range(14, 21)
"""From scaled dot product attention on; the last that torch's tracing exporter writes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """An ONNX file whose outputs agree with the original's. ``files`` also names external data, if any.

    ``left_out`` names the steps of a sentence-transformers folder that come after the model and are not in the file.
    """

    path: str
    source: str
    task: str
    opset: int
    tolerance: float
    comparisons: tuple[Comparison, ...]
    files: tuple[str, ...]
    size_bytes: int
    left_out: tuple[str, ...] = ()


def import_model(
    source: str,
    into: Path,
    *,
    task: str | None = None,
    opset: int | None = None,
    weights: Weights = "safetensors",
    on_check: Callable[[Comparison], None] = lambda _: None,
) -> Imported:
    """Export ``source`` (a folder or a Hugging Face id) to the ONNX file ``into`` and check it against the original.

    Nothing is written to ``into`` unless every output agrees within `TOLERANCE` at both shapes; an older file is
    replaced. Code that a model brings along is never run. ``on_check`` sees each comparison as it is made.
    Raises `UsageError`, `NotFoundError`, `DataError` (``import-mismatch`` and others) and `CreateError`.
    """
    check_extra()
    _check_opset(opset)
    quiet.hush()
    folder = files.ensure_folder(into.parent, "the output folder")
    if into.is_dir():
        raise _unwritable(into, "it is a folder")
    fetched = folder_of(source, weights)
    model = original.load(fetched, source, task, weights)
    samples = original.samples(model)
    with Scratch("import", inside=folder) as scratch:
        made = _exported(model, Path(scratch), opset)
        checks = []
        for check in compare(made, samples):
            on_check(check)
            checks.append(check)
        _check_agreement(source, checks)
        written, version = _placed(made, into)
    return Imported(
        path=str(into),
        source=source,
        task=model.task,
        opset=version,
        tolerance=TOLERANCE,
        comparisons=tuple(checks),
        files=tuple(str(path) for path in written),
        size_bytes=sum(path.stat().st_size for path in written),
        left_out=steps_after(fetched),
    )


def _check_opset(opset: int | None) -> None:
    if opset is not None and opset not in OPSETS:
        raise UsageError(
            "opset-unsupported",
            f"opset {opset} cannot be exported",
            hint=f"choose {OPSETS[0]} to {OPSETS[-1]}, or leave --opset out",
        )


def _exported(model: original.Original, folder: Path, opset: int | None) -> Path:
    from optimum.exporters.onnx import onnx_export_from_model

    try:
        with quietly():
            onnx_export_from_model(
                model.module, folder, opset=opset, task=model.task, monolith=True, no_post_process=True,
                do_validation=False, preprocessors=model.preprocessors, device="cpu",
                **original.within(model.module.config, original.TRACED),
            )  # fmt: skip
    except Exception as error:  # tracing runs the model's own code, which raises anything
        raise DataError(
            "export-failed",
            f"`{quoted(model.name)}` cannot be exported for `{model.task}`: {quoted(original.first_line(error), 200)}",
            hint=f"try another --opset ({OPSETS[0]} to {OPSETS[-1]}) or --task",
        ) from error
    graph_files = sorted(path.name for path in folder.glob("*.onnx"))
    if graph_files != ["model.onnx"]:
        raise DataError(
            "several-graphs",
            f"`{quoted(model.name)}` exports as {len(graph_files)} graphs: {', '.join(graph_files)}",
            hint="infertune imports models of one graph; export this one with optimum-cli and tune each file",
        )
    return folder / "model.onnx"


def _check_agreement(source: str, checks: list[Comparison]) -> None:
    wrong = [check for check in checks if not check.agrees]
    if wrong:
        worst = wrong[0]
        raise DataError(
            "import-mismatch",
            f"output `{quoted(worst.output)}` of the ONNX model of `{quoted(source)}` differs from the original by "
            f"{worst.max_abs:.3g} at shape {worst.shape} (tolerance {TOLERANCE:g})",
            hint="try another --opset; nothing was written",
        )


def _placed(made: Path, into: Path) -> tuple[tuple[Path, ...], int]:
    """Move the model, and its external data under the new name, to where they were asked for; and the opset."""
    import onnx

    proto = onnx.load(made, load_external_data=False)
    version = next(entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx"))
    moves = [(made, into)]
    try:
        for path in made.parent.glob("model.onnx?*"):  # at most one: the exporter gathers external data in one file
            data = into.with_name(f"{into.name}_data")
            moves.insert(0, (path, data))
            path.chmod(made.stat().st_mode)
            _relocate(proto, data.name)
            made.write_bytes(proto.SerializeToString())
        for path, target in moves:
            os.replace(path, target)
    except OSError as error:
        raise _unwritable(into, error.strerror or str(error)) from error
    return tuple(target for _, target in reversed(moves)), version


def _relocate(proto: ModelProto, location: str) -> None:
    for found in graphs.tensors(proto):
        if external.is_external(found.tensor):
            for entry in found.tensor.external_data:
                if entry.key == "location":
                    entry.value = location


def _unwritable(into: Path, why: str) -> CreateError:
    return CreateError(
        "output-unwritable",
        f"`{quoted(str(into))}` cannot be written: {why}",
        hint="give a file name in a folder where you may create files, on a disk with free space",
    )
