"""ViT-B/16: Dosovitskiy et al. 2020 (arXiv:2010.11929), a pre-norm encoder over image patches and a class token."""

from __future__ import annotations

import math
from dataclasses import dataclass

from infertune.core.records import TensorSpec
from infertune.prepare.reference.layers import STD, attention, gelu, layer_norm, linear
from infertune.prepare.reference.sketch import Sketch


@dataclass(frozen=True, slots=True, kw_only=True)
class Vision:
    """``side`` and ``patch`` in pixels."""

    layers: int
    hidden: int
    heads: int
    intermediate: int
    patch: int = 16
    side: int = 224
    classes: int = 1000

    @property
    def patches(self) -> int:
        return (self.side // self.patch) ** 2

    @property
    def std(self) -> float:
        """Glorot's, as in the original; at 0.02 attention would be all but uniform."""
        return 1.0 / math.sqrt(self.hidden)


def _patches(sketch: Sketch, of: Vision, at: str) -> str:
    """(batch, patches, hidden) from the image by one convolution."""
    shape = (of.hidden, 3, of.patch, of.patch)
    name = "vit.embeddings.patch_embeddings.projection.weight"
    # centred, or the mean brightness, which all images share, would drown everything else
    weight = sketch.weight(name, shape, std=1.0 / math.sqrt(3 * of.patch**2), centred=True)
    bias = sketch.weight("vit.embeddings.patch_embeddings.projection.bias", (of.hidden,), std=STD)
    grid = sketch.add(
        "Conv", "pixel_values", weight, bias, at=at, dilations=(1, 1), group=1, kernel_shape=(of.patch, of.patch),
        pads=(0, 0, 0, 0), strides=(of.patch, of.patch),
    )  # fmt: skip
    flat = sketch.add("Reshape", grid, sketch.constant((0, of.hidden, of.patches)), at=at)
    return sketch.add("Transpose", flat, at=at, perm=(0, 2, 1))


def _class_token(sketch: Sketch, of: Vision, at: str) -> str:
    """The same vector for every image of the batch: (batch, 1, hidden)."""
    token = sketch.weight("vit.embeddings.cls_token", (1, 1, of.hidden), std=STD)
    batch = sketch.add("Gather", sketch.add("Shape", "pixel_values", at=at), sketch.constant((0,)), at=at, axis=0)
    shape = sketch.add("Concat", batch, sketch.constant((1,)), sketch.constant((of.hidden,)), at=at, axis=0)
    return sketch.add("Expand", token, shape, at=at)


def _embeddings(sketch: Sketch, of: Vision) -> str:
    at = "vit/embeddings"
    joined = sketch.add("Concat", _class_token(sketch, of, at), _patches(sketch, of, at), at=at, axis=1)
    places = sketch.weight("vit.embeddings.position_embeddings", (1, of.patches + 1, of.hidden), std=STD)
    return sketch.add("Add", joined, places, at=at)


def _layer(sketch: Sketch, of: Vision, x: str, at: str) -> str:
    y = layer_norm(sketch, x, f"{at}/layernorm_before", of.hidden, epsilon=1e-12)
    y = attention(sketch, y, f"{at}/attention/attention", of.hidden, of.heads, std=of.std)
    y = linear(sketch, y, f"{at}/attention/output/dense", of.hidden, of.hidden, std=of.std)
    x = sketch.add("Add", y, x, at=f"{at}/attention")
    y = layer_norm(sketch, x, f"{at}/layernorm_after", of.hidden, epsilon=1e-12)
    y = linear(sketch, y, f"{at}/intermediate/dense", of.hidden, of.intermediate, std=of.std)
    y = gelu(sketch, y, f"{at}/intermediate/intermediate_act_fn")
    y = linear(sketch, y, f"{at}/output/dense", of.intermediate, of.hidden, std=STD)
    return sketch.add("Add", y, x, at=f"{at}/output")


def vision_transformer(of: Vision) -> Sketch:
    """``pixel_values`` (batch, 3, side, side) float32 to ``logits`` (batch, classes)."""
    image = TensorSpec(name="pixel_values", dtype="float32", dims=("batch_size", 3, of.side, of.side))
    sketch = Sketch((image,), (TensorSpec(name="logits", dtype="float32", dims=("batch_size", of.classes)),))
    x = _embeddings(sketch, of)
    for i in range(of.layers):
        x = _layer(sketch, of, x, f"vit/encoder/layer.{i}")
    x = layer_norm(sketch, x, "vit/layernorm", of.hidden, epsilon=1e-12)
    first = sketch.add("Gather", x, sketch.constant(0), at="vit", axis=1)
    logits = linear(sketch, first, "classifier", of.hidden, of.classes, std=2.0 / math.sqrt(of.hidden))
    sketch.name_output(logits, "logits")
    return sketch
