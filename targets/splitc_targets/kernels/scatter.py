# SPDX-License-Identifier: Apache-2.0
"""Numbers put into a copy of a tensor, at places that are computed."""

from __future__ import annotations

import math
from dataclasses import dataclass

from splitc_targets.loops.emit import Argument

REDUCTIONS = ("update", "add", "mul", "max", "min")
"""What becomes of a number where another is put: the last one put there, or both combined."""
TYPES = frozenset({"float32", "float64", "int32", "int64", "int8", "uint8"})


@dataclass(frozen=True)
class Scatter:
    """A tensor with some of its numbers replaced.

    Args:
        shape: Of the tensor and the result.
        places: Shape of the places: of one number each along `axis`, or of `depth` numbers.
        axis: The dimension that places are along; None where they are whole rows.
        dtype: The tensor's element type.
        kind: That of the places.
        reduction: One of `REDUCTIONS`.
    """

    shape: tuple[int, ...]
    places: tuple[int, ...]
    axis: int | None
    dtype: str
    kind: str
    reduction: str

    @property
    def depth(self) -> int:
        """Numbers of a place: the leading dimensions that it is in."""
        return self.places[-1] if self.axis is None else 1

    @property
    def size(self) -> int:
        """Elements of the tensor."""
        return math.prod(self.shape)

    @property
    def inner(self) -> int:
        """Elements of a row that a place names."""
        return math.prod(self.shape[self.depth :])

    @property
    def turns(self) -> int:
        """Numbers that may be put into one element."""
        return math.prod(self.places[:-1]) if self.axis is None else self.places[self.axis]

    @property
    def updates(self) -> int:
        """Numbers that are put."""
        return self.turns * self.inner if self.axis is None else math.prod(self.places)


def parameters(spec: Scatter) -> list[Argument]:
    """A kernel's (tensor, places, numbers, result)."""
    return [
        Argument("x", (spec.size,), spec.dtype),
        Argument("places", (math.prod(spec.places),), spec.kind),
        Argument("updates", (spec.updates,), spec.dtype),
        Argument("y", (spec.size,), spec.dtype),
    ]
