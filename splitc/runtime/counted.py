# SPDX-License-Identifier: Apache-2.0
"""Results of as many rows as values make them, inside arrays of a fixed number of rows.

A part gives a detector's boxes in as many rows as there can be. Those beyond the boxes that were
kept are -1 throughout, which no index is.
"""

from __future__ import annotations

import numpy as np

from splitc.arrays import Array

NONE = -1
"""What every element of a row is that stands for nothing."""


def kept_rows(rows: Array) -> Array:
    """The rows that stand for something: those before the first of -1 alone."""
    nothing = (rows == NONE).reshape(len(rows), -1).all(axis=1)
    return rows[: int(nothing.argmax())] if nothing.any() else rows


def filled_rows(rows: Array, count: int) -> Array:
    """So many rows, those behind the given ones -1: what has another number for each frame."""
    made = np.full((count, *rows.shape[1:]), NONE, rows.dtype)
    made[: len(rows)] = rows
    return made
