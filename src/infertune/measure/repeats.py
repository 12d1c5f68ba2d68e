"""Does the runtime answer an input that it has seen before from memory? One input again and again, against others.

A window measures a few inputs in turn, so a runtime that remembers answers would be measured at remembering. The others
are as near to the one as can be: a CPU learns the branches that an input takes, and answers its like from warm caches.
Plain ONNX Runtime, which remembers nothing, computes trees and NMS up to 1.9 times as fast at an input that it computed
just before as at any other, but no faster than at one that differs from it in the last digits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infertune.core.records import RawNs, Repeats
from infertune.core.seams import Answering, Clock

Array = NDArray[Any]
Arrays = Mapping[str, Array]

MOST = 12
LEAST = 3
ENOUGH_S = 0.3  # no further pair once this is spent and there are `LEAST`
PATIENCE_S = 3.0  # where even `LEAST` pairs take longer, none is told


def time_repeats(session: Answering, sets: Sequence[Arrays], clock: Clock) -> Repeats | None:
    """Pairs of answers, one to ``sets[0]`` and one to an input like it but with what it can have of each of the others
    (`alike`), whose turns to go first alternate.

    Nothing may be outstanding. None where there are fewer than `LEAST` pairs, or no time for them.
    """
    same: list[int] = []
    varied: list[int] = []
    began = clock.now_ns()
    for turn, other in enumerate(sets[1:]):
        first, second = (same, sets[0]), (varied, alike(sets[0], other, turn + 1))
        for taken, inputs in (second, first) if turn % 2 else (first, second):
            if taken is same:
                session.answer(inputs)  # so that even a memory of one answer holds it
            taken.append(_answered_ns(session, inputs, clock))
        spent_s = (clock.now_ns() - began) / 1e9
        if spent_s >= PATIENCE_S or (spent_s >= ENOUGH_S and len(same) >= LEAST):
            break
    return Repeats(same_ns=RawNs(same), varied_ns=RawNs(varied)) if len(same) >= LEAST else None


def alike(one: Arrays, other: Arrays, steps: int) -> Arrays:
    """Floats of ``one``, moved ``steps`` units in the last place away from zero; everything else is that of ``other``.

    Zeros stay, as denormals would cost time, and so do infinities.
    """
    return {name: _moved(array, steps) if array.dtype.kind == "f" else other[name] for name, array in one.items()}


def _moved(array: Array, steps: int) -> Array:
    with np.errstate(invalid="ignore", over="ignore"):
        moved = array + array.dtype.type(steps) * np.spacing(array)
    return np.where((array != 0) & np.isfinite(moved), moved, array)


def _answered_ns(session: Answering, inputs: Arrays, clock: Clock) -> int:
    """The inputs are read just before, so that the CPU's caches hold both of a pair alike."""
    for array in inputs.values():
        array.tobytes()
    began = clock.now_ns()
    session.answer(inputs)
    return clock.now_ns() - began
