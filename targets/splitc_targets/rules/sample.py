# SPDX-License-Identifier: Apache-2.0
"""Resizing, gathering at known positions, tiling, borders that repeat, slices run backwards."""

from __future__ import annotations

from typing import Any

import numpy as np

from splitc_targets.graph.graph import Node
from splitc_targets.graph.views import ordered_like
from splitc_targets.kernels import sampling
from splitc_targets.plan.planner import Planner
from splitc_targets.rules.maps import shapes_of

Numbers = np.ndarray[Any, Any]
Taps = dict[int, tuple[Numbers, Numbers | None]]


def sample(planner: Planner, node: Node, taps: Taps, words: str) -> bool:
    """Results that read the first argument at these positions along these axes."""
    x, shape = node.inputs[0], node.output.shape
    if len(x.shape) != len(shape) or 0 in x.shape:
        return False
    maps = len(shape) == 4 and all(axis > 1 for axis in taps)
    view = planner.channels_inner(x) if maps else planner.place(x)
    target = planner.result(node.output, ordered_like(shape, view.strides))
    if 0 in shape:
        return True
    weighted = any(weights is not None for _, weights in taps.values())
    if weighted and x.dtype != "float32":
        return False
    entries: list[Numbers] = []
    shares: list[Numbers] = []
    dimensions: list[sampling.Dimension] = []
    start = 0
    for axis in sorted(range(len(shape)), key=lambda d: (-target.strides[d], d)):
        if axis not in taps:
            if shape[axis] > 1:
                dimensions.append(
                    sampling.Dimension(shape[axis], target.strides[axis], view.strides[axis])
                )
            continue
        positions, weights = taps[axis]
        count = positions.shape[1]
        dimensions.append(sampling.Dimension(shape[axis], target.strides[axis], 0, count, start))
        entries.append((positions * view.strides[axis]).ravel())
        shares.append(np.ones(positions.size) if weights is None else weights.ravel())
        start += positions.size
    if not entries:
        planner.copy(view, target, words)
        return True
    spec = sampling.Sample(tuple(dimensions), view.span, start, weighted, x.dtype)
    tables = [planner.constant(np.concatenate(entries).astype(np.int32))]
    if weighted:
        tables.append(planner.constant(np.concatenate(shares).astype(np.float32)))
    machine = planner.machine
    planner.step(
        ("sample", spec), lambda name: sampling.kernel(name, spec, machine),
        [view, *tables, target], "sample", words, shapes_of(x, node.output), types=spec.types,
    )  # fmt: skip
    return True


def plan_named(planner: Planner, node: Node) -> bool:
    """A move that simplification read from what the front end wrote."""
    return sample(planner, node, node.attrs["taps"], "gather")


def resize(planner: Planner, node: Node) -> bool:
    """Resizing of maps: nearest, linear or cubic, along rows and columns apart."""
    attrs = node.attrs
    if attrs["layout"] != "NCHW" or node.inputs[0].dtype != "float32":
        return False
    taps: Taps = {}
    for axis in (2, 3):
        size, wanted = node.inputs[0].shape[axis], node.output.shape[axis]
        found = _axis_taps(attrs, size, wanted)
        if found is None:
            return False
        taps[axis] = found
    return sample(planner, node, taps, f"resize {attrs['method']}")


def _axis_taps(
    attrs: dict[str, Any], size: int, wanted: int
) -> tuple[Numbers, Numbers | None] | None:
    """Positions and weights for resizing `size` elements to `wanted`; None where no rule knows."""
    place = _places(attrs["coordinate_transformation_mode"], size, wanted)
    if place is None:
        return None
    if attrs["method"] == "nearest_neighbor":
        rounded = _rounded(attrs["rounding_method"] or "round", place)
        return None if rounded is None else (_inside(rounded[:, None], size), None)
    low = np.floor(place)
    part = (place - low)[:, None]
    if attrs["method"] == "linear":
        positions = low[:, None] + np.arange(2)
        return _inside(positions, size), np.concatenate([1 - part, part], axis=1)
    if attrs["method"] != "cubic" or attrs["cubic_exclude"]:
        return None
    a = attrs["cubic_alpha"]
    near = np.concatenate([part, 1 - part], axis=1)
    far = np.concatenate([1 + part, 2 - part], axis=1)
    inner = ((a + 2) * near - (a + 3)) * near**2 + 1
    outer = ((a * far - 5 * a) * far + 8 * a) * far - 4 * a
    weights = np.concatenate([outer[:, :1], inner, outer[:, 1:]], axis=1)
    return _inside(low[:, None] + np.arange(-1, 3), size), weights


def _inside(positions: Numbers, size: int) -> Numbers:
    return np.clip(positions, 0, size - 1).astype(np.int64)


def _places(mode: str, size: int, wanted: int) -> Numbers | None:
    """Where each result lies among the input's elements, as a fraction."""
    i = np.arange(wanted, dtype=np.float64)
    if mode == "align_corners":
        return i * (size - 1) / (wanted - 1) if wanted > 1 else i * 0
    if mode == "asymmetric":
        return i * size / wanted
    if mode == "pytorch_half_pixel" and wanted == 1:
        return i * 0
    if mode in ("half_pixel", "pytorch_half_pixel"):
        return (i + 0.5) * size / wanted - 0.5
    return None


def _rounded(method: str, place: Numbers) -> Numbers | None:
    """Whole positions; halves go down with "round_prefer_floor" and up with "round_prefer_ceil"."""
    match method:
        case "floor":
            return np.floor(place)
        case "ceil":
            return np.ceil(place)
        case "round_prefer_floor":
            return np.ceil(place - 0.5)
        case "round_prefer_ceil":
            return np.floor(place + 0.5)
        case _:
            return None
