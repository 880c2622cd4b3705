# SPDX-License-Identifier: Apache-2.0
"""Which elements of a map each element of the resized one reads, and with what weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from splitc_targets.graph.graph import Node

Numbers = np.ndarray[Any, Any]
Taps = dict[int, tuple[Numbers, Numbers | None]]
"""By axis: positions [result's size][taps] of the input, and their weights where not 1."""


def taps_of(node: Node) -> Taps | None:
    """What "image.resize2d" of maps reads along rows and columns; None where no rule knows."""
    attrs, x = node.attrs, node.inputs[0]
    if attrs["layout"] != "NCHW" or x.dtype != "float32":
        return None
    taps: Taps = {}
    for axis in (2, 3):
        found = _axis_taps(attrs, x.shape[axis], node.output.shape[axis])
        if found is None:
            return None
        taps[axis] = found
    return taps


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
