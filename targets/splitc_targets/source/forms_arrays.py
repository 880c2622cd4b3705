# SPDX-License-Identifier: Apache-2.0
"""Operators on whole arrays, written as others: norms, determinants, patches, caches, products."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from splitc_targets.source.draft import Node


def unit_norm(node: Node) -> bool:
    """LpNormalization: x over its norm along an axis; 0 where that is 0, as onnxruntime has it."""
    shape, given, draft = node.shape(), node.given, node.draft
    if shape is None or not shape or node.dtype() not in ("float32", "float64"):
        return False
    axes, x = [given.get("axis", -1) % len(shape)], node.input(0)
    if given.get("p", 2) == 1:
        norm = draft.reduce("ReduceSum", draft.add("Abs", x), axes) if draft.opset < 13 else (
            draft.add("ReduceSum", draft.add("Abs", x), draft.constant(np.array(axes, np.int64)))
        )  # fmt: skip
    else:
        norm = draft.reduce("ReduceL2", x, axes)
    zero = draft.constant(np.array(0, np.dtype(node.dtype())))
    none = draft.add("Equal", norm, zero)
    draft.add("Where", none, zero, draft.add("Div", x, norm), output=node.output(0))
    return True


def determinant(node: Node) -> bool:
    """Det of matrices of up to three rows, by their expansion."""
    shape, draft = node.shape(), node.draft
    if shape is None or len(shape) < 2 or not 1 <= shape[-1] <= 3:
        return False

    def at(row: int, column: int) -> str:
        line = draft.add("Gather", node.input(0), draft.constant(np.array(row)), axis=-2)
        return draft.add("Gather", line, draft.constant(np.array(column)), axis=-1)

    cells = [[at(r, c) for c in range(shape[-1])] for r in range(shape[-1])]
    draft.add("Identity", _expanded(node, cells), output=node.output(0))
    return True


def _expanded(node: Node, cells: Sequence[Sequence[str]]) -> str:
    """The determinant of a matrix of tensors, by its first row."""
    draft = node.draft
    if len(cells) == 1:
        return cells[0][0]
    total = ""
    for column, head in enumerate(cells[0]):
        minor = [[*row[:column], *row[column + 1 :]] for row in cells[1:]]
        term = draft.add("Mul", head, _expanded(node, minor))
        total = draft.add("Sub" if column % 2 else "Add", total, term) if total else term
    return total


def from_patches(node: Node) -> bool:
    """Col2Im: patches added up where they lie, a transposed convolution by ones."""
    shape, given, draft = node.shape(), node.given, node.draft
    image, block = node.value(1), node.value(2)
    if shape is None or image is None or block is None or node.dtype() != "float32":
        return False
    kernel, extents = [int(n) for n in block], [int(n) for n in image]
    count = len(kernel)
    strides = given.get("strides") or [1] * count
    apart = given.get("dilations") or [1] * count
    pads = given.get("pads") or [0] * (2 * count)
    covered = [d * (k - 1) + 1 for d, k in zip(apart, kernel, strict=True)]
    wide = [n + pads[k] + pads[k + count] for k, n in enumerate(extents)]
    steps = [(w - c) // s + 1 for w, c, s in zip(wide, covered, strides, strict=True)]
    places = int(np.prod(kernel))
    channels = shape[1] // places
    tall = draft.constant(np.array([shape[0], shape[1], *steps], np.int64))
    x = draft.add("Reshape", node.input(0), tall)
    ones = np.eye(places, dtype=np.float32).reshape(places, 1, *kernel)
    weights = draft.constant(np.tile(ones, (channels, *[1] * (count + 1))))
    # What no patch reaches, at the end, is zero.
    reached = [(n - 1) * s + c for n, s, c in zip(steps, strides, covered, strict=True)]
    made = draft.add(
        "ConvTranspose", x, weights, group=channels, strides=strides, dilations=apart,
        kernel_shape=kernel,
    )  # fmt: skip
    behind = [0] * (count + 4) + [w - r for w, r in zip(wide, reached, strict=True)]
    if any(behind):
        made = draft.add("Pad", made, draft.constant(np.array(behind, np.int64)))
    ends = [
        np.array(pads[:count], np.int64), np.array(pads[:count], np.int64) + extents,
        np.arange(2, count + 2),
    ]  # fmt: skip
    draft.add("Slice", made, *map(draft.constant, ends), output=node.output(0))
    return True


def written_at(node: Node) -> bool:
    """TensorScatter: a cache with an update from a place of each sample's on, or round its end."""
    cache, update, given, draft = node.shape(0), node.shape(1), node.given, node.draft
    if cache is None or update is None:
        return False
    axis: int = given.get("axis", -2) % len(cache)
    if axis == 0:
        return False
    row = [update[axis] if k == axis else 1 for k in range(len(cache))]
    places = draft.constant(np.arange(update[axis]).reshape(row))
    if node.input(2):
        first = [-1 if k == 0 else 1 for k in range(len(cache))]
        begin = draft.add("Reshape", node.input(2), draft.constant(np.array(first, np.int64)))
        places = draft.add("Add", places, begin)
    if given.get("mode", "linear") == "circular":
        places = draft.add("Mod", places, draft.constant(np.array(cache[axis], np.int64)))
    places = draft.add("Expand", places, draft.constant(np.array(update, np.int64)))
    draft.add(
        "ScatterElements", node.input(0), places, node.input(1), output=node.output(0), axis=axis
    )
    return True


def products_so_far(node: Node) -> bool:
    """CumProd from the end, as one from the start of what is turned round."""
    shape, axis, draft = node.shape(), node.value(1), node.draft
    if not node.given.get("reverse") or shape is None or axis is None:
        return False
    k = int(axis.ravel()[0]) % len(shape)
    exclusive = node.given.get("exclusive", 0)
    turned = draft.add("CumProd", _turned(node, node.input(0), k), node.input(1),
                       exclusive=exclusive)  # fmt: skip
    draft.add("Identity", _turned(node, turned, k), output=node.output(0))
    return True


def _turned(node: Node, x: str, axis: int) -> str:
    """A tensor from end to start along an axis."""
    ends = (-1, np.iinfo(np.int64).min, axis, -1)
    made = [node.draft.constant(np.array([end], np.int64)) for end in ends]
    return node.draft.add("Slice", x, *made)


def axis_as_vector(node: Node) -> bool:
    """Unsqueeze of one axis that is given as a scalar, as onnxruntime takes it too."""
    axes = node.value(1)
    if axes is None or axes.ndim:
        return False
    node.draft.changed(node.proto, {1: node.draft.constant(axes.reshape(1))})
    return True
