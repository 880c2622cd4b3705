# SPDX-License-Identifier: Apache-2.0
"""What rules for maps and rows share: views as maps, distances in them, operations in words."""

from __future__ import annotations

from typing import Any

from splitc_targets.graph.expression import Arg, operations
from splitc_targets.graph.graph import Node, Value
from splitc_targets.graph.views import View, channels_last
from splitc_targets.loops.fused import Operand
from splitc_targets.plan.planner import Planner
from splitc_targets.transforms.fuse import channel_axis, per_channel, spread_over_channels


def operands(planner: Planner, node: Node) -> tuple[tuple[Operand, ...], list[View]]:
    """What a fused expression reads: descriptions for the kernel, and the views."""
    kinds: list[Operand] = []
    views: list[View] = []
    for value in node.args[-1]:
        channel = channel_vector(planner, value, node)
        if channel is not None:
            kinds.append(Operand("channel"))
            views.append(channel)
        else:
            view = planner.channels_inner(value)
            if any(n > 1 and s == 0 for n, s in zip(view.shape, view.strides, strict=True)):
                view = planner.laid(value, channels_last(value.shape))
            kinds.append(beside(as_map(view)))
            views.append(view)
    return tuple(kinds), views


def channel_vector(planner: Planner, value: Value, node: Node) -> View | None:
    """What a fused expression reads as a vector over channels; None where it is none.

    One number that is computed is repeated for each.
    """
    if value.shape == node.output.shape:
        return None
    channel = per_channel(value, node)
    if channel is not None:
        return planner.constant(channel)
    if value.data is not None or not spread_over_channels(value, node):
        return None
    flat = planner.dense(value).reshaped((value.size,))
    channels = node.output.shape[channel_axis(node)]
    if flat is None or (flat.buffer.dtype == "float32" and value.size == channels):
        return flat
    vector = planner.fresh((channels,), "float32", (1,))
    planner.map([flat], vector, Arg(0), "broadcast")
    return vector


def as_map(view: View) -> View:
    """A view of [N, C, L] or [N, C, H, W] as the latter."""
    if len(view.shape) == 4:
        return view
    n, c, length = view.shape
    image, channel, pixel = view.strides
    return View(view.buffer, view.offset, (n, c, 1, length), (image, channel, 0, pixel))


def of_maps(weights: Any) -> Any:
    """Weights of [O, I, L] or [O, I, H, W] as the latter."""
    return weights if weights.ndim == 4 else weights[:, :, None, :]


def beside(view: View) -> Operand:
    """A channels-last view as an operand of the result's shape."""
    pixel, row, image = (step(view, d, view.shape[1]) for d in (3, 2, 0))
    return Operand("tensor", pixel, row, image, view.buffer.dtype)


def describe(node: Node, extra: str = "") -> str:
    """The operation and what is fused behind it, as in "conv2d+add+maximum"."""
    name = node.op.removeprefix("nn.")
    return "+".join([name + extra, *operations(node.attrs["expression"])])


def shapes_of(*values: Value) -> str:
    """Shapes in words, the result's last."""
    *inputs, output = ["x".join(map(str, value.shape)) for value in values]
    return f"{' * '.join(inputs)} -> {output}"


def distances(x: View, y: View) -> dict[str, Any]:
    """Distances between neighbours in a kernel's input and result."""
    c, oc = x.shape[1], y.shape[1]
    return {
        "x_pixel": step(x, 3, c), "x_row": step(x, 2, c), "x_image": step(x, 0, c),
        "x_channel": x.strides[1] if c > 1 else 1,
        "y_pixel": step(y, 3, oc), "y_row": step(y, 2, oc), "y_image": step(y, 0, oc),
    }  # fmt: skip


def step(view: View, dimension: int, channels: int) -> int:
    """A stride of [N, C, H, W]; for a single-element dimension, what it would be without gaps."""
    if view.shape[dimension] > 1:
        return view.strides[dimension]
    if dimension == 3:
        return channels
    if dimension == 2:
        return step(view, 3, channels) * view.shape[3]
    return step(view, 2, channels) * view.shape[2]
