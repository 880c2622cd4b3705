# SPDX-License-Identifier: Apache-2.0
"""Golden vectors: seeded inputs, and how far a result may be from the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from splitc.graph import Tensor

Array = np.ndarray[Any, np.dtype[Any]]
TOLERANCE = 1e-3


def seeded_inputs(inputs: Sequence[Tensor], seed: int) -> dict[str, Array]:
    """Inputs that are the same everywhere: normal floats, small integers, coin flips.

    Args:
        inputs: Tensors with fixed shapes.
        seed: Of numpy's PCG64.

    Returns:
        Arrays by tensor name.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    made: dict[str, Array] = {}
    for tensor in inputs:
        shape = tensor.static_shape
        dtype = np.dtype(tensor.dtype)
        if dtype.kind == "f":
            made[tensor.name] = rng.standard_normal(shape).astype(dtype)
        elif dtype.kind == "b":
            made[tensor.name] = rng.integers(0, 2, shape).astype(bool)
        else:
            made[tensor.name] = rng.integers(0, 2, shape).astype(dtype)
    return made


@dataclass(frozen=True)
class Difference:
    """How far a tensor is from its reference.

    Args:
        name: The tensor.
        relative: Largest absolute difference over the reference's range.
        same_argmax: Whether the largest element is at the same place.
    """

    name: str
    relative: float
    same_argmax: bool

    def within(self, tolerance: float) -> bool:
        """Whether it may pass."""
        return self.relative <= tolerance and self.same_argmax


def difference(name: str, got: Array, reference: Array) -> Difference:
    """Compare a result with its reference.

    The range is the reference's largest minus smallest element; where it is 0,
    its largest magnitude, or 1. Results of other shape, or that are finite where
    the reference is not, are infinitely far. Arg-max is over the last axis for
    tables (two axes), else over all elements; only for floats.
    """
    if got.shape != reference.shape or got.dtype != reference.dtype:
        return Difference(name, float("inf"), False)
    if reference.size == 0:
        return Difference(name, 0.0, True)
    if reference.dtype.kind != "f":
        far = float(np.max(got.astype(np.float64) != reference.astype(np.float64)))
        return Difference(name, far, far == 0)
    left, right = got.astype(np.float64), reference.astype(np.float64)
    finite = np.isfinite(right)
    if not np.array_equal(finite, np.isfinite(left)) or not np.array_equal(
        left[~finite], right[~finite], equal_nan=True
    ):
        return Difference(name, float("inf"), False)
    if not finite.any():
        return Difference(name, 0.0, True)
    spread = float(np.ptp(right[finite])) or float(np.abs(right[finite]).max()) or 1.0
    relative = float(np.abs(left[finite] - right[finite]).max()) / spread
    axis = -1 if reference.ndim == 2 else None
    same = np.array_equal(
        np.argmax(np.where(finite, left, -np.inf), axis=axis),
        np.argmax(np.where(finite, right, -np.inf), axis=axis),
    )
    return Difference(name, relative, bool(same))
