# SPDX-License-Identifier: Apache-2.0
"""Windows over maps: depthwise convolution, pooling, means of whole maps."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from splitc_targets.graph.expression import Arg
from splitc_targets.graph.graph import Node
from splitc_targets.graph.views import View, channels_last
from splitc_targets.kernels.window import bytes as window_bytes
from splitc_targets.kernels.window import depthwise, pool, upright
from splitc_targets.kernels.window.bytes import ByteWindows
from splitc_targets.loops.fused import beside_types
from splitc_targets.plan.planner import Planner, Rule
from splitc_targets.rules.maps import (
    as_map,
    describe,
    distances,
    of_maps,
    operands,
    shapes_of,
    step,
)
from splitc_targets.rules.products import instruction, near, whole_bias


def _plan_depthwise(planner: Planner, node: Node) -> bool:
    """A convolution with as many groups as input and output channels."""
    x, w = node.args[0], node.args[1]
    weights = of_maps(w.data)
    view = planner.channels_inner(x)
    target = planner.result(node.output, channels_last(node.output.shape))
    kinds, extras = operands(planner, node)
    spec = depthwise.Depthwise(
        **_maps(as_map(view), as_map(target)), kernel=weights.shape[2:],
        **_moves(node), expression=node.attrs["expression"], operands=kinds,
    )  # fmt: skip
    machine = planner.machine
    planner.step(
        ("depthwise", spec), lambda name: depthwise.kernel(name, spec, machine),
        [view, planner.constant(depthwise.pack(np.asarray(weights))), *extras, target],
        "depthwise", describe(node), shapes_of(x, w, node.output), spec.flops,
        (spec.x_dtype, "float32", *beside_types(spec)),
    )  # fmt: skip
    return True


def _plan_depthwise_of_bytes(planner: Planner, node: Node) -> bool:
    """The same on bytes; the node's attribute `offset` says what number less byte is."""
    row = instruction(planner, "int8")
    machine, (x, w) = planner.machine.using(row), node.args[:2]
    weights = np.asarray(of_maps(w.data))
    view = planner.channels_inner(x)
    target = planner.result(node.output, channels_last(node.output.shape))
    kinds, extras = operands(planner, node)
    plain = ByteWindows(
        **_maps(as_map(view), as_map(target)), kernel=weights.shape[2:],
        **_moves(node), expression=node.attrs["expression"], operands=kinds,
        offset=round(node.attrs["offset"]),
    )  # fmt: skip
    spec, start = whole_bias(plain, extras, len(weights))
    spec = near(planner, spec, weights, start, spec.offset, extras)
    form = upright if upright.rows_at_once(spec) else window_bytes
    planner.step(
        ("depthwise_dot", spec), lambda name: form.kernel(name, spec, machine, row),
        [view, planner.constant(form.pack(weights, start, spec)), *extras, target],
        "depthwise_dot", describe(node), shapes_of(x, w, node.output), spec.flops,
        (row.reads, "int32", *beside_types(spec)),
    )  # fmt: skip
    return True


DEPTHWISE: dict[str, Rule] = {
    "depthwise": _plan_depthwise, "depthwise_dot": _plan_depthwise_of_bytes,
}  # fmt: skip
"""Depthwise convolutions, by the node's family."""


def _maps(x: View, y: View) -> dict[str, Any]:
    """Sizes and distances of an operation from one map to another."""
    sizes = {
        "batch": x.shape[0], "channels": x.shape[1], "height": x.shape[2], "width": x.shape[3],
        "out_height": y.shape[2], "out_width": y.shape[3],
    }  # fmt: skip
    between = distances(x, y)
    del between["x_channel"]
    return {**sizes, **between, "x_dtype": x.buffer.dtype, "y_dtype": y.buffer.dtype}


def _pair(numbers: tuple[int, ...], missing: int) -> tuple[int, int]:
    return (missing, numbers[0]) if len(numbers) == 1 else (numbers[0], numbers[1])


def _moves(node: Node) -> dict[str, Any]:
    """Stride, dilation and leading pad of a window, of one or two dimensions."""
    attrs = node.attrs
    line = len(attrs["strides"]) == 1
    return {
        "stride": _pair(attrs["strides"], 1),
        "dilation": _pair(attrs["dilation"], 1),
        "pad": (0, attrs["padding"][0]) if line else tuple(attrs["padding"][:2]),
    }


def _pool(kind: str) -> Rule:
    def plan(planner: Planner, node: Node) -> bool:
        x, attrs = node.args[0], node.attrs
        if not node.family:
            return False
        line = len(attrs["strides"]) == 1
        view = planner.channels_inner(x)
        alone = _covers(node, x.shape) and attrs["expression"] == Arg(0)
        if alone and _whole(planner, node, view, kind):
            return True
        target = planner.result(node.output, channels_last(node.output.shape))
        kinds, extras = operands(planner, node)
        after = (0, attrs["padding"][1]) if line else tuple(attrs["padding"][2:])
        spec = pool.Pool(
            **_maps(as_map(view), as_map(target)), kernel=_pair(attrs["pool_size"], 1),
            **_moves(node), expression=attrs["expression"], operands=kinds,
            kind=kind, pad_after=after, count_padding=bool(attrs["count_include_pad"]),
        )  # fmt: skip
        machine = planner.machine
        planner.step(
            ("pool", spec), lambda name: pool.kernel(name, spec, machine),
            [view, *extras, target], "pool", describe(node), shapes_of(x, node.output), spec.flops,
            (spec.x_dtype, *beside_types(spec)),
        )  # fmt: skip
        return True

    return plan


def _covers(node: Node, shape: tuple[int, ...]) -> bool:
    """Whether one window is the whole map."""
    attrs = node.attrs
    return tuple(attrs["pool_size"]) == shape[2:] and not any(attrs["padding"])


def _whole(planner: Planner, node: Node, view: View, kind: str) -> bool:
    """One number for each map; `view` has channels innermost."""
    x = as_map(view) if len(view.shape) == 3 else view
    n, c, height, width = x.shape
    pixel, row = step(x, 3, c), step(x, 2, c)
    if height > 1 and row != width * pixel:
        return False
    target = planner.result(node.output, channels_last(node.output.shape))
    image = target.strides[0] if n > 1 else c
    types = view.buffer.dtype, target.buffer.dtype
    spec = pool.Whole(
        n, height * width, c, pixel, step(x, 0, c), image, kind, x_dtype=types[0], y_dtype=types[1]
    )
    machine = planner.machine
    planner.step(
        ("whole", spec), lambda name: pool.whole_kernel(name, spec, machine), [view, target],
        "pool", f"{kind} of maps", shapes_of(node.args[0], node.output), math.prod(x.shape), types,
    )  # fmt: skip
    return True


def whole_maps(planner: Planner, node: Node, kind: str) -> bool:
    """Means and maxima of whole maps, where the reduction is one of those."""
    x = node.args[0]
    axes = tuple(sorted(a % len(x.shape) for a in node.attrs["axis"] or ()))
    if len(x.shape) not in (3, 4):
        return False
    if axes == tuple(range(2, len(x.shape))):
        return _whole(planner, node, planner.channels_inner(x), kind)
    if len(x.shape) == 3 and axes == (1,):
        view = planner.dense(x)
        n, length, c = x.shape
        maps = View(view.buffer, view.offset, (n, c, length), (length * c, 1, c))
        return _whole(planner, node, maps, kind)
    return False


RULES: dict[str, Rule] = {
    "nn.max_pool2d": _pool("max"),
    "nn.max_pool1d": _pool("max"),
    "nn.avg_pool2d": _pool("mean"),
    "nn.avg_pool1d": _pool("mean"),
}
