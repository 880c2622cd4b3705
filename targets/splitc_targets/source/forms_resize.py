# SPDX-License-Identifier: Apache-2.0
"""Resize as one product or one choice of places for each axis that changes.

Every form of Resize but that with a run-time region is a chain of linear maps, an axis each:
y = W x, with as many rows in W as the result has places. TVM's front end ignores `antialias`,
`axes` and `keep_aspect_ratio_policy`, leaves out the first two axes, and takes a scale from the
extents where the file names another. Here W is computed as onnx defines it (float64, rounded
once) for every form that TVM does not read rightly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from onnx import TensorProto

from splitc_targets.source.draft import Array, Node

OLDEST = 11
"""The first opset that says how places of result and operand correspond."""


@dataclass(frozen=True)
class Axis:
    """One axis of a Resize.

    Args:
        extent: Places of the operand.
        result: Places of the result.
        scale: Places of the result for each of the operand's, as the file means it.
        start: Where the region begins, from 0 to 1.
        end: Where it ends.
    """

    extent: int
    result: int
    scale: float
    start: float = 0.0
    end: float = 1.0


def resize(node: Node) -> bool:
    """Write a Resize as products or choices, where TVM's front end would misread it."""
    found = _axes(node)
    if found is None or (_plain(node, found) and not _by_sizes(node)):
        return False
    given = node.given
    mode = given.get("mode", "nearest")
    coordinates = given.get("coordinate_transformation_mode", "half_pixel")
    if _plain(node, found):
        return _named_once(node)
    if mode != "nearest" and node.dtype() not in ("float32", "float16"):
        return False
    draft = node.draft
    changed = [k for k, a in enumerate(found) if _moves(a, coordinates)]
    outside = {k: _outside(found[k], coordinates) for k in changed}
    half = mode != "nearest" and node.dtype() == "float16"
    made = draft.add("Cast", node.input(0), to=TensorProto.FLOAT) if half else node.input(0)
    for k in changed:
        if mode == "nearest":
            places = _nearest(
                found[k], coordinates, given.get("nearest_mode", "round_prefer_floor")
            )
            made = draft.add("Gather", made, draft.constant(places), axis=k)
        else:
            weights = _weights(found[k], coordinates, given)
            made = _product(node, made, weights.astype(np.float32), k, len(found))
    if half:
        made = draft.add("Cast", made, to=TensorProto.FLOAT16)
    gone = [k for k in changed if outside[k].any()]
    if gone:
        shape = [a.result for a in found]
        mask = np.zeros(shape, bool)
        for k in gone:
            mask |= outside[k].reshape([-1 if j == k else 1 for j in range(len(shape))])
        value = np.array(given.get("extrapolation_value", 0.0), np.dtype(node.dtype()))
        made = draft.add("Where", draft.constant(mask), draft.constant(value), made)
    draft.add("Identity", made, output=node.output(0))
    return True


def _axes(node: Node) -> list[Axis] | None:
    """The axes of a Resize; None where scales, sizes or the region are computed."""
    shape, result, given = node.shape(), node.result_shape(), node.given
    if shape is None or result is None or not 0 < len(shape) == len(result):
        return None
    if 0 in shape or 0 in result or node.draft.opset < OLDEST:
        return None
    named: list[int] = given.get("axes") or list(range(len(shape)))
    places = [k % len(shape) for k in named]
    region, scales, sizes = (node.value(k) for k in (1, 2, 3))
    crop = given.get("coordinate_transformation_mode") == "tf_crop_and_resize"
    if crop and (region is None or region.size != 2 * len(places)):
        return None
    found = [Axis(n, m, m / n) for n, m in zip(shape, result, strict=True)]
    if scales is not None and scales.size:
        factors: list[float] = [float(s) for s in scales.ravel()]
    elif sizes is not None and sizes.size:
        factors = _factors(shape, sizes, places, given.get("keep_aspect_ratio_policy", "stretch"))
    else:
        return None
    lengths: list[float] = [shape[k] * f for k, f in zip(places, factors, strict=True)]
    corners = given.get("coordinate_transformation_mode") == "align_corners"
    if corners and not np.allclose(lengths, np.round(lengths), rtol=1e-6, atol=0):
        # onnx counts from corner to corner by the exact length, others by the whole one.
        return None
    within: list[float] = [] if region is None else region.tolist()
    for j, k in enumerate(places):
        bounds = (within[j], within[len(places) + j]) if crop else (0.0, 1.0)
        found[k] = Axis(shape[k], result[k], factors[j], *bounds)
    return found


def _factors(shape: tuple[int, ...], sizes: Array, places: list[int], policy: str) -> list[float]:
    ratios: list[float] = [
        int(size) / shape[k] for size, k in zip(sizes.tolist(), places, strict=True)
    ]
    if policy == "stretch":
        return ratios
    return [min(ratios) if policy == "not_larger" else max(ratios)] * len(ratios)


def _by_sizes(node: Node) -> bool:
    """Whether scales and sizes are both named, one of them empty."""
    return bool(node.input(2)) and bool(node.input(3))


def _named_once(node: Node) -> bool:
    """Leave the empty one of scales and sizes out."""
    scales = node.value(2)
    node.draft.changed(node.proto, {3 if scales is not None and scales.size else 2: ""})
    return True


_READ = ("half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel")


def _plain(node: Node, found: list[Axis]) -> bool:
    """Whether TVM's front end reads it rightly."""
    given = node.given
    if given.get("antialias") or given.get("exclude_outside") or given.get("axes"):
        return False
    if given.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        return False
    if len(found) not in (3, 4, 5):
        return False
    if given.get("coordinate_transformation_mode", "half_pixel") not in _READ:
        return False
    if any(a.extent != a.result for a in found[:2]):
        return False
    if corners_meet(node):
        return False
    return all(math.isclose(a.scale, a.result / a.extent, rel_tol=1e-6) for a in found)


def corners_meet(node: Node) -> bool:
    """Whether an axis has one place from corner to corner, where TVM divides by nought."""
    corners = node.given.get("coordinate_transformation_mode") == "align_corners"
    return corners and 1 in (node.result_shape() or ())[2:]


def _moves(axis: Axis, coordinates: str) -> bool:
    return axis.extent != axis.result or axis.scale != 1.0 or coordinates == "tf_crop_and_resize"


def _sources(axis: Axis, coordinates: str) -> Array:
    """Where in the operand each place of the result lies; float32, in which ties are decided."""
    place = np.arange(axis.result, dtype=np.float32)
    scale, extent = np.float32(axis.scale), np.float32(axis.extent)
    start, end = np.float32(axis.start), np.float32(axis.end)
    half, last = np.float32(0.5), np.float32(axis.extent - 1)
    if coordinates == "asymmetric":
        return place / scale
    if coordinates == "align_corners":
        return place * last / np.float32(max(axis.result - 1, 1))
    if coordinates == "tf_crop_and_resize":
        if axis.result == 1:
            return np.array([half * (start + end) * last])
        return start * last + place * (end - start) * last / np.float32(axis.result - 1)
    if coordinates == "tf_half_pixel_for_nn":
        return (place + half) / scale
    if coordinates == "pytorch_half_pixel" and axis.result == 1:
        return np.zeros(1, np.float32)
    middle = (place + half) / scale - half
    if coordinates == "half_pixel_symmetric":
        return extent / 2 * (1 - np.float32(axis.result) / (scale * extent)) + middle
    return middle


def _outside(axis: Axis, coordinates: str) -> Array:
    """Which places of the result lie outside the operand, for a region."""
    if coordinates != "tf_crop_and_resize":
        return np.zeros(axis.result, bool)
    source = _sources(axis, coordinates)
    return (source < 0) | (source > axis.extent - 1)


def _nearest(axis: Axis, coordinates: str, rounding: str) -> Array:
    source = _sources(axis, coordinates)
    if rounding.startswith("round"):
        half = np.float32(0.5)
        source = source - half if rounding.endswith("floor") else source + half
    rounded = np.ceil(source) if rounding in ("round_prefer_floor", "ceil") else np.floor(source)
    return np.clip(rounded, 0, axis.extent - 1).astype(np.int64)


def _weights(axis: Axis, coordinates: str, given: dict[str, object]) -> Array:
    """The matrix of an axis: [result, extent]."""
    source = _sources(axis, coordinates).astype(np.float64)
    cubic = given.get("mode") == "cubic"
    stretch = min(axis.scale, 1.0) if given.get("antialias") else 1.0
    reach = math.ceil((2 if cubic else 1) / stretch) + 1
    first = np.floor(source).astype(np.int64)
    taps = first[:, None] + np.arange(-reach, reach + 1)[None, :]
    away = np.abs(taps - source[:, None]) * stretch
    kernel = _cubic(away, float(str(given.get("cubic_coeff_a", -0.75)))) if cubic else np.maximum(
        1 - away, 0
    )  # fmt: skip
    inside = (taps >= 0) & (taps < axis.extent)
    if given.get("exclude_outside"):
        kernel = np.where(inside, kernel, 0)
    kernel /= kernel.sum(axis=1, keepdims=True)
    matrix = np.zeros((axis.result, axis.extent))
    rows = np.broadcast_to(np.arange(axis.result)[:, None], taps.shape)
    np.add.at(matrix, (rows, np.clip(taps, 0, axis.extent - 1)), kernel)
    return matrix


def _cubic(t: Array, a: float) -> Array:
    """Keys' kernel: 1 at 0, of reach 2."""
    near = ((a + 2) * t - (a + 3)) * t * t + 1
    far = (((t - 5) * t + 8) * t - 4) * a
    return np.where(t <= 1, near, np.where(t < 2, far, 0.0))


def _product(node: Node, x: str, weights: Array, axis: int, rank: int) -> str:
    """W x along an axis, which goes last for it."""
    draft = node.draft
    if axis == rank - 1:
        return draft.add("MatMul", x, draft.constant(np.ascontiguousarray(weights.T)))
    if axis == rank - 2:
        return draft.add("MatMul", draft.constant(weights), x)
    order = [*(k for k in range(rank) if k != axis), axis]
    back = [order.index(k) for k in range(rank)]
    made = draft.add("Transpose", x, perm=order)
    made = draft.add("MatMul", made, draft.constant(np.ascontiguousarray(weights.T)))
    return draft.add("Transpose", made, perm=back)
