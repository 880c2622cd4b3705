# SPDX-License-Identifier: Apache-2.0
"""How far a result is from its reference, by element type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from splitc.arrays import Array

TOLERANCE = 1e-3
LOOSEST_TOLERANCE = 1e-2
"""Of results that were rounded on their way: to one of 255 steps, or layer by layer to float16."""
BFLOAT16_TOLERANCE = 2e-2
"""Of results of products in bfloat16, whose steps are eight times float16's."""


@dataclass(frozen=True)
class _Slices:
    """When one slice of a tensor is wrong though the tensor's range hides it.

    Args:
        error: Of the slice's own largest magnitude.
        noise: Of what most slices reach: less is the rounding of what was summed.
        elements: Smaller slices are not judged.
    """

    error: float
    noise: float
    elements: int


_FINE = _Slices(error=0.05, noise=1e-5, elements=2)
_ROUGH = _Slices(error=0.5, noise=0.2, elements=16)
_SHARE = 0.25
"""Of elements that are each off by a slice's error, of themselves."""


@dataclass(frozen=True)
class Difference:
    """How far a tensor is from its reference.

    Args:
        name: The tensor.
        relative: Largest absolute difference over the reference's range; of whole numbers ten
            times the share that differs.
        same_argmax: Whether the largest element is at the same place, or at one that the
            reference has as large.
        wrong: A slice that is off by its own measure, in words; empty where there is none.
        rounding: What rounding alone may make of the relative difference; 0 where that is less
            than anybody minds.
    """

    name: str
    relative: float
    same_argmax: bool
    wrong: str = ""
    rounding: float = 0.0

    def within(self, tolerance: float) -> bool:
        """Whether a result may pass."""
        return self.near(tolerance) and self.same_argmax

    def near(self, tolerance: float) -> bool:
        """Whether a tensor that crosses may pass: in a feature map, ties are common."""
        return self.relative <= max(tolerance, self.rounding) and not self.wrong


def worst_of(
    name: str, got: Array, reference: Array, tolerance: float, *, quantised: bool = False,
    rounding: Sequence[float] = (),
) -> Difference:  # fmt: skip
    """The difference of stacked samples: each by its own range, slices over all of them.

    Args:
        name: The tensor.
        got: The samples of the result along the first axis.
        reference: Those of the reference.
        tolerance: What will be allowed.
        quantised: Compare as `quantised_difference` does.
        rounding: What rounding alone may make of each sample's difference; none by default.
    """
    if got.shape != reference.shape or got.dtype != reference.dtype:
        return Difference(name, float("inf"), False)
    if quantised:
        found = [
            quantised_difference(name, g, r, tolerance) for g, r in zip(got, reference, strict=True)
        ]
    else:
        allowed = rounding or (0.0,) * len(reference)
        found = [
            difference(name, g, r, tolerance, rounding=one)
            for g, r, one in zip(got, reference, allowed, strict=True)
        ]
    far = max(found, key=lambda one: (one.relative > max(tolerance, one.rounding), one.relative))
    wrong = next((one.wrong for one in found if one.wrong), "")
    if not wrong and len(found) > 1 and far.near(tolerance):
        if quantised:
            wrong = quantised_difference(name, got, reference, tolerance).wrong
        elif reference.dtype.kind == "f" and reference.size:
            wrong = _wrong_over(got, reference, tolerance, [one.rounding for one in found])
    return replace(far, same_argmax=all(one.same_argmax for one in found), wrong=wrong)


def _wrong_over(
    got: Array, reference: Array, tolerance: float, rounding: Sequence[float]
) -> str:  # fmt: skip
    """The first slice that is off over samples, each brought to its own range.

    A sample whose range is a thousand times the others' would decide alone what a slice's
    magnitude is, and hide what is wrong in theirs.
    """
    left, right = _unbounded(got, reference)
    finite = np.isfinite(right)
    left, right = np.where(finite, left, 0), np.where(finite, right, 0)
    spreads = [
        _spread(reference.dtype, r[f], tolerance) for r, f in zip(right, finite, strict=True)
    ]
    each = (-1, *(1,) * (right.ndim - 1))
    spread = np.array(spreads).reshape(each)
    slices = _ROUGH if tolerance > TOLERANCE else _FINE
    return _wrong_slice(left / spread, right / spread, slices, np.array(rounding).reshape(each))


def difference(
    name: str, got: Array, reference: Array, tolerance: float = TOLERANCE, *, rounding: float = 0.0
) -> Difference:
    """Compare a result with its reference.

    The range is the reference's largest minus smallest element; where it is 0, its largest
    magnitude, or 1; and no less than makes four roundings of the largest the tolerance: a result
    from 100 to 100.1 in float16 is two of its steps wide, which says nothing of what is right. A
    slice along any axis is held against its own magnitude too: a range that one huge element makes
    hides what is wrong beside it. Results of other shape, or that are finite where the reference
    is not, are infinitely far; the largest number of the type counts as infinite where both are at
    least that. Arg-max is over the last axis for tables (two axes), else over all elements; only
    for floats. Elements of other types have to be equal, but for a tenth of the tolerance as a
    share: an arg-max over many pixels meets ties.

    Args:
        name: The tensor.
        got: The result.
        reference: What it should be.
        tolerance: What will be allowed.
        rounding: What rounding alone may make of the relative difference: so much more is
            allowed, of what is nearly the largest for its place too, and not held against slices.
    """
    if got.shape != reference.shape or got.dtype != reference.dtype:
        return Difference(name, float("inf"), False)
    if reference.size == 0:
        return Difference(name, 0.0, True)
    if reference.dtype.kind != "f":
        share = float(np.count_nonzero(got != reference)) / reference.size
        relative = min(1.0, share * 10)
        return Difference(
            name, relative, relative <= max(tolerance, rounding), rounding=rounding
        )  # fmt: skip
    left, right = _unbounded(got, reference)
    finite = np.isfinite(right)
    if not np.array_equal(finite, np.isfinite(left)) or not np.array_equal(
        left[~finite], right[~finite], equal_nan=True
    ):
        return Difference(name, float("inf"), False)
    if not finite.any():
        return Difference(name, 0.0, True)
    spread = _spread(reference.dtype, right[finite], tolerance)
    relative = float(np.abs(left[finite] - right[finite]).max()) / spread
    step = _step(reference.dtype, right[finite])
    tie = max(tolerance * spread if tolerance > TOLERANCE else step, rounding * spread)
    same = _same_argmax(np.where(finite, left, -np.inf), np.where(finite, right, -np.inf), tie)
    slices = _ROUGH if tolerance > TOLERANCE else _FINE
    left, right = np.where(finite, left, 0), np.where(finite, right, 0)
    wrong = _wrong_slice(left, right, slices, rounding * spread)
    return Difference(name, relative, same, wrong, rounding)


def _unbounded(got: Array, reference: Array) -> tuple[Array, Array]:
    """Both in float64, infinite where both are at least their type's largest, of one sign.

    A mask is written with either, and neither is a magnitude.
    """
    left, right = got.astype(np.float64), reference.astype(np.float64)
    most = float(np.finfo(reference.dtype).max)
    ends = (np.abs(left) >= most) & (np.abs(right) >= most) & (np.sign(left) == np.sign(right))
    infinite = np.copysign(np.inf, right)
    return np.where(ends, infinite, left), np.where(ends, infinite, right)


def _step(dtype: np.dtype[Any], values: Array) -> float:
    """Four roundings of the largest value."""
    return 4 * float(np.finfo(dtype).eps) * float(np.abs(values).max())


def _spread(dtype: np.dtype[Any], values: Array, tolerance: float) -> float:
    """What a sample's differences are divided by; see `difference`."""
    if not values.size:
        return 1.0
    spread = float(np.ptp(values)) or float(np.abs(values).max()) or 1.0
    return max(spread, _step(dtype, values) / tolerance) if tolerance else spread


def _same_argmax(left: Array, right: Array, tie: float) -> bool:
    """Whether the reference is as large where the result is largest as anywhere."""
    axis = -1 if right.ndim == 2 else None
    if axis is None:
        left, right = left.reshape(1, -1), right.reshape(1, -1)
    there = np.take_along_axis(right, left.argmax(axis=-1)[:, None], axis=-1)[:, 0]
    most = right.max(axis=-1)
    return bool(np.all((there == most) | (most - there <= tie)))


def _wrong_slice(left: Array, right: Array, slices: _Slices, rounding: float | Array) -> str:
    """The first slice that is off by its own magnitude, or how many elements are by theirs.

    What rounding may make of each element's difference is taken off it.
    """
    off, size = np.maximum(np.abs(left - right) - rounding, 0), np.abs(right)
    tiny = 1e3 * float(np.finfo(np.float32).tiny)
    for axis in range(right.ndim):
        if right.shape[axis] < 2 or right.size // right.shape[axis] < slices.elements:
            continue
        others = tuple(k for k in range(right.ndim) if k != axis)
        error, reach = off.max(axis=others), size.max(axis=others)
        usual = float(np.quantile(reach, 0.9, method="lower"))
        bad = error > np.maximum(slices.error * reach, max(slices.noise * usual, tiny))
        if bad.any():
            k = int(bad.argmax())
            share = error[k] / reach[k] if reach[k] else float("inf")
            return f"slice {k} of axis {axis} is off by {share:.2g} of its own magnitude"
    usual = float(np.quantile(size, 0.9, method="lower"))
    far = off > np.maximum(slices.error * size, max(slices.noise * usual, tiny))
    count = int(np.count_nonzero(far))
    if count > max(1, _SHARE * right.size):
        return f"{count} of {right.size} elements are off by over {slices.error:.0%} of themselves"
    return ""


def quantised_difference(
    name: str, got: Array, reference: Array, tolerance: float = TOLERANCE
) -> Difference:
    """Compare integers that a quantiser made of numbers that were equal enough.

    A number between two levels may be rounded either way, and in packed bits that is another
    byte; so the error is the mean of the differences over the element type's range, and what is
    one step from the largest is as large. Where one
    element alone differs it is a mean over a thousand at least, so that it never decides. A
    slice of 64 elements or more has a mean of its own, which may be ten times the tolerance.
    """
    if got.shape != reference.shape or got.dtype != reference.dtype:
        return Difference(name, float("inf"), False)
    if reference.size == 0:
        return Difference(name, 0.0, True)
    limits = np.iinfo(reference.dtype)
    span = float(limits.max) - float(limits.min)
    apart = np.abs(got.astype(np.float64) - reference.astype(np.float64)) / span
    count = max(reference.size, 1000 if np.count_nonzero(apart) == 1 else 1)
    wrong = ""
    for axis in range(reference.ndim):
        if reference.size // max(1, reference.shape[axis]) < 64:
            continue
        means = apart.mean(axis=tuple(k for k in range(reference.ndim) if k != axis))
        if means.max() > 10 * tolerance:
            k = int(means.argmax())
            wrong = f"slice {k} of axis {axis} is off by {means[k]:.2g} of its type's range"
    same = _same_argmax(got.astype(np.float64), reference.astype(np.float64), tie=1.0)
    return Difference(name, float(apart.sum()) / count, same, wrong)
