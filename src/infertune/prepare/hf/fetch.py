"""A Hugging Face id or a local folder as a local folder with a configuration and weights; code is never fetched."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from infertune.core.errors import DataError, InfertuneError, NotFoundError, quoted

Weights = Literal["safetensors", "any"]
"""``any`` also takes PyTorch pickles, which can run code while they are read."""

_TEXTS = ("*.json", "*.txt", "*.model")
_SAFE = ("*.safetensors",)
_PICKLED = ("*.bin", "*.pt", "*.pth")


def folder_of(source: str, weights: Weights) -> Path:
    """The model's folder, downloaded to the cache of Hugging Face when ``source`` is an id.

    Raises `NotFoundError` (``model-not-found``, ``model-gated``, ``hub-unreachable``) and `DataError`
    (``not-a-model-folder``, ``weights-unsafe``, ``weights-missing``).
    """
    local = Path(source).expanduser()
    if local.is_file():
        raise DataError(
            "not-a-model-folder",
            f"`{quoted(source)}` is a file",
            hint="give the folder that holds config.json and the weights; ONNX files need no import",
        )
    folder = local if local.is_dir() else _downloaded(source, weights)
    _check(folder, source, weights)
    return folder


def _check(folder: Path, source: str, weights: Weights) -> None:
    if not (folder / "config.json").is_file():
        raise DataError(
            "not-a-model-folder",
            f"`{quoted(source)}` has no config.json",
            hint="give a model in the format of the transformers library: config.json and *.safetensors",
        )
    if _holds(folder, _SAFE) or (weights == "any" and _holds(folder, _PICKLED)):
        return
    if _holds(folder, _PICKLED) or folder != Path(source).expanduser():
        raise DataError(
            "weights-unsafe",
            f"`{quoted(source)}` has no safetensors weights, and pickled weights can run code when they are read",
            hint="choose a model with *.safetensors, or add --allow-pickle if you trust whoever made it",
        )
    raise DataError(
        "weights-missing",
        f"`{quoted(source)}` has no weights",
        hint="download the folder again with its *.safetensors files",
    )


def steps_after(folder: Path) -> tuple[str, ...]:
    """What a sentence-transformers folder does to the transformer's outputs: ``Pooling``, ``Normalize``; often none."""
    try:
        steps = json.loads((folder / "modules.json").read_text())
        kinds = [str(step["type"]).rpartition(".")[2] for step in steps]
    except (OSError, ValueError, TypeError, KeyError):
        return ()
    return tuple(kind for kind in kinds if kind != "Transformer")


def _holds(folder: Path, patterns: Sequence[str]) -> bool:
    return any(any(folder.glob(pattern)) for pattern in patterns)


def _downloaded(source: str, weights: Weights) -> Path:
    folder = _snapshot(source, (*_TEXTS, *_SAFE))
    if weights == "any" and not _holds(folder, _SAFE):
        return _snapshot(source, (*_TEXTS, *_PICKLED))
    return folder


def _snapshot(source: str, patterns: Sequence[str]) -> Path:
    """Files at the top of the repository only: folders below hold other formats (onnx, openvino, ...)."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    from requests.exceptions import RequestException

    try:
        return Path(snapshot_download(source, allow_patterns=list(patterns), ignore_patterns=["*/*"]))
    except (HFValidationError, HfHubHTTPError, RequestException, OSError) as error:
        raise _not_fetched(source, error) from error


def _not_fetched(source: str, error: Exception) -> InfertuneError:
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError

    name = quoted(source)
    if isinstance(error, HFValidationError):
        hint = "give a folder that exists, or an id such as `sentence-transformers/all-MiniLM-L6-v2`"
        return NotFoundError("model-not-found", f"`{name}` is neither a folder here nor a Hugging Face id", hint=hint)
    if isinstance(error, GatedRepoError):
        hint = "accept its terms on its page, then log in with `hf auth login`"
        return NotFoundError("model-gated", f"access to `{name}` has to be granted by its owner", hint=hint)
    if isinstance(error, RepositoryNotFoundError):
        hint = "check the spelling; a private model needs `hf auth login`"
        return NotFoundError("model-not-found", f"Hugging Face has no model `{name}`", hint=hint)
    return NotFoundError(
        "hub-unreachable",
        f"`{name}` is not a folder here, and it could not be fetched: {quoted(_reason(error))}",
        hint="check the network, or download the model's folder elsewhere and give its path",
    )


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
