# SPDX-License-Identifier: Apache-2.0
"""Matrix products: by a constant, as a 1x1 convolution; of two tensors, batched."""

from __future__ import annotations

import math

import numpy as np

from splitc_targets.schedules import conv as direct
from splitc_targets.schedules.fuse import per_channel
from splitc_targets.schedules.graph import Node
from splitc_targets.schedules.planner import Planner, Rule
from splitc_targets.schedules.rules_conv import describe, shapes_of
from splitc_targets.schedules.views import View, packed


def _matmul(planner: Planner, node: Node) -> bool:
    a, b = node.args[0], node.args[1]
    if a.dtype != "float32" or b.dtype != "float32" or len(node.output.shape) < 2:
        return False
    if b.data is not None and len(b.shape) == 2 and len(a.shape) >= 2:
        return _by_constant(planner, node)
    return False


def _by_constant(planner: Planner, node: Node) -> bool:
    """[…, K] x [K, N]: rows are pixels, columns output channels."""
    a, b = node.args[0], node.args[1]
    depth, columns = b.shape
    rows = a.size // depth
    view = _rows(planner.place(a), rows, depth)
    if view is None:
        view = planner.dense(a).reshaped((rows, depth))
    target = planner.result(node.output, packed(node.output.shape))
    flat = target.reshaped((rows, columns))
    if view is None or flat is None or flat.strides[1] != 1:
        return False
    kinds: list[direct.Operand] = []
    extras: list[View] = []
    for value in node.args[-1]:
        channel = per_channel(value, node) if value.shape != node.output.shape else None
        if channel is not None:
            kinds.append(direct.Operand("channel"))
            extras.append(planner.constant(channel))
            continue
        beside = planner.dense(value).reshaped((rows, columns))
        if beside is None:
            return False
        kinds.append(direct.Operand("tensor", columns))
        extras.append(beside)
    pixel, out = view.strides[0] or depth, flat.strides[0] or columns
    spec = direct.Conv(
        batch=1, height=1, width=rows, channels=depth, groups=1,
        out_height=1, out_width=rows, out_channels=columns,
        kernel=(1, 1), stride=(1, 1), dilation=(1, 1), pad=(0, 0),
        x_pixel=pixel, x_row=pixel * rows, x_image=pixel * rows, x_channel=1,
        y_pixel=out, y_row=out * rows, y_image=out * rows,
        expression=node.attrs["expression"], operands=tuple(kinds),
    )  # fmt: skip
    machine = planner.machine
    weights = direct.pack(np.ascontiguousarray(b.data.T)[:, :, None, None], spec, machine)
    size = weights.size
    planner.step(
        ("conv", spec), lambda name: direct.kernel(name, spec, machine, size),
        [view, planner.constant(weights), *extras, flat], "gemm" if rows > 1 else "gemv",
        describe(node), shapes_of(a, b, node.output), spec.flops,
    )  # fmt: skip
    return True


def _rows(view: View, rows: int, depth: int) -> View | None:
    """The view as a matrix whose columns are dense, where it is one."""
    flat = view.reshaped((rows, depth))
    if flat is None or (depth > 1 and flat.strides[1] != 1) or math.prod(flat.shape) == 0:
        return None
    return flat


RULES: dict[str, Rule] = {"matmul": _matmul}
