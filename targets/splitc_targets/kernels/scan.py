# SPDX-License-Identifier: Apache-2.0
"""Sums and products of all elements of a row up to each."""

from __future__ import annotations

import math
from dataclasses import dataclass

from splitc_targets.loops.emit import Argument

KINDS = ("cumsum", "cumprod")
TYPES = frozenset({"float32", "float64", "int32", "int64"})


@dataclass(frozen=True)
class Scan:
    """What each element and those before it in its row combine to.

    Args:
        kept: (size, distance in the input, distance in the result) of each other dimension.
        length: Elements of a row.
        x_step, y_step: Distances between them in the input and in the result.
        dtype: The elements' type.
        kind: One of `KINDS`.
        exclusive: Whether the element itself is left out.
    """

    kept: tuple[tuple[int, int, int], ...]
    length: int
    x_step: int
    y_step: int
    dtype: str
    kind: str
    exclusive: bool

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return math.prod(size for size, _, _ in self.kept)


def parameters(spec: Scan) -> list[Argument]:
    """A kernel's (x, y)."""
    last = spec.length - 1
    x = 1 + last * spec.x_step + sum((n - 1) * x for n, x, _ in spec.kept)
    y = 1 + last * spec.y_step + sum((n - 1) * y for n, _, y in spec.kept)
    return [Argument("x", (x,), spec.dtype), Argument("y", (y,), spec.dtype)]
