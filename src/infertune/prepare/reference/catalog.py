"""The reference networks by name, and writing one as an ONNX file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from infertune.core.errors import CreateError, UsageError, nearest, quoted
from infertune.edge import files
from infertune.prepare.reference.convolutional import mobilenet_v2, resnet50
from infertune.prepare.reference.encoders import Encoder, encoder
from infertune.prepare.reference.serial import onnx_chunks
from infertune.prepare.reference.sketch import Sketch
from infertune.prepare.reference.vit import Vision, vision_transformer


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A published architecture. ``published`` is its parameter count as ``source`` gives it; ``note`` says why the
    file holds another number, where it does."""

    name: str
    title: str
    published: int
    source: str
    sketch: Callable[[], Sketch]
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A reference model on disk."""

    path: str
    name: str
    seed: int
    parameters: int
    size_bytes: int


_BERT_BASE = Encoder(vocabulary=28996, layers=12, hidden=768, heads=12, intermediate=3072)
_BERT_LARGE = Encoder(vocabulary=30522, layers=24, hidden=1024, heads=16, intermediate=4096)
_DISTILBERT = Encoder(vocabulary=30522, layers=6, hidden=768, heads=12, intermediate=3072, types=0, scope="distilbert")
_MINILM = Encoder(
    vocabulary=30522, layers=6, hidden=384, heads=12, intermediate=1536, head="last_hidden_state", scope=""
)
_VIT_BASE = Vision(layers=12, hidden=768, heads=12, intermediate=3072)

REFERENCES = (
    Reference(
        name="bert-base",
        title="BERT-base cased, question answering",
        published=107_721_218,
        source="transformers BertForQuestionAnswering, configuration of bert-base-cased",
        sketch=partial(encoder, _BERT_BASE),
    ),
    Reference(
        name="bert-large",
        title="BERT-large uncased, question answering",
        published=334_094_338,
        source="transformers BertForQuestionAnswering, configuration of bert-large-uncased",
        sketch=partial(encoder, _BERT_LARGE),
        note="its model card says 336 M: with the pooler and the pre-training head, which question answering drops",
    ),
    Reference(
        name="distilbert",
        title="DistilBERT-base uncased, question answering",
        published=66_364_418,
        source="transformers DistilBertForQuestionAnswering; 66 M in arXiv:1910.01108",
        sketch=partial(encoder, _DISTILBERT),
    ),
    Reference(
        name="minilm-l6",
        title="all-MiniLM-L6-v2, token embeddings",
        published=22_713_216,
        source="transformers BertModel, configuration of all-MiniLM-L6-v2",
        sketch=partial(encoder, _MINILM),
        note="without the pooler (147,840), which token embeddings do not use and exports leave out",
    ),
    Reference(
        name="resnet50",
        title="ResNet-50 v1.5, ImageNet",
        published=25_557_032,
        source="torchvision resnet50",
        sketch=resnet50,
        note="BatchNormalization is folded: one bias instead of scale and shift for each of 26,560 channels",
    ),
    Reference(
        name="mobilenet-v2",
        title="MobileNetV2, ImageNet",
        published=3_504_872,
        source="torchvision mobilenet_v2",
        sketch=mobilenet_v2,
        note="BatchNormalization is folded: one bias instead of scale and shift for each of 17,056 channels",
    ),
    Reference(
        name="vit-base",
        title="ViT-B/16 at 224, ImageNet",
        published=86_567_656,
        source="torchvision vit_b_16, transformers ViTForImageClassification",
        sketch=partial(vision_transformer, _VIT_BASE),
    ),
)


def reference(name: str) -> Reference:
    """Raises `UsageError` (``unknown-reference``) with the nearest name."""
    names = [known.name for known in REFERENCES]
    if name not in names:
        raise UsageError(
            "unknown-reference",
            f"`{quoted(name)}` is not a reference model",
            hint=f"{nearest(name, names)}reference models: {', '.join(names)}",
        )
    return REFERENCES[names.index(name)]


def write_reference(name: str, into: Path, *, seed: int = 0) -> Written:
    """Write the network with seeded weights to the file ``into``, whole or not at all; an older file is replaced.

    The same name and seed give the same bytes. Memory stays near the largest tensor, whatever the model's size.
    Raises `UsageError` (``unknown-reference``) and `CreateError` (``not-a-folder``, ``folder-unwritable``,
    ``output-unwritable``).
    """
    sketch = reference(name).sketch()
    files.ensure_folder(into.parent, "the output folder")
    try:
        files.write_chunks(into, onnx_chunks(sketch, name, seed))
        size = into.stat().st_size
    except OSError as error:
        raise CreateError(
            "output-unwritable",
            f"`{quoted(str(into))}` cannot be written: {error.strerror or error}",
            hint="give the name of a file, on a disk with free space",
        ) from None
    return Written(path=str(into), name=name, seed=seed, parameters=sketch.parameters, size_bytes=size)
