"""ResNet-50 (He et al. 2015, arXiv:1512.03385; stride in the 3x3 convolution, "v1.5") and MobileNetV2 (Sandler et al.
2018, arXiv:1801.04381), as torchvision builds them and torch exports them in evaluation mode: every
BatchNormalization folded into the convolution before it.

Scales follow the scaled weight standardisation of Brock et al. 2021 (arXiv:2102.06171): with zero-sum filters and
the gain of the rectifier, activations keep unit variance and zero mean from layer to layer without normalisation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from infertune.core.records import TensorSpec
from infertune.prepare.reference.sketch import Sketch

_BRANCH = 0.3  # deviation that a residual branch adds; from 0.5 on, bf16 rounding grows visibly with depth
_RECTIFIED = math.sqrt(2.0 / (1.0 - 1.0 / math.pi))  # restores the deviation that ReLU takes from a unit normal
_JITTER = 0.05  # deviation of biases

_IMAGE = TensorSpec(name="input", dtype="float32", dims=("batch_size", 3, 224, 224))
_CLASSES = TensorSpec(name="output", dtype="float32", dims=("batch_size", 1000))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Filter:
    """``gain`` is the deviation of the output over that of the input, seen through the zero-sum filter."""

    wide: int
    out: int
    size: int = 1
    stride: int = 1
    groups: int = 1
    gain: float = 1.0


def _conv(sketch: Sketch, x: str, at: str, of: _Filter) -> str:
    """A convolution that keeps the spatial size (divided by the stride)."""
    shape = (of.out, of.wide // of.groups, of.size, of.size)
    name = at.replace("/", ".")
    weight = sketch.weight(f"{name}.weight", shape, std=of.gain / math.sqrt(math.prod(shape[1:])), centred=True)
    bias = sketch.weight(f"{name}.bias", (of.out,), std=_JITTER)
    pad = of.size // 2
    return sketch.add(
        "Conv", x, weight, bias, at=at, dilations=(1, 1), group=of.groups, kernel_shape=(of.size, of.size),
        pads=(pad, pad, pad, pad), strides=(of.stride, of.stride),
    )  # fmt: skip


def _classifier(sketch: Sketch, x: str, at: str, wide: int) -> None:
    pooled = sketch.add("GlobalAveragePool", x, at="avgpool")
    flat = sketch.add("Flatten", pooled, axis=1)
    name = at.replace("/", ".")
    weight = sketch.weight(f"{name}.weight", (1000, wide), std=4.0 / math.sqrt(wide), centred=True)
    bias = sketch.weight(f"{name}.bias", (1000,), std=_JITTER)
    sketch.add("Gemm", flat, weight, bias, at=at, out="output", alpha=1.0, beta=1.0, transB=1)


def _bottleneck(sketch: Sketch, x: str, at: str, wide: int, narrow: int, stride: int) -> str:
    """1x1 down, 3x3, 1x1 up to four times ``narrow``, added to the input or its projection."""
    out = 4 * narrow
    y = _conv(sketch, x, f"{at}/conv1", _Filter(wide=wide, out=narrow, gain=_RECTIFIED))
    y = sketch.add("Relu", y, at=at)
    y = _conv(sketch, y, f"{at}/conv2", _Filter(wide=narrow, out=narrow, size=3, stride=stride, gain=_RECTIFIED))
    y = sketch.add("Relu", y, at=at)
    y = _conv(sketch, y, f"{at}/conv3", _Filter(wide=narrow, out=out, gain=_BRANCH * _RECTIFIED))
    if wide != out or stride != 1:
        x = _conv(sketch, x, f"{at}/downsample/0", _Filter(wide=wide, out=out, stride=stride, gain=_RECTIFIED))
    return sketch.add("Relu", sketch.add("Add", y, x, at=at), at=at)


def resnet50() -> Sketch:
    """``input`` (batch, 3, 224, 224) float32 to ``output`` (batch, 1000)."""
    sketch = Sketch((_IMAGE,), (_CLASSES,))
    x = _conv(sketch, "input", "conv1", _Filter(wide=3, out=64, size=7, stride=2))
    x = sketch.add("Relu", x)
    x = sketch.add("MaxPool", x, at="maxpool", kernel_shape=(3, 3), pads=(1, 1, 1, 1), strides=(2, 2))
    wide = 64
    for stage, (narrow, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3)), start=1):
        for block in range(blocks):
            stride = 2 if stage > 1 and block == 0 else 1
            x = _bottleneck(sketch, x, f"layer{stage}/{block}", wide, narrow, stride)
            wide = 4 * narrow
    _classifier(sketch, x, "fc", wide)
    return sketch


def _clip(sketch: Sketch, x: str, at: str) -> str:
    return sketch.add("Clip", x, sketch.constant(0.0), sketch.constant(6.0), at=at)


def _inverted(sketch: Sketch, x: str, at: str, wide: int, out: int, stride: int, expand: int) -> str:
    """1x1 up, 3x3 per channel, 1x1 down without activation; added to the input where shapes agree."""
    hidden = wide * expand
    y = x
    if expand != 1:
        y = _clip(sketch, _conv(sketch, x, f"{at}/conv/0/0", _Filter(wide=wide, out=hidden)), at)
    last = 1 if expand == 1 else 2
    each = _Filter(wide=hidden, out=hidden, size=3, stride=stride, groups=hidden, gain=_RECTIFIED)
    y = _clip(sketch, _conv(sketch, y, f"{at}/conv/{last - 1}/0", each), at)
    joined = stride == 1 and wide == out
    narrow = _Filter(wide=hidden, out=out, gain=_RECTIFIED * (_BRANCH if joined else 1.0))
    y = _conv(sketch, y, f"{at}/conv/{last}", narrow)
    return sketch.add("Add", x, y, at=at) if joined else y


_MOBILENET = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""(expansion, channels, blocks, first stride) of each stage: table 2 of the paper."""


def mobilenet_v2() -> Sketch:
    """``input`` (batch, 3, 224, 224) float32 to ``output`` (batch, 1000)."""
    sketch = Sketch((_IMAGE,), (_CLASSES,))
    x = _conv(sketch, "input", "features/0/0", _Filter(wide=3, out=32, size=3, stride=2))
    x = _clip(sketch, x, "features/0")
    wide, block = 32, 1
    for expand, out, blocks, stride in _MOBILENET:
        for i in range(blocks):
            x = _inverted(sketch, x, f"features/{block}", wide, out, stride if i == 0 else 1, expand)
            wide, block = out, block + 1
    x = _clip(sketch, _conv(sketch, x, "features/18/0", _Filter(wide=wide, out=1280)), "features/18")
    _classifier(sketch, x, "classifier/1", 1280)
    return sketch
