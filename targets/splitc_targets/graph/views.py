# SPDX-License-Identifier: Apache-2.0
"""Where a value lies: a stretch of a buffer and the distance between neighbours per dimension.

Transposing, slicing, broadcasting and most reshaping change a view and move no number.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(eq=False, repr=False)
class Buffer:
    """Memory that values lie in.

    Args:
        size: Elements.
        dtype: Their type.
        kind: "arena" (planned), "input", "output", "constant", or "packed" (made of constants
            once, when a part is loaded).
        shape: What the caller sees, for inputs and outputs.
        data: A constant's numbers.
    """

    size: int
    dtype: str
    kind: str = "arena"
    shape: tuple[int, ...] = ()
    data: np.ndarray[Any, Any] | None = None

    @property
    def holds_weights(self) -> bool:
        """Whether it is a constant, as it is stored or as it was made ready at load."""
        return self.kind in ("constant", "packed")


@dataclass(frozen=True)
class View:
    """A value's place: `strides` count elements, 0 where one element serves a dimension."""

    buffer: Buffer
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def span(self) -> int:
        """Elements from the first to the last, both counted."""
        if 0 in self.shape:
            return 0
        return 1 + sum((n - 1) * s for n, s in zip(self.shape, self.strides, strict=True))

    @property
    def size_of_shape(self) -> int:
        """Elements."""
        return math.prod(self.shape)

    @property
    def dense(self) -> bool:
        """Whether it lies as numpy would lay it, with nothing between."""
        return canonical(self.shape, self.strides) == canonical(self.shape, packed(self.shape))

    def permuted(self, axes: tuple[int, ...]) -> View:
        """Dimensions in another order."""
        return self._with([self.shape[a] for a in axes], [self.strides[a] for a in axes])

    def sliced(self, axis: int, start: int, count: int, step: int = 1) -> View:
        """`count` elements of a dimension, from `start` on."""
        shape, strides = list(self.shape), list(self.strides)
        shape[axis] = count
        offset = self.offset + start * strides[axis]
        strides[axis] *= step
        return View(self.buffer, offset, tuple(shape), tuple(strides))

    def broadcast(self, shape: tuple[int, ...]) -> View:
        """Repeated along new or single dimensions, as numpy does."""
        missing = len(shape) - len(self.shape)
        own = (1,) * missing + self.shape
        steps = (0,) * missing + self.strides
        strides = [0 if n == 1 and m != 1 else s for n, m, s in zip(own, shape, steps, strict=True)]
        return self._with(list(shape), strides)

    def reshaped(self, shape: tuple[int, ...]) -> View | None:
        """The same elements in the same order under another shape; None where they must move."""
        strides = _reshaped(self.shape, self.strides, shape)
        return None if strides is None else self._with(list(shape), strides)

    def _with(self, shape: list[int], strides: list[int]) -> View:
        return View(self.buffer, self.offset, tuple(shape), tuple(strides))


def packed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides with the last dimension innermost and nothing between."""
    strides: list[int] = []
    step = 1
    for size in reversed(shape):
        strides.append(step)
        step *= size
    return tuple(reversed(strides))


def channels_last(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides with dimension 1 innermost: [N, C, …] laid as [N, …, C]."""
    if len(shape) < 3:
        return packed(shape)
    inner = packed((shape[0], *shape[2:], shape[1]))
    return (inner[0], inner[-1], *inner[1:-1])


def ordered_like(shape: tuple[int, ...], strides: tuple[int, ...]) -> tuple[int, ...]:
    """Strides with nothing between, dimensions in the order that other strides have."""
    order = sorted(range(len(shape)), key=lambda d: (-strides[d] if shape[d] > 1 else 0, d))
    result = [0] * len(shape)
    step = 1
    for d in reversed(order):
        result[d] = step
        step *= shape[d]
    return tuple(result)


def canonical(shape: tuple[int, ...], strides: tuple[int, ...]) -> tuple[int, ...]:
    """Strides with those of single-element dimensions, which mean nothing, set to 0."""
    return tuple(0 if n == 1 else s for n, s in zip(shape, strides, strict=True))


def _reshaped(
    shape: tuple[int, ...], strides: tuple[int, ...], wanted: tuple[int, ...]
) -> list[int] | None:
    """Strides under the wanted shape, where the elements need not move.

    Old and new dimensions are matched in the smallest groups of equal size; within a group
    the old ones must lie without gaps.
    """
    if math.prod(shape) == 0:
        return list(packed(wanted))
    old = [(n, s) for n, s in zip(shape, strides, strict=True) if n != 1]
    result: list[int] = []
    pending: list[int] = []
    taken = 0
    for size in wanted:
        pending.append(size)
        group: list[tuple[int, int]] = []
        while math.prod(n for n, _ in group) < math.prod(pending) and taken + len(group) < len(old):
            group.append(old[taken + len(group)])
        if math.prod(n for n, _ in group) != math.prod(pending):
            continue
        if any(a[1] != b[0] * b[1] for a, b in itertools.pairwise(group)):
            return None
        step = group[-1][1] if group else 0
        result += [step * inner for inner in packed(tuple(pending))]
        taken += len(group)
        pending = []
    return None if pending else result
