# SPDX-License-Identifier: Apache-2.0
"""How far a result of two networks is apart: relative error, and how many arg-max are the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from splitc.arrays import Array


@dataclass
class Agreement:
    """One result of a network and of the one it is held against, summed over samples.

    Args:
        apart: Sum of squares of the differences.
        power: Of the given network's result.
        same: Places whose arg-max is the same.
        places: Of how many; 0 where the result has no classes.
    """

    apart: float = 0.0
    power: float = 0.0
    same: int = 0
    places: int = 0

    def add(self, coded: Array, given: Array) -> None:
        """Count a sample: values that are not finite on both sides are left out."""
        left, right = coded.astype(np.float64), given.astype(np.float64)
        both = np.isfinite(left) & np.isfinite(right)
        self.apart += float(np.square(left[both] - right[both]).sum())
        self.power += float(np.square(right[both]).sum())
        chosen = classes_of(given)
        if chosen is not None:
            self.same += int(np.count_nonzero(classes_of(coded) == chosen))
            self.places += chosen.size

    @property
    def relative_error(self) -> float:
        """Root mean square of the difference over that of the given network's result."""
        return float(np.sqrt(self.apart / self.power)) if self.power else float(self.apart > 0)


def classes_of(result: Array) -> Array | None:
    """Where a result is largest: along the last axis of a table, the second of more; or None."""
    axis = -1 if result.ndim < 3 else 1
    if result.ndim == 0 or result.shape[axis] < 2:
        return None
    return np.asarray(np.nan_to_num(result, nan=-np.inf).argmax(axis=axis))
