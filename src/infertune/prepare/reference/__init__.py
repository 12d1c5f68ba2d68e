"""Reference architectures with seeded random weights, written straight to ONNX: no download, no torch."""

from infertune.prepare.reference.catalog import REFERENCES, Reference, Written, reference, write_reference

__all__ = ["REFERENCES", "Reference", "Written", "reference", "write_reference"]
