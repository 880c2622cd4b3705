# SPDX-License-Identifier: Apache-2.0
"""Operations that move or rename elements, most of them for free, and elementwise maps."""

from __future__ import annotations

import numpy as np

from splitc_targets.graph.expression import Arg
from splitc_targets.graph.graph import Node, Value
from splitc_targets.graph.resizing import Taps
from splitc_targets.graph.views import channels_last, ordered_like
from splitc_targets.plan.planner import Planner, Rule, order_of
from splitc_targets.rules import gather
from splitc_targets.rules.sample import plan_named, resize, sample


def _map(planner: Planner, node: Node) -> bool:
    """Elementwise arithmetic, in the order its largest operand lies in."""
    views = [planner.place(value) for value in node.inputs]
    full = [view for view in views if view.shape == node.output.shape]
    inner = [view for view in full if view.buffer.kind != "constant"]
    target = planner.result(node.output, order_of(inner or full, node.output.shape))
    planner.map(views, target, node.attrs["expression"], computed=node.attrs.get("computed", ""))
    return True


def _reshape(planner: Planner, node: Node) -> bool:
    """A view where the elements lie in order, else a copy."""
    value = node.inputs[0]
    view = planner.place(value).reshaped(node.output.shape)
    if view is None:
        merged = _merge_after_permute(planner, node)
        if merged:
            return True
        view = planner.dense(value).reshaped(node.output.shape)
    if view is None:
        return False
    planner.set(node.output, view)
    return True


def _merge_after_permute(planner: Planner, node: Node) -> bool:
    """A reshape that merges dimensions lying apart: copied straight into channels-last order.

    This is a channel shuffle, between convolutions that want channels innermost.
    """
    here = planner.place(node.inputs[0])
    shape = node.output.shape
    if len(shape) < 3 or here.shape[0] != shape[0] or 1 not in here.strides[1:3]:
        return False
    target = planner.result(node.output, channels_last(shape))
    parts = target.reshaped(here.shape)
    if parts is None:
        return False
    planner.copy(here, parts, "shuffle")
    return True


def _permute(planner: Planner, node: Node) -> bool:
    view = planner.place(node.inputs[0])
    axes = node.attrs["axes"] or tuple(reversed(range(len(view.shape))))
    planner.set(node.output, view.permuted(tuple(a % len(view.shape) for a in axes)))
    return True


def _broadcast(planner: Planner, node: Node) -> bool:
    planner.set(node.output, planner.place(node.inputs[0]).broadcast(node.output.shape))
    return True


def _concat(planner: Planner, node: Node) -> bool:
    """Parts written in place where their kernels could, else copied."""
    shape = node.output.shape
    axis = (node.attrs["axis"] or 0) % len(shape)
    parts = node.args[0]
    views = [planner.place(part) for part in parts]
    widest = max(views, key=lambda v: v.size_of_shape)
    target = planner.result(node.output, ordered_like(shape, widest.strides))
    start = 0
    for part, view in zip(parts, views, strict=True):
        slot = target.sliced(axis, start, part.shape[axis])
        start += part.shape[axis]
        if (view.buffer, view.offset) != (slot.buffer, slot.offset):
            planner.copy(view, slot, "concat")
    return True


def _strided_slice(planner: Planner, node: Node) -> bool:
    """A part of a tensor, as a view."""
    value, axes, begin, end, *rest = node.args
    strides = rest[0] if rest and rest[0] is not None else (1,) * len(axes)
    numbers = [axes, begin, end, strides]
    if not all(isinstance(each, tuple | list) for each in numbers):
        return False
    if not all(isinstance(n, int) for each in numbers for n in each):
        return False
    if any(step < 0 for step in strides):
        return _reversed(planner, node, axes, begin, strides)
    view = planner.place(value)
    for k, axis in enumerate(axes):
        first, step = int(begin[k]), int(strides[k])
        size = view.shape[int(axis)]
        start = min(max(first + size if first < 0 else first, 0), size)
        view = view.sliced(int(axis), start, node.output.shape[int(axis)], step)
    planner.set(node.output, view)
    return True


def _reversed(
    planner: Planner, node: Node, axes: tuple[int, ...], begin: tuple[int, ...],
    strides: tuple[int, ...],
) -> bool:  # fmt: skip
    """A slice of which some dimension runs backwards."""
    shape = node.inputs[0].shape
    taps: Taps = {}
    for axis, first, step in zip(axes, begin, strides, strict=True):
        size = shape[axis]
        start = first + size if first < 0 else first
        start = min(max(start, 0), size - 1 if step < 0 else size)
        positions = start + step * np.arange(node.output.shape[axis])
        taps[axis % len(shape)] = (positions.reshape(-1, 1), None)
    return sample(planner, node, taps, "slice")


def _take(planner: Planner, node: Node) -> bool:
    """One known element of a dimension, as a view."""
    value, position = node.args[:2]
    if (
        not isinstance(position, Value)
        or position.data is None
        or position.size != 1
        or not value.shape
    ):
        return False
    axis = node.attrs["axis"]
    if axis is None:
        return False
    size = value.shape[axis % len(value.shape)]
    start = int(position.data.reshape(())) % size
    view = planner.place(value).sliced(axis % len(value.shape), start, 1)
    shaped = view.reshaped(node.output.shape)
    if shaped is None:
        return False
    planner.set(node.output, shaped)
    return True


def _split(planner: Planner, node: Node) -> bool:
    view = planner.place(node.inputs[0])
    axis = (node.attrs["axis"] or 0) % len(view.shape)
    start = 0
    for output in node.outputs:
        planner.set(output, view.sliced(axis, start, output.shape[axis]))
        start += output.shape[axis]
    return True


def _pad(planner: Planner, node: Node) -> bool:
    """Constant padding: the border filled, the inside copied."""
    if node.attrs.get("pad_mode") != "constant":
        return False
    value = node.inputs[0]
    fill = node.args[1] if len(node.args) > 1 else node.attrs["pad_value"]
    if isinstance(fill, Value) and fill.data is not None:
        fill = float(fill.data.reshape(()))
    widths = node.attrs["pad_width"]
    here = planner.place(value)
    shape = node.output.shape
    target = planner.result(node.output, ordered_like(shape, here.strides))
    if isinstance(fill, Value):
        filler = planner.dense(fill)
    else:
        filler = planner.constant(np.full((), fill, dtype=value.dtype))
    inside = target
    for axis, size in enumerate(value.shape):
        before, after = widths[2 * axis], widths[2 * axis + 1]
        if before < 0 or after < 0:
            return False
        for start, count in ((0, before), (before + size, after)):
            if count:
                planner.map([filler], inside.sliced(axis, start, count), Arg(0), "pad")
        inside = inside.sliced(axis, before, size)
    planner.copy(here, inside, "pad")
    return True


def _resize(planner: Planner, node: Node) -> bool:
    return _resize_nearest(planner, node) or resize(planner, node)


def _resize_nearest(planner: Planner, node: Node) -> bool:
    """Nearest-neighbour enlarging by whole factors: every element written a few times."""
    attrs = node.attrs
    value = node.inputs[0]
    if attrs["method"] != "nearest_neighbor" or attrs["layout"] != "NCHW":
        return False
    if attrs["coordinate_transformation_mode"] not in ("asymmetric", "half_pixel"):
        return False
    n, c, h, w = value.shape
    _, _, oh, ow = node.output.shape
    if oh % h or ow % w:
        return False
    roundings = {
        "asymmetric": ("floor",), "half_pixel": ("round_prefer_floor", "round_prefer_ceil"),
    }  # fmt: skip
    if attrs["rounding_method"] not in roundings[attrs["coordinate_transformation_mode"]]:
        return False
    here = planner.place(value)
    target = planner.result(node.output, ordered_like(node.output.shape, here.strides))
    parts = target.reshaped((n, c, h, oh // h, w, ow // w))
    if parts is None:
        return False
    planner.copy(here.reshaped((n, c, h, 1, w, 1)) or here, parts, "resize")
    return True


RULES: dict[str, Rule] = {
    "map": _map,
    "typed map": _map,
    "reshape": _reshape,
    "flatten": _reshape,
    "squeeze": _reshape,
    "expand_dims": _reshape,
    "permute_dims": _permute,
    "broadcast_to": _broadcast,
    "concat": _concat,
    "strided_slice": _strided_slice,
    "split": _split,
    "take": lambda planner, node: _take(planner, node) or gather.take(planner, node),
    "nn.pad": _pad,
    "image.resize2d": _resize,
    "sample": plan_named,
}
