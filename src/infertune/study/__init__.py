"""The study: one question, its record, and the loop that answers it."""

from infertune.study.study import Study
from infertune.study.tuning import tune

__all__ = ["Study", "tune"]
