# SPDX-License-Identifier: Apache-2.0
"""Results of as many rows as values make them, inside arrays of a fixed number of rows.

A part gives a detector's boxes in as many rows as there can be. Those beyond the boxes that were
kept are -1 throughout, which no index is. What is computed of the boxes kept has the same rows:
one stands for nothing where all results say so.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from splitc.arrays import Array

NONE = -1
"""What every element of a row is that stands for nothing."""


def filler(dtype: str) -> int:
    """What elements of a row are that stands for nothing: -1, and 0 of a type that has no -1."""
    return NONE if np.dtype(dtype).kind in "if" else 0


def kept_rows(rows: Array) -> Array:
    """The rows that stand for something: those before the last of which all are -1."""
    return kept_together([rows])[0]


def kept_together(results: Sequence[Array]) -> list[Array]:
    """Results of the same rows, without those at the end that stand for nothing in all of them."""
    nothing = np.ones(len(results[0]), bool)
    for rows in results:
        nothing &= (rows == filler(rows.dtype.name)).reshape(len(rows), -1).all(axis=1)
    (something,) = np.nonzero(~nothing)
    count = int(something[-1]) + 1 if len(something) else 0
    return [rows[:count] for rows in results]


def filled_rows(rows: Array, count: int) -> Array:
    """So many rows, those behind the given ones -1: what has another number for each frame."""
    made = np.full((count, *rows.shape[1:]), filler(rows.dtype.name), rows.dtype)
    made[: len(rows)] = rows
    return made
