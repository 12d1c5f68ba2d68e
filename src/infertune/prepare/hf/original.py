"""The original PyTorch model: its configuration, its task, its weights and its outputs."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infertune.core.errors import DataError, UsageError, nearest, quoted
from infertune.prepare.hf.extra import quietly
from infertune.prepare.hf.fetch import Weights

Arrays = dict[str, NDArray[Any]]

SHAPES = (
    {"batch_size": 1, "sequence_length": 8, "height": 64, "width": 64},
    {"batch_size": 3, "sequence_length": 24, "height": 96, "width": 96},
)
"""Neither is the shape at which the exporter traces (2 x 16), so that a size baked in shows."""

TRACED = {"sequence_length": 16}
_POSITIONS = ("max_position_embeddings", "n_positions", "max_target_positions")


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """``module`` is a torch module in evaluation mode; ``exporter`` is optimum's description of its inputs, outputs."""

    name: str
    task: str
    module: Any
    exporter: Any
    preprocessors: list[Any]
    untrained: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One set of inputs and what the original makes of them."""

    inputs: Arrays
    outputs: Arrays


def load(folder: Path, name: str, task: str | None, weights: Weights) -> Original:
    """Raises `UsageError` and `DataError` for what cannot be loaded or is not supported."""
    with quietly():
        config = _configuration(folder, name)
        chosen = _task(config, name, task)
        module, untrained = _module(folder, name, config, chosen, weights)
        preprocessors = _preprocessors(folder)
        exporter = _exporter(module, chosen, preprocessors)
    return Original(
        name=name, task=chosen, module=module, exporter=exporter, preprocessors=preprocessors, untrained=untrained
    )


def _configuration(folder: Path, name: str) -> Any:
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        if "trust_remote_code" in str(error):
            raise _own_code(name) from error
        raise DataError(
            "config-unreadable",
            f"the configuration of `{quoted(name)}` cannot be used: {quoted(first_line(error))}",
            hint="give a model of a kind that the installed transformers library knows",
        ) from error


def _own_code(name: str) -> DataError:
    return DataError(
        "remote-code",
        f"`{quoted(name)}` brings its own Python code, which is never run",
        hint="choose a model that the transformers library supports by itself, or export it to ONNX yourself",
    )


def _supported(config: Any, name: str) -> tuple[str, ...]:
    """Tasks for which this kind of model exports as one graph without past keys and values."""
    from optimum.exporters.tasks import TasksManager

    importlib.import_module("optimum.exporters.onnx.model_configs")  # registers what can be exported
    try:
        known = TasksManager.get_supported_tasks_for_model_type(config.model_type, "onnx", library_name="transformers")
    except KeyError as error:
        raise DataError(
            "model-type-unsupported",
            f"`{quoted(name)}` is a `{quoted(config.model_type)}` model, which optimum-onnx does not export",
            hint="export it to ONNX with other means (torch.onnx.export) and tune that file",
        ) from error
    return tuple(task for task in known if not task.endswith("-with-past"))


def _task(config: Any, name: str, asked: str | None) -> str:
    from optimum.exporters.tasks import TasksManager

    supported = _supported(config, name)
    task = TasksManager.map_from_synonym(asked) if asked else _inferred(config, name, supported)
    if task in supported:
        return str(task)
    if task.endswith("-with-past"):
        raise UsageError(
            "task-unsupported",
            f"task `{quoted(task)}` exports past keys and values, which infertune does not feed",
            hint=f"use --task {task.removesuffix('-with-past')}: one forward pass over the whole sequence",
        )
    raise UsageError(
        "task-unsupported",
        f"a `{config.model_type}` model cannot be exported for the task `{quoted(task)}`",
        hint=f"{nearest(task, supported)}tasks of this model: {', '.join(supported)}",
    )


def _inferred(config: Any, name: str, supported: tuple[str, ...]) -> str:
    """The task of the class that the checkpoint was saved from."""
    import transformers
    from optimum.exporters.tasks import TasksManager

    saved_from = (config.architectures or ["no class"])[0]
    try:
        return str(TasksManager.infer_task_from_model(getattr(transformers, saved_from)))
    except (AttributeError, ValueError, KeyError):
        raise UsageError(
            "task-unknown",
            f"the task of `{quoted(name)}` cannot be told: its configuration names {quoted(saved_from)}",
            hint=f"add --task with one of: {', '.join(supported)}",
        ) from None


def _module(folder: Path, name: str, config: Any, task: str, weights: Weights) -> tuple[Any, tuple[str, ...]]:
    import torch
    from optimum.exporters.tasks import TasksManager

    kind = TasksManager.get_model_class_for_task(task, framework="pt", model_type=config.model_type)
    safe = True if weights == "safetensors" else None
    try:
        module, found = kind.from_pretrained(
            folder, config=config, dtype=torch.float32, use_safetensors=safe, local_files_only=True,
            trust_remote_code=False, output_loading_info=True,
        )  # fmt: skip
    except Exception as error:  # readers of weights raise many kinds, some of them private
        raise DataError(
            "weights-unreadable",
            f"the weights of `{quoted(name)}` cannot be loaded: {quoted(first_line(error))}",
            hint="download the model again (Git LFS files must be fetched, not only named)",
        ) from error
    untrained = tuple(sorted(found["missing_keys"]))
    _poison(module, untrained)
    return module.eval().requires_grad_(requires_grad=False), untrained


def _poison(module: Any, names: tuple[str, ...]) -> None:
    """Weights that the checkpoint lacks were drawn at random; NaN shows whether any output depends on them."""
    tensors = module.state_dict()
    for name in names:
        if name in tensors and tensors[name].is_floating_point():
            tensors[name].fill_(float("nan"))


def _preprocessors(folder: Path) -> list[Any]:
    from optimum.utils.save_utils import maybe_load_preprocessors

    return list(maybe_load_preprocessors(str(folder), trust_remote_code=False))


def _exporter(module: Any, task: str, preprocessors: list[Any]) -> Any:
    from optimum.exporters.tasks import TasksManager

    if hasattr(module.config, "use_cache"):
        module.config.use_cache = False
    make = TasksManager.get_exporter_config_constructor(
        exporter="onnx", model=module, task=task, library_name="transformers"
    )
    return make(module.config, preprocessors=preprocessors)


def within(config: Any, shape: Mapping[str, int]) -> dict[str, int]:
    """``shape`` with no more tokens than the configuration has positions, and just the frames that a model of the
    Whisper kind takes, which its encoder halves to positions."""
    told = (getattr(part, name, None) for part in (config, config.get_text_config()) for name in _POSITIONS)
    lengths = [shape["sequence_length"], *(most for most in told if isinstance(most, int) and most > 0)]
    frames = getattr(config, "max_source_positions", None)
    return {**shape, "sequence_length": min(lengths), **({"nb_max_frames": 2 * frames} if frames else {})}


def samples(original: Original) -> tuple[Sample, ...]:
    """What the original makes of seeded inputs of two shapes.

    Raises `DataError`: ``weights-missing`` when an output depends on weights that the checkpoint lacks.
    """
    made = tuple(_sample(original, within(original.module.config, shape)) for shape in SHAPES)
    if original.untrained and any(np.isnan(out).any() for sample in made for out in sample.outputs.values()):
        lacking = ", ".join(original.untrained[:3]) + (", ..." if len(original.untrained) > 3 else "")
        raise DataError(
            "weights-missing",
            f"`{quoted(original.name)}` has no weights for task `{original.task}`: {quoted(lacking)} are not in it",
            hint=f"give the task it was trained for; it was saved from {_saved_from(original)}",
        )
    return made


def _saved_from(original: Original) -> str:
    return quoted(", ".join(getattr(original.module.config, "architectures", None) or ["an unknown class"]))


def _sample(original: Original, shape: Mapping[str, int]) -> Sample:
    import torch

    try:
        with quietly(), torch.random.fork_rng(devices=[]), torch.inference_mode():
            torch.manual_seed(0)
            inputs = _padded(original.exporter.generate_dummy_inputs(framework="pt", **shape))
            outputs = original.module(**{name: tensor.clone() for name, tensor in inputs.items()})
    except Exception as error:  # the model's own code, which raises anything
        raise DataError(
            "original-failed",
            f"`{quoted(original.name)}` does not run in PyTorch: {quoted(first_line(error))}",
            hint="check the model with the transformers library, or choose another --task",
        ) from error
    return Sample(inputs=_fed(original, inputs), outputs=_named(original, outputs))


def _fed(original: Original, inputs: Mapping[str, Any]) -> Arrays:
    """Inputs under the names that the ONNX model gives them."""
    renamed = original.exporter.torch_to_onnx_input_map
    fed = original.exporter.rename_ambiguous_inputs(dict(inputs))
    return {renamed.get(name, name): tensor.numpy() for name, tensor in fed.items()}


def _named(original: Original, outputs: Mapping[str, Any]) -> Arrays:
    """The exported outputs likewise."""
    renamed = original.exporter.torch_to_onnx_output_map
    tensors = {renamed.get(name, name): out for name, out in outputs.items()}
    return {name: tensors[name].numpy() for name in original.exporter.outputs if name in tensors}


def _padded(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Masks of ones, the last third of the last row padding: optimum draws them from an unseeded generator."""
    made = dict(inputs)
    for name, tensor in inputs.items():
        if name.endswith("attention_mask") and tensor.dim() == 2 and not tensor.is_floating_point():
            made[name] = tensor.new_ones(tensor.shape)
            made[name][-1, -(tensor.shape[1] // 3) :] = 0
    return made


def first_line(error: Exception) -> str:
    """The last line of some messages is advice for another tool; the first says what happened."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
