# SPDX-License-Identifier: Apache-2.0
"""Golden vectors: seeded inputs, and how far a result may be from the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from splitc.errors import BadModelError
from splitc.graph import Tensor

Array = np.ndarray[Any, np.dtype[Any]]
TOLERANCE = 1e-3


def seeded_inputs(inputs: Sequence[Tensor], seed: int) -> dict[str, Array]:
    """Inputs that are the same everywhere.

    Floats are normal. Integers of one byte, pixels and quantised values, span their
    whole range; wider ones, which may be indices, are 0 or 1.

    Args:
        inputs: Tensors with fixed shapes.
        seed: Of numpy's PCG64.

    Returns:
        Arrays by tensor name.

    Raises:
        BadModelError: numpy has no such element type.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    made: dict[str, Array] = {}
    for tensor in inputs:
        shape = tensor.static_shape
        try:
            dtype = np.dtype(tensor.dtype)
        except TypeError as error:
            why = f"numpy has no {tensor.dtype}"
            raise BadModelError(f"no input can be made for '{tensor.name}'", why=why) from error
        if dtype.kind == "f":
            made[tensor.name] = rng.standard_normal(shape).astype(dtype)
        elif dtype.kind == "b":
            made[tensor.name] = rng.integers(0, 2, shape).astype(bool)
        elif dtype.itemsize == 1:
            limits = np.iinfo(dtype)
            made[tensor.name] = rng.integers(limits.min, limits.max + 1, shape).astype(dtype)
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
        same = np.array_equal(got, reference)
        return Difference(name, 0.0 if same else float("inf"), same)
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
