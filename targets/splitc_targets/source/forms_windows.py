# SPDX-License-Identifier: Apache-2.0
"""Convolutions, pools and regions, written in the forms that TVM's front end reads rightly.

Each function adds nodes that compute what a node computes and says so, or says that the node
may stay as it is. Equations and letters are those of onnx's operator documentation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from splitc_targets.source.draft import Array, Node


def _window(node: Node, place: int = 0) -> tuple[list[int], list[int], list[int], list[int]] | None:
    """Extents of the map, kernel, strides and dilations of each axis."""
    shape, given = node.shape(place), node.given
    if shape is None:
        return None
    count = len(shape) - 2
    weights = node.shape(1) if node.op.startswith("Conv") else None
    kernel = given.get("kernel_shape") or (list(weights[2:]) if weights is not None else None)
    if kernel is None:
        return None
    ones = [1] * count
    return list(shape[2:]), kernel, given.get("strides") or ones, given.get("dilations") or ones


def _same(extents: Sequence[int], spans: Sequence[int], strides: Sequence[int],
          upper: bool) -> list[int]:  # fmt: skip
    """Pads with which a result has ceil(extent / stride) places; the odd one at its end or not."""
    total = [
        max((math.ceil(n / s) - 1) * s + span - n, 0)
        for n, span, s in zip(extents, spans, strides, strict=True)
    ]
    less = [n // 2 for n in total]
    more = [n - half for n, half in zip(total, less, strict=True)]
    return [*less, *more] if upper else [*more, *less]


def dilated_pool(node: Node) -> bool:
    """A pool that pads by itself and is dilated: onnx counts the dilation, others do not."""
    given = node.given
    dilations: list[int] = given.get("dilations") or []
    dilated = any(d != 1 for d in dilations)
    return node.op.endswith("Pool") and dilated and "SAME" in given.get("auto_pad", "")


def explicit_pads(node: Node) -> bool:
    """Conv and pools: `auto_pad` as `pads`."""
    auto = node.given.get("auto_pad", "NOTSET")
    found = _window(node)
    if auto == "NOTSET" or found is None or dilated_pool(node):
        return False
    extents, kernel, strides, dilations = found
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    pads = [0] * (2 * len(extents))
    if auto != "VALID":
        pads = _same(extents, spans, strides, auto == "SAME_UPPER")
    node.draft.changed(node.proto, without=("auto_pad",), pads=pads)
    return True


def transposed_conv(node: Node) -> bool:
    """ConvTranspose: `auto_pad` and `output_shape` as `pads`.

    total_padding = stride * (input - 1) + output_padding + ((kernel - 1) * dilation + 1) - output;
    its smaller half goes to the start for SAME_UPPER, and to the end otherwise.
    """
    given, found = node.given, _window(node)
    auto = given.get("auto_pad", "NOTSET")
    if found is None or ("output_shape" not in given and auto == "NOTSET"):
        return False
    extents, kernel, strides, dilations = found
    more = given.get("output_padding") or [0] * len(extents)
    full = [
        s * (n - 1) + o + (k - 1) * d + 1
        for n, k, s, d, o in zip(extents, kernel, strides, dilations, more, strict=True)
    ]
    named: list[int] = given.get("output_shape") or []
    wanted = named[-len(extents) :]
    if not wanted and auto != "VALID":
        wanted = [n * s for n, s in zip(extents, strides, strict=True)]
    total = [f - w for f, w in zip(full, wanted or full, strict=True)]
    longer = [max(-t, 0) if named else 0 for t in total]
    if any(m + o >= s for m, o, s in zip(longer, more, strides, strict=True) if m):
        return False
    less = [max(t, 0) // 2 for t in total]
    rest = [max(t, 0) - half for t, half in zip(total, less, strict=True)]
    pads = [*less, *rest] if auto == "SAME_UPPER" else [*rest, *less]
    node.draft.changed(
        node.proto, without=("auto_pad", "output_shape"), pads=pads,
        output_padding=[o + m for o, m in zip(more, longer, strict=True)],
    )  # fmt: skip
    return True


def max_pool(node: Node) -> bool:
    """MaxPool: `auto_pad` as `pads`; its places are left out where nothing reads them."""
    if node.reads(1):
        return False
    if len(node.proto.output) > 1:
        del node.proto.output[1:]
    return explicit_pads(node)


def norm_pool(node: Node) -> bool:
    """LpPool: (sum of |x|^p)^(1/p).

    What `ceil_mode` adds behind the map is one more pad.
    """
    found, result, given = _window(node), node.result_shape(), node.given
    if found is None or result is None or not node.dtype().startswith("float"):
        return False
    if dilated_pool(node):
        return False
    extents, kernel, strides, dilations = found
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    auto = given.get("auto_pad", "NOTSET")
    pads = list(given.get("pads") or [0] * (2 * len(extents)))
    if auto != "NOTSET":
        no = [0] * len(pads)
        pads = no if auto == "VALID" else _same(extents, spans, strides, auto == "SAME_UPPER")
    for k, (n, span, s, r) in enumerate(zip(extents, spans, strides, result[2:], strict=True)):
        needs = (r - 1) * s + span - n - pads[k]
        pads[len(extents) + k] = max(needs, 0)
    draft, p = node.draft, given.get("p", 2)
    dtype = np.dtype(node.dtype())
    made = draft.add("Abs", node.input(0))
    if p != 1:
        made = draft.add("Pow", made, draft.constant(np.array(p, dtype)))
    output = node.output(0) if p == 1 else ""
    window: dict[str, Any] = {"kernel_shape": kernel, "strides": strides, "pads": pads}
    if any(d > 1 for d in dilations):
        # Average pools have dilations from the next opset on only.
        ones = draft.constant(np.ones((result[1], 1, *kernel), dtype))
        window |= {"dilations": dilations, "group": result[1]}
        made = draft.add("Conv", made, ones, output=output, **window)
    else:
        made = draft.add("AveragePool", made, count_include_pad=1, **window)
        count = draft.constant(np.array(math.prod(kernel), dtype))
        made = draft.add("Mul", made, count, output=output)
    if p != 1:
        draft.add("Pow", made, draft.constant(np.array(1 / p, dtype)), output=node.output(0))
    return True


def response_normalization(node: Node) -> bool:
    """LRN: x / (bias + alpha / size * sum of x² over a band of channels)^beta.

    The band has floor((size - 1) / 2) channels before and ceil((size - 1) / 2) behind. The sum is
    a product with a banded matrix; TVM's own form takes odd bands of three or four axes.
    """
    shape, given = node.shape(), node.given
    if shape is None or node.dtype() not in ("float32", "float64"):
        return False
    size = given["size"]
    if size % 2 and len(shape) in (3, 4) and node.dtype() == "float32":
        return False
    draft, dtype = node.draft, np.dtype(node.dtype())
    channels = shape[1]
    place = np.arange(channels)
    away = place[None, :] - place[:, None]
    band = (away >= -((size - 1) // 2)) & (away <= size // 2)
    weights = band.astype(dtype) * dtype.type(given.get("alpha", 1e-4) / size)
    flat = draft.constant(np.array([shape[0], channels, math.prod(shape[2:])], np.int64))
    x = draft.add("Reshape", node.input(0), flat)
    made = draft.add("MatMul", draft.constant(weights), draft.add("Mul", x, x))
    made = draft.add("Add", made, draft.constant(np.array(given.get("bias", 1.0), dtype)))
    made = draft.add("Pow", made, draft.constant(np.array(given.get("beta", 0.75), dtype)))
    made = draft.add("Div", x, made)
    draft.add("Reshape", made, draft.constant(np.array(shape, np.int64)), output=node.output(0))
    return True


def regions(node: Node) -> bool:
    """RoiAlign by half pixels: corners are scaled first and shifted by half a pixel then."""
    given, draft = node.given, node.draft
    default = "half_pixel" if draft.opset >= 16 else "output_half_pixel"
    scale = given.get("spatial_scale", 1.0)
    if given.get("coordinate_transformation_mode", default) != "half_pixel" or scale == 1.0:
        return False
    factor = draft.constant(np.array(scale, np.dtype(node.dtype(1))))
    corners = draft.add("Mul", node.input(1), factor)
    draft.changed(node.proto, {1: corners}, spatial_scale=1.0)
    return True


def space_to_depth(node: Node) -> bool:
    """SpaceToDepth: blocks become channels, in front of the old ones or (CRD) behind each."""
    shape, given = node.shape(), node.given
    if shape is None or given.get("mode", "DCR") == "DCR":
        return False
    n, c, h, w = shape
    b, draft = given["blocksize"], node.draft
    apart = draft.constant(np.array([n, c, h // b, b, w // b, b], np.int64))
    made = draft.add("Reshape", node.input(0), apart)
    made = draft.add("Transpose", made, perm=[0, 1, 3, 5, 2, 4])
    whole = draft.constant(np.array([n, c * b * b, h // b, w // b], np.int64))
    draft.add("Reshape", made, whole, output=node.output(0))
    return True


def pads_within(node: Node) -> bool:
    """Pad: what is below zero is cut off by a Slice first."""
    shape, pads = node.shape(), node.value(1)
    axes: Array | None = node.value(3) if node.input(3) else np.arange(len(shape or ()))
    if shape is None or pads is None or axes is None or not (pads < 0).any():
        return False
    if node.given.get("mode", "constant") != "constant":
        return False
    draft, rank = node.draft, len(shape)
    before, behind = np.split(pads.astype(np.int64), 2)
    axes = axes.astype(np.int64) % rank
    ends = np.array([shape[k] for k in axes], np.int64) + np.minimum(behind, 0)
    bounds = [draft.constant(a) for a in (-np.minimum(before, 0), ends, axes)]
    cut = draft.add("Slice", node.input(0), *bounds)
    rest = draft.constant(np.maximum(np.concatenate([before, behind]), 0))
    draft.changed(node.proto, {0: cut, 1: rest})
    return True


def unpool(node: Node) -> bool:
    """MaxUnpool: values put at their places in a flat map of zeros."""
    result, shape = node.result_shape(), node.shape()
    if result is None or shape is None or node.input(2):
        return False
    draft: Any = node.draft
    flat = draft.constant(np.array([-1], np.int64))
    zeros = draft.constant(np.zeros(math.prod(result), np.dtype(node.dtype())))
    places = draft.add("Reshape", node.input(1), flat)
    made = draft.add(
        "ScatterElements", zeros, places, draft.add("Reshape", node.input(0), flat), axis=0
    )
    draft.add("Reshape", made, draft.constant(np.array(result, np.int64)), output=node.output(0))
    return True


def deformed_conv(node: Node) -> bool:
    """DeformConv: the map sampled where each element of each window lies, then a product.

    Places are whole ones and their offsets; between them values are bilinear, beyond the map zero.
    """
    shape, weights, result, given = node.shape(), node.shape(1), node.result_shape(), node.given
    draft = node.draft
    if shape is None or weights is None or result is None or len(shape) != 4:
        return False
    if node.dtype() != "float32" or draft.opset < 16:
        return False
    (n, c, h, w), (rows, columns), taps = shape, result[2:], math.prod(weights[2:])
    groups: int = given.get("offset_group", 1)

    def shaped(x: str, *extents: int) -> str:
        return draft.add("Reshape", x, draft.constant(np.array(extents, np.int64)))

    offsets = shaped(node.input(2), n * groups, taps, 2, rows, columns)
    axes: list[str] = []
    for k, (extent, at) in reversed(list(enumerate(zip((h, w), _tap_places(node, result),
                                                       strict=True)))):  # fmt: skip
        away = draft.add("Gather", offsets, draft.constant(np.array(k, np.int64)), axis=2)
        place = draft.add("Add", away, draft.constant(at.astype(np.float32)))
        # The middle of the first element is at -1 + 1 / extent, that of the last at 1 - 1 / extent.
        place = draft.add("Mul", place, draft.constant(np.array(2 / extent, np.float32)))
        place = draft.add("Add", place, draft.constant(np.array(1 / extent - 1, np.float32)))
        axes.append(draft.add("Unsqueeze", place, draft.constant(np.array([-1], np.int64))))
    grid = shaped(draft.add("Concat", *axes, axis=-1), n * groups, taps * rows, columns, 2)
    seen = draft.add(
        "GridSample", shaped(node.input(0), n * groups, c // groups, h, w), grid,
        mode="linear" if draft.opset >= 20 else "bilinear",
    )  # fmt: skip
    if node.input(4):
        seen = shaped(seen, n, groups, c // groups, taps, rows, columns)
        mask = shaped(node.input(4), n, groups, 1, taps, rows, columns)
        seen = draft.add("Mul", seen, mask)
    seen = shaped(seen, n, c * taps, rows, columns)
    flat = shaped(node.input(1), weights[0], weights[1] * taps, 1, 1)
    bias = [node.input(3)] if node.input(3) else []
    draft.add("Conv", seen, flat, *bias, output=node.output(0), group=given.get("group", 1))
    return True


def _tap_places(node: Node, result: tuple[int, ...]) -> tuple[Array, Array]:
    """Row and column of each element of each window: [taps, rows, columns]."""
    given, weights = node.given, node.shape(1) or ()
    kernel: list[int] = given.get("kernel_shape") or list(weights[2:])
    steps: list[int] = given.get("strides") or [1, 1]
    apart: list[int] = given.get("dilations") or [1, 1]
    pads: list[int] = given.get("pads") or [0, 0, 0, 0]
    taps = np.indices(kernel).reshape(2, -1, 1, 1)
    cells = np.indices(result[2:])[:, None]
    found = [cells[k] * steps[k] + taps[k] * apart[k] - pads[k] for k in (0, 1)]
    return found[0], found[1]
