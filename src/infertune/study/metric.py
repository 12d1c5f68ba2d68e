"""A person's own measure of how near outputs are to the reference, in place of the cosine similarity.

A metric takes two mappings from output names to lists of arrays, one array per input set, the candidate's and the
reference's, and returns a number that the limit on fidelity is compared with: 1 for as good as the reference, less for
worse, such as the share of equal answers.
"""

from __future__ import annotations

import importlib
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infertune.core.errors import UsageError, quoted

Outputs = Mapping[str, Sequence[NDArray[Any]]]
Metric = Callable[[Outputs, Outputs], float]


def named(metric: Metric | None) -> str:
    """``module:function``, as the record keeps it; empty for none."""
    return "" if metric is None else f"{metric.__module__}:{getattr(metric, '__qualname__', type(metric).__name__)}"


def parse_metric(text: str | None) -> Metric | None:
    """The function that ``module:function`` names, modules of the current folder included. Raises `UsageError`."""
    if text is None:
        return None
    module, _, function = text.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found = getattr(importlib.import_module(module), function)
    except Exception as error:  # importing runs the person's own code
        why = quoted(str(error) or type(error).__name__, limit=300)
        raise UsageError(
            "metric-not-found", f"there is no metric `{quoted(text)}`: {why}", hint="write --metric MODULE:FUNCTION"
        ) from error
    if not callable(found):
        raise UsageError("metric-not-found", f"`{quoted(text)}` cannot be called", hint="name a function")
    return found  # type: ignore[no-any-return]  # its signature shows when it is called


def judge(metric: Metric, ours: str, theirs: str) -> float:
    """What the metric says of two ``.npz`` files. Raises `UsageError` when it raises, or returns no finite number."""
    try:
        value = float(metric(read_outputs(ours), read_outputs(theirs)))
    except Exception as error:
        why = quoted(f"{type(error).__name__}: {error}", limit=300)
        raise UsageError("metric-failed", f"the metric `{named(metric)}` failed: {why}", hint=_SIGNATURE) from error
    if not math.isfinite(value):
        raise UsageError("metric-failed", f"the metric `{named(metric)}` returned {value}", hint=_SIGNATURE)
    return value


_SIGNATURE = "it takes (outputs, reference), mappings of names to lists of arrays, and returns a number, 1 for perfect"


def read_outputs(path: str) -> Outputs:
    """Arrays by output name, in the order of the input sets, from a file of arrays named ``<output>.<i>``."""
    found: dict[str, list[NDArray[Any]]] = {}
    with np.load(path) as stored:
        for name in sorted(stored.files, key=lambda n: int(n.rpartition(".")[2])):
            found.setdefault(name.rpartition(".")[0], []).append(stored[name])
    return found
