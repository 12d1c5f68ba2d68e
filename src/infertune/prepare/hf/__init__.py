"""Hugging Face models to ONNX, each output checked against the original. Needs the extra ``infertune[hf]``."""

from infertune.prepare.hf.compare import TOLERANCE, Comparison
from infertune.prepare.hf.fetch import Weights
from infertune.prepare.hf.importing import Imported, import_model

__all__ = ["TOLERANCE", "Comparison", "Imported", "Weights", "import_model"]
