# SPDX-License-Identifier: Apache-2.0
"""Convolutions: which kernel each gets."""

from __future__ import annotations

from typing import Any

import numpy as np

from splitc_targets.schedules import conv as direct
from splitc_targets.schedules.expression import operations
from splitc_targets.schedules.fuse import per_channel
from splitc_targets.schedules.graph import Node, Value
from splitc_targets.schedules.planner import Planner, Rule
from splitc_targets.schedules.views import View, canonical, channels_last


def operands(
    planner: Planner, node: Node, target: View
) -> tuple[tuple[direct.Operand, ...], list[View]]:
    """What a fused expression reads: descriptions for the kernel, and the views."""
    kinds: list[direct.Operand] = []
    views: list[View] = []
    for value in node.args[-1]:
        channel = per_channel(value, node) if value.shape != node.output.shape else None
        if channel is not None:
            kinds.append(direct.Operand("channel"))
            views.append(planner.constant(channel))
            continue
        view = planner.place(value)
        order = canonical(view.shape, view.strides)
        pixel = view.strides[-1] if len(view.shape) > 2 else 0
        if order != _with_pixel(view.shape, pixel):
            view = planner.laid(value, channels_last(value.shape))
            pixel = view.shape[1]
        kinds.append(direct.Operand("tensor", pixel))
        views.append(view)
    return tuple(kinds), views


def _with_pixel(shape: tuple[int, ...], pixel: int) -> tuple[int, ...]:
    """Channels-last strides where a pixel takes `pixel` elements."""
    if len(shape) != 4:
        return ()
    n, c, h, w = shape
    return canonical(shape, (h * w * pixel, 1, w * pixel, pixel))


def describe(node: Node, extra: str = "") -> str:
    """The operation and what is fused behind it, as in "conv2d+add+maximum"."""
    name = node.op.removeprefix("nn.")
    return "+".join([name + extra, *operations(node.attrs["expression"])])


def shapes_of(*values: Value) -> str:
    """Shapes in words, the result's last."""
    *inputs, output = ["x".join(map(str, value.shape)) for value in values]
    return f"{' * '.join(inputs)} -> {output}"


def _conv2d(planner: Planner, node: Node) -> bool:
    x, w = node.args[0], node.args[1]
    attrs = node.attrs
    if w.data is None or x.dtype != "float32" or attrs["data_layout"] != "NCHW":
        return False
    if attrs["kernel_layout"] != "OIHW" or attrs["out_layout"] not in ("NCHW", ""):
        return False
    few = w.shape[1] <= 4 and attrs["groups"] == 1
    view = planner.place(x) if few else planner.channels_inner(x)
    target = planner.result(node.output, channels_last(node.output.shape))
    kinds, extras = operands(planner, node, target)
    spec = _spec(node, view, target, kinds)
    _plan_direct(planner, node, spec, w.data, [view, *extras, target])
    return True


def _spec(node: Node, view: View, target: View, kinds: tuple[direct.Operand, ...]) -> direct.Conv:
    x, w = node.args[0], node.args[1]
    n, c, height, width = x.shape
    _, oc, oh, ow = node.output.shape
    groups = node.attrs["groups"]
    return direct.Conv(
        batch=n, height=height, width=width, channels=c // groups, groups=groups,
        out_height=oh, out_width=ow, out_channels=oc,
        kernel=w.shape[2:], stride=tuple(node.attrs["strides"]),
        dilation=tuple(node.attrs["dilation"]), pad=tuple(node.attrs["padding"][:2]),
        x_pixel=_step(view, 3, c), x_row=_step(view, 2, c), x_image=_step(view, 0, c),
        x_channel=view.strides[1] if c > 1 else 1,
        y_pixel=_step(target, 3, oc), y_row=_step(target, 2, oc), y_image=_step(target, 0, oc),
        expression=node.attrs["expression"], operands=kinds,
    )  # fmt: skip


def _step(view: View, dimension: int, channels: int) -> int:
    """A stride; for a single-element dimension, what it would be without gaps."""
    if view.shape[dimension] > 1:
        return view.strides[dimension]
    if dimension == 3:
        return channels
    if dimension == 2:
        return _step(view, 3, channels) * view.shape[3]
    return _step(view, 2, channels) * view.shape[2]


def _plan_direct(
    planner: Planner, node: Node, spec: direct.Conv, weights: Any, args: list[View]
) -> None:
    machine = planner.machine
    packed = direct.pack(np.asarray(weights), spec, machine)
    size = packed.size
    view, *rest = args
    planner.step(
        ("conv", spec), lambda name: direct.kernel(name, spec, machine, size),
        [view, planner.constant(packed), *rest], "conv", describe(node),
        shapes_of(node.args[0], node.args[1], node.output), spec.flops,
    )  # fmt: skip


RULES: dict[str, Rule] = {"nn.conv2d": _conv2d}
