"""Names of the arrays that the parts hand to each other."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Column = Whole | npt.NDArray[np.object_]
"""The values of one knob over some points: whole numbers, or objects where some are text."""
Columns = Mapping[str, Column]


def squares(a: Floats, b: Floats) -> Floats:
    """Squared distances between the rows of two matrices."""
    total = np.sum(a**2, axis=1)[:, None] + np.sum(b**2, axis=1)[None, :] - 2.0 * (a @ b.T)
    return np.asarray(np.maximum(total, 0.0))
